"""Every error that a client may be told of has one answer, and each answer says whether to repeat the call."""

import json

import pytest

from placet_coordinator.api.answers import Forbidden, NotJson, TooLarge, Unauthorized, of_defect, of_error
from placet_coordinator.core.moves import Refusal, RefusalKind
from placet_coordinator.core.rule import RuleBroken
from placet_coordinator.engine.errors import Overloaded, Refused, Standing, UnknownGid, Unresolved
from placet_coordinator.ports.store import StoreUnavailable

STANDING = Standing("t-1", "aborting", "timeout")


def refused(kind):
    return Refused(Refusal(kind, "the rule"), STANDING)


@pytest.mark.parametrize(
    ("error", "status", "slug", "members"),
    [
        (NotJson("line 1"), 400, "not-json", {"detail": "line 1"}),
        (Unauthorized(), 401, "unauthorized", {}),
        (Forbidden(), 403, "forbidden", {}),
        (UnknownGid("t-1"), 404, "not-found", {"gid": "t-1"}),
        (
            refused(RefusalKind.DECIDED),
            409,
            "conflict",
            {"gid": "t-1", "transaction_status": "aborting", "reason": "timeout", "rule": "the rule"},
        ),
        (TooLarge(), 413, "too-large", {"limit": 1_048_576}),
        (RuleBroken("gid", "short", 3), 422, "rule", {"field": "gid", "rule": "short", "limit": 3}),
        (refused(RefusalKind.CONTENT_DIFFERS), 422, "content-differs", {"gid": "t-1"}),
        (refused(RefusalKind.RULE), 422, "rule", {"rule": "the rule"}),
        (Unresolved("no word"), 500, "unavailable", {}),
        (Overloaded("full"), 503, "overloaded", {}),
        (StoreUnavailable("gone", wrote_nothing=True), 503, "unavailable", {}),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_error_becomes_its_problem(error, status, slug, members):
    """Status, type and members are stable; clients compare them."""
    answer = of_error(error)
    told = json.loads(answer.body)
    assert (answer.status, told["status"], told["type"]) == (status, status, f"https://placet.dev/problems/{slug}")
    assert told.items() >= members.items()
    fields = dict(answer.fields)
    assert fields[b"content-type"] == b"application/problem+json"
    assert (b"retry-after" in fields) == (status == 503)
    assert (b"www-authenticate" in fields) == (status == 401)


def test_a_database_that_is_away_shows_nothing_of_itself():
    """Its words may hold a host or a user; they are the log's."""
    assert b"10.0.0.7" not in of_error(StoreUnavailable("connection to 10.0.0.7 refused", wrote_nothing=False)).body


def test_what_nobody_foresaw_is_no_ones_answer():
    """It is left to the door, which logs it and says that the outcome is unknown."""
    assert of_error(ZeroDivisionError()) is None
    assert of_defect().status == 500
