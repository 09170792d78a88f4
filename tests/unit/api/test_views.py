"""The story that a transaction's page tells."""

import pytest

from placet_contract.vocabulary import Operation, Pattern, Status
from placet_coordinator.api.views import view_of
from placet_coordinator.core.documents import encode_plan, encode_progress
from placet_coordinator.core.transaction import Branch, Progress, Retry, Transaction
from placet_coordinator.ports.rows import AttemptRow, Row

AT_MS = 1_790_000_000_000


def attempt(operation: Operation) -> AttemptRow:
    """A failed call that started in the instant of everything else."""
    return AttemptRow("t", "a", operation, 1, "unknown", AT_MS, 0, "")


@pytest.mark.parametrize(
    ("status", "operations", "events"),
    [
        (Status.COMMITTED, [Operation.CONFIRM], ["begun", "commit decided", "attempt 1", "committed"]),
        (
            Status.ABORTED,
            [Operation.CANCEL, Operation.TRY],
            ["begun", "attempt 1", "abort decided", "attempt 1", "aborted"],
        ),
    ],
)
def test_of_one_instant_cause_stands_before_effect(
    status: Status, operations: list[Operation], events: list[str]
) -> None:
    """A fast machine does it all within a millisecond: a failed try leads to the decision, a confirm follows it."""
    transaction = Transaction(
        gid="t",
        pattern=Pattern.TCC,
        status=status,
        created_at_ms=AT_MS,
        decided_at_ms=AT_MS,
        finished_at_ms=AT_MS,
        branches=(Branch(branch_id="a", target="x/y", timeout_ms=1, retry=Retry(first_ms=1, cap_ms=1)),),
        progress=(Progress(),),
    )
    row = Row(
        "t", Pattern.TCC, None, None, None, status, None, None, None, False, None, False, 3, "o", "w", 1, None, AT_MS,
        AT_MS, encode_plan(transaction), encode_progress(transaction),
    )  # fmt: skip
    view = view_of(row, [attempt(operation) for operation in operations], "n", with_timeline=True)
    assert isinstance(view.timeline, list)
    assert [entry.event for entry in view.timeline] == events
    forward = [entry.op for entry in view.timeline if entry.op]
    assert forward == sorted(operations, key=lambda operation: operation is not Operation.TRY)
