"""`POST /v1/transactions`: begun once per gid, compared with the plan as first begun."""

import json
import uuid

import pytest

from .conftest import refused

SAID = {"gid", "pattern", "status", "reason", "version", "node"}


def begin(api, body, **query):
    return api.post("/v1/transactions", json=body, params=query)


def test_new_is_201_and_the_same_again_200(api, tcc, gid):
    """The first begin answers 201, each repeat 200 with the same state."""
    first, again = begin(api, tcc), begin(api, tcc)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    said = first.json()
    assert said.keys() >= SAID
    assert (said["gid"], said["pattern"], said["status"], said["reason"]) == (gid, "tcc", "active", None)
    assert (said["version"], type(said["node"])) == (1, str)


def test_state_is_durable_when_the_answer_comes(api, tcc, gid):
    """What was answered can be read."""
    begin(api, tcc)
    assert api.get(f"/v1/transactions/{gid}").json()["status"] == "active"


def test_gid_is_minted_where_none_is_given(api):
    """Without a gid each begin is a transaction of its own."""
    gids = [begin(api, {"pattern": "tcc"}).json()["gid"] for _ in range(2)]
    assert gids[0] != gids[1]
    assert [uuid.UUID(gid).version for gid in gids] == [7, 7]


def test_saga_needs_a_gid_of_its_callers(api):
    """A minted one would make a repeated begin a second saga."""
    steps = [{"branch_id": "a", "target": "http://127.0.0.1:1/a"}]
    refused(begin(api, {"pattern": "saga", "branches": steps}), 422, "rule", "gid")


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other"},
        {"key": "other"},
        {"parent": "p/1"},
        {"timeout_ms": 29_999},
        {"branches": []},
        {"branches": [{"branch_id": "b", "target": "http://127.0.0.1:1/debit", "payload": {"amount": 30}}]},
        {"branches": [{"branch_id": "a", "target": "http://127.0.0.1:1/credit", "payload": {"amount": 30}}]},
        {"branches": [{"branch_id": "a", "target": "http://127.0.0.1:1/debit", "payload": {"amount": 31}}]},
        {"branches": [{"branch_id": "a", "target": "http://127.0.0.1:1/debit"}]},
    ],
    ids=json.dumps,
)
def test_same_gid_with_other_content_is_422(api, tcc, gid, change):
    """The gid is the idempotency key: its content never changes, and nothing is changed by trying."""
    begin(api, tcc)
    told = refused(begin(api, tcc | change), 422, "content-differs")
    assert told["gid"] == gid
    assert begin(api, tcc).status_code == 200


def test_content_is_compared_as_decoded_with_defaults_filled_in(api, gid):
    """White space, the order of members, nulls and spelled-out defaults make no difference."""
    target = "http://127.0.0.1:1/debit"
    payload = '{"b": [1, 2], "a": "\\u00e4"}'
    plain = (
        f'{{"pattern":"tcc","gid":"{gid}","branches":[{{"branch_id":"a","target":"{target}","payload":{payload}}}]}}'
    )
    assert api.post("/v1/transactions", content=plain.encode()).status_code == 201
    spelled_out = {
        "branches": [
            {
                "payload": {"a": "ä", "b": [1, 2]},
                "target": target,
                "branch_id": "a",
                "headers": None,
                "envelope": False,
                "timeout_ms": 10_000,
                "retry": {"first_ms": 200, "cap_ms": 60_000, "max_attempts": None},
                "after": None,
            }
        ],
        "timeout_ms": 30_000,
        "drive": False,
        "name": None,
        "gid": gid,
        "pattern": "tcc",
    }
    assert begin(api, spelled_out).status_code == 200


def test_a_sagas_defaults_are_filled_in(api, participant, gid):
    """A step without `after` follows the one before; actions are retried for a day; there is no timeout."""
    steps = [{"branch_id": name, "target": f"{participant.url}/{name}"} for name in ("a", "b")]
    assert begin(api, {"pattern": "saga", "gid": gid, "branches": steps}).status_code == 201
    spelled_out = [
        steps[0] | {"after": [], "pivot": False, "compensate": True, "retry": {"for_ms": 86_400_000}},
        steps[1] | {"after": ["a"], "payload": None},
    ]
    assert begin(api, {"pattern": "saga", "gid": gid, "branches": spelled_out}).status_code == 200
    view = api.get(f"/v1/transactions/{gid}").json()
    assert view["timeout_ms"] is None
    assert [branch["after"] for branch in view["branches"]] == [[], ["a"]]


@pytest.mark.parametrize(("given", "repeated"), [(True, 1), (None, 0), ("1", 1), ([1, 2], [2, 1])])
def test_payloads_of_another_value_differ(api, tcc, given, repeated):
    """JSON's kinds are kept apart, whatever a language makes of them."""
    tcc["branches"][0]["payload"] = given
    begin(api, tcc)
    tcc["branches"][0]["payload"] = repeated
    refused(begin(api, tcc), 422, "content-differs")


def test_null_payload_equals_one_left_out(api, tcc):
    """The payload's default is null."""
    tcc["branches"][0]["payload"] = None
    begin(api, tcc)
    del tcc["branches"][0]["payload"]
    assert begin(api, tcc).status_code == 200


def test_later_branches_are_ignored_by_the_comparison(api, tcc, gid):
    """A begin repeated after a register is the same begin."""
    begin(api, tcc)
    later = {"branches": [{"branch_id": "b", "target": "http://127.0.0.1:1/credit"}]}
    assert api.post(f"/v1/transactions/{gid}/branches", json=later).status_code == 200
    assert begin(api, tcc).status_code == 200
    refused(begin(api, tcc | {"branches": [*tcc["branches"], *later["branches"]]}), 422, "content-differs")


@pytest.mark.parametrize("decision", ["commit", "abort"])
def test_content_is_looked_at_before_the_status(api, tcc, gid, decision):
    """422 before 409: whoever uses a gid twice learns it whatever became of the first."""
    begin(api, tcc)
    assert api.post(f"/v1/transactions/{gid}/{decision}").status_code == 200
    refused(begin(api, tcc | {"name": "other"}), 422, "content-differs")


def test_begin_of_an_aborted_gid_is_409_and_says_why(api, tcc, gid):
    """The problem carries status and reason."""
    begin(api, tcc)
    api.post(f"/v1/transactions/{gid}/abort")
    told = refused(begin(api, tcc), 409, "conflict")
    assert (told["gid"], told["reason"]) == (gid, "initiator")
    assert told["transaction_status"] in {"aborting", "aborted"}


def test_begin_of_a_committed_gid_is_200_and_says_so(api, tcc, gid):
    """The same again is answered with where it stands."""
    begin(api, tcc)
    api.post(f"/v1/transactions/{gid}/commit")
    again = begin(api, tcc)
    assert (again.status_code, again.json()["status"]) == (200, "committing")


def test_abort_before_the_begin_is_recorded(api, tcc, gid):
    """A begin still on its way gets 409, whatever its content."""
    aborted = api.post(f"/v1/transactions/{gid}/abort")
    assert aborted.status_code == 200
    assert (aborted.json()["status"], aborted.json()["pattern"]) == ("aborted", None)
    for body in (tcc, tcc | {"name": "other"}, {"pattern": "tcc", "gid": gid}):
        told = refused(begin(api, body), 409, "conflict")
        assert (told["transaction_status"], told["reason"]) == ("aborted", "initiator")
    assert api.get(f"/v1/transactions/{gid}").json()["branches"] == []


def test_first_begin_answers_201_whatever_the_status_by_then(api, participant, gid):
    """`wait_ms` holds the answer until the transaction is finished; new stays new."""
    steps = [{"branch_id": "a", "target": f"{participant.url}/a"}]
    answer = begin(api, {"pattern": "saga", "gid": gid, "branches": steps}, wait_ms=20_000)
    assert (answer.status_code, answer.json()["status"]) == (201, "committed")
    again = begin(api, {"pattern": "saga", "gid": gid, "branches": steps}, wait_ms=20_000)
    assert (again.status_code, again.json()["status"]) == (200, "committed")


def test_wait_ends_when_its_time_has_passed(api, tcc):
    """The status tells that it is not finished."""
    answer = begin(api, tcc, wait_ms=50)
    assert (answer.status_code, answer.json()["status"]) == (201, "active")


def test_key_is_not_unique(api):
    """Several transactions may belong to one order."""
    key = uuid.uuid4().hex
    assert [begin(api, {"pattern": "tcc", "key": key}).status_code for _ in range(2)] == [201, 201]
    assert len(api.get("/v1/transactions", params={"key": key}).json()["items"]) == 2


def test_defaults_are_stored_with_the_plan(api, tcc, gid):
    """A tcc has 30 s, a call 10 s."""
    begin(api, tcc)
    view = api.get(f"/v1/transactions/{gid}").json()
    assert (view["timeout_ms"], view["branches"][0]["timeout_ms"]) == (30_000, 10_000)


def test_timeout_of_an_active_transaction_aborts_it(api, participant, gid, settled):
    """Every registered branch is cancelled, and the reason is the timeout."""
    branch = {"branch_id": "a", "target": f"{participant.url}/debit"}
    begin(api, {"pattern": "tcc", "gid": gid, "timeout_ms": 1, "branches": [branch]})
    assert settled(gid, "aborted")["reason"] == "timeout"
    assert [call.op for call in participant.calls] == ["cancel"]


def test_driven_tcc_is_one_request(api, participant, gid):
    """The coordinator calls the tries, all at once and once each, and decides."""
    branches = [{"branch_id": name, "target": f"{participant.url}/{name}", "payload": name} for name in ("a", "b")]
    body = {"pattern": "tcc", "gid": gid, "drive": True, "branches": branches}
    answer = begin(api, body, wait_ms=20_000)
    assert (answer.status_code, answer.json()["status"]) == (201, "committed")
    assert sorted((call.op, call.branch_id, call.attempt, call.body) for call in participant.calls) == [
        ("confirm", "a", 1, "a"),
        ("confirm", "b", 1, "b"),
        ("try", "a", 1, "a"),
        ("try", "b", 1, "b"),
    ]


def test_parent_says_where_a_transaction_was_begun(api, gid):
    """It is stored, shown and searched."""
    parent = f"{gid}-outer/7"
    begin(api, {"pattern": "tcc", "gid": gid, "parent": parent})
    assert api.get(f"/v1/transactions/{gid}").json()["parent"] == parent
    items = api.get("/v1/transactions", params={"parent": parent}).json()["items"]
    assert [item["gid"] for item in items] == [gid]
