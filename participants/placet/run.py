"""A transaction that the coordinator drives: begun in one request, and waited for."""

# ruff: noqa: ASYNC109 - timeouts here bound repeats and long polls, which keep them without a task

import asyncio
from datetime import timedelta
from typing import Any, TypeVar, overload

from msgspec import UnsetType

from placet.coordinator import Coordinator
from placet.duration import Duration, duration_ms
from placet.errors import Aborted, Conflict, CoordinatorError, CoordinatorRefused, OutcomeUnknown
from placet.patience import Patience
from placet.payload import decode_result
from placet_contract.transactions import BeginRequest, TransactionReply, TransactionView
from placet_contract.vocabulary import FINAL_STATUSES, Outcome, Status

WAIT_SECONDS = 20.0
"""The coordinator holds one answer for at most so long; then it is asked again."""

FIRST_LOOK_SECONDS = 0.02
LONGEST_LOOK_SECONDS = 1.0

T = TypeVar("T")


class TransactionResult:
    """A committed transaction and its branches' results.

    Attributes:
        view: the whole transaction.
    """

    def __init__(self, view: TransactionView) -> None:
        self.view = view
        self._results = {branch.branch_id: branch.result for branch in view.branches}

    @property
    def gid(self) -> str:
        """The global transaction."""
        return self.view.gid

    @property
    def results(self) -> dict[str, Any]:
        """Each branch's result as plain JSON data; None where there is none."""
        return {branch_id: self.of(branch_id) for branch_id in self._results}

    @overload
    def of(self, branch_id: str, returns: type[T]) -> T: ...
    @overload
    def of(self, branch_id: str, returns: None = None) -> Any: ...
    def of(self, branch_id: str, returns: type[T] | None = None) -> T | Any:
        """Returns one branch's result; `service/action` serves for the branch_id that a step has by default.

        Raises:
            KeyError: there is no such branch.
            ValueError: the result is not of that type.
        """
        result = self._results[branch_id.replace("/", ".")]
        return decode_result(b"null" if isinstance(result, UnsetType) else bytes(result), returns)


class Run:
    """A submitted transaction.

    Attributes:
        gid: the global transaction.
        node: the node that began it.
    """

    def __init__(self, coordinator: Coordinator, request: BeginRequest) -> None:
        self._coordinator = coordinator
        self._request = request
        self.gid = str(request.gid)
        self.node: str | None = None

    def __str__(self) -> str:
        return self.gid

    async def submit(self, seconds: float) -> None:
        """Begins it; see `Saga.submit`."""
        try:
            reply = await Patience(seconds).until_answered(
                lambda timeout: self._coordinator.begin(self._request, timeout=timeout)
            )
        except Conflict as error:
            raise Aborted(error.problem.reason, gid=self.gid, detail=error.problem.detail) from error
        except CoordinatorError as error:
            if error.maybe_written:
                raise OutcomeUnknown(self.gid) from error
            raise
        self.node = reply.node

    async def result(self, timeout: Duration = 30.0) -> TransactionResult:
        """Waits until the transaction is finished. Repeatable; waiting changes nothing.

        Args:
            timeout: how long to wait.

        Raises:
            Aborted: it is aborted; if the time is up before all is undone, undoing goes on.
            OutcomeUnknown: it is not decided yet, or goes on after its pivot, or the coordinator does not answer.
        """
        patience = Patience(duration_ms(timeout, "timeout") / 1_000)
        status: str | None = None
        pause = FIRST_LOOK_SECONDS
        try:
            while True:
                status = (await patience.until_answered(lambda limit: self._wait(patience, limit))).status
                if status in FINAL_STATUSES or patience.seconds_left <= pause:
                    break
                # Only a node that shuts down answers early; the next answer may come from another.
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_LOOK_SECONDS)
            view = await patience.until_answered(lambda limit: self._coordinator.get(self.gid, timeout=limit))
        except Conflict as error:  # recorded as aborted without a plan: there is nothing to wait for
            raise Aborted(error.problem.reason, gid=self.gid, detail=error.problem.detail) from error
        except CoordinatorError as error:
            raise OutcomeUnknown(self.gid, status=status) from error
        return _result(view)

    async def _wait(self, patience: Patience, timeout: timedelta) -> TransactionReply:
        # Begin is repeatable and holds its answer: a wait without polling.
        wait = max(0.001, min(WAIT_SECONDS, patience.seconds_left))
        return await self._coordinator.begin(self._request, wait=wait, node=self.node, timeout=timeout)


async def wait_until_finished(coordinator: Coordinator, gid: str, seconds: float) -> TransactionView:
    """Returns the finished transaction, committed or aborted; it looks at growing intervals.

    Raises:
        OutcomeUnknown: the time is up, or the coordinator does not answer.
        TransactionNotFound: the coordinator knows no such gid.
    """
    patience = Patience(seconds)
    pause = FIRST_LOOK_SECONDS
    status: str | None = None
    while True:
        try:
            view = await patience.until_answered(lambda limit: coordinator.get(gid, timeout=limit))
        except CoordinatorRefused:
            raise
        except CoordinatorError as error:
            raise OutcomeUnknown(gid, status=status) from error
        status = view.status
        if status in FINAL_STATUSES:
            return view
        if patience.seconds_left <= pause:
            raise OutcomeUnknown(gid, status=status)
        await asyncio.sleep(pause)
        pause = min(pause * 2, LONGEST_LOOK_SECONDS)


def _result(view: TransactionView) -> TransactionResult:
    if view.status == Status.COMMITTED:
        return TransactionResult(view)
    if view.status in {Status.ABORTING, Status.ABORTED}:
        said = [attempt.detail for attempt in view.attempts if attempt.outcome == Outcome.REJECTED and attempt.detail]
        raise Aborted(view.reason, gid=view.gid, detail=said[0] if said else view.reason_text or "")
    raise OutcomeUnknown(view.gid, status=view.status)
