"""The registries that the suite runs on, each on its real server."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

from kazoo.client import KazooClient
from redis import Redis

from placet_rpc.registry.memory import Board, MemoryRegistry
from placet_rpc.registry.opening import open_registry
from placet_rpc.registry.registry import LEASE

ANNOUNCE = Path(__file__).parent / "announce.py"
LEASE_MS = 15_000
TESTS = Path(__file__).parent.parent.parent


class Kind:
    """One kind of registry, with a space of its own on the server for one test.

    Attributes:
        knows_owners: tells what this object announced from what another did under the same id.
        holds_all: keeps all that an endpoint says.
        short_lease_ms: as short as a lease may be there.
        address: host and port of the server.
    """

    knows_owners = True
    holds_all = True
    short_lease_ms = 1_000

    def __init__(self, server: str):
        self.space = f"t{uuid4().hex}"
        self.address = urlsplit(server).netloc or server

    def url(self, address: str, lease_ms: int) -> str:
        """The registry's URL, by way of an address."""
        raise NotImplementedError

    def open(self, *, address: str | None = None, lease_ms: int = LEASE_MS):
        """Opens the registry."""
        return open_registry(self.url(address or self.address, lease_ms))

    def service(self, name: str) -> str:
        """A service's key that no other test uses."""
        return name

    async def announce_and_die(self, service: str, instance_id: str, lease_ms: int) -> None:
        """Announces an instance from a process that is then killed."""
        command = [sys.executable, str(ANNOUNCE), self.url(self.address, lease_ms), service, instance_id]
        environment = os.environ | {"PYTHONPATH": str(TESTS)}
        process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, env=environment)
        try:
            assert process.stdout is not None
            assert await process.stdout.readline() == b"announced\n"
        finally:
            process.kill()
            await process.communicate()

    def clear(self) -> None:
        """Leaves nothing on the server."""


class Memory(Kind):
    """Within this process, where no other's pace counts: a lease may be shorter."""

    short_lease_ms = 300

    def __init__(self, _server: str):
        self.space = self.address = ""
        self.board = Board()

    def open(self, *, address=None, lease_ms=LEASE_MS):
        return MemoryRegistry(self.board, lease=LEASE * lease_ms / LEASE_MS)

    async def announce_and_die(self, service, instance_id, lease_ms):
        from conformance.registry.announce import endpoint  # noqa: PLC0415 - the script's own module

        await self.open(lease_ms=lease_ms).register(service, endpoint(instance_id))


class RedisKind(Kind):
    """On Redis, under a prefix."""

    def url(self, address, lease_ms):
        return f"redis://{address}/0?prefix={self.space}&lease_ms={lease_ms}&poll_ms=20"

    def clear(self):
        with Redis.from_url(f"redis://{self.address}/0") as client:
            for key in client.scan_iter(f"{self.space}:*"):
                client.delete(key)


class ZooKeeperKind(Kind):
    """On ZooKeeper, below a node."""

    def url(self, address, lease_ms):
        return f"zookeeper://{address}/{self.space}?session_ms={lease_ms}"

    def clear(self):
        client = KazooClient(self.address)
        client.start()
        client.delete(f"/{self.space}", recursive=True)
        client.stop()
        client.close()


class CoordinatorKind(Kind):
    """In a coordinator, by services that no other test uses."""

    knows_owners = False
    holds_all = False

    def url(self, address, lease_ms):
        return f"coordinator+http://{address}?lease_ms={lease_ms}&poll_ms=20"

    def service(self, name):
        name, slash, version = name.partition("/")
        return f"{name}-{self.space[:20]}{slash}{version}"


KINDS = {
    "memory": (Memory, ""),
    "redis": (RedisKind, "redis_server"),
    "zookeeper": (ZooKeeperKind, "zookeeper_servers"),
    "coordinator": (CoordinatorKind, "coordinator_server"),
}
"""From name to kind, and to the fixture that says where its server is."""
