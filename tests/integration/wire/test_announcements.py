"""`/v1/services`: announced instances, found by name, for as long as their lease; and what a barrier may forget."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest

from acceptance.processes import ask, until

from .conftest import refused, serving

WEEK_MS = 7 * 86_400_000


@pytest.fixture
def service():
    """A service's name that no other test uses."""
    return f"s-{uuid.uuid4().hex}"


@pytest.fixture
def announce(api, service):
    """Announces an instance of this test's service."""

    def put(instance_id="one", **members):
        body = {
            "base_url": "http://127.0.0.1:7001/placet",
            "actions": {"debit": ["try", "confirm", "cancel"]},
        } | members
        return api.put(f"/v1/services/{service}/instances/{instance_id}", json=body)

    return put


def test_announced_instance_is_found(api, service, announce):
    """By its service's name, with all that a caller needs; announcing again prolongs the lease."""
    assert [announce().status_code for _ in range(2)] == [200, 200]
    assert announce("two", base_url="http://127.0.0.1:7002").status_code == 200
    found = api.get(f"/v1/services/{service}").json()
    assert found["service"] == service
    one, two = sorted(found["instances"], key=lambda instance: instance["instance_id"])
    assert one.keys() >= {"instance_id", "base_url", "actions", "lease_until"}
    assert (one["instance_id"], one["base_url"]) == ("one", "http://127.0.0.1:7001/placet")
    assert one["actions"] == {"debit": ["try", "confirm", "cancel"]}
    assert two["base_url"] == "http://127.0.0.1:7002"
    assert {"service": service, "instances": 2} in api.get("/v1/services").json()["items"]


def test_an_announcement_replaces_the_one_before(api, service, announce):
    """A new version of the service has other actions, elsewhere."""
    announce()
    announce(base_url="http://127.0.0.1:7009", actions={"credit": ["try"]})
    (instance,) = api.get(f"/v1/services/{service}").json()["instances"]
    assert (instance["base_url"], instance["actions"]) == ("http://127.0.0.1:7009", {"credit": ["try"]})


@pytest.mark.parametrize(("members", "seconds"), [({}, 15), ({"lease_ms": None}, 15), ({"lease_ms": 60_000}, 60)])
def test_lease_is_15_seconds_unless_said_otherwise(announce, members, seconds):
    """It is counted from the announcement."""
    lease_until = datetime.fromisoformat(announce(**members).json()["lease_until"])
    left = lease_until - datetime.now(UTC)
    assert timedelta(seconds=seconds - 5) < left < timedelta(seconds=seconds + 5)


def test_instance_is_gone_when_its_lease_has_ended(api, service, announce):
    """A service that died is not called any more."""
    announce(lease_ms=1_000)
    path = f"/v1/services/{service}"
    until("the lease has ended", lambda: api.get(path).json()["instances"] == [])
    assert service not in [item["service"] for item in api.get("/v1/services").json()["items"]]


def test_withdrawn_instance_is_gone(api, service, announce):
    """204, repeatable, and only this instance."""
    announce()
    announce("two")
    path = f"/v1/services/{service}/instances/one"
    assert [(answer.status_code, answer.content) for answer in (api.delete(path), api.delete(path))] == [(204, b"")] * 2
    (left,) = api.get(f"/v1/services/{service}").json()["instances"]
    assert left["instance_id"] == "two"


def test_a_service_nobody_announced_has_no_instances(api, service):
    """An empty list, no error: it may come up any time."""
    answer = api.get(f"/v1/services/{service}")
    assert (answer.status_code, answer.json()) == (200, {"service": service, "instances": []})


@pytest.mark.parametrize(
    ("members", "field"),
    [
        ({"base_url": "127.0.0.1:7001"}, "base_url"),
        ({"base_url": "http://example.org"}, "base_url"),
        ({"base_url": "http://127.0.0.1/?x=1"}, "base_url"),
        ({"base_url": "http://u:p@127.0.0.1/"}, "base_url"),
        ({"base_url": None}, "base_url"),
        ({"actions": None}, "actions"),
        ({"actions": {"debit": ["undo"]}}, "actions"),
        ({"actions": {"a/b": ["try"]}}, "actions"),
        ({"lease_ms": 0}, "lease_ms"),
        ({"lease_ms": "15s"}, "lease_ms"),
        ({"barrier_retention_ms": WEEK_MS - 1}, "barrier_retention_ms"),
        ({"barrier_retention_ms": 0}, "barrier_retention_ms"),
        ({"sdk": "a\0b"}, "sdk"),
        ({"weight": 3}, "weight"),
    ],
    ids=str,
)
def test_announcements_that_break_a_rule(api, service, announce, members, field):
    """The field is named, and nothing is announced."""
    told = refused(announce(**members), 422, "rule")
    assert told["field"].startswith(field)
    assert api.get(f"/v1/services/{service}").json()["instances"] == []


def test_a_barrier_that_forgets_sooner_than_the_coordinator_is_refused(announce):
    """Its retention must be at least the coordinator's: a late try would meet no mark."""
    told = refused(announce(barrier_retention_ms=WEEK_MS - 1), 422, "rule", "barrier_retention_ms")
    assert told["limit"] == WEEK_MS
    assert announce(barrier_retention_ms=WEEK_MS).status_code == 200


@pytest.mark.parametrize("name", ["x" * 65, "a%20b", "%C3%A4"])
def test_names_and_ids_are_of_the_branches_alphabet(api, service, name):
    """1 to 64 of A-Z a-z 0-9 _ - . ."""
    body = {"base_url": "http://127.0.0.1:1", "actions": {}}
    refused(api.put(f"/v1/services/{name}/instances/one", json=body), 422, "rule", "service")
    refused(api.put(f"/v1/services/{service}/instances/{name}", json=body), 422, "rule", "instance_id")
    refused(api.delete(f"/v1/services/{service}/instances/{name}"), 422, "rule", "instance_id")
    refused(api.get(f"/v1/services/{name}"), 422, "rule", "service")


def test_actions_url_is_base_url_and_action(participant, api, service, announce, gid):
    """A base URL may have a path of its own."""
    announce(base_url=f"{participant.url}/", actions={"book": ["action", "compensate"]})
    steps = [{"branch_id": "a", "target": f"{service}/book"}]
    body = {"pattern": "saga", "gid": gid, "branches": steps}
    assert api.post("/v1/transactions?wait_ms=20000", json=body).json()["status"] == "committed"
    assert [(call.action, call.op) for call in participant.calls] == [("book", "action")]


def test_a_call_of_a_service_without_a_live_instance_is_unknown(api, service, gid):
    """A driven try with an unknown outcome aborts; a cancel waits until the service is back."""
    branch = {"branch_id": "a", "target": f"{service}/hold"}
    body = {"pattern": "tcc", "gid": gid, "drive": True, "branches": [branch]}
    assert api.post("/v1/transactions", json=body).status_code == 201

    def look():
        view = api.get(f"/v1/transactions/{gid}").json()
        return view if view["attempts"] and view["reason"] else None

    view = until("the try has an outcome", look)
    assert (view["status"], view["reason"], view["attempts"][0]["outcome"]) == ("aborting", "unknown", "unknown")


def test_service_is_found_when_it_comes_up_later(participant, api, service, announce, gid):
    """Names are looked up at each call."""
    branch = {"branch_id": "a", "target": f"{service}/hold"}
    api.post("/v1/transactions", json={"pattern": "tcc", "gid": gid, "branches": [branch]})
    assert api.post(f"/v1/transactions/{gid}/commit?wait_ms=10").json()["status"] == "committing"
    announce(base_url=participant.url, actions={"hold": ["confirm", "cancel"]})
    assert api.post(f"/v1/transactions/{gid}/commit?wait_ms=20000").json()["status"] == "committed"


def test_announcements_outlive_the_coordinator(tmp_path, service):
    """They are durable until their lease ends: a restart makes nobody unknown."""
    body = {"base_url": "http://127.0.0.1:7001", "actions": {}, "lease_ms": 3_600_000}
    with serving(tmp_path) as server:
        assert ask("PUT", f"{server.url}/v1/services/{service}/instances/one", body).status == 200
        server.kill()
        server.run()
        assert len(ask("GET", f"{server.url}/v1/services/{service}").json["instances"]) == 1


def test_finished_tells_what_a_barrier_may_forget(api, gid):
    """Finished and unknown gids; open ones are in neither list."""
    gids = {"open": f"{gid}-open", "done": f"{gid}-done", "recorded": f"{gid}-recorded", "never": f"{gid}-never"}
    for name in ("open", "done"):
        api.post("/v1/transactions", json={"pattern": "tcc", "gid": gids[name]})
    api.post(f"/v1/transactions/{gids['done']}/commit?wait_ms=20000")
    api.post(f"/v1/transactions/{gids['recorded']}/abort")
    answer = api.post("/v1/transactions/finished", json={"gids": list(gids.values())})
    assert answer.status_code == 200
    said = answer.json()
    assert sorted(said["finished"]) == sorted([gids["done"], gids["recorded"]])
    assert said["unknown"] == [gids["never"]]


def test_finished_takes_a_thousand_gids_and_no_more(api):
    """A barrier asks in pages."""
    gids = [f"g-{number}" for number in range(1_001)]
    assert len(api.post("/v1/transactions/finished", json={"gids": gids[:1_000]}).json()["unknown"]) == 1_000
    assert refused(api.post("/v1/transactions/finished", json={"gids": gids}), 422, "rule", "gids")["limit"] == 1_000
    assert api.post("/v1/transactions/finished", json={"gids": []}).json() == {"finished": [], "unknown": []}
    assert refused(api.post("/v1/transactions/finished", json={"gids": ["a b"]}), 422, "rule")["field"].startswith(
        "gids"
    )
