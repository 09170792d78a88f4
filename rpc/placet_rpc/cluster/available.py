"""The first instance that can be reached, in the order of the ids: one does the work, the others stand by."""

from typing import Any

from placet_rpc.cluster.failfast import Failfast
from placet_rpc.cluster.targets import Targets
from placet_rpc.invocation import Invocation


class Available(Failfast):
    """Satisfies `ClusterStrategy`: one attempt, and no balancer is asked while anybody can be reached."""

    spi_version = 1

    async def invoke(self, call: Invocation, targets: Targets) -> Any:
        """Makes the attempt."""
        reachable = (member for member in targets.admitted(call) if member.is_available)
        member = None if call.instance else next(reachable, None)
        return await targets.attempt(call, member or targets.choose(call), call.attempt, call.timeout_ms)
