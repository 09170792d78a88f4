"""A server of the RPC in a process of its own, run with a port, a name, and a file in which each call leaves a line.

It prints its port when it listens, drains when it is told to end (SIGTERM), and leaves nothing when it is killed.
"""

import asyncio
import os
import signal
import sys
from datetime import timedelta
from typing import Protocol

from placet_contract.service import method, service
from placet_rpc.server import Server

LINGER = timedelta(milliseconds=300)


@service("where")
class Where(Protocol):
    """Says who took the call."""

    @method(idempotent=True, timeout=timedelta(seconds=5))
    async def am_i(self, number: int) -> str: ...

    @method(timeout=timedelta(seconds=5))
    async def write(self, number: int) -> str: ...


class Here:
    """One server's answer."""

    def __init__(self, name: str, file: int) -> None:
        self.name, self.file = name, file

    async def am_i(self, number: int) -> str:
        await asyncio.sleep(0.002)
        return self.name

    async def write(self, number: int) -> str:
        await asyncio.sleep(0.002)
        os.write(self.file, f"{number}\n".encode())
        return self.name


async def main(port: str, name: str, path: str) -> None:
    """Serves until it is told to end."""
    end = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end.set)
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    server = Server(tcp=f"127.0.0.1:{port}", instance_id=name)
    server.expose(Where)(Here(name, file))
    await server.start()
    print(server.tcp_server.port, flush=True)  # noqa: T201 - the test waits for it
    await end.wait()
    await server.aclose(linger=LINGER)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
