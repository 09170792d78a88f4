"""Answers, and the one place where an error becomes a problem (RFC 9457)."""

from collections.abc import Callable
from typing import Any, ClassVar

import msgspec

from placet_contract import problems
from placet_contract.limits import BODY_BYTES_MAX
from placet_contract.problems import Problem, encode_problem, problem
from placet_coordinator.core.moves import RefusalKind
from placet_coordinator.core.rule import RuleBroken
from placet_coordinator.engine.errors import Damaged, Overloaded, Refused, UnknownGid, Unresolved
from placet_coordinator.ports.store import StoreUnavailable

encode = msgspec.json.Encoder().encode

Fields = tuple[tuple[bytes, bytes], ...]

JSON_FIELDS: Fields = ((b"content-type", b"application/json"),)
_PROBLEM_FIELD = (b"content-type", problems.CONTENT_TYPE.encode())
_PROBLEM_FIELDS: Fields = (_PROBLEM_FIELD,)
_CHALLENGE_FIELDS: Fields = (_PROBLEM_FIELD, (b"www-authenticate", b'Bearer realm="placet"'))


class Answer:
    """One answer, whichever door it leaves by; content-length is the door's business."""

    __slots__ = ("body", "fields", "status")

    def __init__(self, status: int, body: bytes, fields: Fields = JSON_FIELDS) -> None:
        self.status, self.body, self.fields = status, body, fields


class EdgeError(Exception):
    """A request that the edge itself turns away; nothing has happened.

    Attributes:
        problem: what the client is told.
    """

    fields: ClassVar[Fields] = _PROBLEM_FIELDS

    def __init__(self, told: Problem) -> None:
        super().__init__(told.title)
        self.problem = told


class NotJson(EdgeError):
    """The body is not JSON in UTF-8."""

    def __init__(self, detail: str) -> None:
        super().__init__(problem(problems.NOT_JSON, "The body is not JSON", 400, detail=detail))


class TooLarge(EdgeError):
    """The body is over the size limit."""

    def __init__(self) -> None:
        detail = f"a request body has at most {BODY_BYTES_MAX} bytes; keep large data elsewhere and send its address"
        super().__init__(problem(problems.TOO_LARGE, "The body is too large", 413, detail=detail, limit=BODY_BYTES_MAX))


class Unauthorized(EdgeError):
    """No token, or none of ours."""

    fields: ClassVar[Fields] = _CHALLENGE_FIELDS

    def __init__(self) -> None:
        detail = "send `Authorization: Bearer …` with one of the tokens in the server's PLACET_SERVER_TOKENS"
        super().__init__(problem(problems.UNAUTHORIZED, "A valid token is needed", 401, detail=detail))


class Forbidden(EdgeError):
    """A request that a page of another site made a browser send."""

    def __init__(self) -> None:
        detail = "requests that a browser sends for another site's page are refused"
        super().__init__(problem(problems.FORBIDDEN, "Cross-site request refused", 403, detail=detail))


def of_problem(told: Problem, *more: tuple[bytes, bytes]) -> Answer:
    """Return the answer that tells a problem."""
    return Answer(told.status, encode_problem(told), (_PROBLEM_FIELD, *more) if more else _PROBLEM_FIELDS)


def of_error(error: Exception) -> Answer | None:
    """Return the answer to an error that a client may be told of; None for a defect."""
    for kind, tell in _TELLERS:
        if isinstance(error, kind):
            return tell(error)
    return None


def of_defect() -> Answer:
    """Return the answer to an error that nobody foresaw: it tells nothing of the inside."""
    detail = "the server's log has the cause; the outcome of the call is unknown, repeat it: calls are idempotent"
    return of_problem(problem(problems.INTERNAL, "Internal error", 500, detail=detail))


def _of_edge(error: EdgeError) -> Answer:
    return Answer(error.problem.status, encode_problem(error.problem), error.fields)


def _of_rule(error: RuleBroken) -> Answer:
    return of_problem(
        problem(
            problems.RULE,
            "A rule of the wire is broken",
            422,
            detail=str(error),
            field=error.field,
            rule=error.rule,
            limit=error.limit,
        )
    )


def _of_unknown(error: UnknownGid) -> Answer:
    detail = f"{error}; `placet tx list` shows what is known"
    return of_problem(problem(problems.NOT_FOUND, "No such transaction", 404, detail=detail, gid=error.gid))


def _of_overloaded(error: Overloaded) -> Answer:
    told = problem(problems.OVERLOADED, "Nothing was written; try again", 503, detail=str(error))
    return of_problem(told, (b"retry-after", str(error.retry_after_s).encode()))


def _of_unresolved(error: Unresolved) -> Answer:
    return of_problem(problem(problems.UNAVAILABLE, "The outcome is unknown; repeat the call", 500, detail=str(error)))


def _of_damaged(error: Damaged) -> Answer:
    return of_problem(problem(problems.INTERNAL, "The transaction's row is damaged", 500, detail=str(error)))


def _of_unavailable(_error: StoreUnavailable) -> Answer:
    detail = "try again; on the server, `placet doctor` tells why"
    told = problem(problems.UNAVAILABLE, "The database can't be reached", 503, detail=detail)
    return of_problem(told, (b"retry-after", b"1"))


def _of_refused(error: Refused) -> Answer:
    refusal, standing = error.refusal, error.standing
    slug, title, status = _REFUSALS[refusal.kind]
    return of_problem(
        problem(
            slug,
            title,
            status,
            detail=str(error),
            field=refusal.field,
            rule=refusal.rule,
            gid=standing.gid,
            transaction_status=standing.status,
            reason=standing.reason,
        )
    )


_REFUSALS = {
    RefusalKind.DECIDED: (problems.CONFLICT, "The transaction's state does not allow this", 409),
    RefusalKind.CONTENT_DIFFERS: (problems.CONTENT_DIFFERS, "The same id was used with other content", 422),
    RefusalKind.RULE: (problems.RULE, "The transaction's pattern does not allow this", 422),
}


_TELLERS: tuple[tuple[type[Exception], Callable[[Any], Answer]], ...] = (
    (EdgeError, _of_edge),
    (RuleBroken, _of_rule),
    (Refused, _of_refused),
    (UnknownGid, _of_unknown),
    (Overloaded, _of_overloaded),
    (Unresolved, _of_unresolved),
    (Damaged, _of_damaged),
    (StoreUnavailable, _of_unavailable),
)
