"""A branch's operation that runs here, as a participant's handler is surrounded by it."""

from contextlib import AbstractContextManager

from placet.context import Branch, entered
from placet_contract.vocabulary import Operation

BEGUN_AT_MS = 1_700_000_000_000
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def inside(
    operation: str, gid: str = "outer", branch_id: str = "7", *, seconds: float = 5
) -> AbstractContextManager[Branch]:
    """Runs its block inside one operation of a branch; `as` the branch, whose scope tells what was doomed."""
    branch = Branch(
        gid=gid,
        branch_id=branch_id,
        operation=Operation(operation),
        begun_at_ms=BEGUN_AT_MS,
        seconds_left=seconds,
        traceparent=TRACEPARENT,
    )
    return entered(branch)
