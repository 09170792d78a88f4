"""Clients in virtual time, and a source that says what a test says."""

import asyncio
import json

import pytest

from placet_rpc.configuration import LiveConfiguration, SourceUnavailable, Stored
from placet_rpc.configuration.source import revision_of
from unit.rpc.chain.conftest import clock, make_client, network, pytest_asyncio_loop_factories

__all__ = ["clock", "make_client", "network", "pytest_asyncio_loop_factories"]


class Board:
    """A source in memory; satisfies `ConfigurationSource`."""

    def __init__(self):
        self.stored = None
        self.error = None
        self.watches = 0
        self.closed = False
        self._changed = asyncio.Event()

    def say(self, document, **more):
        """Puts a document there, and returns its revision."""
        text = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.stored = Stored(more.pop("revision", revision_of(text)), text, **more)
        self._changed.set()
        return self.stored.revision

    def take_away(self):
        self.stored = None
        self._changed.set()

    def fail(self, error=None):
        """Lets it be down from now on, or up again."""
        self.error = error
        self._changed.set()

    async def read(self):
        if self.error is not None:
            raise self.error
        return self.stored

    async def watch(self):
        self.watches += 1
        while True:
            self._changed.clear()
            yield await self.read()
            await self._changed.wait()

    async def aclose(self):
        self.closed = True


DOWN = SourceUnavailable("it is down")


@pytest.fixture
async def board(clock):
    return Board()


@pytest.fixture
async def follow(board, clock):
    """Starts live configurations of the board, and ends them."""
    started = []

    async def start(**options):
        started.append(LiveConfiguration(board, clock=clock, **options))
        await started[-1].start()
        return started[-1]

    yield start
    for each in started:
        await each.aclose()


@pytest.fixture
def said(board):
    """Says something, and returns when it was heard."""

    async def say(document, **more):
        revision = board.say(document, **more)
        await asyncio.sleep(0.001)
        return revision

    return say
