"""The fast lane inside a real uvicorn: hot answers are right, and HTTP stays what it was for everything else."""

import asyncio
import logging
import random
from collections import Counter

import httptools
import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import HIGH_WATER_LIMIT

from placet_rpc import HttpClient
from placet_rpc.http.fast_lane import fast_lane
from placet_rpc.http.hot_connection import HEADS_MAX
from unit.rpc.conftest import until


class Lanes:
    """A uvicorn with hot routes under /hot and an ASGI app that answers all else; both echo target and body."""

    def __init__(self):
        self.seen = []  # (lane, target) in the order they were handled
        self.parked = []  # hot requests of /hot/park, to be answered by the test
        self.port = 0
        self.server: uvicorn.Server

    def routes(self, method, target):
        return self.hot if method == b"POST" and target.startswith(b"/hot") else None

    def hot(self, request):
        self.seen.append(("hot", request.target))
        if request.target.startswith(b"/hot/park"):
            self.parked.append(request)
        elif request.target.startswith(b"/hot/later"):
            loop = asyncio.get_running_loop()
            loop.call_later(0.002, request.respond, 200, b"hot " + request.target + b" " + request.body)
        elif request.target == b"/hot/raise":
            raise ZeroDivisionError
        elif request.target == b"/hot/huge":
            request.respond(200, b"x" * HIGH_WATER_LIMIT)
        else:
            request.respond(200, b"hot " + request.target + b" " + request.body, b"x-lane: hot\r\n")

    async def app(self, scope, receive, send):
        if scope["type"] == "lifespan":
            for phase in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{phase}.complete"})
            return
        target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
        self.seen.append(("asgi", target))
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message["body"], message["more_body"]
        if target.startswith(b"/asgi/later"):
            await asyncio.sleep(0.002)  # a handler that takes its time
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-lane", b"asgi")]})
        await send({"type": "http.response.body", "body": b"asgi " + target + b" " + body})


@pytest.fixture
async def start():
    """Starts servers; stops them at the end."""
    running = []

    async def run(**options):
        lanes = Lanes()
        options = {"access_log": False, "interface": "asgi3", "log_config": None, "timeout_keep_alive": 60} | options
        protocol = fast_lane(lanes.routes, max_body_bytes=100_000)
        lanes.server = uvicorn.Server(uvicorn.Config(lanes.app, host="127.0.0.1", port=0, http=protocol, **options))
        task = asyncio.create_task(lanes.server.serve())
        running.append((lanes.server, task))
        await until(lambda: lanes.server.started)
        lanes.port = lanes.server.servers[0].sockets[0].getsockname()[1]
        lanes.task = task
        return lanes

    yield run
    for server, task in running:
        server.should_exit = server.force_exit = True
        await task


class Replies:
    """Reads the replies of a raw connection by a parser of its own."""

    def __init__(self):
        self.bodies, self.statuses, self.fields = [], [], []

    def on_message_begin(self):
        self.body, self.head = b"", []

    def on_header(self, name, value):
        self.head.append((name.lower(), value))

    def on_body(self, part):
        self.body += part

    def on_message_complete(self):
        self.statuses.append(self.parser.get_status_code())
        self.bodies.append(self.body)
        self.fields.append(dict(self.head))


async def exchange(lanes, pieces, count):
    """Sends the pieces and reads until there are `count` replies or the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", lanes.port)
    replies = Replies()
    replies.parser = httptools.HttpResponseParser(replies)
    try:
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(0)
        while len(replies.bodies) < count and (data := await reader.read(65_536)):
            replies.parser.feed_data(data)
    finally:
        writer.close()
    return replies


def post(target, body=b"", *fields):
    lines = b"".join(field + b"\r\n" for field in fields)
    return b"POST %b HTTP/1.1\r\nhost: h\r\n%bcontent-length: %d\r\n\r\n%b" % (target, lines, len(body), body)


async def test_a_hot_request_is_answered_without_the_app(start):
    """Status, fields and body are the handler's; date and server are uvicorn's; the app is never called."""
    lanes = await start()
    async with HttpClient() as client:
        for _ in range(3):
            answer = await client.request("POST", f"http://127.0.0.1:{lanes.port}/hot/a?b=%20c", body=b"{}")
            assert (answer.status, answer.body) == (200, b"hot /hot/a?b=%20c {}")
            assert (answer.header("x-lane"), answer.header("server")) == ("hot", "uvicorn")
            assert answer.header("date")
        assert client.counters.connections_opened == 1
    assert lanes.seen == [("hot", b"/hot/a?b=%20c")] * 3
    assert lanes.server.server_state.total_requests == 3


async def one_by_one(lanes, requests):
    """Sends each request when the one before it is answered; returns what a client sees, and how many were parsed."""
    parsed = []
    protocol = lanes.server.config.http_protocol_class
    begin = protocol.on_message_begin
    protocol.on_message_begin = lambda self: (parsed.append(self), begin(self))[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", lanes.port)
    replies = Replies()
    replies.parser = httptools.HttpResponseParser(replies)
    for number, request in enumerate(requests, 1):
        writer.write(request)
        while len(replies.bodies) < number and (data := await reader.read(65_536)):
            replies.parser.feed_data(data)
    writer.close()
    return replies, len(parsed)


async def test_a_head_that_was_parsed_before_is_not_parsed_again(start):
    """Targets and bodies differ, the fields do not: only the first of each length is parsed; fields differ: parsed."""
    lanes = await start()
    bodies = [b"ab", b"cd", b"efg", b"gh", b"hij"]
    requests = [post(b"/hot/%d" % number, body) for number, body in enumerate(bodies)]
    replies, parsed = await one_by_one(lanes, [*requests, post(b"/hot/x", b"ab", b"x-more: 1")])
    assert replies.bodies == [b"hot /hot/%d %b" % pair for pair in enumerate(bodies)] + [b"hot /hot/x ab"]
    assert parsed == 3


@pytest.mark.parametrize(
    ("request_bytes", "statuses"),
    [
        (post(b"/hot/a", b"ab")[:-1], []),  # a byte is missing: it waits for it
        (post(b"/hot/a", b"ab") + post(b"/hot/b", b"ab"), [200, 200]),  # two in one piece
        (b"\r\n" + post(b"/hot/a", b"ab"), [200]),  # an empty line in front (RFC 9112 2.2)
        (post(b"/hot/a\x01", b"ab"), [400]),
        (post(b"/hot/a b", b"ab"), [400]),
        (post(b"/asgi/now", b"ab"), [200]),
        (post(b"/hot/a", b"ab").replace(b"HTTP/1.1", b"HTTP/1.0"), [200]),
        (post(b"/hot/a", b"ab").replace(b"HTTP/1.1", b"HTTP/9.9"), [400]),
        (post(b"/hot/a", b"ab", b"transfer-encoding: chunked"), [400]),
    ],
)
async def test_a_known_head_changes_nothing_for_any_other_request(request_bytes, statuses, start):
    """A connection whose head is known answers a request that is not just the same as one that never saw it."""
    lanes, strangers = await start(), await start()
    seen = []
    for each, warm in ((lanes, [post(b"/hot/w", b"ab")] * 2), (strangers, [])):
        reader, writer = await asyncio.open_connection("127.0.0.1", each.port)
        replies = Replies()
        replies.parser = httptools.HttpResponseParser(replies)
        for number, piece in enumerate(warm, 1):
            writer.write(piece)
            while len(replies.bodies) < number:
                replies.parser.feed_data(await reader.read(65_536))
        writer.write(request_bytes)
        writer.write_eof()
        while data := await reader.read(65_536):
            replies.parser.feed_data(data)
        writer.close()
        seen.append((replies.statuses[len(warm) :], replies.bodies[len(warm) :]))
    assert seen[0] == seen[1]
    assert seen[0][0] == statuses


async def test_no_more_heads_are_kept_than_the_limit(start):
    """A client that sends other fields with each request does not fill the memory."""
    lanes = await start()
    replies, _ = await one_by_one(lanes, [post(b"/hot/x", b"", b"x-n: %d" % n) for n in range(HEADS_MAX + 10)])
    assert replies.statuses == [200] * (HEADS_MAX + 10)
    assert len(lanes.server.config.http_protocol_class.lane.heads) == 10


async def test_the_date_moves_on(start):
    """uvicorn's own fields are joined once per second, not once for ever."""
    lanes = await start()
    dates = set()
    while len(dates) < 2:
        dates.add((await exchange(lanes, [post(b"/hot/x")], 1)).fields[0][b"date"])
    assert len(dates) == 2


async def test_every_other_request_takes_uvicorns_way(start):
    """Another path or method reaches the app as if there were no fast lane, on the same connection."""
    lanes = await start()
    async with HttpClient() as client:
        for method, target, lane in (("POST", "/x?q=1", "asgi"), ("POST", "/hot", "hot"), ("GET", "/hot", "asgi")):
            answer = await client.request(method, f"http://127.0.0.1:{lanes.port}{target}", body=b"abc")
            assert (answer.header("x-lane"), answer.body) == (lane, f"{lane} {target} abc".encode())
        assert client.counters.connections_opened == 1


@pytest.mark.parametrize(
    ("request_bytes", "body"),
    [
        (b"POST /hot/c HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n", b"ab"),
        (b"POST /hot/c HTTP/1.0\r\nhost: h\r\ncontent-length: 2\r\n\r\nab", b"ab"),
        (post(b"/hot/c", b"", b"upgrade: h2c", b"connection: upgrade"), b""),
        (post(b"/hot/c", b"ab" * 50_001), b"ab" * 50_001),
    ],
    ids=["chunked", "http/1.0", "upgrade", "large"],
)
async def test_a_hot_path_without_a_plain_request_goes_through_asgi(request_bytes, body, start):
    """What the fast lane does not handle, uvicorn does, with the whole request."""
    lanes = await start()
    replies = await exchange(lanes, [request_bytes], 1)
    assert replies.bodies == [b"asgi /hot/c " + body]
    assert lanes.seen == [("asgi", b"/hot/c")]


async def test_expect_continue_is_answered_by_uvicorn(start):
    """The client that waits for 100 gets it, and then its answer."""
    lanes = await start()
    reader, writer = await asyncio.open_connection("127.0.0.1", lanes.port)
    writer.write(b"POST /hot/e HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n")
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b"ab")
    assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
    writer.close()


@pytest.mark.parametrize("seed", range(6))
async def test_pipelined_requests_of_both_lanes_are_answered_in_order(seed, start):
    """Whatever is fast, slow, hot or not, and however the bytes are cut, answers come in the order of requests."""
    chance = random.Random(seed)
    lanes = await start()
    kinds = [b"/hot/now", b"/hot/later", b"/asgi/now", b"/asgi/later"]
    targets = [b"%b/%d" % (chance.choice(kinds), number) for number in range(30)]
    bodies = [b"y" * chance.choice([0, 1, 3_000]) for _ in targets]
    raw = b"".join(post(target, body) for target, body in zip(targets, bodies, strict=True))
    pieces, at = [], 0
    while at < len(raw):
        size = chance.choice([1, 7, 80, 4_000])
        pieces.append(raw[at : at + size])
        at += size
    replies = await exchange(lanes, pieces, len(targets))
    expected = [t[1:4].replace(b"asg", b"asgi") + b" " + t + b" " + b for t, b in zip(targets, bodies, strict=True)]
    assert replies.bodies == expected
    assert [target for _, target in lanes.seen] == targets


async def test_one_request_of_a_connection_runs_at_a_time(start):
    """A pipelined request does not start before the one in front of it is answered."""
    lanes = await start()
    task = asyncio.create_task(exchange(lanes, [post(b"/hot/park/1") + post(b"/hot/2")], 2))
    await until(lambda: lanes.parked)
    (connection,) = lanes.server.server_state.connections
    assert connection.flow.read_paused  # so that what is pipelined can't fill the memory
    assert lanes.seen == [("hot", b"/hot/park/1")]
    lanes.parked[0].respond(200, b"first")
    assert (await task).bodies == [b"first", b"hot /hot/2 "]


async def test_a_handler_that_raises_is_a_500_and_closes_the_connection(start, caplog):
    """The error is logged, the client is told, and what was pipelined behind is not run."""
    lanes = await start()
    with caplog.at_level(logging.ERROR, "uvicorn.error"):
        replies = await exchange(lanes, [post(b"/hot/raise") + post(b"/hot/next")], 2)
    assert (replies.statuses, replies.fields[0][b"connection"]) == ([500], b"close")
    assert "ZeroDivisionError" in caplog.text
    assert lanes.seen == [("hot", b"/hot/raise")]


async def test_a_second_answer_is_refused_and_an_unknown_status_leaves_the_first_open(start):
    """A handler's mistake does not put two answers on the wire, nor none."""
    lanes = await start()
    task = asyncio.create_task(exchange(lanes, [post(b"/hot/park")], 1))
    await until(lambda: lanes.parked)
    with pytest.raises(KeyError):
        lanes.parked[0].respond(42, b"")
    lanes.parked[0].respond(201, b"once")
    with pytest.raises(RuntimeError, match="answered before"):
        lanes.parked[0].respond(200, b"twice")
    replies = await task
    assert (replies.statuses, replies.bodies) == ([201], [b"once"])


async def test_an_answer_to_a_client_that_left_goes_nowhere(start):
    """The handler may answer late; the request says that nobody listens."""
    lanes = await start()
    _, writer = await asyncio.open_connection("127.0.0.1", lanes.port)
    writer.write(post(b"/hot/park"))
    await until(lambda: lanes.parked)
    assert not lanes.parked[0].disconnected
    writer.close()
    await until(lambda: lanes.parked[0].disconnected)
    lanes.parked[0].respond(200, b"late")
    assert not lanes.server.server_state.connections


async def test_connection_close_is_honoured(start):
    """The client that asks for the end gets the answer and the end."""
    lanes = await start()
    replies = await exchange(lanes, [post(b"/hot/x", b"", b"connection: close")], 2)
    assert (replies.statuses, replies.fields[0][b"connection"]) == ([200], b"close")


async def test_shutdown_waits_for_hot_requests(start):
    """A request under way is answered, told to close, and only then the server ends."""
    lanes = await start()
    task = asyncio.create_task(exchange(lanes, [post(b"/hot/park")], 2))
    await until(lambda: lanes.parked)
    idle = asyncio.create_task(exchange(lanes, [post(b"/hot/idle")], 2))
    await until(lambda: len(lanes.seen) == 2)
    lanes.server.should_exit = True
    assert (await idle).statuses == [200]  # its idle connection is closed at once
    assert not lanes.task.done()
    lanes.parked[0].respond(200, b"done")
    replies = await task
    assert (replies.bodies, replies.fields[0][b"connection"]) == ([b"done"], b"close")
    await lanes.task


async def test_a_client_that_does_not_read_is_not_served_for_ever(start):
    """Answers do not pile up in memory: requests wait until those before were read; then all are answered."""
    lanes = await start()
    requests = 400
    reader, writer = await asyncio.open_connection("127.0.0.1", lanes.port, limit=1_024)
    writer.write(post(b"/hot/huge") * requests)
    seen = -1
    while len(lanes.seen) > seen:  # until the server has stopped by itself
        seen = len(lanes.seen)
        await asyncio.sleep(0.05)
    (connection,) = lanes.server.server_state.connections
    assert seen < requests
    assert connection.transport.get_write_buffer_size() <= 3 * HIGH_WATER_LIMIT
    replies = Replies()
    replies.parser = httptools.HttpResponseParser(replies)
    while len(replies.bodies) < requests:
        replies.parser.feed_data(await reader.read(1_000_000))
    assert {len(body) for body in replies.bodies} == {HIGH_WATER_LIMIT}
    writer.close()


async def test_the_concurrency_limit_holds_for_hot_requests(start):
    """Past `limit_concurrency` uvicorn's own 503 answers, hot or not."""
    lanes = await start(limit_concurrency=2)
    _, writer = await asyncio.open_connection("127.0.0.1", lanes.port)
    writer.write(post(b"/hot/park"))
    await until(lambda: lanes.parked)
    assert (await exchange(lanes, [post(b"/hot/x")], 1)).statuses == [503]
    lanes.parked[0].respond(200, b"")
    writer.close()
    await until(lambda: not lanes.server.server_state.connections)
    assert (await exchange(lanes, [post(b"/hot/x")], 1)).statuses == [200]


@pytest.mark.parametrize("options", [{"access_log": True}, {"root_path": "/api"}], ids=["access log", "root path"])
async def test_with_access_logging_or_a_root_path_nothing_is_hot(options, start):
    """Both are uvicorn's ways of looking at each request, so each request goes its way."""
    handler = logging.NullHandler()
    logging.getLogger("uvicorn.access").addHandler(handler)
    try:
        lanes = await start(**options)
        assert (await exchange(lanes, [post(b"/hot/x")], 1)).statuses == [200]
    finally:
        logging.getLogger("uvicorn.access").removeHandler(handler)
    assert [lane for lane, _ in lanes.seen] == ["asgi"]


async def test_an_idle_connection_is_closed_after_keep_alive(start):
    """uvicorn's own timer runs after a hot answer as after any other."""
    lanes = await start(timeout_keep_alive=0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", lanes.port)
    writer.write(post(b"/hot/x"))
    data = await asyncio.wait_for(reader.read(), 5)
    assert data.endswith(b"hot /hot/x ")
    writer.close()


async def test_garbage_gets_a_400_after_a_hot_answer(start):
    """The parser's errors are handled as before."""
    lanes = await start()
    replies = await exchange(lanes, [post(b"/hot/x"), b"\0\0\0\0\r\n\r\n"], 2)
    assert replies.statuses == [200, 400]


async def test_many_connections_at_once_each_get_their_own_answers(start):
    """No answer meets another's connection."""
    lanes = await start()
    async with HttpClient() as client:
        target = client.target(f"http://127.0.0.1:{lanes.port}/hot/later")
        answers = await asyncio.gather(*(target.call(b"%d" % n, timeout_ms=10_000) for n in range(500)))
    assert [answer.body for answer in answers] == [b"hot /hot/later %d" % n for n in range(500)]
    assert Counter(lane for lane, _ in lanes.seen) == {"hot": 500}
