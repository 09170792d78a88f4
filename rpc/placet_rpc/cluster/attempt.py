"""One request to one instance: that it is under way counts, and what it comes to is learned from."""

import asyncio
from collections.abc import Callable

from placet_rpc.balancing.member import Member
from placet_rpc.cluster.instances import Instances
from placet_rpc.errors import ConnectFailed, ConnectionLost, RpcError
from placet_rpc.filters import Gate
from placet_rpc.invocation import Invocation
from placet_rpc.policies.failure import speaks_against

_FAILURE_FACTOR = 2.0
"""A failure counts as at least so many times what calls have cost, so that failing fast attracts no calls."""
_FAILURE_SECONDS = 0.001
_FAILURE_SECONDS_MAX = 1.0
"""… but no more than this, or an instance that failed for a minute would be shunned for many."""


class Attempt(Gate):
    """The outermost gate of one request.

    Args:
        member: the instance that it goes to.
        instances: of the service.
        now: monotonic seconds.
    """

    __slots__ = ("_instances", "_member", "_now")

    def __init__(self, member: Member, instances: Instances, now: Callable[[], float]) -> None:
        self._member, self._instances, self._now = member, instances, now

    def enter(self, call: Invocation) -> float:  # noqa: ARG002 - the instance is known
        """Notes that the instance has one more request."""
        self._member.active += 1
        return self._now()

    def leave(self, entered: float, error: BaseException | None) -> None:
        """Notes what it took, and whether that speaks against the instance."""
        member = self._member
        member.active -= 1
        if error is None:
            self._note_answer(entered)
        elif isinstance(error, RpcError):
            if speaks_against(error) and not self._is_old_news(error, entered):
                self._note_failure(entered)
        elif isinstance(error, asyncio.CancelledError):
            # Nobody knows what it would have taken, but it was no less than this.
            now = self._now()
            if now - entered > member.latency.cost(now):
                member.latency.observe(now - entered, now)
        elif isinstance(error, Exception):
            self._note_answer(entered)  # an exception of the contract: the method ran, and said so

    def _is_old_news(self, error: RpcError, began_at: float) -> bool:
        """True for a failure that says nothing which the route, or another call, has not said already."""
        member = self._member
        if isinstance(error, ConnectionLost):
            # All calls of a connection are lost together, and are one event: a server that was restarted is no worse
            # for having been busy.
            is_old = began_at < member.lost_at
            member.lost_at = self._now()
            return is_old
        # What could not be reached is left alone by its route, and back as soon as it answers again.
        return isinstance(error, ConnectFailed) and not member.is_available

    def _note_answer(self, began_at: float) -> None:
        member, now = self._member, self._now()
        member.latency.observe(now - began_at, now)
        self._instances.note(member, now - began_at, now, failed=False)

    def _note_failure(self, began_at: float) -> None:
        member, now = self._member, self._now()
        seconds = now - began_at
        dearer = min(_FAILURE_FACTOR * member.latency.cost(now), _FAILURE_SECONDS_MAX)
        cost = max(seconds, dearer, _FAILURE_SECONDS)
        member.latency.observe(cost, now)
        self._instances.note(member, seconds, now, failed=True)
