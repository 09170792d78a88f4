"""What keeps statistics of calls: a counter before all of a server's filters, a filter at two places of a client's."""

import asyncio

from placet_rpc import outcome
from placet_rpc.errors import RpcError
from placet_rpc.filters import Gate
from placet_rpc.governance.statistics import Row, Statistics
from placet_rpc.invocation import Invocation
from placet_rpc.policies.failure import speaks_against
from placet_rpc.served_call import Answer

RAISED = "raised"
CANCELLED = "cancelled"

_ERRORS = {
    outcome.UNAUTHENTICATED: "unauthenticated",
    outcome.FORBIDDEN: "forbidden",
    outcome.NO_SUCH_METHOD: "no_such_method",
    outcome.RAISED: RAISED,
    outcome.TAKEN_BEFORE: "taken_before",
    outcome.NOT_ITS_TURN: "not_its_turn",
    outcome.UNFIT: "arguments",
    outcome.ONGOING: "ongoing",
    outcome.AT_LIMIT: "overloaded",
    outcome.FAULT: "fault",
    outcome.UNAVAILABLE: "unavailable",
}
_FAILED = frozenset({outcome.AT_LIMIT, outcome.FAULT, outcome.UNAVAILABLE})


class ServedStatistics:
    """Counts the calls that a server answers, per caller and method.

    Args:
        statistics: where.
        instance: this one.
    """

    def __init__(self, statistics: Statistics, instance: str) -> None:
        self._statistics, self._instance = statistics, instance
        self._find, self._now = statistics.find, statistics.clock.monotonic

    def begin(self, caller: str, service: str, method: str) -> tuple[Row, float]:
        """Notes that a call begins; what it returns is given back at its end."""
        key = (caller, service, method, self._instance)
        row = self._find(key) or self._statistics.row(*key)
        row.in_flight += 1
        return row, self._now()

    def answered(self, row: Row, began_at: float, answer: Answer) -> None:
        """Counts a call by what it was answered with."""
        status = answer.status
        if status == outcome.OK:
            row.end(began_at)
        else:
            row.end_without_result(began_at, _ERRORS.get(status, "other"), failed=status in _FAILED)

    def cancelled(self, row: Row, began_at: float) -> None:
        """Counts a call as one that has no answer."""
        row.end_without_result(began_at, CANCELLED, failed=False)


class CallStatistics(Gate):
    """Counts a client's calls; a `ClientFilter`.

    In `Seams.statistics` it sees each call as the caller does, all attempts together; in `Seams.attempts` each request,
    per instance.

    Args:
        statistics: where.
    """

    def __init__(self, statistics: Statistics) -> None:
        self._statistics = statistics
        self._find, self._now = statistics.find, statistics.clock.monotonic

    def enter(self, call: Invocation) -> tuple[Row, float]:
        """Notes that a call begins."""
        key = (call.caller, call.service.key, call.method.name, call.instance)
        row = self._find(key) or self._statistics.row(*key)
        row.in_flight += 1
        return row, self._now()

    def leave(self, entered: tuple[Row, float], error: BaseException | None) -> None:
        """Counts it by what it came to."""
        row, began_at = entered
        if error is None:
            row.end(began_at)
        elif isinstance(error, RpcError):
            row.end_without_result(began_at, error.code, failed=speaks_against(error))
        else:
            kind = CANCELLED if isinstance(error, asyncio.CancelledError) else RAISED
            row.end_without_result(began_at, kind, failed=False)
