"""A diamond saga whose coordinator is killed at any point, and comes back after its timeout, leaves no effect."""

import http.client
import signal
import time
from contextlib import suppress

import pytest

from acceptance.processes import until
from integration.barrier import BarrierParticipant, Gate

TIMEOUT_MS = 3_000
CALL_TIMEOUT_MS = 500
STEPS = ("top", "left", "right", "bottom")
FORWARD = [f"{step}/action" for step in STEPS]
BACKWARD = ["right/compensate", "left/compensate", "top/compensate"]


@pytest.fixture
def participant():
    """A participant with a barrier."""
    with BarrierParticipant() as serving:
        yield serving


def diamond(participant, gid: str, timeout_ms: int = TIMEOUT_MS):
    """Return a saga whose second and third step run beside each other, between the first and the last."""
    after = {"top": [], "left": ["top"], "right": ["top"], "bottom": ["left", "right"]}
    steps = [
        {
            "branch_id": step,
            "target": f"{participant.url}/{step}",
            "after": after[step],
            "timeout_ms": CALL_TIMEOUT_MS,
            "retry": {"cap_ms": 200},
        }
        for step in STEPS
    ]
    return {"pattern": "saga", "gid": gid, "timeout_ms": timeout_ms, "branches": steps}


def wait_for_timeout(begun_at: float, timeout_ms: int = TIMEOUT_MS) -> None:
    """Wait until the sagas' time has passed while no coordinator runs."""
    until("the timeout has passed", lambda: time.monotonic() > begun_at + timeout_ms / 1_000)


def test_saga_that_was_killed_inside_any_call_leaves_no_effect(servers, participant, postgres_url):
    """At the kill each call of the diamond is under way in one saga, before its effect, and in one after it.

    The calls that hang go on once the coordinator is back and has undone the sagas: what comes late has no effect.
    """
    gate = Gate()
    hangs = {f"{when}-{name.replace('/', '-')}": (when, name) for when in ("before", "after") for name in FORWARD}
    undoing = {f"{when}-{name.replace('/', '-')}": (when, name) for when in ("before", "after") for name in BACKWARD}
    participant.rejects = {(gid, "bottom") for gid in undoing}

    def hold(when, call):
        name = f"{call.action}/{call.op}"
        if (hangs | undoing)[call.gid] == (when, name):
            gate.hold(call.gid)

    participant.before = lambda call: hold("before", call)
    participant.after = lambda call: hold("after", call)
    server = servers(postgres_url, PLACET_NODE_ID="one").run()
    begun_at = time.monotonic()
    for gid in hangs | undoing:
        server.begin(diamond(participant, gid))
    until("every saga hangs in its call", lambda: gate.arrived == set(hangs | undoing))
    server.kill()
    gate.let_pass()
    wait_for_timeout(begun_at)
    server.run()
    for gid in hangs | undoing:
        view = server.settled(gid, "aborted")
        assert view["reason"] == ("rejected" if gid in undoing else "timeout")
    gate.open()
    until("whoever hung has gone on", participant.is_idle)
    assert {gid: left for gid in hangs | undoing if (left := participant.effects(gid))} == {}


@pytest.mark.parametrize("name", [*FORWARD[1:], *BACKWARD])
def test_saga_that_was_killed_between_two_calls_leaves_no_effect(servers, participant, sqlite_url, name):
    """The kill comes with the arrival of the next call: the answers to those before it are in no row yet."""
    if name in BACKWARD:
        participant.rejects = {("t", "bottom")}
    server = servers(sqlite_url, PLACET_NODE_ID="one").run()

    def kill(call):
        if f"{call.action}/{call.op}" == name:
            participant.before = lambda _call: None
            server.send_signal(signal.SIGKILL)

    participant.before = kill
    begun_at = time.monotonic()
    with suppress(OSError, http.client.HTTPException):  # the kill may be quicker than the answer
        server.begin(diamond(participant, "t", timeout_ms=1_000))
    until("the server was killed", server.has_ended)
    wait_for_timeout(begun_at, 1_000)
    server.run()
    assert server.settled("t", "aborted")["reason"] in ("timeout", "rejected", "late")
    assert participant.effects("t") == {}


def test_saga_whose_coordinator_comes_back_in_time_is_finished(servers, participant, sqlite_url):
    """Without the timeout the same kill costs time alone: every effect is there, once."""
    server = servers(sqlite_url, PLACET_NODE_ID="one").run()
    gate = Gate()
    participant.after = lambda call: gate.hold("bottom") if call.action == "bottom" else None
    server.begin(diamond(participant, "t", timeout_ms=600_000))
    until("the last step has its effect", lambda: gate.arrived)
    server.kill()
    gate.open()
    server.run()
    assert [branch["status"] for branch in server.settled("t", "committed")["branches"]] == ["done"] * 4
    assert participant.effects("t") == dict.fromkeys(STEPS, 1)
