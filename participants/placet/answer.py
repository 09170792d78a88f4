"""What a participant answers: the table of the wire, each answer with the echo that makes it one."""

import json
import logging

from fastapi import Response

from placet.barrier import Decision, Row, met
from placet_contract import headers, problems
from placet_contract.outcomes import DETAIL_LENGTH_MAX
from placet_contract.problems import Problem, encode_problem, problem
from placet_contract.vocabulary import FORWARD_OPERATIONS, Operation

NULL = b"null"

_REJECTED = (problems.REJECTED, "Rejected", 409)
_LATE = (problems.LATE, "Too late", 409)
_NOT_TRIED = (problems.NOT_TRIED, "Not tried", 409)
_CONFLICT = (problems.CONFLICT, "The other end came before", 409)
_ONGOING = (problems.ONGOING, "Still running", 425)

_log = logging.getLogger("placet.participant")


class Answered(Exception):
    """Ends the work on a call with an answer; raised where no handler is to run."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status_code)
        self.response = response


def done(key: str, result: bytes = NULL) -> Response:
    """Returns the answer of an operation that has had its effect.

    Args:
        key: gid/branch/op of the call.
        result: JSON.
    """
    return Response(result, media_type="application/json", headers={headers.OUTCOME_ECHO: key})


def rejected(key: str, reason: str) -> Response:
    """Returns a business no."""
    return _problem(key, problem(*_REJECTED, detail=reason))


def late(key: str, detail: str) -> Response:
    """Returns the refusal of a try or action that came too late: nothing will run here any more."""
    return _problem(key, problem(*_LATE, detail=detail))


def ongoing(key: str, detail: str) -> Response:
    """Returns the request to ask again later."""
    return _problem(key, problem(*_ONGOING, detail=detail))


def refused_by_rule(field: str, rule: str, detail: str) -> Response:
    """Returns the answer to a call that is none of the wire's."""
    return _problem(None, problem(problems.RULE, "Against a rule", 422, detail=detail, field=field, rule=rule))


def of_row(key: str, operation: Operation, row: Row | None) -> Response:
    """Returns the answer to a call that runs nothing, by what its branch's row says."""
    decision = met(operation, row)
    if decision is Decision.DONE:
        kept = row.result if row is not None and operation in FORWARD_OPERATIONS else None
        return done(key, NULL if kept is None else kept.encode())
    if decision is Decision.REJECTED:
        return rejected(key, reason_of(row))
    if decision is Decision.LATE:
        return late(key, "it was cancelled or compensated before it came")
    if decision is Decision.NOT_TRIED:
        return _problem(key, problem(*_NOT_TRIED, detail="there is no successful try of this branch here"))
    if decision is Decision.CONTRADICTED:
        ended_by = "" if row is None else row.ended_by
        _log.error("%s contradicts the %s that came before: refused", key, ended_by)
        words = _NOT_TRIED if operation is Operation.CONFIRM else _CONFLICT
        return _problem(key, problem(*words, detail=f"this branch was ended by {ended_by} before"))
    return ongoing(key, "another call of this branch is at work")


def kept_reason(reason: str) -> str:
    """Returns the words of a rejection as the row keeps them; surrogates, which JSON of the wire may not hold, go."""
    return json.dumps(reason.encode("utf-8", "replace").decode()[:DETAIL_LENGTH_MAX])


def reason_of(row: Row | None) -> str:
    """Returns the words of a rejection from its row."""
    return str(json.loads(row.result)) if row is not None and row.result else ""


def _problem(key: str | None, value: Problem) -> Response:
    echo = None if key is None else {headers.OUTCOME_ECHO: key}
    return Response(encode_problem(value), value.status, media_type=problems.CONTENT_TYPE, headers=echo)
