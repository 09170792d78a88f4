"""One call of a branch over HTTP: what is sent, and what each answer, or none, is taken for."""

import asyncio
import json

import pytest
from msgspec import Raw
from msgspec.structs import replace

from placet_contract.vocabulary import Operation, Outcome, Pattern, Status
from placet_coordinator.core.transaction import Transaction
from placet_coordinator.ports.participants import BranchCall
from unit.dispatch.conftest import GID, a_branch, a_call, done
from unit.rpc.conftest import reply

PROBLEM = b'{"type":"https://placet.example/problems/%b","title":"no","status":409,"detail":"%b"}'


def answering(*answers):
    """Return a server's script: one answer for each request, the last for all that follow."""
    left = list(answers)

    async def script(peer):
        while True:
            peer.requests.append(await peer.request())
            await peer.send(left.pop(0) if len(left) > 1 else left[0])

    return script


@pytest.fixture
async def answer(serve):
    """Starts a server with its answers, and keeps its requests."""

    async def start(*answers):
        requests = []

        async def script(peer):
            peer.requests = requests
            await answering(*answers)(peer)

        server = await serve(script)
        server.requests = requests
        return server

    return start


def fields_of(request: bytes) -> dict[str, str]:
    """Return a request's header fields."""
    lines = request.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
    return dict(line.split(": ", 1) for line in lines)


# --- what is sent


async def test_call_carries_the_headers_of_the_wire(dispatch, answer):
    """Everything that a participant needs to tell this call from all others, and to bound its work."""
    server = await answer(reply())
    call = a_call(f"{server.url}/debit", attempt=3, payload=Raw(b'{"amount":30}'), headers={"x-shop": "7"})
    traced = replace(call.transaction, traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    await dispatch.start(replace(call, transaction=traced))
    (request,) = server.requests
    head, _, body = request.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /debit/confirm HTTP/1.1\r\n")
    assert body == b'{"amount":30}'
    fields = fields_of(request)
    sent_at_ms = int(fields.pop("placet-time-ms"))
    assert abs(sent_at_ms - dispatch.participants.now_ms()) < 60_000
    assert {name: value for name, value in fields.items() if name not in ("host", "user-agent")} == {
        "content-type": "application/json",
        "content-length": "13",
        "placet-gid": GID,
        "placet-branch": "a",
        "placet-op": "confirm",
        "placet-attempt": "3",
        "placet-deadline-ms": "5000",
        "placet-begun-at-ms": "1700000000000",
        "idempotency-key": f"{GID}/a/confirm",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "x-shop": "7",
    }


async def test_payload_that_was_left_out_is_null(dispatch, answer):
    """The body is always JSON."""
    server = await answer(reply())
    await dispatch.call(server.url)
    assert server.requests[0].endswith(b"\r\n\r\nnull")


async def test_envelope_carries_the_results_that_a_step_stands_on(dispatch, answer):
    """The payload, the branch's own forward result, and those of the steps in its `after`, no others."""
    server = await answer(reply())
    own = a_branch(server.url, payload=Raw(b"[1]"), envelope=True, after=("hotel",))
    steps = [done("hotel", b'{"room":7}'), done("flight", b"9"), (own, done("a", b'"own"')[1])]
    transaction = Transaction(
        GID,
        Pattern.SAGA,
        Status.ABORTING,
        created_at_ms=1,
        branches=tuple(branch for branch, _ in steps),
        progress=tuple(progress for _, progress in steps),
    )
    await dispatch.start(BranchCall(transaction, own, 2, Operation.COMPENSATE, 1))
    body = server.requests[0].partition(b"\r\n\r\n")[2]
    assert json.loads(body) == {"payload": [1], "result": "own", "results": {"hotel": {"room": 7}}}


async def test_envelope_without_results_says_null(dispatch, answer):
    """A compensation may come for an action whose result nobody knows."""
    server = await answer(reply())
    await dispatch.call(server.url, Operation.COMPENSATE, envelope=True, payload=Raw(b"{}"))
    body = server.requests[0].partition(b"\r\n\r\n")[2]
    assert json.loads(body) == {"payload": {}, "result": None, "results": {}}


async def test_object_target_is_called_as_it_is_named(dispatch, answer):
    """Each operation has its own URL; one that is not named can't be called, and nothing is sent."""
    server = await answer(reply())
    target = {Operation.CONFIRM: f"{server.url}/ok?", Operation.CANCEL: f"{server.url}/undo/it"}
    await dispatch.call({**target, Operation.CONFIRM: f"{server.url}/ok"})
    await dispatch.call(target, Operation.CANCEL)
    assert [request.split()[1] for request in server.requests] == [b"/ok", b"/undo/it"]
    end = await dispatch.call(target, Operation.TRY)
    assert (end.verdict.outcome, end.sent) == (Outcome.UNKNOWN, False)
    assert "names no try" in end.verdict.detail


async def test_url_of_an_object_target_is_not_taken_for_another_targets(dispatch):
    """A host that is named like an operation gets its own calls, and no other's."""
    plain = dispatch.participants._endpoints.find(a_branch("http://confirm"), Operation.CONFIRM)
    named = dispatch.participants._endpoints.find(a_branch({Operation.CONFIRM: "http://confirm"}), Operation.CONFIRM)
    assert (plain.url, named.url) == ("http://confirm/confirm", "http://confirm")


# --- what an answer means

ANSWERS = {
    "200": (reply(b"{}"), Operation.CONFIRM, Outcome.DONE, ""),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", Operation.CONFIRM, Outcome.DONE, ""),
    "200 without a body": (reply(b""), Operation.TRY, Outcome.DONE, ""),
    "425": (reply(b"", "425 Too Early"), Operation.ACTION, Outcome.ONGOING, "425"),
    "409 rejected": (reply(PROBLEM % (b"rejected", b"no money"), "409 Conflict"), Operation.TRY, Outcome.REJECTED, ""),
    "409 late": (reply(PROBLEM % (b"late", b""), "409 Conflict"), Operation.ACTION, Outcome.REJECTED, "late"),
    "409 rejected, to a confirm": (
        reply(PROBLEM % (b"rejected", b"no"), "409 Conflict"),
        Operation.CONFIRM,
        Outcome.UNKNOWN,
        "may not be refused",
    ),
    "409 not tried": (reply(PROBLEM % (b"not-tried", b""), "409 Conflict"), Operation.CONFIRM, Outcome.UNKNOWN, ""),
    "409 of somebody else": (reply(b"<html>", "409 Conflict"), Operation.TRY, Outcome.UNKNOWN, "without a problem"),
    "302": (
        reply(b"", "302 Found", b"location: http://127.0.0.1:1/elsewhere"),
        Operation.TRY,
        Outcome.UNKNOWN,
        "HTTP 302",
    ),
    "307": (
        reply(b"", "307 Temporary Redirect", b"location: /elsewhere"),
        Operation.CONFIRM,
        Outcome.UNKNOWN,
        "HTTP 307",
    ),
    "400": (reply(b"", "400 Bad Request"), Operation.TRY, Outcome.UNKNOWN, "HTTP 400"),
    "404": (reply(b"", "404 Not Found"), Operation.CANCEL, Outcome.UNKNOWN, "HTTP 404"),
    "503": (reply(b"", "503 Service Unavailable"), Operation.CONFIRM, Outcome.UNKNOWN, "HTTP 503"),
    "garbage": (b"220 smtp.example.org ESMTP\r\n", Operation.TRY, Outcome.UNKNOWN, "not an HTTP/1.1 reply"),
    "a head that never ends": (
        b"HTTP/1.1 200 OK\r\nx: " + b"x" * 100_000,
        Operation.TRY,
        Outcome.UNKNOWN,
        "max_head_bytes",
    ),
    "a body over the limit": (reply(b"x" * 1_048_577), Operation.TRY, Outcome.UNKNOWN, "max_reply_bytes"),
    "chunks over the limit": (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + b"100000\r\n" + b"x" * 0x100000 + b"\r\n1\r\nx\r\n",
        Operation.TRY,
        Outcome.UNKNOWN,
        "max_reply_bytes",
    ),
}


@pytest.mark.parametrize("name", ANSWERS)
async def test_answer_is_taken_for_what_the_wire_says(dispatch, answer, name):
    """Four answers say something; anything else is unknown. Whatever it is, the call is made once."""
    said, operation, outcome, detail = ANSWERS[name]
    server = await answer(said)
    end = await dispatch.call(f"{server.url}/debit", operation)
    assert end.verdict.outcome is outcome
    assert detail in end.verdict.detail
    assert end.sent
    assert len(server.requests) == 1
    assert end.verdict.late is (name == "409 late")


async def test_rejection_carries_the_participants_words(dispatch, answer):
    """The reason is for people; control characters and endless texts are kept out of logs and columns."""
    said = PROBLEM % (b"rejected", b"no\\u0000 money\\n" + b"x" * 2_000)
    server = await answer(reply(said, "409 Conflict"))
    end = await dispatch.call(server.url, Operation.TRY)
    assert end.verdict.detail.startswith("no  money ")
    assert len(end.verdict.detail) <= 500


# --- no answer

CUTS = {
    "before a byte of the answer": b"",
    "in the head": b"HTTP/1.1 200 OK\r\ncontent-le",
    "in the body": b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n{}",
    "in a chunk": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{",
}


@pytest.mark.parametrize("where", CUTS)
async def test_cut_connection_is_unknown_and_not_repeated(dispatch, serve, where):
    """The request may have been carried out: it counts as sent, and comes again only when the engine says so."""
    requests = []

    async def script(peer):
        requests.append(await peer.request())
        await peer.send(CUTS[where])
        peer.writer.transport.abort()

    server = await serve(script)
    end = await dispatch.call(server.url, Operation.TRY)
    assert (end.verdict.outcome, end.verdict.answered, end.sent) == (Outcome.UNKNOWN, False, True)
    await asyncio.sleep(0.05)
    assert len(requests) == 1


async def test_call_without_an_answer_ends_at_its_timeout(dispatch, serve):
    """The branch's own timeout bounds the call; until its deadline it may still be at work over there."""

    async def silent(peer):
        await peer.gone()

    server = await serve(silent)
    end = await dispatch.call(server.url, timeout_ms=60)
    assert (end.verdict.outcome, end.sent) == (Outcome.UNKNOWN, True)
    assert end.deadline_at_ms == end.started_at_ms + 60
    assert end.duration_ms >= 50


async def test_participant_that_is_not_there_was_sent_nothing(dispatch):
    """A refused connection proves that nothing runs there."""
    end = await dispatch.call("http://127.0.0.1:1/debit", Operation.TRY)
    assert (end.verdict.outcome, end.sent) == (Outcome.UNKNOWN, False)


async def test_call_that_is_refused_at_once_ends_after_the_step_that_asked(make_dispatch):
    """Even if nothing can be sent, the driver is not entered in the middle of its step."""
    dispatch = await make_dispatch()
    ends = []
    dispatch.participants.call(a_call("http://127.0.0.1:1", timeout_ms=0), ends.append)
    assert not ends
    await asyncio.sleep(0)
    assert [end.sent for end in ends] == [False]


async def test_headers_that_cannot_be_sent_end_the_call_unsent(dispatch, answer):
    """A row that holds what no message can carry costs its own call, and no place in the queue."""
    server = await answer(reply())
    end = await dispatch.call(server.url, headers={"x": "two\r\nlines"})
    assert (end.verdict.outcome, end.sent) == (Outcome.UNKNOWN, False)
    assert "control character" in end.verdict.detail
    assert all(queue.is_idle for queue in dispatch.participants._queues.values())
    assert not server.requests


# --- results


@pytest.mark.parametrize(
    ("body", "kept", "note"),
    [
        (b'{"room":7}', b'{"room":7}', ""),
        (b"", b"null", ""),
        (b"OK", b"null", "not JSON"),
        (b'"\xff"', b"null", "not JSON"),
        (b'"\\ud800"', b"null", "not JSON"),
        (b"[" * 65 + b"]" * 65, b"null", "nested deeper"),
        (b"[" * 100_000 + b"]" * 100_000, b"null", "JSON"),
        (b"[" * 64 + b"]" * 64, b"[" * 64 + b"]" * 64, ""),
    ],
)
async def test_result_that_cannot_be_kept_is_null_and_the_step_is_done(dispatch, answer, body, kept, note):
    """What a participant says after a 2xx never changes that it is done."""
    server = await answer(reply(body))
    end = await dispatch.call(server.url, Operation.ACTION)
    assert end.verdict.outcome is Outcome.DONE
    assert bytes(end.result) == kept
    assert note in end.verdict.detail


async def test_result_of_a_confirm_is_not_kept(dispatch, answer):
    """Only the forward operation's answer is the branch's result."""
    server = await answer(reply(b'{"x":1}'))
    assert bytes((await dispatch.call(server.url, Operation.CONFIRM)).result) == b"null"


# --- is it the participant's own answer?


@pytest.mark.parametrize(
    ("echo", "outcome"),
    [
        (b"placet-outcome: t-1/a/confirm", Outcome.DONE),
        (b"Placet-Outcome: t-1/a/confirm", Outcome.DONE),
        (b"placet-outcome: t-1/a/cancel", Outcome.UNKNOWN),
        (b"placet-outcome: t-2/a/confirm", Outcome.UNKNOWN),
        (b"x: y", Outcome.UNKNOWN),
    ],
)
async def test_answer_of_an_sdk_participant_needs_its_echo(dispatch, answer, echo, outcome):
    """A proxy's 200, or another service's, is no answer of a participant that is known to echo."""
    server = await answer(reply(b"{}", "200 OK", echo))
    await dispatch.announce("bank", server.url, sdk="placet 0.1")
    assert (await dispatch.call("bank/debit")).verdict.outcome is outcome


async def test_echo_of_another_call_is_no_answer_of_anybody(dispatch, answer):
    """Even a participant that is not known to echo does not get away with another call's answer."""
    server = await answer(reply(b"{}", "200 OK", b"placet-outcome: t-9/a/confirm"), reply(b"{}"))
    assert (await dispatch.call(server.url)).verdict.outcome is Outcome.UNKNOWN
    assert (await dispatch.call(server.url)).verdict.outcome is Outcome.DONE
