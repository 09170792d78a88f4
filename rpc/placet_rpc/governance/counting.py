"""The filters that keep statistics: one at the server, two in the client's chain."""

import asyncio
from typing import Any

from placet_rpc import outcome
from placet_rpc.errors import RpcError
from placet_rpc.filters import Proceed as ClientProceed
from placet_rpc.governance.statistics import Statistics
from placet_rpc.invocation import Invocation
from placet_rpc.policies.failure import speaks_against
from placet_rpc.served_call import Answer, Proceed, ServedCall

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
    """Counts the calls that a server answers, per caller and method; a `ServerFilter`.

    Args:
        statistics: where.
        instance: this one.
    """

    def __init__(self, statistics: Statistics, instance: str) -> None:
        self._statistics, self._instance = statistics, instance
        self._find, self._now = statistics.find, statistics.clock.monotonic

    async def answer(self, call: ServedCall, proceed: Proceed) -> Answer:
        """Counts a call."""
        key = (call.context.caller, call.service.key, call.method.name, self._instance)
        row = self._find(key) or self._statistics.row(*key)
        row.in_flight += 1
        began_at = self._now()
        try:
            answer = await proceed(call)
        except asyncio.CancelledError:
            row.end_without_result(began_at, CANCELLED, failed=False)
            raise
        except BaseException:
            row.end_without_result(began_at, "fault", failed=True)
            raise
        status = answer.status
        if status == outcome.OK:
            row.end(began_at)
        else:
            row.end_without_result(began_at, _ERRORS.get(status, "other"), failed=status in _FAILED)
        return answer

    async def aclose(self) -> None:
        """Keeps the figures: they may still be asked for."""


class CallStatistics:
    """Counts a client's calls; a `ClientFilter`.

    In `Seams.statistics` it sees each call as the caller does, all attempts together; in `Seams.attempts` each request,
    per instance.

    Args:
        statistics: where.
    """

    def __init__(self, statistics: Statistics) -> None:
        self._statistics = statistics
        self._find, self._now = statistics.find, statistics.clock.monotonic

    async def invoke(self, call: Invocation, proceed: ClientProceed) -> Any:
        """Counts a call."""
        key = (call.caller, call.service.key, call.method.name, call.instance)
        row = self._find(key) or self._statistics.row(*key)
        row.in_flight += 1
        began_at = self._now()
        try:
            result = await proceed(call)
        except RpcError as error:
            row.end_without_result(began_at, error.code, failed=speaks_against(error))
            raise
        except asyncio.CancelledError:
            row.end_without_result(began_at, CANCELLED, failed=False)
            raise
        except BaseException:
            row.end_without_result(began_at, RAISED, failed=False)
            raise
        row.end(began_at)
        return result
