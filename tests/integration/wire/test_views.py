"""`GET`: a transaction as the wire shows it, and the list: filters, cursor, limits."""

import base64
from datetime import UTC, datetime, timedelta

import pytest

from .conftest import refused

AT_LEAST = {
    *("gid", "pattern", "name", "key", "status", "reason", "attention", "version", "created_at", "finished_at"),
    *("timeout_ms", "next_attempt_at", "branches", "attempts"),
}
ATTEMPT = {"branch_id", "op", "attempt", "outcome", "started_at", "duration_ms", "detail"}


@pytest.fixture
def begun(api, gid):
    """Begins transactions of this test: gids with a common start and one key, in order."""

    def begin(count, **members):
        gids = [f"{gid}-{number}" for number in range(count)]
        for each in gids:
            body = {"pattern": "tcc", "gid": each, "key": gid, "name": f"n-{gid}"} | members
            assert api.post("/v1/transactions", json=body).status_code == 201
        return gids

    return begin


@pytest.fixture
def listed(api, gid):
    """Lists transactions of this test: their gids, and the next cursor."""

    def ask(**query):
        answer = api.get("/v1/transactions", params={"key": gid} | query)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        return [item["gid"] for item in page["items"]], page["next_cursor"]

    return ask


def instant(text):
    assert text.endswith("Z")
    return datetime.fromisoformat(text)


def test_whole_transaction_is_shown(api, gid):
    """At least what the wire names, times as RFC 3339 in UTC; what did not happen yet is null."""
    branch = {"branch_id": "a", "target": "stock/hold", "payload": {"n": [1, None, "ä"]}}
    api.post("/v1/transactions", json={"pattern": "tcc", "gid": gid, "name": "order", "key": "k", "branches": [branch]})
    view = api.get(f"/v1/transactions/{gid}").json()
    assert view.keys() >= AT_LEAST
    assert (view["gid"], view["pattern"], view["name"], view["key"]) == (gid, "tcc", "order", "k")
    assert (view["status"], view["reason"], view["attention"], view["finished_at"]) == ("active", None, None, None)
    assert abs(instant(view["created_at"]) - datetime.now(UTC)) < timedelta(minutes=1)
    (shown,) = view["branches"]
    assert shown.keys() >= {"branch_id", "target", "status", "payload"}
    assert (shown["target"], shown["payload"], shown["status"]) == ("stock/hold", branch["payload"], "pending")


def test_failed_attempts_are_shown(api, participant, gid):
    """With outcome, time, duration and a few words; a branch's result stands with the branch."""
    participant.reject("b/action")
    steps = [{"branch_id": name, "target": f"{participant.url}/{name}"} for name in "ab"]
    body = {"pattern": "saga", "gid": gid, "branches": steps}
    assert api.post("/v1/transactions?wait_ms=20000", json=body).json()["status"] == "aborted"
    view = api.get(f"/v1/transactions/{gid}").json()
    (attempt,) = view["attempts"]
    assert attempt.keys() >= ATTEMPT
    told = (attempt["branch_id"], attempt["op"], attempt["attempt"], attempt["outcome"], attempt["detail"])
    assert told == ("b", "action", 1, "rejected", "no")
    assert instant(attempt["started_at"])
    assert instant(view["finished_at"]) >= instant(view["created_at"])
    assert view["branches"][0]["result"] == {}
    assert view["reason"] == "rejected"


def test_timeline_tells_the_story(api, participant, gid, settled):
    """Oldest first: begun, what failed, the decision, the end; only one transaction's own page has it."""
    participant.hold("a/confirm")
    branch = {"branch_id": "a", "target": f"{participant.url}/a"}
    api.post("/v1/transactions", json={"pattern": "tcc", "gid": gid, "key": gid, "branches": [branch]})
    api.post(f"/v1/transactions/{gid}/commit")
    settled(gid, "committing", lambda view: view["attempts"])
    participant.release()
    view = settled(gid, "committed")
    story = [entry["event"] for entry in view["timeline"]]
    assert (story[0], story[-1]) == ("begun", "committed")
    assert story.index("commit decided") < story.index("attempt 1")
    times = [instant(entry["at"]) for entry in view["timeline"]]
    assert times == sorted(times)
    (listed,) = api.get("/v1/transactions", params={"key": gid}).json()["items"]
    assert "timeline" not in listed


def test_retry_makes_the_waiting_calls_now(api, participant, gid, settled):
    """An operator's nudge: it decides nothing, and is refused where nothing waits any more."""
    participant.hold("a/confirm")
    branch = {"branch_id": "a", "target": f"{participant.url}/a", "retry": {"first_ms": 3_600_000, "cap_ms": 3_600_000}}
    api.post("/v1/transactions", json={"pattern": "tcc", "gid": gid, "branches": [branch]})
    api.post(f"/v1/transactions/{gid}/commit")
    settled(gid, "committing", lambda view: view["next_attempt_at"] and view["attempts"])
    participant.release()
    assert api.post(f"/v1/transactions/{gid}/retry").json()["status"] in {"committing", "committed"}
    settled(gid, "committed")
    refused(api.post(f"/v1/transactions/{gid}/retry"), 409, "conflict")
    refused(api.post(f"/v1/transactions/{gid}-never/retry"), 404, "not-found")


def test_next_attempt_is_shown_while_a_branch_waits(api, tcc, gid, settled):
    """Nobody answers there: the transaction says when it tries again."""
    api.post("/v1/transactions", json=tcc)
    api.post(f"/v1/transactions/{gid}/commit")

    def is_waiting(view):
        return view["next_attempt_at"] is not None and view["attempts"]

    view = settled(gid, "committing", is_waiting)
    assert instant(view["next_attempt_at"])
    assert view["attempts"][0]["outcome"] == "unknown"


def test_unknown_gid_is_404(api, gid):
    """The problem names the gid."""
    assert refused(api.get(f"/v1/transactions/{gid}"), 404, "not-found")["gid"] == gid


def test_newest_come_first_and_the_cursor_leads_on(begun, listed):
    """Every transaction stands on one page, and the last page has no cursor."""
    gids = begun(5)
    first, cursor = listed(limit=2)
    second, cursor = listed(limit=2, cursor=cursor)
    third, end = listed(limit=2, cursor=cursor)
    assert first + second + third == gids[::-1]
    assert end is None


def test_pages_are_stable_under_inserts(begun, listed, api, gid):
    """What is begun while somebody pages does not move what comes later."""
    gids = begun(4)
    first, cursor = listed(limit=2)
    api.post("/v1/transactions", json={"pattern": "tcc", "gid": f"{gid}-new", "key": gid})
    second, end = listed(limit=2, cursor=cursor)
    assert first + second == gids[::-1]
    assert end is None
    assert listed(limit=1)[0] == [f"{gid}-new"]


def test_filters(begun, listed, api, gid, participant):
    """By status, pattern, name, key, parent, attention and age; all given have to hold."""
    gids = begun(3)
    saga = f"{gid}-saga"
    step = {"branch_id": "a", "target": f"{participant.url}/a"}
    body = {"pattern": "saga", "gid": saga, "key": gid, "parent": f"{gid}/1", "branches": [step]}
    assert api.post("/v1/transactions?wait_ms=20000", json=body).json()["status"] == "committed"
    assert listed(status="committed")[0] == listed(pattern="saga")[0] == listed(parent=f"{gid}/1")[0] == [saga]
    assert listed(status="active")[0] == listed(name=f"n-{gid}")[0] == listed(pattern="tcc")[0] == gids[::-1]
    assert listed(status="active", pattern="saga")[0] == listed(key="other")[0] == []
    assert listed(attention="true")[0] == []
    assert listed(attention="false")[0] == [saga, *gids[::-1]]
    assert listed(older_than_ms=0)[0] == [saga, *gids[::-1]]
    assert listed(older_than_ms=3_600_000)[0] == []


def test_attention_is_found(api, listed, gid, participant, settled):
    """A confirm that found no try needs a human; the transaction is listed with the cause."""
    problem = {"type": "https://example.org/problems/not-tried", "title": "never tried", "status": 409}
    participant.answer = lambda _call: (409, problem)
    branch = {"branch_id": "a", "target": f"{participant.url}/a"}
    api.post("/v1/transactions", json={"pattern": "tcc", "gid": gid, "key": gid, "branches": [branch]})
    api.post(f"/v1/transactions/{gid}/commit")
    view = settled(gid, "committing", lambda view: view["attention"])
    assert isinstance(view["attention"], str)
    assert listed(attention="true")[0] == [gid]
    participant.answer = lambda _call: (200, {})
    api.post(f"/v1/transactions/{gid}/retry")
    assert settled(gid, "committed")["attention"] is None


def test_recorded_abort_is_listed(api, gid):
    """Its pattern is null."""
    api.post(f"/v1/transactions/{gid}/abort")
    items = api.get("/v1/transactions", params={"status": "aborted", "limit": 500}).json()["items"]
    assert [item["pattern"] for item in items if item["gid"] == gid] == [None]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("status", "done"), ("pattern", "2pc"), ("attention", "maybe"), ("older_than_ms", "-1")),
        *(("limit", "0"), ("limit", "501"), ("limit", "x"), ("cursor", "x"), ("cursor", "///")),
        ("cursor", base64.urlsafe_b64encode(b"1/a b").decode()),
        *(("colour", "red"), ("wait_ms", "1")),
    ],
)
def test_queries_that_break_a_rule_are_named(api, field, value):
    """Unknown fields, too, so that a misspelt filter never shows everything."""
    refused(api.get("/v1/transactions", params={field: value}), 422, "rule", field)


def test_a_filter_given_twice_is_refused(api):
    """Which of the two should hold?"""
    refused(api.get("/v1/transactions?status=active&status=aborted"), 422, "rule", "status")


def test_limits_of_a_page(api, listed, begun):
    """50 if none is given; 500 at most."""
    begun(51)
    gids, cursor = listed()
    assert (len(gids), cursor is None) == (50, False)
    gids, cursor = listed(limit=500)
    assert (len(gids), cursor) == (51, None)


def test_page_of_large_plans_ends_early(api, gid, listed):
    """Never more than some megabytes in one answer; the cursor goes on where it ended."""
    gids = [f"{gid}-{number}" for number in range(11)]
    for each in gids:
        branch = {"branch_id": "a", "target": "stock/hold", "payload": "x" * 900_000}
        body = {"pattern": "tcc", "gid": each, "key": gid, "branches": [branch]}
        assert api.post("/v1/transactions", json=body).status_code == 201
    first, cursor = listed()
    rest, end = listed(cursor=cursor)
    assert len(first) < 11
    assert first + rest == gids[::-1]
    assert end is None
