"""One registry per test, on its real server."""

from collections.abc import AsyncIterator, Iterator

import pytest

from acceptance.processes import Server
from conformance.registry.kinds import KINDS, Kind


@pytest.fixture(scope="session")
def coordinator_server(tmp_path_factory) -> Iterator[str]:
    """A running coordinator on SQLite."""
    folder = tmp_path_factory.mktemp("coordinator")
    server = Server(f"sqlite:///{folder / 'placet.db'}", folder)
    server.run()
    yield server.url
    server.stop()


@pytest.fixture(params=list(KINDS))
def kind(request) -> Iterator[Kind]:
    """Each kind of registry in turn."""
    make, server = KINDS[request.param]
    kind = make(request.getfixturevalue(server) if server else "")
    yield kind
    kind.clear()


@pytest.fixture
async def opened(kind) -> AsyncIterator:
    """Opens registries of this kind, and closes them after the test."""
    registries = []

    def open_one(**options):
        registries.append(kind.open(**options))
        return registries[-1]

    yield open_one
    for registry in registries:
        await registry.aclose()


@pytest.fixture
async def registry(opened):
    """A registry."""
    return opened()
