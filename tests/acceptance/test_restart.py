"""Killed with SIGKILL in each open status, the coordinator goes on after its restart, on every database."""

import os
import signal
import urllib.request

import pytest

from acceptance.processes import ask, until

TCC = {"pattern": "tcc", "gid": "t"}
SAGA = {"pattern": "saga", "gid": "t"}


def branches(participant, *actions, **fields):
    return [{"branch_id": name, "target": f"{participant.url}/{name}", **fields} for name in actions]


def killed_and_restarted(server, status: str) -> None:
    """Kill the server while the transaction has this status, and see the same status after the restart."""
    assert server.transaction("t")["status"] == status
    server.kill()
    server.run()


def test_active_tcc_is_aborted_at_its_timeout_after_a_restart(servers, participant, database_url):
    """A transaction whose initiator is silent is aborted in time by the coordinator's next life."""
    server = servers(database_url, PLACET_NODE_ID="one").run()
    server.begin({**TCC, "timeout_ms": 4_000, "branches": branches(participant, "debit", "credit")})
    killed_and_restarted(server, "active")
    view = server.settled("t", "aborted")
    assert view["reason"] == "timeout"
    assert {call.action for call in participant.calls if call.op == "cancel"} == {"debit", "credit"}
    assert not [call for call in participant.calls if call.op == "confirm"]


def test_decided_commit_is_finished_after_a_restart(servers, participant, database_url):
    """Once commit was answered, a kill before the confirms are done changes nothing about the outcome."""
    server = servers(database_url, PLACET_NODE_ID="one").run()
    participant.hold("debit/confirm", "credit/confirm")
    server.begin({**TCC, "branches": branches(participant, "debit", "credit")})
    assert ask("POST", f"{server.url}/v1/transactions/t/commit").json["status"] == "committing"
    until("a confirm was sent", lambda: participant.arrived("debit/confirm"))
    killed_and_restarted(server, "committing")
    participant.release()
    view = server.settled("t", "committed")
    assert [branch["status"] for branch in view["branches"]] == ["confirmed", "confirmed"]
    assert not [call for call in participant.calls if call.op == "cancel"]


def test_decided_abort_is_finished_after_a_restart(servers, participant, database_url):
    """Once abort was answered, every branch is cancelled in the end, whatever happens to the coordinator."""
    server = servers(database_url, PLACET_NODE_ID="one").run()
    participant.hold("debit/cancel", "credit/cancel")
    server.begin({**TCC, "branches": branches(participant, "debit", "credit")})
    assert ask("POST", f"{server.url}/v1/transactions/t/abort").json["status"] == "aborting"
    until("a cancel was sent", lambda: participant.arrived("credit/cancel"))
    killed_and_restarted(server, "aborting")
    participant.release()
    view = server.settled("t", "aborted")
    assert [branch["status"] for branch in view["branches"]] == ["cancelled", "cancelled"]
    assert not [call for call in participant.calls if call.op == "confirm"]


def test_running_saga_goes_on_after_a_restart(servers, participant, database_url):
    """A saga that was killed at its second step runs this step and the next; nobody has to submit it again."""
    server = servers(database_url, PLACET_NODE_ID="one").run()
    participant.hold("flight/action")
    server.begin({**SAGA, "branches": branches(participant, "hotel", "flight", "car")})
    until("the second step was sent", lambda: participant.arrived("flight/action"))
    killed_and_restarted(server, "active")
    participant.release()
    view = server.settled("t", "committed")
    assert [branch["status"] for branch in view["branches"]] == ["done", "done", "done"]
    assert len(participant.arrived("car/action")) == 1
    assert not [call for call in participant.calls if call.op == "compensate"]


def test_aborting_saga_is_undone_after_a_restart(servers, participant, database_url):
    """A saga that was killed while undoing goes on undoing, latest step first."""
    server = servers(database_url, PLACET_NODE_ID="one").run()
    participant.reject("car/action")
    participant.hold("flight/compensate")
    server.begin({**SAGA, "branches": branches(participant, "hotel", "flight", "car")})
    until("the second step's compensation was sent", lambda: participant.arrived("flight/compensate"))
    killed_and_restarted(server, "aborting")
    participant.release()
    view = server.settled("t", "aborted")
    assert view["reason"] == "rejected"
    assert [branch["status"] for branch in view["branches"]][:2] == ["compensated", "compensated"]
    undone = [call.action for call in participant.calls if call.op == "compensate" and call.action != "car"]
    assert undone.index("hotel") > max(place for place, action in enumerate(undone) if action == "flight")


def test_sqlite_file_serves_one_coordinator(servers, sqlite_url):
    """A second server on the same SQLite file refuses to start, and says why."""
    servers(sqlite_url).run()
    second = servers(sqlite_url)
    second.start()
    until("the second server has ended", second.has_ended)
    assert "sqlite" in second.log.read_text().lower()


@pytest.mark.parametrize("status", ["committing", "aborting"])
def test_survivor_finishes_the_transactions_of_a_killed_node(servers, participant, postgres_url, status):
    """Of two servers on one PostgreSQL one is killed; after its lease the other finishes what it had open."""
    decision, op, final = {
        "committing": ("commit", "confirm", "committed"),
        "aborting": ("abort", "cancel", "aborted"),
    }[status]
    first = servers(postgres_url, PLACET_NODE_ID="first", PLACET_LEASE="2s").run()
    second = servers(postgres_url, PLACET_NODE_ID="second", PLACET_LEASE="2s").run()
    participant.hold(f"debit/{op}")
    gids = [f"t-{number}" for number in range(20)]
    for gid in gids:
        first.begin({"pattern": "tcc", "gid": gid, "branches": branches(participant, "debit", "credit")})
        assert ask("POST", f"{first.url}/v1/transactions/{gid}/{decision}").json["status"] == status
    for gid in gids:
        until(f"{op} of {gid} was sent", lambda gid=gid: participant.arrived(f"debit/{op}", gid))
        assert second.transaction(gid)["status"] == status
    first.kill()
    participant.release()
    for gid in gids:
        view = second.settled(gid, final, timeout_s=20)
        assert {branch["status"] for branch in view["branches"]} == {f"{op}ed" if op == "confirm" else "cancelled"}


def test_killed_writer_of_sqlite_loses_no_transaction(servers, participant, sqlite_url):
    """The process that writes the journal dies between begin and commit, and again: both calls are answered durably."""
    server = servers(sqlite_url, PLACET_NODE_ID="one").run()
    for gid in ("t", "u"):
        server.begin({**TCC, "gid": gid, "branches": branches(participant, "debit", "credit")})
        (writer,) = server.children()
        os.kill(writer, signal.SIGKILL)
        assert ask("POST", f"{server.url}/v1/transactions/{gid}/commit").status in {200, 500}  # 500: repeat the call
        assert ask("POST", f"{server.url}/v1/transactions/{gid}/commit").status == 200
        server.settled(gid, "committed")


def test_metrics_tell_what_the_writer_of_sqlite_uses(servers, sqlite_url):
    """The process that writes stands beside the coordinator's own; of one that has died nothing is told."""
    server = servers(sqlite_url).run()
    (writer,) = server.children()
    used = figures(server)
    assert used["placet_store_writer_process_resident_memory_bytes"] > 1_000_000
    assert used["placet_store_writer_process_cpu_seconds_total"] != used["process_cpu_seconds_total"]
    os.kill(writer, signal.SIGKILL)
    until("the writer is gone", lambda: writer not in server.children())
    assert "placet_store_writer_process_cpu_seconds_total" not in figures(server)


def figures(server) -> dict[str, float]:
    """Return the metrics that have no labels, by name."""
    with urllib.request.urlopen(f"{server.url}/metrics", timeout=10) as reply:
        lines = [line.split() for line in reply.read().decode().splitlines() if not line.startswith("#")]
    return {name: float(figure) for name, figure in lines if "{" not in name}
