"""Sagas: a plan of steps, begun in one request and then driven by the coordinator."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from placet.coordinator import Coordinator
from placet.duration import Duration, duration_ms
from placet.planned import Target, optional_ms, planned_branch
from placet.run import Run
from placet_contract.transactions import BeginRequest, BranchRequest, RetryRequest

SUBMIT_TIMEOUT = 30.0


class Retry:
    """How a step's action is repeated while its outcome is unknown.

    Args:
        for_: give up after this long; the coordinator's default is 24 hours.
        attempts: give up after so many; unlimited if left out.
        first: ceiling of the first pause; 200 ms if left out.
        cap: ceiling of every pause; 60 s if left out.
    """

    def __init__(
        self,
        *,
        for_: Duration | None = None,
        attempts: int | None = None,
        first: Duration | None = None,
        cap: Duration | None = None,
    ) -> None:
        self.request = RetryRequest(
            max_attempts=attempts,
            for_ms=optional_ms(for_, "for_"),
            first_ms=optional_ms(first, "first"),
            cap_ms=optional_ms(cap, "cap"),
        )


class Saga:
    """A saga being planned; `Client.saga` makes it. Nothing is sent before `submit`."""

    def __init__(self, coordinator: Coordinator, request: BeginRequest) -> None:
        self._coordinator = coordinator
        self._request = request
        self._steps: list[BranchRequest] = []
        self._names: dict[str, str] = {}

    @property
    def gid(self) -> str:
        """The gid: the same gid is the same saga."""
        return str(self._request.gid)

    def step(
        self,
        target: Target,
        payload: Any = None,
        *,
        after: Sequence[str] | None = None,
        branch_id: str | None = None,
        retry: Retry | None = None,
        timeout: Duration | None = None,
        pivot: bool | None = None,
        compensate: bool | None = None,
        headers: Mapping[str, str] | None = None,
        envelope: bool | None = None,
    ) -> str:
        """Adds a step and returns its branch_id, for `after`.

        Args:
            target: `service/action`, an absolute URL, or a mapping from op (`action`, `compensate`) to absolute URL.
            payload: a pydantic model, Struct, dataclass or plain JSON; sent to the action and the compensation.
            after: steps that must be done first, by target or branch_id; left out, the step before; `[]`, none.
            branch_id: the step's name; by default made of the target, `hotel/book` gives `hotel.book`.
            retry: how the action is repeated.
            timeout: time of one call; 10 s if left out.
            pivot: from this step there is no way back, only forward.
            compensate: False if the step leaves nothing to undo.
            headers: sent with each call of the step; masked in views.
            envelope: wrap the payload together with the results of the steps in `after` (wire.md).

        Raises:
            ValueError: `after` names a step that is not there, or a branch_id is used twice.
        """
        branch_id = branch_id or self._name(target)
        if any(step.branch_id == branch_id for step in self._steps):
            raise ValueError(f"saga {self.gid} has a step {branch_id!r} already: give this one a branch_id of its own")
        self._steps.append(
            planned_branch(
                branch_id,
                target,
                payload,
                timeout=timeout,
                headers=headers,
                after=None if after is None else [self._known(name) for name in after],
                retry=retry.request if retry else None,
                pivot=pivot,
                compensate=compensate,
                envelope=envelope,
            )
        )
        self._names[branch_id] = branch_id
        if isinstance(target, str):
            self._names[target] = branch_id
        return branch_id

    async def submit(self, *, timeout: Duration = SUBMIT_TIMEOUT) -> Run:  # noqa: ASYNC109 - bounds repeats, no task
        """Begins the saga, once however often it is submitted, and returns as soon as that is durable.

        Args:
            timeout: how long the request is repeated while no answer comes.

        Raises:
            Aborted: this gid was aborted before the saga was begun, or has been since.
            OutcomeUnknown: no answer came: the saga may run. Submit the same plan again, or ask with `wait`.
            CoordinatorOverloaded: every attempt was shed; nothing was written.
            CoordinatorUnavailable: the coordinator was never reached; nothing was written.
            CoordinatorRefused: the plan breaks a rule, which it names; `ContentDiffers` if the gid is another saga's.
            ValueError: there is no step.
        """
        if not self._steps:
            raise ValueError(f"saga {self.gid} has no step: add one with .step(target, payload)")
        request = msgspec.structs.replace(self._request, branches=list(self._steps))
        run = Run(self._coordinator, request)
        await run.submit(duration_ms(timeout, "timeout") / 1_000)
        return run

    def _name(self, target: Target) -> str:
        if not isinstance(target, str) or target.startswith(("http://", "https://")):
            return f"step-{len(self._steps) + 1}"
        return target.replace("/", ".")

    def _known(self, name: str) -> str:
        try:
            return self._names[name]
        except KeyError:
            known = ", ".join(self._names) or "none yet"
            raise ValueError(
                f"after names {name!r}, which is no earlier step of saga {self.gid}; there are: {known}"
            ) from None
