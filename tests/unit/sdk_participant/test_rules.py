"""The barrier's rules, every operation against every row."""

import itertools

import pytest

from placet.barrier import Answer, Decision, Row, met
from placet_contract.vocabulary import Operation

FORWARD = (Operation.TRY, Operation.ACTION)
ENDS = (None, Operation.CONFIRM, Operation.CANCEL, Operation.COMPENSATE)
ROWS = [None, *itertools.starmap(Row, itertools.product(Answer, ENDS))]

EXPECTED = {
    "forward": {
        (None, None): "ongoing",
        ("done", None): "done",
        ("done", "confirm"): "done",
        ("done", "cancel"): "late",
        ("done", "compensate"): "late",
        **{("rejected", end): "rejected" for end in (None, "confirm", "cancel", "compensate")},
        **{("late", end): "late" for end in (None, "confirm", "cancel", "compensate")},
    },
    "confirm": {
        (None, None): "not-tried",
        ("done", None): "ongoing",
        ("done", "confirm"): "done",
        ("done", "cancel"): "contradicted",
        ("done", "compensate"): "contradicted",
        **{("rejected", end): "not-tried" for end in (None, "confirm", "cancel", "compensate")},
        **{("late", end): "not-tried" for end in (None, "confirm", "cancel", "compensate")},
    },
    "undo": {
        (None, None): "ongoing",
        ("done", None): "ongoing",
        ("done", "confirm"): "contradicted",
        ("done", "cancel"): "done",
        ("done", "compensate"): "done",
        **{("rejected", end): "done" for end in (None, "confirm", "cancel", "compensate")},
        **{("late", end): "done" for end in (None, "confirm", "cancel", "compensate")},
    },
}
FAMILIES = {
    Operation.TRY: "forward",
    Operation.ACTION: "forward",
    Operation.CONFIRM: "confirm",
    Operation.CANCEL: "undo",
    Operation.COMPENSATE: "undo",
}


@pytest.mark.parametrize("operation", FAMILIES)
def test_each_operation_has_one_answer_to_each_row(operation):
    """The whole product of operations and rows, as a table."""
    told = {(row and row.answer, row and row.ended_by): met(operation, row) for row in ROWS}
    assert told == EXPECTED[FAMILIES[operation]]


@pytest.mark.parametrize("operation", FAMILIES)
def test_an_operation_that_met_a_row_never_runs(operation):
    """To run, it has to have taken the row for itself."""
    assert all(met(operation, row) is not Decision.RUN for row in ROWS)


@pytest.mark.parametrize("operation", FORWARD)
def test_nothing_runs_again_after_an_end(operation):
    """Whatever else the row says: a branch that was undone takes no try or action as done."""
    for end in (Operation.CANCEL, Operation.COMPENSATE):
        for answer in Answer:
            assert met(operation, Row(answer, end)) in {Decision.LATE, Decision.REJECTED}
