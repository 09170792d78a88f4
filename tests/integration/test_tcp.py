"""The coordinator over the built-in RPC's TCP transport: the same calls, the same answers; participants alike."""

import asyncio
import json
from typing import Any

import pytest

from acceptance.processes import Server, ask
from placet_rpc import HeaderTemplate, Reply
from placet_rpc.frames import CODEC_HTTP
from placet_rpc.tcp import HttpCalls, TcpClient, TcpServer

CALL_LIMIT_MS = 20_000
_BEARER = HeaderTemplate("authorization")
_TOKEN = "a-token-of-some-length"


class Participant:
    """An ASGI application that answers every call with 200, and notes by which way it came."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        self.calls.append((scope["path"], dict(scope["headers"])[b"placet-gid"].decode()))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": b'{"seat":3}'})


@pytest.fixture
async def tcp():
    """A client of the TCP transport."""
    async with TcpClient() as client:
        yield client


@pytest.fixture
async def participant():
    """A participant that is reached over TCP alone."""
    app = Participant()
    server = TcpServer({CODEC_HTTP: HttpCalls(app)})
    await server.start()
    app.tcp_url = f"tcp://127.0.0.1:{server.port}"
    app.server = server
    yield app
    await server.aclose()


@pytest.fixture
def server(tmp_path, sqlite_url):
    """One `placet server`, stopped at the end."""
    running = Server(sqlite_url, tmp_path).run()
    yield running
    running.stop()


def tcp_url_of(server: Server) -> str:
    url: str = ask("GET", f"{server.url}/healthz").json["tcp_url"]
    return url


async def post(tcp: TcpClient, url: str, body: Any, headers: bytes = b"") -> Reply:
    return await tcp.target(url).call(json.dumps(body).encode(), headers, timeout_ms=CALL_LIMIT_MS)


async def announce(server: Server, **fields: Any) -> None:
    instance = {"base_url": "http://127.0.0.1:9/placet", "actions": {"book": ["action", "compensate"]}, **fields}
    answer = await asyncio.to_thread(ask, "PUT", f"{server.url}/v1/services/hotel/instances/one", instance)
    assert answer.status == 200, answer


async def test_hot_calls_and_reads_are_answered_alike_over_tcp(server, tcp):
    """Begin, commit and a read over TCP have the status, the type and the body that they have over HTTP."""
    url = tcp_url_of(server)
    begun = await post(tcp, f"{url}/v1/transactions", {"pattern": "tcc", "gid": "t-1"})
    assert (begun.status, begun.header("content-type")) == (201, "application/json")
    committed = await post(tcp, f"{url}/v1/transactions/t-1/commit?wait_ms=5000", {})
    assert json.loads(committed.body)["status"] == "committed"
    read = await tcp.request("GET", f"{url}/v1/transactions/t-1")
    assert json.loads(read.body) == server.transaction("t-1")


async def test_problems_are_the_same_over_tcp(server, tcp):
    """A broken rule, an unknown gid and a conflict are told by the same problem as over HTTP."""
    url = tcp_url_of(server)
    for path, body in (
        ("/v1/transactions", {"pattern": "tcc", "gid": "not allowed"}),
        ("/v1/transactions/nobody/commit", {}),
        ("/v1/transactions/nobody/branches", {"branches": []}),
    ):
        over_tcp = await post(tcp, f"{url}{path}", body)
        over_http = await asyncio.to_thread(ask, "POST", f"{server.url}{path}", body)
        assert (over_tcp.status, json.loads(over_tcp.body)) == (over_http.status, over_http.json)


async def test_token_is_asked_for_over_tcp(tmp_path, sqlite_url, tcp):
    """The same bearer token opens both doors, and neither opens without it."""
    server = Server(sqlite_url, tmp_path, PLACET_SERVER_TOKENS=_TOKEN).run()
    try:
        url = tcp_url_of(server)
        begin = {"pattern": "tcc", "gid": "t-1"}
        assert (await post(tcp, f"{url}/v1/transactions", begin)).status == 401
        assert (await post(tcp, f"{url}/v1/transactions", begin, _BEARER.fill(f"Bearer {_TOKEN}"))).status == 201
    finally:
        server.stop()


async def test_participant_is_called_over_tcp_where_it_offers_that(server, participant):
    """An instance with a `tcp_url` gets the same request at the same path, and its answer is the branch's result."""
    await announce(server, tcp_url=participant.tcp_url)
    body = {"pattern": "saga", "gid": "s-1", "branches": [{"branch_id": "room", "target": "hotel/book"}]}
    begun = await asyncio.to_thread(server.begin, body, "?wait_ms=10000")
    assert begun.json["status"] == "committed"
    assert participant.calls == [("/placet/book/action", "s-1")]
    assert server.transaction("s-1")["branches"][0]["result"] == {"seat": 3}


async def test_participant_whose_tcp_is_gone_is_called_over_http(server, participant, tmp_path):
    """A call that can't be sent over TCP is no answer; the next attempt goes over HTTP, to the same instance."""
    from acceptance.participant import Participant as HttpParticipant  # noqa: PLC0415 - named like ours

    with HttpParticipant() as over_http:
        await announce(server, base_url=over_http.url, tcp_url=participant.tcp_url)
        await participant.server.aclose()
        step = {"branch_id": "room", "target": "hotel/book", "retry": {"first_ms": 10, "cap_ms": 100}}
        body = {"pattern": "saga", "gid": "s-1", "branches": [step]}
        begun = await asyncio.to_thread(server.begin, body, "?wait_ms=10000")
        assert begun.json["status"] == "committed"
        assert len(over_http.arrived("book/action")) == 1
        attempts = server.transaction("s-1")["attempts"]
        assert [attempt["outcome"] for attempt in attempts] == ["unknown"]


async def test_bad_tcp_url_is_refused_by_its_rule(server):
    """An announced endpoint is `tcp://host:port`, and among the hosts that may be called."""
    for tcp_url in ("http://127.0.0.1:1", "tcp://127.0.0.1", "tcp://127.0.0.1:1/path", "tcp://10.0.0.1:1"):
        instance = {"base_url": "http://127.0.0.1:9", "actions": {}, "tcp_url": tcp_url}
        answer = await asyncio.to_thread(ask, "PUT", f"{server.url}/v1/services/hotel/instances/one", instance)
        assert answer.status == 422, answer
        assert answer.json["field"] == "tcp_url"


def test_server_without_tcp_says_so(tmp_path, sqlite_url):
    """Port -1 serves none, and `healthz` names none."""
    server = Server(sqlite_url, tmp_path, PLACET_TCP_PORT="-1").run()
    try:
        assert ask("GET", f"{server.url}/healthz").json["tcp_url"] is None
    finally:
        server.stop()
