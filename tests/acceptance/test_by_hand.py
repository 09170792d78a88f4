"""The coordinator from any language: the contract's page is all that these tests know."""

from acceptance.processes import ask


def test_tcc_by_hand_as_the_contract_shows(servers, participant, sqlite_url):
    """The contract's own example works with urllib and http.server: begin, two tries, commit, two confirms."""
    server = servers(sqlite_url).run()
    branches = [
        {"branch_id": "a", "target": f"{participant.url}/debit", "payload": {"amount": 30}},
        {"branch_id": "b", "target": f"{participant.url}/credit", "payload": {"amount": 30}},
    ]
    begun = server.begin({"pattern": "tcc", "gid": "t-1", "timeout_ms": 30_000, "branches": branches})
    assert (begun.status, begun.json["status"]) == (201, "active")

    for branch in branches:
        fields = {"placet_gid": "t-1", "placet_branch": branch["branch_id"], "placet_op": "try", "placet_attempt": "1"}
        assert ask("POST", f"{branch['target']}/try", branch["payload"], **fields).status == 200

    committed = ask("POST", f"{server.url}/v1/transactions/t-1/commit?wait_ms=20000")
    assert (committed.status, committed.json["status"]) == (200, "committed")

    assert sorted((call.branch_id, call.op, call.action) for call in participant.calls) == [
        ("a", "confirm", "debit"),
        ("a", "try", "debit"),
        ("b", "confirm", "credit"),
        ("b", "try", "credit"),
    ]
    assert all(call.gid == "t-1" and call.attempt == 1 and call.body == {"amount": 30} for call in participant.calls)
    view = server.transaction("t-1")
    assert [branch["status"] for branch in view["branches"]] == ["confirmed", "confirmed"]
    assert view["timeline"][0]["event"] == "begun"


def test_aborting_by_hand_cancels_every_branch(servers, participant, sqlite_url):
    """An abort reaches tried and untried branches alike, and a later commit is refused."""
    server = servers(sqlite_url).run()
    target = f"{participant.url}/debit"
    server.begin({"pattern": "tcc", "gid": "t-2", "branches": [{"branch_id": "a", "target": target}]})
    aborted = ask("POST", f"{server.url}/v1/transactions/t-2/abort?wait_ms=20000", {"reason_text": "changed my mind"})
    assert (aborted.status, aborted.json["status"], aborted.json["reason"]) == (200, "aborted", "initiator")
    assert [call.op for call in participant.calls] == ["cancel"]
    refused = ask("POST", f"{server.url}/v1/transactions/t-2/commit")
    assert refused.status == 409
    assert refused.json["type"].rsplit("/", 1)[-1] == "conflict"


def test_driven_tcc_by_hand_is_one_request(servers, participant, sqlite_url):
    """With `drive` the coordinator calls the tries, too, and the answer of begin says how it ended."""
    server = servers(sqlite_url).run()
    branches = [
        {"branch_id": name, "target": f"{participant.url}/{name}", "payload": 1} for name in ("debit", "credit")
    ]
    answer = server.begin({"pattern": "tcc", "gid": "t-3", "drive": True, "branches": branches}, "?wait_ms=20000")
    assert (answer.status, answer.json["status"]) == (201, "committed")
    assert sorted((call.op, call.action) for call in participant.calls) == [
        ("confirm", "credit"),
        ("confirm", "debit"),
        ("try", "credit"),
        ("try", "debit"),
    ]


def test_announced_service_is_found_by_name(servers, participant, sqlite_url):
    """A service announces itself with one PUT, and is then called by `service/action`."""
    server = servers(sqlite_url).run()
    instance = {"base_url": participant.url, "actions": {"book": ["action", "compensate"]}}
    assert ask("PUT", f"{server.url}/v1/services/hotel/instances/one", instance).status == 200
    steps = [{"branch_id": "room", "target": "hotel/book", "payload": {"nights": 2}}]
    answer = server.begin({"pattern": "saga", "gid": "s-1", "branches": steps}, "?wait_ms=20000")
    assert (answer.status, answer.json["status"]) == (201, "committed")
    assert [(call.op, call.body) for call in participant.calls] == [("action", {"nights": 2})]


def test_rule_that_a_request_breaks_is_named(servers, sqlite_url):
    """A bad request gets a problem that says which field breaks which rule, and nothing is begun."""
    server = servers(sqlite_url).run()
    answer = server.begin({"pattern": "tcc", "gid": "not allowed"})
    assert answer.status == 422
    assert answer.json["type"].rsplit("/", 1)[-1] == "rule"
    assert answer.json["field"] == "gid"
    assert answer.json["rule"]
