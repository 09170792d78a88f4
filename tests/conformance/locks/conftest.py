"""Stores of locks on their real servers."""

import pytest

from conformance.locks.kinds import KINDS


@pytest.fixture(params=list(KINDS))
async def kind(request):
    """Each kind of store in turn."""
    make, server = KINDS[request.param]
    kind = make(request.getfixturevalue(server) if server else "")
    await kind.prepare()
    yield kind
    await kind.clear()


@pytest.fixture
async def open_store(kind):
    """Opens stores of this kind, each by connections of its own, and closes them after the test."""
    stores = []

    async def opened():
        stores.append(await kind.open())
        return stores[-1]

    yield opened
    for store in stores:
        await kind.close(store)


@pytest.fixture
async def store(open_store):
    """A store."""
    return await open_store()


@pytest.fixture
async def other(open_store, store):
    """The same store, as another process sees it."""
    return await open_store()
