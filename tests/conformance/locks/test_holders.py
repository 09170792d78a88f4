"""What happens when the process that holds a lock is killed, or stopped and comes back."""

import asyncio
import os
import signal
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from conformance.locks.kinds import SHARED
from placet_rpc.locks.lock import Locks

TESTS = Path(__file__).parent.parent.parent
TTL_MS = 1_000
LONG = timedelta(seconds=30)


@pytest.fixture(params=SHARED)
async def kind(request):
    """The stores that another process can reach."""
    make, server = SHARED[request.param]
    kind = make(request.getfixturevalue(server))
    kind.name = request.param
    await kind.prepare()
    yield kind
    await kind.clear()


@pytest.fixture
async def holder(kind):
    """A process that holds the lock `m`; its token is the first line it says."""
    command = ["-m", "conformance.locks.holder", kind.name, kind.url, kind.space, str(TTL_MS)]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, stdout=asyncio.subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(TESTS)}
    )
    yield process
    if process.returncode is None:
        process.kill()
    await process.communicate()


async def says(process):
    """The next line that a process says."""
    async with asyncio.timeout(30):
        return (await process.stdout.readline()).decode().strip()


async def test_a_killed_holder_blocks_the_others_for_its_lease_at_most(kind, holder, store):
    """The lock of a process that was killed is given to the next one, with a greater token."""
    token = int(await says(holder))
    holder.kill()
    async with asyncio.timeout(20):
        async with await Locks(store).acquire("m", LONG) as lease:
            assert lease.token > token


async def test_a_stopped_holder_comes_back_with_an_older_token_and_learns_that_it_lost(kind, holder, store):
    """While a process is stopped another gets the lock; when it goes on it is told, and the store refuses it."""
    token = int(await says(holder))
    holder.send_signal(signal.SIGSTOP)
    async with asyncio.timeout(20):
        async with await Locks(store).acquire("m", LONG) as lease:
            assert lease.token > token
            holder.send_signal(signal.SIGCONT)
            assert [await says(holder) for _ in range(3)] == ["told", "lost", "False"]
            assert await holder.wait() == 0
            assert (await store.holder("m")).token == lease.token
