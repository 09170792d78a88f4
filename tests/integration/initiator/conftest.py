"""A real coordinator and two real services, each a process, and the SDK in this one."""

import asyncio
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from acceptance.processes import Process, Server, ask, free_port, until
from placet import Client, Settings

from .proxy import Proxy


class Ledger(Process):
    """One process of `ledger_app`, which keeps its entries in a SQLite file of its own."""

    def __init__(self, name: str, folder: Path, coordinator_url: str) -> None:
        self.name, port = name, free_port()
        self.url = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "uvicorn", "--app-dir", str(Path(__file__).parent), "ledger_app:app"]
        variables = {
            "PLACET_URL": coordinator_url,
            "PLACET_SELF_URL": self.url,
            "LEDGER_NAME": name,
            "LEDGER_DATABASE": str(folder / f"{name}.db"),
        }
        super().__init__([*command, "--port", str(port), "--log-level", "warning"], folder, variables, f"ledger-{name}")

    async def entries(self, order: str) -> list[str]:
        """Returns the states of an order's entries."""
        return (await asyncio.to_thread(ask, "GET", f"{self.url}/entries/{order}")).json

    async def runs(self, order: str) -> int:
        """Returns how often a handler ran for an order."""
        return (await asyncio.to_thread(ask, "GET", f"{self.url}/runs/{order}")).json


class System(NamedTuple):
    """A coordinator, and two services that it knows by name."""

    server: Server
    north: Ledger
    south: Ledger


def start(database_url: str, folder: Path, stack: ExitStack) -> System:
    """Starts a system, and waits until its services are announced."""
    server = Server(database_url, folder, PLACET_NODE_ID="one")
    stack.callback(server.stop)
    server.run()
    ledgers = [Ledger(name, folder, server.url) for name in ("north", "south")]
    for ledger in ledgers:
        stack.callback(ledger.stop)
        ledger.start()
    for ledger in ledgers:
        ledger.wait_ready(f"{ledger.url}/runs/none")
        found = f"{server.url}/v1/services/{ledger.name}"
        until(f"{ledger.name} is announced", lambda found=found: ask("GET", found).json["instances"])
    return System(server, *ledgers)


@pytest.fixture(scope="module")
def system(tmp_path_factory) -> Iterator[System]:
    """A system on SQLite that the tests of a module share; each has orders of its own."""
    folder = tmp_path_factory.mktemp("initiator")
    with ExitStack() as stack:
        yield start(f"sqlite:///{folder / 'placet.db'}", folder, stack)


@pytest.fixture
def own_system(tmp_path) -> Iterator[Callable[[str], System]]:
    """Makes a system of this test's own, whose coordinator may be killed: `own_system(database_url)`."""
    with ExitStack() as stack:
        yield lambda database_url: start(database_url, tmp_path, stack)


def over_http(url: str) -> Settings:
    """Returns settings by which every call passes the proxy, which knows no other transport."""
    return Settings(url=url, transport="http")


@pytest.fixture
async def proxy(system) -> AsyncIterator[Proxy]:
    """A proxy in front of the shared coordinator."""
    async with Proxy(system.server.url) as passing:
        yield passing


@pytest.fixture
async def placet(proxy) -> AsyncIterator[Client]:
    """The SDK, by way of the proxy."""
    async with Client(settings=over_http(proxy.url)) as client:
        yield client


@pytest.fixture
async def direct(system) -> AsyncIterator[Client]:
    """The SDK, straight to the coordinator: to look how things ended."""
    async with Client(system.server.url) as client:
        yield client


@pytest.fixture
def order() -> str:
    """An order that no other test uses."""
    return f"o-{uuid.uuid4().hex}"
