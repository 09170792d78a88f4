"""Tries once; if that fails, says nothing and makes the call again later, until it succeeds or is a dead letter.

For what has to happen and need not happen now, such as a notification. With a durable store it survives a crash.
"""

from typing import Any

from placet_rpc.cluster.failback_queue import new_entry_id
from placet_rpc.cluster.failback_store import FailbackFull
from placet_rpc.cluster.failfast import Failfast
from placet_rpc.cluster.strategy import ClusterContext
from placet_rpc.cluster.targets import Targets
from placet_rpc.contract import MethodSpec
from placet_rpc.errors import RpcError
from placet_rpc.invocation import Invocation
from placet_rpc.policies.degradation import Null
from placet_rpc.policies.retry import may_repeat


class Failback(Failfast):
    """Satisfies `ClusterStrategy`: returns None where the attempt fails in a way that another may better.

    All attempts of a call carry the same idempotency key; one is made if the caller gave none. An exception of the
    contract is raised, and so is a failure that no store would keep.
    """

    spi_version = 1

    def __init__(self, context: ClusterContext) -> None:
        super().__init__(context)
        self._queue = context.failback

    def check(self, method: MethodSpec) -> None:
        """Looks whether the method may return None, and may run more than once."""
        if not method.options.idempotent:
            raise TypeError(f"{method.name} is made again after failures: declare it @method(idempotent=True)")
        Null().check(method)

    async def invoke(self, call: Invocation, targets: Targets) -> Any:
        """Makes the first attempt; later ones come by here too, and fail as they are."""
        if not call.idempotency_key:
            call.idempotency_key = new_entry_id()
        try:
            return await super().invoke(call, targets)
        except RpcError as error:
            if call.attempt > 1 or not may_repeat(error, idempotent=True):
                raise
            try:
                await self._queue.add(call, error)
            except FailbackFull as full:
                raise error from full
            return None
