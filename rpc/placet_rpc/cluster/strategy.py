"""The port of cluster strategies: what one call of a method means where there are many instances."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from placet_rpc.chance import Chance
from placet_rpc.clock import Clock
from placet_rpc.cluster.targets import Targets
from placet_rpc.contract import MethodSpec
from placet_rpc.invocation import Invocation

if TYPE_CHECKING:
    from placet_rpc.cluster.failback_queue import FailbackQueue


@dataclass(frozen=True, slots=True)
class ClusterContext:
    """What strategies are made with.

    Attributes:
        clock: where time comes from.
        chance: where jitter comes from.
        failback: keeps calls that are made again later.
    """

    clock: Clock
    chance: Chance
    failback: "FailbackQueue"


class ClusterStrategy(Protocol):
    """Turns one call into requests to instances. One object serves the calls of one method from one client.

    A factory of the group `placet.rpc.clusters` is called as `factory(context, **options)`; the options are those of
    the configuration, `name?key=value`, as text.
    """

    def check(self, method: MethodSpec, /) -> None:
        """Looks whether the strategy suits a method.

        Raises:
            TypeError: it would do to the method what its declaration does not allow.
        """
        ...

    async def invoke(self, call: Invocation, targets: Targets, /) -> Any:
        """Makes the call within `call.timeout_ms`, all requests and delays together.

        What is not idempotent reaches a second instance only after an error whose safety is `repeatable`. When it
        returns or raises, no request is under way any more that it does not mean to leave behind.
        """
        ...
