"""A transaction that a block takes part in without deciding it: its branch's own, inside a try."""

from collections.abc import Sequence

from placet.context import Branch
from placet.coordinator import Coordinator
from placet.errors import Aborted, CommitRefused, Conflict
from placet.patience import Patience
from placet_contract.transactions import BranchRequest


class JoinedTransaction:
    """Registers branches with the surrounding transaction; satisfies `placet.branches.Home`.

    A call that is not done, or a block left by an exception, dooms the whole transaction: it is aborted before the
    surrounding handler may answer, even if that handler catches the exception, for it can't be undone in part.

    Args:
        coordinator: keeps the transaction.
        branch: the branch whose try runs here.
    """

    node = None

    def __init__(self, coordinator: Coordinator, branch: Branch) -> None:
        self.gid = branch.gid
        self.begun_at_ms = branch.begun_at_ms
        self.traceparent = branch.traceparent or ""
        self._coordinator = coordinator
        self._branch = branch

    @property
    def seconds_left(self) -> float:
        """Time left of the surrounding call: its initiator waits no longer."""
        return self._branch.seconds_left

    def failed(self) -> None:
        """Dooms the transaction."""
        self._branch.scope.doom(self.gid)

    async def enrol(self, branches: list[BranchRequest]) -> None:
        """Registers branches, repeated while there is time.

        Raises:
            Aborted: the transaction is decided already.
            CoordinatorError: as the coordinator's calls say; no try of these branches was sent.
        """
        try:
            await Patience(self.seconds_left).until_answered(
                lambda timeout: self._coordinator.register(self.gid, branches, timeout=timeout)
            )
        except Conflict as error:
            raise Aborted(error.problem.reason, gid=self.gid, detail=error.problem.detail) from error

    async def leave(self, error: BaseException | None, *, planned: bool, undone: Sequence[str]) -> None:
        """Dooms the transaction unless the block was clean and its tries are done.

        Raises:
            CommitRefused: the block was clean, but a branch has no successful try.
        """
        if planned and (error is not None or undone):
            self.failed()
        if error is None and undone:
            raise CommitRefused(self.gid, tuple(undone))
