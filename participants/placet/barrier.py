"""The barrier's rules: what an operation of a branch may do, by what the branch's row says. No SQL, no clock.

A branch has one row. Its `answer` is what a try or action is told; `ended_by` is the operation of phase two that came.
"""

from enum import StrEnum
from typing import NamedTuple

from placet_contract.vocabulary import FORWARD_OPERATIONS, Operation


class Answer(StrEnum):
    """What the row tells every try or action of its branch."""

    DONE = "done"
    REJECTED = "rejected"
    LATE = "late"


class Row(NamedTuple):
    """A branch's row.

    Attributes:
        answer: what the try or action is told.
        ended_by: the operation of phase two that came, if one did.
        result: JSON of what the try or action returned, or of why it rejected; None stands for null.
    """

    answer: str
    ended_by: str | None = None
    result: str | None = None


class Decision(StrEnum):
    """What is to be done with a call.

    RUN: the handler, in the transaction that holds the row. All others run nothing:
    DONE: it has had its effect, or there is none to have; REJECTED, LATE, NOT_TRIED: the refusals of the wire;
    CONTRADICTED: the other end came before, which no coordinator decides; ONGOING: somebody is at it, ask again.
    """

    RUN = "run"
    DONE = "done"
    REJECTED = "rejected"
    LATE = "late"
    NOT_TRIED = "not-tried"
    CONTRADICTED = "contradicted"
    ONGOING = "ongoing"


UNDOING = frozenset({Operation.CANCEL, Operation.COMPENSATE})
SERVED = (Operation.TRY, Operation.CONFIRM, Operation.CANCEL, Operation.ACTION, Operation.COMPENSATE)


def met(operation: Operation, row: Row | None) -> Decision:
    """Returns what an operation is told that could not take the row for itself.

    An operation takes the row by writing it: a try or action inserts it; a confirm marks one that is done and not
    ended; a cancel or compensation does the same, or inserts a row that says `late` where there is none.

    Args:
        operation: what was asked.
        row: the row that was met, as somebody else wrote it; None if there is none.
    """
    if operation in FORWARD_OPERATIONS:
        return _forward_met(row)
    if operation in UNDOING:
        return _undoing_met(row)
    return _confirm_met(row)


def _forward_met(row: Row | None) -> Decision:
    if row is None:
        return Decision.ONGOING  # it was there a moment ago: whoever held it rolled back
    if row.answer == Answer.REJECTED:
        return Decision.REJECTED
    if row.answer == Answer.LATE or row.ended_by in UNDOING:
        return Decision.LATE
    return Decision.DONE


def _confirm_met(row: Row | None) -> Decision:
    if row is None or row.answer != Answer.DONE:
        return Decision.NOT_TRIED
    if row.ended_by in UNDOING:
        return Decision.CONTRADICTED
    return Decision.DONE if row.ended_by == Operation.CONFIRM else Decision.ONGOING


def _undoing_met(row: Row | None) -> Decision:
    if row is None:
        return Decision.ONGOING
    if row.answer != Answer.DONE:
        return Decision.DONE  # it never had an effect, and never will
    if row.ended_by in UNDOING:
        return Decision.DONE
    return Decision.CONTRADICTED if row.ended_by == Operation.CONFIRM else Decision.ONGOING
