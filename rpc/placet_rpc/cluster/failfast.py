"""One attempt, and its outcome is the call's."""

from typing import Any

from placet_rpc.cluster.strategy import ClusterContext
from placet_rpc.cluster.targets import Targets
from placet_rpc.contract import MethodSpec
from placet_rpc.invocation import Invocation


class Failfast:
    """Satisfies `ClusterStrategy`. For callers that repeat by themselves, and for what must never be sent twice."""

    spi_version = 1

    def __init__(self, _context: ClusterContext) -> None:
        pass

    def check(self, method: MethodSpec) -> None:
        """Any method will do."""

    async def invoke(self, call: Invocation, targets: Targets) -> Any:
        """Makes the attempt."""
        return await targets.attempt(call, targets.choose(call), call.attempt, call.timeout_ms)
