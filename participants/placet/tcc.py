"""TCC from the initiator's side: the block, and the transaction that its body sees."""

# ruff: noqa: ASYNC109 - a call's timeout travels with the call and is kept by the HTTP client

from collections.abc import Mapping
from types import TracebackType
from typing import Any, TypeVar, overload

from placet.branches import Branches
from placet.duration import Duration
from placet.joined import JoinedTransaction
from placet.own import OwnTransaction

T = TypeVar("T")


class Tcc:
    """A TCC transaction inside its block.

    Attributes:
        gid: the global transaction.
    """

    def __init__(self, home: OwnTransaction | JoinedTransaction, branches: Branches) -> None:
        self.gid = home.gid
        self._home = home
        self._branches = branches

    @property
    def node(self) -> str | None:
        """The coordinator's node that began it; None before the first call, and in a joined transaction."""
        return self._home.node

    @property
    def joined(self) -> bool:
        """True if this block takes part in the transaction of the branch it runs in, and so decides nothing."""
        return isinstance(self._home, JoinedTransaction)

    @overload
    async def call(
        self,
        target: str,
        payload: Any = None,
        *,
        returns: type[T],
        branch_id: str | None = None,
        timeout: Duration | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> T: ...
    @overload
    async def call(
        self,
        target: str,
        payload: Any = None,
        *,
        returns: None = None,
        branch_id: str | None = None,
        timeout: Duration | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any: ...
    async def call(
        self,
        target: str,
        payload: Any = None,
        *,
        returns: type[T] | None = None,
        branch_id: str | None = None,
        timeout: Duration | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> T | Any:
        """Adds a branch, and calls its try once the branch is durable at the coordinator.

        The try is sent once; whatever else happens, the coordinator confirms or cancels the branch. Calls may run
        concurrently, in a `TaskGroup`.

        Args:
            target: `service/action`, or an absolute URL.
            payload: a pydantic model, Struct, dataclass or plain JSON; confirm and cancel get it, too.
            returns: the result's type; plain JSON data if left out.
            branch_id: the branch's name; numbered if left out.
            timeout: time of one call of the branch, 10 s if left out; the transaction's own timeout bounds it, too.
            headers: sent with each call of the branch; masked in views.

        Raises:
            Rejected: the participant said no; let it leave the block.
            BranchOutcomeUnknown: no clear answer: it may have run. Never call again; let it leave the block.
            ResultMismatch: the try is done, but its result is not of the type asked for.
            Aborted: the transaction is decided already, by its timeout or an operator. The try was not sent.
            CoordinatorError: the branch could not be made durable. The try was not sent.
            TransactionClosed: the block was left already. The try was not sent.
        """
        return await self._branches.call(
            target, payload, returns=returns, branch_id=branch_id, timeout=timeout, headers=headers
        )


class TccBlock:
    """`async with placet.tcc(...) as tx`: left cleanly it commits, left by an exception it aborts.

    Leaving raises:
        Aborted: the transaction was aborted: nothing of it will stay.
        OutcomeUnknown: the commit's answer never came, or the task was cancelled while it was waited for: ask with
            `wait(gid)`.
        CommitRefused: the block was clean, but a planned branch has no successful try; it is aborted.

    An exception from the block is raised as it is; what went wrong while aborting stands in its notes. If leaving is
    cancelled during the commit, `asyncio.timeout` included, `OutcomeUnknown` takes the cancellation's place, and the
    commit is still repeated in the background until it is answered or timed out.
    """

    def __init__(self, home: OwnTransaction | JoinedTransaction, branches: Branches) -> None:
        self._home = home
        self._branches = branches

    async def __aenter__(self) -> Tcc:
        return Tcc(self._home, self._branches)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._branches.close()
        await self._home.leave(error, planned=self._branches.planned, undone=self._branches.undone)
