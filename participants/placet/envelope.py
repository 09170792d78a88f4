"""The payload together with the results of the steps before it, for steps that were planned with `envelope=True`."""

from typing import Any, Generic, TypeVar

from pydantic import BaseModel, Field

T = TypeVar("T")


class Envelope(BaseModel, Generic[T]):
    """The body of each call of a branch whose initiator asked for an envelope: `cmd: Envelope[Book]`.

    Attributes:
        payload: the branch's own payload.
        result: what the coordinator knows of the branch's forward result. It may be null although the operation ran;
            a parameter `done` gets it from the barrier's row instead.
        results: the results of the steps named in `after`, by branch_id.
    """

    payload: T
    result: Any = None
    results: dict[str, Any] = Field(default_factory=dict)
