"""What a cluster strategy works with: an instance to be chosen, and one request to it."""

import asyncio
from collections.abc import Collection, Coroutine
from typing import Any

from msgspec.structs import replace

from placet_rpc.balancing.balancer import Balancer
from placet_rpc.balancing.candidates import Candidates
from placet_rpc.balancing.member import Member
from placet_rpc.balancing.zone import is_enough
from placet_rpc.chance import Chance
from placet_rpc.clock import Clock
from placet_rpc.cluster.instances import Instances
from placet_rpc.errors import ConnectFailed, ConnectionLost, NoInstance, RpcError
from placet_rpc.filters import ClientFilter, Router, chained
from placet_rpc.invocation import Invocation
from placet_rpc.policies.budget import Budget
from placet_rpc.policies.failure import speaks_against
from placet_rpc.policies.retry import Retry

_FAILURE_FACTOR = 2.0
"""A failure counts as at least so many times what calls have cost, so that failing fast attracts no calls."""
_FAILURE_SECONDS = 0.001
_FAILURE_SECONDS_MAX = 1.0
"""… but no more than this, or an instance that failed for a minute would be shunned for many."""


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
        self._filtered = chained(attempts, self._send) if attempts else None
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

    async def attempt(self, call: Invocation, member: Member, number: int, timeout_ms: int) -> Any:
        """Makes one request to one instance, and learns from what it came to.

        Args:
            call: stays as it is.
            member: the instance.
            number: of the attempt, from 1.
            timeout_ms: of this request.
        """
        sent = replace(call, instance=member.instance_id, attempt=number, timeout_ms=timeout_ms)
        member.active += 1
        began_at = self.now()
        try:
            if self._filtered is None:
                result = await member.route.invoke(sent)
            else:
                result = await self._filtered(sent)
        except RpcError as error:
            if speaks_against(error) and not self._is_old_news(error, member, began_at):
                self._note_failure(member, began_at)
            raise
        except asyncio.CancelledError:
            # Nobody knows what it would have taken, but it was no less than this.
            now = self.now()
            if now - began_at > member.latency.cost(now):
                member.latency.observe(now - began_at, now)
            raise
        except Exception:
            self._note_answer(member, began_at)
            raise
        finally:
            member.active -= 1
        self._note_answer(member, began_at)
        return result

    def _send(self, sent: Invocation) -> Coroutine[Any, Any, Any]:
        return self.instances.named(sent.instance).route.invoke(sent)

    def _is_old_news(self, error: RpcError, member: Member, began_at: float) -> bool:
        """True for a failure that says nothing which the route, or another call, has not said already."""
        if isinstance(error, ConnectionLost):
            # All calls of a connection are lost together, and are one event: a server that was restarted is no worse
            # for having been busy.
            is_old = began_at < member.lost_at
            member.lost_at = self.now()
            return is_old
        # What could not be reached is left alone by its route, and back as soon as it answers again.
        return isinstance(error, ConnectFailed) and not member.is_available

    def _note_answer(self, member: Member, began_at: float) -> None:
        now = self.now()
        seconds = now - began_at
        member.latency.observe(seconds, now)
        self.instances.note(member, seconds, now, failed=False)

    def _note_failure(self, member: Member, began_at: float) -> None:
        now = self.now()
        seconds = now - began_at
        dearer = min(_FAILURE_FACTOR * member.latency.cost(now), _FAILURE_SECONDS_MAX)
        cost = max(seconds, dearer, _FAILURE_SECONDS)
        member.latency.observe(cost, now)
        self.instances.note(member, seconds, now, failed=True)
