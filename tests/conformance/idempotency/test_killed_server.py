"""What the repeats of a request hear whose server was killed in the middle of it."""

import asyncio
import os
import sys
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from conformance.idempotency.conftest import DRIVERS
from conformance.idempotency.server import Till
from placet_rpc.client import Client
from placet_rpc.context import call_options
from placet_rpc.errors import CallOngoing, ConnectionLost, OutcomeLost
from placet_rpc.idempotency.sql import metadata
from placet_rpc.sql_database import Database

TESTS = Path(__file__).parent.parent.parent


@pytest.fixture(params=["sqlite", "postgres", "mariadb"])
async def start(request):
    """Starts server processes on one database; returns the process and its endpoint."""
    driver, fixture = DRIVERS[request.param]
    url = f"{driver}://{request.getfixturevalue(fixture).partition('://')[2]}"
    engine = create_async_engine(url)
    await Database(engine).create_tables(metadata)
    await engine.dispose()
    processes = []

    async def started(how):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "conformance.idempotency.server", url, how),
            stdout=asyncio.subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": str(TESTS)},
        )
        processes.append(process)
        return process, await says(process)

    yield started
    for process in processes:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def says(process):
    """The next line that a process says."""
    async with asyncio.timeout(30):
        return (await process.stdout.readline()).decode().strip()


async def pay(client, key, call="pay"):
    with call_options(idempotency_key=key):
        return await getattr(client.reference(Till), call)(5)


async def until_settled(client, key, call):
    """Asks again as long as the answer is that the first request still runs."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await pay(client, key, call)
            except CallOngoing as error:
                await asyncio.sleep(error.retry_after_ms / 1000)


async def test_a_request_whose_server_was_killed_is_neither_repeated_nor_forgotten(start):
    """First it may still run, then it is lost; a method that is declared idempotent is run again by one server."""
    (dying, first), (_, second) = await asyncio.gather(start("stalls"), start("works"))
    async with Client(first, app="order") as client, Client(second, app="order") as other:
        calls = [asyncio.ensure_future(pay(client, key, call)) for key, call in (("k1", "pay"), ("k2", "audit"))]
        assert [await says(dying) for _ in calls] == ["began", "began"]
        dying.kill()
        for call in calls:
            with pytest.raises(ConnectionLost):
                await call
        with pytest.raises(CallOngoing):
            await pay(other, "k1")
        with pytest.raises(OutcomeLost):
            await until_settled(other, "k1", "pay")
        assert await until_settled(other, "k2", "audit") == 5
        assert await pay(other, "k3") == 5
