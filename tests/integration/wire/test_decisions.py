"""Commit and abort: durable, repeatable, and one of the two wins."""

import pytest

from .conftest import refused

SAID = {"gid", "pattern", "status", "reason", "version", "node"}


@pytest.fixture
def decide(api, gid):
    """Asks for a decision on this test's gid."""
    return lambda decision, query="", **body: api.post(f"/v1/transactions/{gid}/{decision}{query}", **body)


@pytest.fixture
def begun(api, tcc):
    """This test's transaction, begun; nobody answers at its participant."""
    assert api.post("/v1/transactions", json=tcc).status_code == 201
    return tcc


@pytest.fixture
def begun_at(api, gid):
    """Begins this test's transaction with one branch at a participant that answers."""

    def begin(participant):
        branch = {"branch_id": "a", "target": f"{participant.url}/x"}
        assert api.post("/v1/transactions", json={"pattern": "tcc", "gid": gid, "branches": [branch]}).is_success

    return begin


BODIES = [{}, {"content": b""}, {"content": b" {} "}, {"json": {}}]


@pytest.mark.parametrize("body", BODIES, ids=str)
@pytest.mark.parametrize(("decision", "status"), [("commit", "committing"), ("abort", "aborting")])
def test_decision_with_an_empty_body(begun, decide, decision, status, body):
    """Nothing, or `{}`; the answer says that the decision is durable."""
    answer = decide(decision, **body)
    assert (answer.status_code, answer.json()["status"]) == (200, status)
    assert answer.json().keys() >= SAID


@pytest.mark.parametrize(("decision", "other"), [("commit", "abort"), ("abort", "commit")])
def test_decision_is_repeatable_and_the_other_lost(begun, decide, gid, decision, other):
    """A decision never changes; the other gets 409 with status and reason."""
    first = decide(decision)
    again = decide(decision)
    assert again.status_code == 200
    assert again.json()["status"] == first.json()["status"]
    told = refused(decide(other), 409, "conflict")
    assert (told["gid"], told["transaction_status"]) == (gid, first.json()["status"])
    assert told.get("reason") == ("initiator" if decision == "abort" else None)


def test_commit_of_an_unknown_gid_is_404(decide, gid):
    """There is nothing to commit, and nothing is recorded."""
    assert refused(decide("commit"), 404, "not-found")["gid"] == gid
    assert refused(decide("commit"), 404, "not-found")


def test_abort_of_an_unknown_gid_is_recorded_and_repeatable(api, decide, gid):
    """It is aborted from then on, without a pattern."""
    first, again = decide("abort", json={"reason_text": "gave up"}), decide("abort")
    assert [answer.status_code for answer in (first, again)] == [200, 200]
    assert (first.json()["status"], first.json()["pattern"], first.json()["reason"]) == ("aborted", None, "initiator")
    refused(decide("commit"), 409, "conflict")
    view = api.get(f"/v1/transactions/{gid}").json()
    assert (view["reason_text"], view["branches"], view["pattern"]) == ("gave up", [], None)
    assert view["finished_at"] is not None


@pytest.mark.parametrize("kind", [{"pattern": "saga"}, {"drive": True}], ids=["saga", "driven"])
def test_a_saga_and_a_driven_tcc_take_an_abort_and_no_commit(api, busy, gid, decide, kind):
    """The coordinator decides for them; the caller may only call it off."""
    branches = [{"branch_id": "a", "target": f"{busy.url}/x"}]
    api.post("/v1/transactions", json={"pattern": "tcc", "gid": gid, "branches": branches} | kind)
    refused(decide("commit"), 422, "rule")
    assert decide("abort").json()["status"] == "aborting"
    assert decide("abort").json()["reason"] == "initiator"


def test_reason_text_is_the_callers_own_words(api, begun, decide, gid):
    """`reason` is a code, `reason_text` stands beside it; the first abort's words stay."""
    decide("abort", json={"reason_text": "keine Lust mehr ☂"})
    decide("abort", json={"reason_text": "other"})
    view = api.get(f"/v1/transactions/{gid}").json()
    assert (view["reason"], view["reason_text"]) == ("initiator", "keine Lust mehr ☂")


@pytest.mark.parametrize("text", ["x" * 1_001, 1, "a\0b"], ids=["long", "number", "nul"])
def test_reason_text_that_breaks_a_rule(begun, decide, text):
    """The field is named, and nothing is decided."""
    refused(decide("abort", json={"reason_text": text}), 422, "rule", "reason_text")
    assert decide("commit").status_code == 200


@pytest.mark.parametrize(("decision", "status"), [("commit", "committed"), ("abort", "aborted")])
def test_wait_holds_the_answer_until_it_is_finished(begun_at, participant, decide, decision, status):
    """With `wait_ms` the answer tells the end."""
    begun_at(participant)
    assert decide(decision, "?wait_ms=20000").json()["status"] == status
    assert decide(decision, "?wait_ms=20000").json()["status"] == status


def test_wait_ends_with_its_time(begun, decide):
    """The status tells that it is not finished yet."""
    assert decide("commit", "?wait_ms=30").json()["status"] == "committing"


def test_without_a_wait_the_answer_comes_with_the_decision(begun_at, busy, decide):
    """No participant delays it."""
    begun_at(busy)
    assert decide("commit").json()["status"] == "committing"
    busy.finish.set()
    assert decide("commit", "?wait_ms=20000").json()["status"] == "committed"


@pytest.mark.parametrize("query", ["wait_ms=60001", "wait_ms=-1", "wait_ms=x", "wait_ms=1.5", "wait_ms=1&wait_ms=2"])
def test_waits_that_are_refused(begun, decide, query):
    """From 0 to 60,000 ms, once; nothing is decided."""
    refused(decide("commit", f"?{query}"), 422, "rule", "wait_ms")
    assert decide("abort").status_code == 200


@pytest.mark.parametrize("decision", ["commit", "abort"])
def test_a_tcc_without_branches_is_finished_with_its_decision(api, gid, decide, decision):
    """There is nobody to call."""
    api.post("/v1/transactions", json={"pattern": "tcc", "gid": gid})
    assert decide(decision, "?wait_ms=20000").json()["status"] == f"{decision}ed".replace("commited", "committed")


def test_abort_cancels_every_registered_branch(api, participant, gid, decide):
    """Tried, rejected or never called."""
    branches = [{"branch_id": name, "target": f"{participant.url}/{name}"} for name in "abc"]
    api.post("/v1/transactions", json={"pattern": "tcc", "gid": gid, "branches": branches})
    decide("abort", "?wait_ms=20000")
    assert sorted((call.op, call.branch_id) for call in participant.calls) == [
        ("cancel", "a"),
        ("cancel", "b"),
        ("cancel", "c"),
    ]
    view = api.get(f"/v1/transactions/{gid}").json()
    assert [branch["status"] for branch in view["branches"]] == ["cancelled"] * 3


def test_aborted_saga_is_compensated_backwards(api, participant, gid, settled):
    """Reverse order of `after`; a step with nothing to undo is skipped; the rejected one left nothing."""
    participant.reject("d/action")
    steps = [{"branch_id": name, "target": f"{participant.url}/{name}"} for name in "abcd"]
    steps[1]["compensate"] = False
    api.post("/v1/transactions", json={"pattern": "saga", "gid": gid, "branches": steps})
    view = settled(gid, "aborted")
    assert [(call.op, call.branch_id) for call in participant.calls] == [
        *(("action", name) for name in "abcd"),
        ("compensate", "c"),
        ("compensate", "a"),
    ]
    assert view["reason"] == "rejected"
    assert [branch["status"] for branch in view["branches"]] == ["compensated", "skipped", "compensated", "rejected"]
