"""Who may call, what is shed, and what every door says of itself."""

import socket
from collections.abc import Iterator

import httpx2
import pytest

from acceptance.processes import PLACET, Process, Server, free_port

from .conftest import refused, serving

TOKEN = "correct-horse-battery"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory) -> Iterator[Server]:
    """A server with two tokens."""
    tokens = f"old-token-of-before,{TOKEN}"
    with serving(tmp_path_factory.mktemp("guarded"), PLACET_SERVER_TOKENS=tokens) as server:
        yield server


@pytest.fixture(scope="module")
def outsider(guarded) -> Iterator[httpx2.Client]:
    """A client of that server, without a token of its own."""
    with httpx2.Client(base_url=guarded.url, timeout=30) as client:
        yield client


EVERY_DOOR = [
    ("POST", "/v1/transactions"),
    ("POST", "/v1/transactions/t/branches"),
    ("POST", "/v1/transactions/t/commit"),
    ("POST", "/v1/transactions/t/abort"),
    ("POST", "/v1/transactions/t/retry"),
    ("POST", "/v1/transactions/finished"),
    ("GET", "/v1/transactions"),
    ("GET", "/v1/transactions/t"),
    ("GET", "/v1/services"),
    ("PUT", "/v1/services/s/instances/i"),
    ("DELETE", "/v1/services/s/instances/i"),
    ("GET", "/v1/nodes"),
    ("GET", "/metrics"),
]


@pytest.mark.parametrize(("method", "path"), EVERY_DOOR)
@pytest.mark.parametrize("authorization", [None, "Bearer wrong", "Bearer", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x"])
def test_without_a_token_nothing_is_served(outsider, method, path, authorization):
    """401 on every call, before its body is looked at; the challenge names the scheme."""
    headers = {} if authorization is None else {"authorization": authorization}
    answer = outsider.request(method, path, headers=headers, content=b"{" if method == "POST" else None)
    refused(answer, 401, "unauthorized")
    assert answer.headers["www-authenticate"].lower().startswith("bearer")


@pytest.mark.parametrize("token", [TOKEN, "old-token-of-before"])
def test_any_of_the_tokens_opens(outsider, token):
    """So that tokens can be changed one service at a time; the scheme's case does not matter."""
    for scheme in ("Bearer", "bearer"):
        headers = {"authorization": f"{scheme} {token}"}
        assert outsider.post("/v1/transactions", json={"pattern": "tcc"}, headers=headers).status_code == 201
        assert outsider.get("/v1/transactions", headers=headers).status_code == 200


def test_health_needs_no_token(outsider):
    """A load balancer has none."""
    for path in ("/healthz", "/readyz"):
        assert outsider.get(path).status_code == 200


def test_tokens_are_in_no_log(guarded, outsider):
    """Neither those that open nor those that were tried."""
    outsider.get("/v1/nodes", headers={"authorization": "Bearer tried-in-vain"})
    log = guarded.log.read_text()
    assert TOKEN not in log
    assert "tried-in-vain" not in log


def test_off_loopback_a_token_is_needed_to_start(tmp_path):
    """The server does not start open to the network; it says what to set."""
    command = [str(PLACET), "server", "--port", str(free_port())]
    process = Process(command, tmp_path, {"PLACET_HOST": "0.0.0.0"}, "open")
    process.start()
    try:
        assert process._process.wait(30) != 0
    finally:
        process.stop()
    assert "PLACET_SERVER_TOKENS" in process.log.read_text()


@pytest.mark.parametrize(("method", "path"), EVERY_DOOR[:1] + EVERY_DOOR[6:7])
@pytest.mark.parametrize("origin", ["http://example.org", "null", "http://127.0.0.1:1", "https://127.0.0.1"])
def test_a_page_of_another_site_is_refused(api, method, path, origin):
    """A browser on the same machine is no way in."""
    answer = api.request(method, path, headers={"origin": origin}, content=b"{}" if method == "POST" else None)
    refused(answer, 403, "forbidden")


def test_a_name_that_points_to_loopback_is_another_site(api, server):
    """DNS rebinding: origin and host agree, and are not ours."""
    host = f"rebound.example.org:{server.port}"
    answer = api.get("/v1/transactions", headers={"origin": f"http://{host}", "host": host})
    refused(answer, 403, "forbidden")


def test_its_own_page_may_call(api, server):
    """The same origin is the console's."""
    assert api.get("/v1/transactions", headers={"origin": server.url}).status_code == 200


def test_begins_are_shed_first_and_nothing_was_written(tmp_path):
    """503 `overloaded` with Retry-After; what is under way is still registered, decided and read."""
    with (
        serving(tmp_path, PLACET_OPEN_TRANSACTIONS_MAX="1") as server,
        httpx2.Client(base_url=server.url, timeout=30) as api,
    ):
        assert api.post("/v1/transactions", json={"pattern": "tcc", "gid": "t-1"}).status_code == 201
        shed = api.post("/v1/transactions", json={"pattern": "tcc", "gid": "t-2"})
        refused(shed, 503, "overloaded")
        assert int(shed.headers["retry-after"]) >= 1
        assert api.get("/v1/transactions/t-2").status_code == 404
        branches = {"branches": [{"branch_id": "a", "target": "stock/hold"}]}
        assert api.post("/v1/transactions/t-1/branches", json=branches).status_code == 200
        assert api.post("/v1/transactions/t-1/abort").status_code == 200
        assert api.post("/v1/transactions/t-3/abort").json()["status"] == "aborted"


def raw(line: str, body: bytes = b"", *fields: str) -> bytes:
    """Returns a request as bytes."""
    head = "\r\n".join((f"{line} HTTP/1.1", "host: x", f"content-length: {len(body)}", *fields))
    return f"{head}\r\n\r\n".encode() + body


def test_requests_may_follow_each_other_without_waiting(server):
    """Pipelined on one connection, they are answered in order, hot calls among others."""
    requests = (
        raw("POST /v1/transactions", b'{"pattern":"tcc","gid":"pipelined"}'),
        raw("GET /v1/transactions/pipelined"),
        raw("POST /v1/transactions/pipelined/commit", b"", "connection: close"),
    )
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(b"".join(requests))
        received = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert [part[:3] for part in received.split(b"HTTP/1.1 ")[1:]] == [b"201", b"200", b"200"]


def test_a_client_that_leaves_does_not_undo_its_call(api, server, gid):
    """A begin that was read is carried out, whoever still listens; the repeat finds it."""
    begin = raw("POST /v1/transactions", f'{{"pattern":"tcc","gid":"{gid}"}}'.encode())
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(begin)
    assert api.post("/v1/transactions", json={"pattern": "tcc", "gid": gid}).status_code in {200, 201}
    assert api.get(f"/v1/transactions/{gid}").json()["status"] == "active"
