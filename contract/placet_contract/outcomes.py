"""What a branch's answer means: the table of wire.md, used by the coordinator and by an initiator that calls a try.

Only four answers say anything; everything else, a cut connection included, is unknown and is reported as unknown.
"""

import msgspec
from msgspec.structs import force_setattr

from placet_contract import problems
from placet_contract.vocabulary import FORWARD_OPERATIONS, Operation, Outcome

_ONGOING_STATUS = 425
_CONFLICT_STATUS = 409
DETAIL_LENGTH_MAX = 500


class Verdict(msgspec.Struct, frozen=True):
    """The outcome of one call, and what else its answer said.

    Attributes:
        outcome: done, rejected, ongoing or unknown.
        late: the participant refused because the operation came too late: nothing will run there any more.
        not_tried: a confirm found no successful try.
        answered: the participant itself answered, so that no work of this attempt is still running unseen. A 425 is an
            answer, too: the work runs on, and a later attempt will meet it.
        detail: a few words for people; never shown to code. At most `DETAIL_LENGTH_MAX` printable characters, whoever
            wrote them: they go into columns and logs, and a participant's NUL, line break or megabyte must not.
    """

    outcome: Outcome
    late: bool = False
    not_tried: bool = False
    answered: bool = False
    detail: str = ""

    def __post_init__(self) -> None:
        detail = self.detail
        if detail and (len(detail) > DETAIL_LENGTH_MAX or not detail.isprintable()):
            printable = (each if each.isprintable() else " " for each in detail[:DETAIL_LENGTH_MAX])
            force_setattr(self, "detail", "".join(printable))


class _ProblemBody(msgspec.Struct):
    type: str = ""
    title: str = ""
    detail: str = ""


_decode_problem = msgspec.json.Decoder(_ProblemBody).decode
_DONE = Verdict(Outcome.DONE, answered=True)


def classify(operation: Operation, status: int, body: bytes) -> Verdict:
    """Return what an HTTP answer to `operation` means.

    Args:
        operation: what was asked.
        status: the HTTP status.
        body: the answer's body, read only to tell the 409s apart.
    """
    if 200 <= status < 300:  # noqa: PLR2004 - the class of status codes that RFC 9110 calls successful
        return _DONE
    if status == _ONGOING_STATUS:
        return Verdict(Outcome.ONGOING, answered=True, detail="425: still running")
    if status == _CONFLICT_STATUS:
        return _classify_conflict(operation, body)
    return Verdict(Outcome.UNKNOWN, detail=f"HTTP {status}")


def _classify_conflict(operation: Operation, body: bytes) -> Verdict:
    try:
        said = _decode_problem(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):  # as msgspec tells of bytes that are no JSON
        return Verdict(Outcome.UNKNOWN, detail="HTTP 409 without a problem body")
    slug = problems.slug_of(said.type)
    detail = said.detail or said.title
    if operation in FORWARD_OPERATIONS and slug == problems.REJECTED:
        return Verdict(Outcome.REJECTED, answered=True, detail=detail)
    if operation in FORWARD_OPERATIONS and slug == problems.LATE:
        return Verdict(Outcome.REJECTED, late=True, answered=True, detail="late")
    if operation is Operation.CONFIRM and slug == problems.NOT_TRIED:
        return Verdict(Outcome.UNKNOWN, not_tried=True, answered=True, detail=detail or "confirm without a try")
    if slug == problems.REJECTED:
        return Verdict(
            Outcome.UNKNOWN, answered=True, detail=f"refused, though {operation} may not be refused: {detail}"
        )
    return Verdict(Outcome.UNKNOWN, detail=f"HTTP 409 {slug}: {detail}")
