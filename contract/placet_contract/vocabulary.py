"""The glossary as types: one word, one meaning, in code, columns, wire, metrics and docs."""

from enum import StrEnum


class Pattern(StrEnum):
    """How a global transaction reaches agreement."""

    TCC = "tcc"
    SAGA = "saga"
    XA = "xa"
    LOCAL_MESSAGE = "local_message"
    TRANSACTIONAL_MESSAGE = "transactional_message"
    NOTIFICATION = "notification"


class Status(StrEnum):
    """Where a global transaction stands; why it stands there is its reason, what ails it its attention."""

    ACTIVE = "active"
    COMMITTING = "committing"
    COMMITTED = "committed"
    ABORTING = "aborting"
    ABORTED = "aborted"


OPEN_STATUSES = frozenset({Status.ACTIVE, Status.COMMITTING, Status.ABORTING})
FINAL_STATUSES = frozenset({Status.COMMITTED, Status.ABORTED})


class Reason(StrEnum):
    """Why a global transaction was aborted, or by whom it was ended."""

    INITIATOR = "initiator"
    TIMEOUT = "timeout"
    REJECTED = "rejected"
    LATE = "late"
    EXHAUSTED = "exhausted"
    UNKNOWN = "unknown"
    OPERATOR = "operator"


class Operation(StrEnum):
    """What is asked of a branch."""

    TRY = "try"
    CONFIRM = "confirm"
    CANCEL = "cancel"
    ACTION = "action"
    COMPENSATE = "compensate"
    PREPARE = "prepare"
    COMMIT = "commit"
    ROLLBACK = "rollback"
    DELIVER = "deliver"
    CHECK = "check"


FORWARD_OPERATIONS = frozenset({Operation.TRY, Operation.ACTION, Operation.PREPARE})


class Outcome(StrEnum):
    """What one call of a branch told us."""

    DONE = "done"
    REJECTED = "rejected"
    ONGOING = "ongoing"
    UNKNOWN = "unknown"


class BranchStatus(StrEnum):
    """What is known to be finished of a branch."""

    PENDING = "pending"
    DONE = "done"
    REJECTED = "rejected"
    CONFIRMED = "confirmed"
    CANCELLED = "cancelled"
    COMPENSATED = "compensated"
    COMMITTED = "committed"
    ROLLED_BACK = "rolled_back"
    SKIPPED = "skipped"
