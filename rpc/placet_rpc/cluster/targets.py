"""What a cluster strategy works with: an instance to be chosen, and one request to it."""

from collections.abc import Collection, Coroutine
from itertools import takewhile
from typing import Any, cast

from msgspec.structs import replace

from placet_rpc.balancing.balancer import Balancer
from placet_rpc.balancing.candidates import Candidates
from placet_rpc.balancing.member import Member
from placet_rpc.balancing.zone import is_enough
from placet_rpc.chance import Chance
from placet_rpc.clock import Clock
from placet_rpc.cluster.attempt import Attempt
from placet_rpc.cluster.instances import Instances
from placet_rpc.errors import NoInstance
from placet_rpc.filters import ClientFilter, Gate, Router, chained, pass_through
from placet_rpc.invocation import Invocation
from placet_rpc.policies.budget import Budget
from placet_rpc.policies.retry import Retry


class Targets:
    """The instances that calls of one method may go to.

    Args:
        instances: of the service.
        balancer: chooses.
        clock: where time comes from.
        chance: where jitter comes from.
        retry: how often and how soon a call is repeated.
        budget: of repeats, shared by all methods of the service.
        routers: say which instances a call may go to.
        attempts: filters around each request.
    """

    def __init__(
        self,
        instances: Instances,
        balancer: Balancer,
        *,
        clock: Clock,
        chance: Chance,
        retry: Retry,
        budget: Budget,
        routers: tuple[Router, ...] = (),
        attempts: tuple[ClientFilter, ...] = (),
    ) -> None:
        self.instances = instances
        self.clock = clock
        self.now = clock.monotonic
        self.chance = chance
        self.retry = retry
        self.budget = budget
        self._pick = balancer.pick
        self._routers = routers
        # Gates stand in the coroutine of the attempt; whatever follows the first other filter, behind it.
        self._gates = tuple(cast("Gate", each) for each in takewhile(lambda each: isinstance(each, Gate), attempts))
        others = attempts[len(self._gates) :]
        self._filtered = chained(others, self._send) if others else None
        instances.serve(balancer)

    # -- choosing ----------------------------------------------------------------------------------------------

    def choose(self, call: Invocation, tried: Collection[Member] = ()) -> Member:
        """Returns the instance for the next attempt.

        An instance that was tried before, is ejected, drains or can't be reached is chosen only where there is no
        other; so is one in another zone while there are enough in this one.

        Raises:
            NoInstance: there is none at all, or not the one that the call has to go to.
        """
        instances = self.instances
        candidates = instances.latest() if tried else instances.current()
        if call.instance:
            return instances.named(call.instance)
        if not tried and not instances.ejection.out and not self._routers:
            member = self._pick(instances.local or candidates, call, ())
            if member is not None and member.is_available:
                return member
        return self._choose_among(candidates, call, tried)

    def has_other(self, call: Invocation, tried: Collection[Member]) -> bool:
        """True if an instance that was not tried yet could be called now."""
        return not call.instance and any(member not in tried and member.is_available for member in self.admitted(call))

    def admitted(self, call: Invocation) -> list[Member]:
        """Returns all instances that the call may go to, whatever their state."""
        members = self.instances.current().members
        return [m for m in members if all(router.admits(call, m.endpoint) for router in self._routers)]

    def _choose_among(self, candidates: Candidates, call: Invocation, tried: Collection[Member]) -> Member:
        members = candidates.members
        admitted = self.admitted(call) if self._routers else members
        barred = set(members).difference(admitted)
        away = {member for member in admitted if not member.is_available}
        ejected = self.instances.ejection.ejected() & set(admitted)
        if 2 * len(ejected | away) > len(admitted):
            ejected = set()  # an ejection is a guess, and must not leave the work to a minority
        local = self.instances.local
        if local is not None and is_enough(local, barred | away | ejected):
            member = self._pick(local, call, barred | away | ejected | set(tried))
            if member is not None:
                return member
        for excluded in ((tried, ejected, away), (tried, away), (ejected, away), (away,), (tried,), ()):
            member = self._pick(candidates, call, barred.union(*excluded))
            if member is not None:
                return member
        raise NoInstance(self._nobody(len(admitted)))

    def _nobody(self, admitted: int) -> str:
        service = self.instances.service
        if self.instances.candidates.members and not admitted:
            return f"no instance of {service} is admitted by the routers"
        if self.instances.is_known:
            return f"{service} has no instance that takes calls: none is registered, or all have weight 0"
        return f"nothing is known of {service} yet: neither the registry nor its saved copy has said anything"

    # -- calling -----------------------------------------------------------------------------------------------

    def attempt(self, call: Invocation, member: Member, number: int, timeout_ms: int) -> Coroutine[Any, Any, Any]:
        """Makes one request to one instance, and learns from what it came to.

        Args:
            call: stays as it is.
            member: the instance.
            number: of the attempt, from 1.
            timeout_ms: of this request.
        """
        sent = replace(call, instance=member.instance_id, attempt=number, timeout_ms=timeout_ms)
        proceed = member.route.invoke if self._filtered is None else self._filtered
        return pass_through((Attempt(member, self.instances, self.now), *self._gates), sent, proceed)

    def _send(self, sent: Invocation) -> Coroutine[Any, Any, Any]:
        return self.instances.named(sent.instance).route.invoke(sent)
