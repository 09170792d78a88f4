"""The same call to several instances, and the first answer is the call's: at once, or one after another (hedging).

A copy is sent after a delay, or as soon as an earlier one has failed in a way that another may better. Whatever ends
the call ends all of it: the losers are cancelled, and their servers are told. Copies that follow a delay come out of
a budget of a tenth of all calls, so that a service that becomes slow as a whole is not buried.
"""

import asyncio
from typing import Any

from placet_rpc.balancing.member import Member
from placet_rpc.cluster.hedge_delay import HedgeDelay
from placet_rpc.cluster.strategy import ClusterContext
from placet_rpc.cluster.targets import Targets
from placet_rpc.contract import MethodSpec
from placet_rpc.errors import CallRefused, RpcError
from placet_rpc.invocation import Invocation
from placet_rpc.policies.budget import HEDGE_SHARE, Budget
from placet_rpc.policies.retry import is_free, may_repeat

COPIES = 2
COPIES_MAX = 5


class Forking:
    """Satisfies `ClusterStrategy`: all copies at once.

    Args:
        context: where time comes from.
        copies: requests of one call at most, to as many instances; 2 to 5.

    Attributes:
        extra: copies sent beyond the first of each call.
        cancelled: copies whose answer nobody waited for any more.
    """

    spi_version = 1

    def __init__(self, context: ClusterContext, *, copies: str = str(COPIES)) -> None:
        if not copies.isdecimal() or not 2 <= int(copies) <= COPIES_MAX:  # noqa: PLR2004 - one copy is no fork
            raise ValueError(f"copies={copies}: give 2 to {COPIES_MAX}")
        self.extra = 0
        self.cancelled = 0
        self._copies = int(copies)
        self._clock = context.clock
        self._leaving: set[asyncio.Task[Any]] = set()

    def check(self, method: MethodSpec) -> None:
        """Looks whether the method may run more than once."""
        if not method.options.idempotent:
            raise TypeError(f"{method.name} is sent to several instances: declare it @method(idempotent=True)")

    async def invoke(self, call: Invocation, targets: Targets) -> Any:
        """Makes the call."""
        targets.budget.deposit()
        fork = Fork(call, targets, self._copies)
        try:
            while not fork.is_decided:
                while fork.can_send and self._may_send(fork):
                    self.extra += len(fork.members) > 0
                    fork.send()
                if not fork.running:
                    break
                await fork.wait(self._seconds_to_next(fork))
            return fork.outcome()
        finally:
            self._leave(fork)

    def _may_send(self, fork: "Fork") -> bool:
        """True if the next copy is sent now."""
        return not fork.is_alone or is_free(fork.last_error) or fork.targets.budget.withdraw()

    def _seconds_to_next(self, _fork: "Fork") -> float | None:
        """Returns how long the next copy waits for an answer of those before it; None: it waits for nothing else."""
        return None

    def _leave(self, fork: "Fork") -> None:
        for task in fork.running:
            self.cancelled += 1
            task.cancel()
            self._leaving.add(task)  # held until it has gone, or it might be collected on its way
            task.add_done_callback(self._left)

    def _left(self, task: asyncio.Task[Any]) -> None:
        self._leaving.discard(task)
        if not task.cancelled():
            task.exception()  # it came too late for anybody to ask


class Hedging(Forking):
    """Satisfies `ClusterStrategy`: each further copy after a delay, within a budget.

    Args:
        context: where time comes from.
        copies: requests of one call at most, to as many instances; 2 to 5.
        delay_ms: before the next copy; empty: what 95 % of the method's calls have not passed.

    Attributes:
        budget: of copies that follow a delay.
    """

    spi_version = 1

    def __init__(self, context: ClusterContext, *, copies: str = str(COPIES), delay_ms: str = "") -> None:
        super().__init__(context, copies=copies)
        self._delay = HedgeDelay(context.clock, delay_ms)
        self.budget = Budget(context.clock, share=HEDGE_SHARE, reserve_per_second=0)

    async def invoke(self, call: Invocation, targets: Targets) -> Any:
        """Makes the call."""
        self.budget.deposit()
        began_at = self._clock.monotonic()
        result = await super().invoke(call, targets)
        self._delay.observe(self._clock.monotonic() - began_at)
        return result

    def _may_send(self, fork: "Fork") -> bool:
        if not fork.members or fork.is_alone:
            return super()._may_send(fork)
        if not fork.waited or fork.is_denied:
            return False
        fork.is_denied = not self.budget.withdraw()
        return not fork.is_denied

    def _seconds_to_next(self, fork: "Fork") -> float | None:
        return None if fork.is_denied or not fork.can_send else self._delay.seconds()


class Fork:
    """The copies of one call.

    Args:
        call: that is copied.
        targets: where copies go.
        copies: that may be sent.

    Attributes:
        members: that have got one.
        running: requests without an outcome.
        waited: the last wait ended because its time was over, and no copy was sent since.
        is_denied: the budget has no copy for this call.
        is_decided: there is an outcome that no further copy betters.
    """

    def __init__(self, call: Invocation, targets: Targets, copies: int) -> None:
        self.targets = targets
        self.members: list[Member] = []
        self.running: set[asyncio.Task[Any]] = set()
        self.waited = False
        self.is_denied = False
        self.is_decided = False
        self._call, self._copies = call, copies
        self._deadline_at = targets.now() + call.timeout_ms * 0.001
        self._pushed_back = False
        self._result: Any = None
        self._error: Exception | None = None
        self._last_error: RpcError | None = None

    @property
    def can_send(self) -> bool:
        """True if there may be another copy, and there is somewhere to send it."""
        if not self.members:
            return True
        may = len(self.members) < self._copies and not self._pushed_back
        return may and self.targets.has_other(self._call, self.members)

    @property
    def is_alone(self) -> bool:
        """True if all copies so far have failed."""
        return bool(self.members) and not self.running

    @property
    def last_error(self) -> RpcError:
        """The latest failure, once `is_alone`."""
        assert self._last_error is not None  # noqa: S101 - any other outcome would have decided
        return self._last_error

    def send(self) -> None:
        """Sends a copy to an instance that has none yet."""
        call, targets = self._call, self.targets
        member = targets.choose(call, self.members)
        left_ms = int((self._deadline_at - targets.now()) * 1000)
        number = call.attempt + len(self.members)
        self.members.append(member)
        self.running.add(asyncio.ensure_future(targets.attempt(call, member, number, left_ms)))
        self.waited = False

    async def wait(self, seconds: float | None) -> None:
        """Waits for an outcome, or for so long."""
        done, self.running = await asyncio.wait(self.running, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        self.waited = not done
        for task in sorted(done, key=lambda task: task.exception() is not None):  # results first
            error = task.exception()
            if error is None:
                self._result, self._error, self.is_decided = task.result(), None, True
                return
            if not isinstance(error, Exception):
                raise error
            self.is_decided = not isinstance(error, RpcError) or not may_repeat(error, idempotent=True)
            self._note(error)
            if self.is_decided:
                return

    def _note(self, error: Exception) -> None:
        before = self._error
        if not isinstance(error, RpcError):
            self._error = error
            return
        self._pushed_back |= isinstance(error, CallRefused) and error.push_back_ms > 0
        self._last_error = error
        # Where one copy may have run, the call must not look as if nothing had happened.
        if not isinstance(before, RpcError) or error.safety.gravity >= before.safety.gravity:
            self._error = error

    def outcome(self) -> Any:
        """Returns the result, or raises the exception of the contract, or else the gravest error."""
        if self._error is None:
            return self._result
        if isinstance(self._error, RpcError):
            self._error.attempts = len(self.members)
        raise self._error
