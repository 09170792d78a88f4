"""One call of a branch as a participant receives it: the headers of the wire, checked."""

import time
from collections.abc import Iterable
from datetime import timedelta
from typing import NamedTuple, NoReturn

from placet.answer import Answered, refused_by_rule
from placet.context import Branch
from placet_contract import headers
from placet_contract.ids import matches_branch_id, matches_gid
from placet_contract.limits import CALL_TIMEOUT_MS, TIME_MS_MAX
from placet_contract.vocabulary import FORWARD_OPERATIONS, Operation

RETENTION_MARGIN = timedelta(minutes=5)
"""A try or action is refused this long before its row could be forgotten; it has room for clocks that disagree."""

_ID = "1 to {} characters of A-Z a-z 0-9 _ - ."


class BranchCall(NamedTuple):
    """What is asked of which branch.

    Attributes:
        gid: the global transaction.
        branch_id: the branch.
        operation: the operation.
        seconds_left: the caller's time for this call; measured by us, from receipt.
        begun_at_ms: when the transaction was begun, in milliseconds since 1970, by the sender's clock; 0 if not said.
        time_ms: when the call was sent, by the same clock.
        traceparent: the trace it belongs to, or empty.
    """

    gid: str
    branch_id: str
    operation: Operation
    seconds_left: float
    begun_at_ms: int
    time_ms: int
    traceparent: str

    @property
    def key(self) -> str:
        """What every answer echoes: gid/branch/op."""
        return headers.idempotency_key(self.gid, self.branch_id, self.operation)

    def branch(self) -> Branch:
        """Returns the context of the handler; its time runs from now."""
        return Branch(
            gid=self.gid,
            branch_id=self.branch_id,
            operation=self.operation,
            begun_at_ms=self.begun_at_ms,
            seconds_left=self.seconds_left,
            traceparent=self.traceparent,
        )

    def is_older_than(self, age_ms: int) -> bool:
        """Says whether the transaction was begun so long ago, by the sender's clock or by ours."""
        now_ms = max(self.time_ms, time.time_ns() // 1_000_000)
        return now_ms - self.begun_at_ms >= age_ms


def read_call(fields: Iterable[tuple[bytes, bytes]], operation: Operation) -> BranchCall:
    """Returns the call that the headers of a request make.

    Args:
        fields: the request's headers, names in lower case.
        operation: the one whose route was called.

    Raises:
        Answered: a header is missing or wrong. A call without a gid is never run as if it were a plain local one: its
            effect could not be undone (Seata issue 3387).
    """
    given = {name.decode("latin-1"): value.decode("latin-1") for name, value in fields}
    gid = given.get(headers.GID, "")
    if not matches_gid(gid):
        _refuse(headers.GID, gid, _ID.format(128))
    branch_id = given.get(headers.BRANCH, "")
    if not matches_branch_id(branch_id):
        _refuse(headers.BRANCH, branch_id, _ID.format(64))
    if given.get(headers.OPERATION) != operation:
        _refuse(headers.OPERATION, given.get(headers.OPERATION, ""), f"{operation}, as the path says")
    begun_at_ms = _whole(given, headers.BEGUN_AT_MS, default=0)
    if operation in FORWARD_OPERATIONS and not begun_at_ms:
        # Without it nobody could tell a repeat from long ago, whose row is forgotten, from a first attempt.
        _refuse(headers.BEGUN_AT_MS, "", "when the transaction was begun, in milliseconds since 1970")
    deadline_ms = min(_whole(given, headers.DEADLINE_MS, default=CALL_TIMEOUT_MS), TIME_MS_MAX)
    return BranchCall(
        gid,
        branch_id,
        operation,
        deadline_ms / 1_000,
        begun_at_ms,
        _whole(given, headers.TIME_MS, default=0),
        given.get(headers.TRACEPARENT, ""),
    )


def _whole(given: dict[str, str], name: str, *, default: int) -> int:
    text = given.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 15):  # noqa: PLR2004 - 30,000 years in milliseconds
        _refuse(name, text, "a whole number of milliseconds")
    return int(text)


def _refuse(name: str, value: str, rule: str) -> NoReturn:
    said = f"header {name} is missing" if not value else f"header {name} is {value[:100]!r}"
    raise Answered(refused_by_rule(name, rule, f"{said}: it must be {rule}. Calls of a branch come from Placet."))
