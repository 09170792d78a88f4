"""One attempt; if it fails, the caller is not troubled. For what may be lost, such as a metric or a hint."""

import logging
from typing import Any

from placet_rpc.cluster.failfast import Failfast
from placet_rpc.cluster.strategy import ClusterContext
from placet_rpc.cluster.targets import Targets
from placet_rpc.contract import MethodSpec
from placet_rpc.errors import RpcError
from placet_rpc.invocation import Invocation
from placet_rpc.policies.degradation import Null

_log = logging.getLogger("placet_rpc.client")


class Failsafe(Failfast):
    """Satisfies `ClusterStrategy`: returns None where the attempt fails. An exception of the contract is raised.

    Attributes:
        failed: calls that were answered with None.
    """

    spi_version = 1

    def __init__(self, context: ClusterContext) -> None:
        super().__init__(context)
        self.failed = 0

    def check(self, method: MethodSpec) -> None:
        """Looks whether the method may return None; for others there is `degrade=Value(…)`."""
        Null().check(method)

    async def invoke(self, call: Invocation, targets: Targets) -> Any:
        """Makes the attempt."""
        try:
            return await super().invoke(call, targets)
        except RpcError as error:
            self.failed += 1
            if self.failed & (self.failed - 1) == 0:  # the 1st, 2nd, 4th, 8th …: a dead service must not fill the log
                name = f"{call.service.key}.{call.method.name}"
                _log.warning("%s failed and was answered with None, for the %d. time: %s", name, self.failed, error)
            return None
