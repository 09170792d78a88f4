"""A server process whose requests are kept in SQL, to be killed by a test.

python -m conformance.idempotency.server DATABASE_URL
"""

import asyncio
import sys
from datetime import timedelta
from typing import Protocol

from sqlalchemy.ext.asyncio import create_async_engine

from placet_contract.service import method, service
from placet_rpc.idempotency.serving import Idempotency
from placet_rpc.idempotency.sql import SqlRequests
from placet_rpc.server import Server

RUNNING = timedelta(seconds=3)


@service("till")
class Till(Protocol):
    """A service whose calls may take for ever."""

    async def pay(self, cents: int) -> int: ...

    @method(idempotent=True)
    async def audit(self, cents: int) -> int: ...


class TillHere:
    """The implementation: 0 cents are never paid by the first server."""

    def __init__(self, *, stalls: bool):
        self.stalls = stalls

    async def pay(self, cents: int) -> int:
        if self.stalls:
            say("began")
            await asyncio.Event().wait()
        return cents

    async def audit(self, cents: int) -> int:
        return await self.pay(cents)


def say(what):
    """One line for the test."""
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


async def serve(url, stalls):
    """Serves until it is killed."""
    server = Server(tcp="127.0.0.1:0", filters=[Idempotency(SqlRequests(create_async_engine(url)), running=RUNNING)])
    server.expose(Till)(TillHere(stalls=stalls == "stalls"))
    async with server:
        say(server.endpoint)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:]))
