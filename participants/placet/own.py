"""A transaction with an outcome of its own: begun with its first branches, committed or aborted by its block."""

import asyncio
import time
from collections.abc import Sequence

import msgspec

from placet.background import Background
from placet.coordinator import Coordinator
from placet.errors import (
    Aborted,
    CommitRefused,
    Conflict,
    CoordinatorError,
    CoordinatorUnavailable,
    OutcomeUnknown,
    PlacetError,
    TransactionClosed,
)
from placet.patience import Patience
from placet_contract.limits import REASON_TEXT_LENGTH_MAX
from placet_contract.transactions import BeginRequest, BranchRequest, TransactionReply
from placet_contract.vocabulary import Status

ABORT_SECONDS_MAX = 5.0
"""How long an abort is repeated at most; after that the coordinator's own timeout aborts."""

DECISION_SECONDS_MIN = 1.0
"""How long a decision is repeated at least, however late the block is left."""

LOOK_SECONDS = 5.0
"""How long it takes at most to learn what an earlier run has committed."""

_COMMITTED = frozenset({Status.COMMITTING, Status.COMMITTED})
_ABORTED = frozenset({Status.ABORTING, Status.ABORTED})


class OwnTransaction:
    """Begins lazily, registers, and decides once; satisfies `placet.branches.Home`.

    Args:
        coordinator: keeps the transaction.
        background: carries decisions that outlive a cancelled block.
        request: the plan without branches; its gid makes begin repeatable.
        seconds: the transaction's timeout, counted from begin.
        traceparent: handed to the participants.
    """

    def __init__(
        self, coordinator: Coordinator, background: Background, request: BeginRequest, seconds: float, traceparent: str
    ) -> None:
        self.gid = str(request.gid)
        self.begun_at_ms = time.time_ns() // 1_000_000
        self.traceparent = traceparent
        self.node: str | None = None
        self._coordinator = coordinator
        self._background = background
        self._request = request
        self._seconds = seconds
        self._patience: Patience | None = None
        self._begun = False
        self._needs_abort = False
        self._committed_branches: set[str] | None = None

    @property
    def seconds_left(self) -> float:
        """Time left until the coordinator aborts it."""
        return self._seconds if self._patience is None else self._patience.seconds_left

    def failed(self) -> None:
        """A failed call needs nothing at once: leaving the block decides."""

    async def enrol(self, branches: list[BranchRequest]) -> None:
        """Begins with these branches, or registers them; repeats until the coordinator answers.

        Raises:
            Aborted: decided already, by its timeout or an operator.
            CoordinatorError: as the coordinator's calls say; no try of these branches was sent.
        """
        if self._committed_branches is not None:
            self._check_committed(branches)
            return
        try:
            await (self._register(branches) if self._begun else self._begin(branches))
        except Conflict as error:
            if error.problem.transaction_status in _COMMITTED:
                await self._meet_commit(branches)
                return
            self._needs_abort = False
            raise _aborted(self.gid, error) from error

    async def leave(self, error: BaseException | None, *, planned: bool, undone: Sequence[str]) -> None:
        """Decides: commits after a clean block whose tries are all done, else aborts.

        Raises:
            CommitRefused: the block was clean, but a branch has no successful try; it is aborted.
            Aborted: the other decision won.
            OutcomeUnknown: no answer to the commit, or cancelled while it was asked for; then the asking goes on.
        """
        if not planned:
            return
        if error is not None:
            await self._abort_after(error)
        elif undone:
            refusal = CommitRefused(self.gid, tuple(undone))
            await self._abort_after(refusal)
            raise refusal
        elif self._begun:
            await self._commit_shielded()

    async def _begin(self, branches: list[BranchRequest]) -> None:
        if self._needs_abort:
            # Begun with other branches it would be another plan: refused, and taken for somebody else's transaction.
            raise CoordinatorUnavailable(
                f"no answer came to the begin of {self.gid}, so that it takes no more branches: let that error leave "
                "the block",
                maybe_written=True,
            )
        request = msgspec.structs.replace(self._request, branches=branches)
        if self._patience is None:
            self._patience = Patience(self._seconds)
        self._needs_abort = True  # from here on it may exist
        try:
            reply = await self._patience.until_answered(
                lambda timeout: self._coordinator.begin(request, timeout=timeout)
            )
        except CoordinatorError as error:
            # Not begun by us: nothing was written, or the gid is another transaction's, which is not ours to abort.
            self._needs_abort = error.maybe_written
            raise
        self._begun = True
        self.node = reply.node
        await self._look_at(reply, branches)

    async def _register(self, branches: list[BranchRequest]) -> None:
        if self._patience is None:
            raise AssertionError("registered before begun")
        await self._patience.until_answered(
            lambda timeout: self._coordinator.register(self.gid, branches, node=self.node, timeout=timeout)
        )

    async def _look_at(self, reply: TransactionReply, branches: list[BranchRequest]) -> None:
        """A begin repeated by a later run of the same handler may meet a transaction that is decided."""
        if reply.status in _COMMITTED:
            await self._meet_commit(branches)
        elif reply.status in _ABORTED:
            self._needs_abort = False
            raise Aborted(reply.reason, gid=self.gid)

    async def _meet_commit(self, branches: list[BranchRequest]) -> None:
        # An earlier run committed: its tries are repeated for their answers, which the barriers kept; no new branch.
        view = await Patience(LOOK_SECONDS).until_answered(
            lambda timeout: self._coordinator.get(self.gid, timeout=timeout)
        )
        self._begun = True
        self._committed_branches = {branch.branch_id for branch in view.branches}
        self._check_committed(branches)

    def _check_committed(self, branches: list[BranchRequest]) -> None:
        known = self._committed_branches or set()
        new = [branch.branch_id for branch in branches if branch.branch_id not in known]
        if new:
            raise TransactionClosed(
                f"{self.gid} was committed by an earlier run without branch {', '.join(new)}: a repeated run must make "
                "the same calls, or use another gid"
            )

    async def _commit_shielded(self) -> None:
        commit = self._background.start(self._commit())
        try:
            await asyncio.shield(commit)
        except asyncio.CancelledError as error:
            # Passed on as it is, a timeout around the block would make it a TimeoutError, which reads as a failure.
            raise OutcomeUnknown(self.gid) from error

    async def _commit(self) -> None:
        patience = Patience(max(self.seconds_left, DECISION_SECONDS_MIN))
        try:
            reply = await patience.until_answered(
                lambda timeout: self._coordinator.commit(self.gid, node=self.node, timeout=timeout)
            )
        except Conflict as error:
            if error.problem.transaction_status in {None, *_ABORTED}:
                raise _aborted(self.gid, error) from error
            raise OutcomeUnknown(self.gid, status=error.problem.transaction_status) from error
        except CoordinatorError as error:
            raise OutcomeUnknown(self.gid) from error
        if reply.status not in _COMMITTED:
            raise OutcomeUnknown(self.gid, status=reply.status)

    async def _abort_after(self, error: BaseException) -> None:
        """Aborts because of `error`, which stays the one that is raised: what goes wrong here becomes a note of it."""
        if not self._needs_abort:
            return
        abort = self._background.start(self._abort(error))
        if isinstance(error, asyncio.CancelledError | GeneratorExit):
            return  # whoever cancels does not want to wait, and nobody needs this answer
        if (note := await asyncio.shield(abort)) is not None:
            error.add_note(note)

    async def _abort(self, error: BaseException) -> str | None:
        patience = Patience(min(max(self.seconds_left, DECISION_SECONDS_MIN), ABORT_SECONDS_MAX))
        try:
            await patience.until_answered(
                lambda timeout: self._coordinator.abort(
                    self.gid, reason_text=_reason_text(error), node=self.node, timeout=timeout
                )
            )
        except Conflict:
            return f"global transaction {self.gid} could not be aborted: it was committed before"
        except CoordinatorError as failure:
            return (
                f"global transaction {self.gid} could not be told to abort ({failure}): the coordinator aborts it at "
                f"its timeout of {self._seconds:g} s"
            )
        return None


def _aborted(gid: str, error: Conflict) -> Aborted:
    return Aborted(error.problem.reason, gid=gid, detail=error.problem.detail)


def _reason_text(error: BaseException) -> str:
    # Only our own errors' words: those of others may hold what the user would not want stored.
    text = f"{type(error).__name__}: {error}" if isinstance(error, PlacetError) else type(error).__name__
    return text.encode("utf-8", "replace").decode()[:REASON_TEXT_LENGTH_MAX]
