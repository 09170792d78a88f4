"""The port of balancers: which instance takes the next call."""

from collections.abc import Collection
from typing import Protocol

from placet_rpc.balancing.candidates import Candidates
from placet_rpc.balancing.member import Member
from placet_rpc.invocation import Invocation


class Balancer(Protocol):
    """Chooses. One object serves the calls of one method from one client, on one event loop.

    A factory of the group `placet.rpc.balancers` is called as `factory(clock, chance, **options)`; the options are
    those of the configuration, `name?key=value`, as text.
    """

    def prepare(self, candidates: Candidates, /) -> None:
        """Computes what depends on the candidates alone. Called outside of any call.

        Candidates are all instances of a snapshot, or those of it in one zone; picks from both may come by turns.
        """
        ...

    def pick(self, candidates: Candidates, call: Invocation, excluded: Collection[Member], /) -> Member | None:
        """Returns one of the candidates that is not excluded; None if there is none.

        It takes microseconds and never waits. Who is excluded may change from call to call; the choice among the
        others must then be as fair as it is without any exclusion.
        """
        ...
