"""A server of an ordered service, found through a registry; in the test's process, or in one of its own to be killed.

python -m integration.ordered_server REGISTRY_URL INSTANCE_ID LEASE_MS
"""

import asyncio
import sys
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Protocol

from placet_contract.service import method, service
from placet_rpc.ordering import OrderedServing, Ownership
from placet_rpc.ordering.peers import Peers
from placet_rpc.registry.directory import open_directory
from placet_rpc.server import Server
from placet_rpc.transports import Transports


@service("journal")
class Journal(Protocol):
    """A service whose lines of one account must not be mixed up."""

    @method(order_by="account")
    async def write(self, account: str, number: int, seconds: float = 0.0) -> str: ...


class JournalHere:
    """The implementation: says which instance has run a call."""

    def __init__(self, instance_id, ran):
        self.instance_id, self.ran = instance_id, ran
        self.running = set()

    async def write(self, account: str, number: int, seconds: float = 0.0) -> str:
        self.ran("begin", account, number, self.instance_id)
        await asyncio.sleep(seconds)
        self.ran("end", account, number, self.instance_id)
        return self.instance_id


@asynccontextmanager
async def ordered_server(registry, instance_id, ran, lease=timedelta(seconds=15)):
    """Serves until the block ends; then the server drains."""
    transports = Transports(app="journal")
    directory = open_directory(registry, probe=transports.probe)
    ownership = Ownership(directory, instance_id, Peers(transports.connect), services=["journal/1"], lease=lease)
    server = Server(tcp="127.0.0.1:0", registry=registry, instance_id=instance_id, filters=[OrderedServing(ownership)])
    server.expose(Journal)(JournalHere(instance_id, ran))
    await server.start()
    try:
        yield server
    finally:
        await server.aclose(linger=timedelta(milliseconds=300), grace=timedelta(seconds=5))
        await directory.aclose()
        await transports.aclose()


async def serve(registry, instance_id, lease_ms):
    """Serves until it is killed."""

    def say(*what):
        sys.stdout.write(" ".join(map(str, what)) + "\n")
        sys.stdout.flush()

    async with ordered_server(registry, instance_id, say, timedelta(milliseconds=int(lease_ms))):
        say("serving")
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:]))
