"""A process that announces an instance and renews nothing; it waits to be killed."""

import asyncio
import sys

from placet_rpc.registry import Endpoint
from placet_rpc.registry.opening import open_registry


def endpoint(instance_id: str, port: int = 7001, **fields) -> Endpoint:
    """An instance that every registry can hold."""
    return Endpoint(instance_id=instance_id, urls=(f"http://127.0.0.1:{port}/rpc",), **fields)


async def main(url: str, service: str, instance_id: str) -> None:
    registry = open_registry(url)
    await registry.register(service, endpoint(instance_id))
    print("announced", flush=True)  # noqa: T201 - the test waits for it
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
