"""The branches of one transaction as its block sees them: planned, made durable, tried."""

# ruff: noqa: ASYNC109 - a call's timeout travels with the call and is kept by the HTTP client

from collections.abc import Iterator, Mapping
from typing import Any, Protocol, TypeVar

from placet.duration import Duration
from placet.enrolment import Enrolment
from placet.errors import ResultMismatch, TransactionClosed
from placet.participant_call import ParticipantCaller, Try
from placet.payload import decode_result
from placet.planned import planned_branch
from placet_contract.limits import CALL_TIMEOUT_MS
from placet_contract.transactions import BranchRequest

T = TypeVar("T")


class Home(Protocol):
    """The transaction that branches belong to: begun by this block, or joined."""

    gid: str
    begun_at_ms: int
    traceparent: str

    @property
    def seconds_left(self) -> float:
        """Time left of the transaction, as far as known here."""
        ...

    async def enrol(self, branches: list[BranchRequest]) -> None:
        """Makes branches durable at the coordinator."""
        ...

    def failed(self) -> None:
        """Hears at once that a call did not end as done, whatever the block makes of it."""
        ...


class Branches:
    """Plans branches, makes each durable before its try is sent, and remembers which tries are done.

    Args:
        home: the transaction.
        caller: sends the tries.
        names: branch_ids for branches without one of their own.
    """

    def __init__(self, home: Home, caller: ParticipantCaller, names: Iterator[str]) -> None:
        self._home = home
        self._caller = caller
        self._names = names
        self._enrolment = Enrolment(home.enrol)
        self._done: dict[str, bool] = {}
        self._closed = False

    @property
    def planned(self) -> bool:
        """True once any branch was asked for."""
        return bool(self._done)

    @property
    def undone(self) -> tuple[str, ...]:
        """The planned branches without a successful try."""
        return tuple(branch_id for branch_id, done in self._done.items() if not done)

    def close(self) -> None:
        """Refuses further calls; calls under way end as cancelled."""
        self._closed = True
        self._enrolment.close()

    async def call(
        self,
        target: str,
        payload: Any,
        *,
        returns: type[T] | None,
        branch_id: str | None,
        timeout: Duration | None,
        headers: Mapping[str, str] | None,
    ) -> T | Any:
        """Enrols a branch, sends its try once, and returns its result; see `Tcc.call`."""
        if self._closed:
            raise TransactionClosed(f"the block of {self._home.gid} was left: await every call inside it")
        branch_id = branch_id or next(self._names)
        if branch_id in self._done:
            raise ValueError(f"branch_id {branch_id!r} is already used in {self._home.gid}")
        branch = planned_branch(branch_id, target, payload, timeout=timeout, headers=headers)
        self._done[branch_id] = False
        try:
            answer = await self._try(branch)
        except BaseException:
            self._home.failed()
            raise
        self._done[branch_id] = True
        try:
            return decode_result(answer, returns)
        except ValueError as error:
            raise ResultMismatch(gid=self._home.gid, branch_id=branch_id, target=target, detail=str(error)) from error

    async def _try(self, branch: BranchRequest) -> bytes:
        home = self._home
        await self._enrolment.enrol(branch)
        if self._closed:
            raise TransactionClosed(f"the block of {home.gid} was left while branch {branch.branch_id} was enrolled")
        left_ms = max(1, min(branch.timeout_ms or CALL_TIMEOUT_MS, int(home.seconds_left * 1_000)))
        order = Try(
            home.gid,
            branch.branch_id,
            str(branch.target),
            bytes(branch.payload),
            home.begun_at_ms,
            left_ms,
            home.traceparent,
            branch.headers or {},
        )
        return await self._caller.call(order)
