"""Two servers on one PostgreSQL: what one can't finish any more, the other does, once its lease has lapsed."""

import signal

import pytest

from acceptance.processes import ask, until

LEASE = "2s"
PAUSED_LIMIT_S = 30


def branches(participant, *actions, **fields):
    return [{"branch_id": name, "target": f"{participant.url}/{name}", **fields} for name in actions]


@pytest.fixture
def two_servers(servers, postgres_url):
    """Two nodes on one database, both serving."""
    return [servers(postgres_url, PLACET_NODE_ID=name, PLACET_LEASE=LEASE).run() for name in ("first", "second")]


def begin_one_of_each(server, participant) -> dict[str, str]:
    """Begin transactions that hang in every open status; return by gid where each has to end."""
    participant.hold("debit/confirm", "debit/cancel", "seat/action", "hotel/compensate", "ticket/try", "late/cancel")
    participant.reject("car/action")
    server.begin({"pattern": "tcc", "gid": "active", "timeout_ms": 3_000, "branches": branches(participant, "late")})
    for gid, decision in (("committing", "commit"), ("aborting", "abort")):
        server.begin({"pattern": "tcc", "gid": gid, "branches": branches(participant, "debit", "credit")})
        assert ask("POST", f"{server.url}/v1/transactions/{gid}/{decision}").status == 200
    server.begin({"pattern": "tcc", "gid": "driven", "drive": True, "branches": branches(participant, "ticket")})
    server.begin({"pattern": "saga", "gid": "forward", "branches": branches(participant, "room", "seat")})
    server.begin({"pattern": "saga", "gid": "backward", "branches": branches(participant, "hotel", "car")})
    for name in ("debit/confirm", "debit/cancel", "seat/action", "hotel/compensate", "ticket/try"):
        until(f"{name} was sent", lambda name=name: participant.arrived(name))
    return {
        "active": "aborted",
        "committing": "committed",
        "aborting": "aborted",
        "driven": "aborted",
        "forward": "committed",
        "backward": "aborted",
    }


def test_survivor_finishes_what_a_killed_node_had_open(two_servers, participant):
    """Whatever status a transaction was in when its node was killed, the other node brings it to its end."""
    first, second = two_servers
    ends = begin_one_of_each(first, participant)
    first.kill()
    participant.release()
    views = {gid: second.settled(gid, end) for gid, end in ends.items()}
    assert views["active"]["reason"] == "timeout"
    assert views["driven"]["reason"] == "unknown"
    assert views["backward"]["reason"] == "rejected"
    undone = {gid: {branch["status"] for branch in views[gid]["branches"]} for gid in ("active", "aborting", "driven")}
    assert undone == {gid: {"cancelled"} for gid in undone}
    assert not participant.arrived("late/confirm")
    assert not participant.arrived("ticket/confirm")
    assert not participant.arrived("room/compensate")


def test_node_that_was_stopped_lets_go_of_what_was_claimed_meanwhile(two_servers, participant):
    """A frozen process that wakes up after its lease calls nobody for what the other finished, and serves again."""
    first, second = two_servers
    participant.hold("debit/confirm")
    gids = [f"t-{number}" for number in range(10)]
    for gid in gids:
        first.begin({"pattern": "tcc", "gid": gid, "branches": branches(participant, "debit", "credit")})
        ask("POST", f"{first.url}/v1/transactions/{gid}/commit")
    for gid in gids:
        until(f"confirm of {gid} was sent", lambda gid=gid: participant.arrived("debit/confirm", gid))
    first.send_signal(signal.SIGSTOP)
    try:
        participant.release()
        for gid in gids:
            second.settled(gid, "committed", PAUSED_LIMIT_S)
        called = len(participant.calls)
    finally:
        first.send_signal(signal.SIGCONT)
    until("the first node serves again", lambda: ask("GET", f"{first.url}/readyz").status == 200)
    for gid in gids:
        assert first.transaction(gid)["status"] == "committed"
        assert ask("POST", f"{first.url}/v1/transactions/{gid}/commit").json["status"] == "committed"
        assert ask("POST", f"{first.url}/v1/transactions/{gid}/abort").status == 409
    assert len(participant.calls) == called
    first.begin({"pattern": "tcc", "gid": "after", "branches": branches(participant, "debit")})
    ask("POST", f"{first.url}/v1/transactions/after/commit")
    first.settled("after", "committed")


def test_request_at_another_node_is_served_there(two_servers, participant):
    """Any node may serve any request: begun at one, registered at the other, committed at the first again."""
    first, second = two_servers
    first.begin({"pattern": "tcc", "gid": "t", "branches": branches(participant, "debit")})
    added = ask("POST", f"{second.url}/v1/transactions/t/branches", {"branches": branches(participant, "credit")})
    assert added.status == 200
    committed = ask("POST", f"{first.url}/v1/transactions/t/commit?wait_ms=20000")
    assert (committed.status, committed.json["status"]) == (200, "committed")
    assert {call.action for call in participant.calls if call.op == "confirm"} == {"debit", "credit"}
    assert not [call for call in participant.calls if call.op == "cancel"]


def test_node_that_is_asked_to_stop_hands_over_at_once(servers, participant, postgres_url):
    """A rolling restart waits for no lease: what was open is claimed as soon as the node has released its own."""
    first, second = (
        servers(postgres_url, PLACET_NODE_ID=name, PLACET_LEASE="10m", PLACET_DRAIN="1s").run()
        for name in ("first", "second")
    )
    participant.hold("debit/confirm")
    first.begin({"pattern": "tcc", "gid": "open", "timeout_ms": 600_000, "branches": branches(participant, "credit")})
    first.begin({"pattern": "tcc", "gid": "decided", "branches": branches(participant, "debit", "credit")})
    ask("POST", f"{first.url}/v1/transactions/decided/commit")
    until("a confirm was sent", lambda: participant.arrived("debit/confirm"))
    first.stop()
    participant.release()
    second.settled("decided", "committed")
    committed = ask("POST", f"{second.url}/v1/transactions/open/commit?wait_ms=20000")
    assert (committed.status, committed.json["status"]) == (200, "committed")
