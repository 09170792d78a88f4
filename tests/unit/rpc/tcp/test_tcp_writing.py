"""When queued messages leave: by the end of the turn, in order, and no more than the peer reads."""

import asyncio

import pytest

from placet_rpc.frames import Channel, FrameDecoder, Hello, Kind
from placet_rpc.tcp.limits import WRITE_EARLY_MESSAGES
from placet_rpc.tcp.writing import WritingProtocol


class Recording(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self):
        super().__init__()
        self.writes = []

    def write(self, data):
        self.writes.append(data)

    def is_closing(self):
        return False

    def set_write_buffer_limits(self, high=None, low=None):
        pass

    @property
    def request_ids(self):
        """Of what was written, write by write."""
        decoder = FrameDecoder(1_000_000)
        return [[frame.request_id for frame in decoder.feed(data)] for data in self.writes]


@pytest.fixture
async def transport() -> Recording:
    """Where the connection of this test writes to."""
    return Recording()


@pytest.fixture
async def connection(transport) -> WritingProtocol:
    """A connection, opened."""
    made = WritingProtocol(Channel(Hello()), asyncio.get_running_loop())
    made.connection_made(transport)
    return made


def queue(connection, *request_ids):
    for request_id in request_ids:
        connection.queue(Kind.REQUEST, request_id, 0, 2, b"", b"x")


async def test_what_is_sent_in_one_turn_is_written_at_once(connection, transport):
    """Some messages of one turn of the event loop are one write, and so one system call."""
    first, second = range(WRITE_EARLY_MESSAGES - 1), range(100, 101)
    queue(connection, *first)
    assert transport.writes == []
    await asyncio.sleep(0)
    queue(connection, *second)
    await asyncio.sleep(0)
    assert transport.request_ids == [[*first], [*second]]


async def test_a_busy_turn_writes_before_its_end_and_in_order(connection, transport):
    """The other side begins with the first messages while the last ones are made; the rest leaves with the turn."""
    many = range(2 * WRITE_EARLY_MESSAGES + 3)
    queue(connection, *many)
    early = [[*range(WRITE_EARLY_MESSAGES)], [*range(WRITE_EARLY_MESSAGES, 2 * WRITE_EARLY_MESSAGES)]]
    assert transport.request_ids == early
    await asyncio.sleep(0)
    assert transport.request_ids == [*early, [*many[-3:]]]


async def test_a_turn_is_counted_from_its_last_write(connection, transport):
    """What left with an earlier turn brings no early write of the next."""
    for _ in range(3):
        queue(connection, *range(WRITE_EARLY_MESSAGES - 1))
        await asyncio.sleep(0)
    assert [len(ids) for ids in transport.request_ids] == [WRITE_EARLY_MESSAGES - 1] * 3


async def test_nothing_is_written_early_to_a_peer_that_does_not_read(connection, transport):
    """All of it stays here until it reads again, and then leaves in order."""
    connection.pause_writing()
    many = range(3 * WRITE_EARLY_MESSAGES)
    queue(connection, *many)
    await asyncio.sleep(0)
    assert transport.writes == []
    connection.resume_writing()
    assert transport.request_ids == [[*many]]
