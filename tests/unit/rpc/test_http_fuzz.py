"""Any bytes, in any pieces, give exactly one outcome; right ones give the same outcome however they are cut."""

import asyncio
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from placet_rpc import HttpLimits, Reply, RpcError
from placet_rpc.http.counters import HttpCounters
from placet_rpc.http.pool import Census, HttpPool
from placet_rpc.http.url import Origin
from unit.rpc.conftest import until

LIMITS = HttpLimits(max_head_bytes=4_096, max_reply_bytes=4_096)


class MemoryTransport:
    """The client's end of a connection whose other end is the test."""

    def __init__(self):
        self.closed = False

    def write(self, _data):
        pass

    def get_write_buffer_size(self):
        return 0

    def is_closing(self):
        return self.closed

    def abort(self):
        self.closed = True


class MemoryConnector:
    """Opens connections to nowhere."""

    async def open(self, factory):
        connection = factory()
        connection.connection_made(MemoryTransport())
        return connection


class Outcomes(list):
    """A completion that keeps all it is told."""

    def done(self):
        return bool(self)

    set_result = set_exception = list.append


async def _exchange(pieces, *, end: bool):
    counters = HttpCounters()
    pool = HttpPool(Origin("http", "h", 80), MemoryConnector(), LIMITS, counters, Census(LIMITS, counters))
    outcomes = Outcomes()
    pool.send(b"POST", 60_000, outcomes)
    await until(lambda: pool.in_flight)
    (connection,) = pool._connections
    for piece in pieces:
        if connection.transport.closed:
            break
        connection.data_received(piece)
    if end or connection.transport.closed:
        connection.connection_lost(None)
    reusable = connection in pool._idle
    pool.close()
    pool.abort()
    return outcomes, reusable


def exchange(pieces, *, end: bool = True):
    """Feeds a reply in pieces and returns its outcomes and whether the connection was kept."""
    with asyncio.Runner() as runner:
        return runner.run(_exchange(pieces, end=end))


def plain(outcome):
    """What must be equal between two runs."""
    if isinstance(outcome, Reply):
        return outcome.status, outcome.headers, outcome.body
    return type(outcome)


REPLIES = [
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nx-empty:\r\nPlacet-Outcome: t\r\ncontent-length: 2\r\n\r\n{}",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 409 Conflict\r\ncontent-length: 2\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n2\r\nde\r\n0\r\nx-trailer: 1\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\ndate: x\r\n\r\n",
]


@pytest.mark.parametrize("raw", REPLIES)
def test_a_reply_cut_in_two_at_any_byte_is_the_same_reply(raw):
    """Where the network cuts is nothing the caller can see."""
    (whole,), kept = exchange([raw], end=False)
    assert isinstance(whole, Reply)
    assert kept
    for cut in range(1, len(raw)):
        (outcome,), kept = exchange([raw[:cut], raw[cut:]], end=False)
        assert (plain(outcome), kept) == (plain(whole), True), f"cut after byte {cut}"
    (outcome,), _ = exchange([raw[i : i + 1] for i in range(len(raw))], end=False)
    assert plain(outcome) == plain(whole)


@pytest.mark.parametrize("raw", REPLIES)
def test_a_reply_that_ends_early_at_any_byte_is_one_error(raw):
    """No prefix of a framed reply passes for a reply."""
    for cut in range(len(raw)):
        (outcome,), kept = exchange([raw[:cut]])
        assert isinstance(outcome, RpcError), f"cut after byte {cut}"
        assert not kept


def pieces_of(raw, cuts):
    points = sorted({0, len(raw), *(cut % (len(raw) + 1) for cut in cuts)})
    return [raw[a:b] for a, b in pairwise(points)]


replies = st.one_of(st.sampled_from(REPLIES), st.binary(max_size=200).map(lambda body: b"HTTP/1.1 200 OK\r\n" + body))


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(st.binary(max_size=300), st.tuples(replies, st.binary(max_size=60), st.integers(0, 250))),
    st.lists(st.integers(0, 500), max_size=6),
)
def test_any_bytes_give_one_reply_or_one_error(data, cuts):
    """Random bytes, and right replies with random bytes spliced in, end as one outcome and nothing else."""
    if isinstance(data, tuple):
        raw, splice, at = data
        data = raw[:at] + splice + raw[at + len(splice) // 2 :]
    outcomes, _ = exchange(pieces_of(data, cuts))
    assert len(outcomes) == 1
    assert isinstance(outcomes[0], Reply | RpcError)


fields = st.lists(
    st.tuples(st.from_regex(rb"x-[a-z0-9]{1,8}", fullmatch=True), st.from_regex(rb"[!-~]{0,20}", fullmatch=True)),
    max_size=5,
)


@settings(max_examples=200, deadline=None)
@given(
    st.integers(200, 599).filter(lambda status: status not in (204, 304)),
    fields,
    st.lists(st.binary(min_size=1, max_size=50), max_size=5),
    st.sampled_from(["length", "chunked", "close"]),
    st.lists(st.integers(0, 2_000), max_size=8),
)
def test_every_well_formed_reply_is_read_back(status, head, parts, framing, cuts):
    """Status, fields and body survive each framing and any cuts."""
    body = b"".join(parts)
    lines = b"".join(b"%b: %b\r\n" % field for field in head)
    if framing == "length":
        lines, payload = lines + b"content-length: %d\r\n" % len(body), body
    elif framing == "chunked":
        lines, payload = (
            lines + b"transfer-encoding: chunked\r\n",
            b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in [*parts, b""]),
        )
    else:
        payload = body
    raw = b"HTTP/1.1 %d Any\r\n%b\r\n%b" % (status, lines, payload)
    (outcome,), kept = exchange(pieces_of(raw, cuts), end=framing == "close")
    assert isinstance(outcome, Reply)
    assert (outcome.status, outcome.body, kept) == (status, body, framing != "close")
    for name, value in dict(head).items():
        assert outcome.header(name.decode()) == value.decode()
