"""Calls of one key through real servers and a real registry, while instances come, leave and are killed."""

import asyncio
import os
import sys
import time
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from redis import Redis

from integration.ordered_server import Journal, ordered_server
from placet_rpc.client import Client
from placet_rpc.errors import RpcError
from placet_rpc.filters import Seams
from placet_rpc.ordering import OrderedCalls
from placet_rpc.ordering.owner import Owners

TESTS = Path(__file__).parent.parent
LEASE_MS = 2_000
ACCOUNTS = [f"account-{number}" for number in range(12)]


def ordered_client(registry, app="order"):
    """A client that keeps order."""
    return Client(registry=registry, app=app, timeout=timedelta(seconds=20), seams=Seams(ordering=(OrderedCalls(),)))


class Ran:
    """What the servers of this process ran; a run that crosses another of its account is a failure."""

    def __init__(self):
        self.running, self.last, self.wrong, self.instances = {}, {}, [], set()

    def __call__(self, what, account, number, instance):
        if what == "end":
            del self.running[account]
            return
        if account in self.running or number <= self.last.get(account, 0):
            self.wrong.append((account, number, instance, self.running.get(account), self.last.get(account)))
        self.running[account] = (number, instance)
        self.last[account] = number
        self.instances.add(instance)


async def test_a_rolling_restart_under_load_fails_no_call_and_keeps_the_order():
    """Three servers are replaced one by one while every account is written to: each line runs once, in its place."""
    registry, ran = f"memory:{uuid4().hex}", Ran()
    done = 0

    async def write(journal, account):
        nonlocal done
        number = 0
        while not stop.is_set():
            number += 1
            await journal.write(account, number, 0.001)
            done += 1

    stop = asyncio.Event()
    async with AsyncExitStack() as stack:
        servers = []
        for number in range(3):
            one = AsyncExitStack()
            await one.enter_async_context(ordered_server(registry, f"i{number}", ran))
            servers.append(one)
        client = await stack.enter_async_context(ordered_client(registry))
        journal = client.reference(Journal)
        writing = [asyncio.ensure_future(write(journal, account)) for account in ACCOUNTS]
        for number, old in enumerate(servers):
            await asyncio.sleep(0.3)
            await stack.enter_async_context(ordered_server(registry, f"j{number}", ran))
            await asyncio.sleep(0.3)
            await old.aclose()
        await asyncio.sleep(0.3)
        stop.set()
        await asyncio.gather(*writing)
    assert ran.wrong == []
    assert ran.instances == {"i0", "i1", "i2", "j0", "j1", "j2"}
    assert done == sum(ran.last.values())


@pytest.fixture
def registry(redis_server):
    """A registry on Redis, of this test's own."""
    space = f"t{uuid4().hex}"
    yield f"redis://{redis_server.partition('://')[2]}?prefix={space}&lease_ms={LEASE_MS}&poll_ms=50"
    with Redis.from_url(redis_server) as client:
        for key in client.scan_iter(f"{space}:*"):
            client.delete(key)


async def test_the_keys_of_a_killed_server_are_run_elsewhere_after_its_lease(registry):
    """The call that it ran is not repeated, the next one runs at another server, and not too soon."""
    ran = Ran()
    command = (sys.executable, "-m", "integration.ordered_server", registry, "doomed", str(LEASE_MS))
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(TESTS)}
    )
    try:
        async with (
            asyncio.timeout(60),
            ordered_server(registry, "survivor", ran, timedelta(milliseconds=LEASE_MS)),
            ordered_client(registry) as client,
        ):
            assert (await process.stdout.readline()).strip() == b"serving"
            journal = client.reference(Journal)
            account = await owned_by_doomed(client)
            number = 1
            while await journal.write(account, number) != "doomed":  # until the survivor has let go of it
                number += 1
            running = asyncio.ensure_future(journal.write(account, number + 1, 30))
            while (await process.stdout.readline()).decode() != f"begin {account} {number + 1} doomed\n":
                pass
            killed_at = time.monotonic()
            process.kill()
            with pytest.raises(RpcError):
                await running
            assert await as_soon_as_possible(journal, account, number + 2) == "survivor"
            # The registry's lease has at least a second left; then the owner's own begins.
            assert time.monotonic() - killed_at > (1_000 + LEASE_MS) / 1000
            assert ran.wrong == []
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def as_soon_as_possible(journal, account, number):
    """The instance that runs the first call that is taken again."""
    while True:
        try:
            return await journal.write(account, number)
        except RpcError:
            number += 1
            await asyncio.sleep(0.05)


async def owned_by_doomed(client):
    """An account whose lines the other process writes, once it is found."""
    directory = client.chains._directory
    while len((snapshot := directory.snapshot("journal/1")).endpoints) < 2:
        await directory.ready("journal/1", 1)
        await asyncio.sleep(0.02)
    owners = Owners.of(snapshot)
    return next(account for account in ACCOUNTS if owners.owner(account) == "doomed")
