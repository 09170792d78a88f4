"""Sources of configuration on their real servers."""

import asyncio
from contextlib import aclosing

import pytest

from conformance.configuration.kinds import KINDS

WAIT_S = 20


@pytest.fixture(params=list(KINDS))
async def kind(request):
    """Each kind of source in turn."""
    make, server = KINDS[request.param]
    kind = make(request.getfixturevalue(server) if server else "")
    await kind.prepare()
    yield kind
    await kind.clear()


@pytest.fixture
async def open_more(kind):
    """Opens sources of this kind, and closes them after the test."""
    sources = []

    async def opened():
        sources.append(await kind.open())
        return sources[-1]

    yield opened
    for source in sources:
        await source.aclose()


@pytest.fixture
async def source(open_more):
    """A source."""
    return await open_more()


@pytest.fixture
async def watched(source):
    """Waits until a watch of the source says what a test waits for."""
    async with aclosing(source.watch()) as watch:

        async def until(wanted):
            async with asyncio.timeout(WAIT_S):
                while True:
                    said = await anext(watch)
                    if wanted(said):
                        return said

        yield until
