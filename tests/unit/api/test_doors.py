"""One lane behind three doors: whichever a call comes in by, its answer is the same to the last byte."""

import itertools

import httpx2
import pytest

from .conftest import DOORS, door

BRANCH = {"branch_id": "a", "target": "stock/hold", "payload": {"n": 1}}
OF_T = "/v1/transactions/{gid}"

STORY = [
    # method, path, and body as JSON or bytes
    ("POST", "/v1/transactions", {"pattern": "tcc", "gid": "{gid}", "branches": [BRANCH]}),
    ("POST", "/v1/transactions", {"pattern": "tcc", "gid": "{gid}", "branches": [BRANCH]}),
    ("POST", "/v1/transactions?wait_ms=1", {"pattern": "tcc", "gid": "{gid}", "branches": [BRANCH]}),
    ("POST", "/v1/transactions", {"pattern": "tcc", "gid": "{gid}"}),
    ("POST", f"{OF_T}/branches", {"branches": [BRANCH | {"branch_id": "b"}]}),
    ("POST", f"{OF_T}/branches", {"branches": [BRANCH | {"branch_id": "b", "payload": 2}]}),
    ("POST", f"{OF_T}/branches?wait_ms=1", {"branches": [BRANCH]}),
    ("POST", f"{OF_T}/branches", {"branches": []}),
    ("POST", f"{OF_T}/commit?wait_ms=99999", None),
    ("POST", f"{OF_T}/commit?x=1", None),
    ("POST", f"{OF_T}/abort", {"why": "x"}),
    ("POST", f"{OF_T}/commit", None),
    ("POST", f"{OF_T}/commit?wait_ms=1", {}),
    ("POST", f"{OF_T}/abort", {"reason_text": "too late"}),
    ("POST", f"{OF_T}/branches", {"branches": [BRANCH]}),
    ("POST", "/v1/transactions/{gid}-never/commit", None),
    ("POST", "/v1/transactions/{gid}-never/branches", {"branches": [BRANCH]}),
    ("POST", "/v1/transactions/{gid}-never/abort", {"reason_text": "gave up"}),
    ("POST", "/v1/transactions/{gid}-never/abort", None),
    ("POST", "/v1/transactions", {"pattern": "tcc", "gid": "{gid}-never"}),
    ("POST", "/v1/transactions/a%20b/commit", None),
    ("POST", "/v1/transactions/%C3%A4/abort", None),
    ("POST", "/v1/transactions//commit", None),
    ("POST", f"/v1/transactions/{'x' * 129}/commit", None),
    ("POST", "/v1/transactions", b"{"),
    ("POST", "/v1/transactions", b""),
    ("POST", "/v1/transactions", b'"\xff"'),
    ("POST", "/v1/transactions", b'{"pattern":"tcc","name":"\\ud800"}'),
    ("POST", "/v1/transactions", b'{"pattern":"tcc","name":"\\u0000"}'),
    ("POST", "/v1/transactions", b"[" * 70 + b"]" * 70),
    ("POST", "/v1/transactions", b" " * 1_048_577),
    ("POST", "/v1/transactions", {"pattern": "saga"}),
    ("POST", "/v1/transactions", {"pattern": "xa"}),
    ("POST", "/v1/transactions", {"pattern": "tcc", "colour": "red"}),
    ("GET", "/v1/transactions/{gid}-other", None),
    ("PUT", "/v1/transactions", {}),
    ("DELETE", f"{OF_T}/commit", None),
    ("POST", f"{OF_T}/undo", {}),
    ("GET", "/v1/nothing", None),
]


async def told(client, gid, *, chunked=False):
    """Runs the story, and returns all that a client can see of it, with one gid in place of each door's own."""
    answers = []
    for method, path, body in STORY:
        request = {} if body is None else {"content": body} if isinstance(body, bytes) else {"json": body}
        sent = httpx2.Request(method, "http://x", **request)
        content = sent.read().replace(b"{gid}", gid.encode())
        answer = await client.request(
            method,
            path.replace("{gid}", gid),
            content=in_parts(content) if chunked else content,
            headers={"content-type": "application/json"},
        )
        fields = {name: value for name, value in answer.headers.items() if name not in {"date", "connection", "server"}}
        fields.pop("content-length", None)
        answers.append((method, path[:60], answer.status_code, fields, answer.text.replace(gid, "GID")))
    return answers


async def in_parts(content):
    for start in range(0, len(content), 100_000):
        yield content[start : start + 100_000]


async def test_every_door_gives_the_same_answers(node):
    """Statuses, header fields and bodies, of what succeeds and of what is refused."""
    stories = {}
    for name in DOORS:
        async with door(name, node) as client:
            stories[name] = await told(client, f"t-{name}")
    for connection, asgi, fastapi in zip(*(stories[name] for name in DOORS), strict=True):
        assert connection == asgi == fastapi
    assert {status for _, _, status, _, _ in stories["asgi"]} == {200, 201, 400, 404, 405, 409, 413, 422}


async def test_chunked_requests_are_answered_as_plain_ones(node):
    """They come in beside the lane of the connection, and must not be treated otherwise."""
    async with door("connection", node) as client:
        plain = await told(client, "t-plain")
        chunked = await told(client, "t-chunked", chunked=True)
    assert plain == chunked


@pytest.mark.parametrize("name", DOORS)
async def test_tokens_and_origins_are_asked_for_at_every_door(start, name):
    """401 and 403 come before anything is read of the body."""
    node = await start(server_tokens="correct-horse-battery")
    given = {"authorization": "Bearer correct-horse-battery"}
    async with door(name, node) as client:
        for method, path in itertools.product(["POST"], ["/v1/transactions", "/v1/transactions/t/commit"]):
            refused = await client.request(method, path, content=b"{")
            assert (refused.status_code, "www-authenticate" in refused.headers) == (401, True)
            foreign = await client.request(method, path, content=b"{", headers=given | {"origin": "http://example.org"})
            assert foreign.status_code == 403
        begun = await client.post("/v1/transactions", json={"pattern": "tcc"}, headers=given)
        assert begun.status_code == 201


@pytest.mark.parametrize("name", DOORS)
async def test_a_draining_node_sheds_begins_at_every_door(node, name):
    """503 with Retry-After: nothing was written; what was begun before is still decided."""
    async with door(name, node) as client:
        assert (await client.post("/v1/transactions", json={"pattern": "tcc", "gid": "t-1"})).status_code == 201
        node.drain()
        shed = await client.post("/v1/transactions", json={"pattern": "tcc", "gid": "t-2"})
        assert (shed.status_code, int(shed.headers["retry-after"]) > 0) == (503, True)
        assert shed.json()["type"].endswith("/overloaded")
        assert (await client.get("/readyz")).status_code == 503
        assert (await client.get("/healthz")).status_code == 200
        assert (await client.post("/v1/transactions/t-1/commit")).status_code == 200


@pytest.mark.parametrize("name", DOORS)
async def test_a_defect_is_an_unknown_outcome_and_shows_nothing_of_the_inside(node, name, monkeypatch):
    """What nobody foresaw is logged here, and told as "repeat the call" there."""

    async def broken(*_args, **_options):
        raise ZeroDivisionError("secret of the inside")

    monkeypatch.setattr(node.commands, "commit", broken)
    async with door(name, node) as client:
        answer = await client.post("/v1/transactions/t-1/commit")
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert "repeat it" in answer.json()["detail"]
    assert "secret" not in answer.text
