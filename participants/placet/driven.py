"""TCC driven by the coordinator: all payloads known at once, one request, the coordinator calls the tries, too."""

from collections.abc import Mapping
from typing import Any, Self

import msgspec

from placet.coordinator import Coordinator
from placet.duration import Duration
from placet.planned import Target, planned_branch
from placet.run import Run, TransactionResult
from placet_contract.transactions import BeginRequest, BranchRequest


class DrivenTcc:
    """A driven TCC being planned; `Client.tcc_driven` makes it. Nothing is sent before `run` or `submit`."""

    def __init__(self, coordinator: Coordinator, request: BeginRequest, seconds: float) -> None:
        self._coordinator = coordinator
        self._request = request
        self._seconds = seconds
        self._branches: list[BranchRequest] = []

    @property
    def gid(self) -> str:
        """The gid: submitting it again is the same transaction."""
        return str(self._request.gid)

    def branch(
        self,
        target: Target,
        payload: Any = None,
        *,
        branch_id: str | None = None,
        timeout: Duration | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Self:
        """Adds a branch; all tries run at once.

        Args:
            target: `service/action`, an absolute URL, or a mapping from op (`try`, `confirm`, `cancel`) to URL.
            payload: a pydantic model, Struct, dataclass or plain JSON.
            branch_id: the branch's name; numbered if left out.
            timeout: time of one call; 10 s if left out.
            headers: sent with each call; masked in views.
        """
        self._branches.append(
            planned_branch(branch_id or str(len(self._branches) + 1), target, payload, timeout=timeout, headers=headers)
        )
        return self

    async def submit(self) -> Run:
        """Begins it, once however often it is submitted; raises as `Saga.submit`."""
        if not self._branches:
            raise ValueError(f"driven TCC {self.gid} has no branch: add one with .branch(target, payload)")
        run = Run(self._coordinator, msgspec.structs.replace(self._request, branches=list(self._branches)))
        await run.submit(self._seconds)
        return run

    async def run(self) -> TransactionResult:
        """Begins it and waits until all is confirmed, at most for its timeout; raises as `submit` and `Run.result`."""
        return await (await self.submit()).result(self._seconds)
