"""Tries another instance where that is safe and may help; the usual strategy."""

from datetime import timedelta
from typing import Any

from placet_rpc.balancing.member import Member
from placet_rpc.cluster.strategy import ClusterContext
from placet_rpc.cluster.targets import Targets
from placet_rpc.contract import MethodSpec
from placet_rpc.errors import RpcError
from placet_rpc.invocation import Invocation
from placet_rpc.policies.retry import FREE_HOPS_MAX, is_free, may_repeat

_MILLISECOND = timedelta(milliseconds=1)


class Failover:
    """Satisfies `ClusterStrategy`.

    All attempts share the call's time, and no delay goes past it. The directory is read anew for each of them.
    """

    spi_version = 1

    def __init__(self, _context: ClusterContext) -> None:
        pass

    def check(self, method: MethodSpec) -> None:
        """Any method will do: what is not idempotent is repeated only where it was not executed."""

    async def invoke(self, call: Invocation, targets: Targets) -> Any:
        """Makes attempts until there is an outcome that another one would not better."""
        targets.budget.deposit()
        deadline_at = targets.now() + call.timeout_ms * 0.001
        own = targets.retry.attempt_timeout
        longest_ms = timeout_ms = call.timeout_ms if own is None else min(own // _MILLISECOND, call.timeout_ms)
        number = call.attempt
        member = targets.choose(call)
        repeats: Repeats | None = None
        while True:
            try:
                return await targets.attempt(call, member, number, timeout_ms)
            except RpcError as error:
                repeats = repeats or Repeats(call, targets, deadline_at)
                seconds = repeats.delay(error, member)
                if seconds is None:
                    if repeats.gravest is not error:
                        raise repeats.gravest from None
                    raise
            if seconds:
                await targets.clock.sleep(seconds)
            number = repeats.number
            timeout_ms = min(longest_ms, int((deadline_at - targets.now()) * 1000))
            member = targets.choose(call, repeats.tried)


class Repeats:
    """Whether and when the next attempt of one call is made.

    Args:
        call: that has failed once.
        targets: where it may go.
        deadline_at: of all its attempts, in monotonic seconds.

    Attributes:
        tried: instances that have failed it.
        number: of the next attempt.
        gravest: the error that the call fails with: where one attempt may have run, a later one that was not even sent
            must not make it look as if nothing had happened. Of equals it is the latest.
    """

    def __init__(self, call: Invocation, targets: Targets, deadline_at: float) -> None:
        self.tried: set[Member] = set()
        self.number = call.attempt
        self.gravest: RpcError
        self._requests = 0
        self._call, self._targets = call, targets
        self._deadline_at = deadline_at
        self._counted = 1  # attempts that were not free
        self._hops = 0

    def delay(self, error: RpcError, member: Member) -> float | None:
        """Returns the seconds until the next attempt; None: there is none.

        Args:
            error: of the attempt that has just failed.
            member: where it went.
        """
        self.tried.add(member)
        self._requests += 1
        if self._requests == 1 or error.safety.gravity >= self.gravest.safety.gravity:
            self.gravest = error
        self.gravest.attempts = self._requests
        targets, retry = self._targets, self._targets.retry
        left = self._deadline_at - targets.now()
        if not may_repeat(error, idempotent=self._call.idempotent):
            return None
        if is_free(error) and self._hops < FREE_HOPS_MAX and targets.has_other(self._call, self.tried):
            self._hops += 1
            return 0.0 if left > 0 else None
        if self._counted >= retry.attempts:
            return None
        seconds = retry.delay_ms(error, self._counted, targets.chance.random()) / 1000
        if seconds >= left or not targets.budget.withdraw():
            return None
        self._counted += 1
        self.number += 1
        return seconds
