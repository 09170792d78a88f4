"""A rolling restart of three servers under load: no idempotent call may fail.

    .venv/bin/python bench/rpc_restart.py [--rounds 2] [--callers 64]

The servers are processes of their own; each in turn is told to end (SIGTERM), drains, and comes back at its port. Calls
have the client's usual chain and settings. Prints the tally; exits with 1 if a call failed.
"""

import argparse
import asyncio
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path

import uvloop

from placet_rpc import RpcError
from placet_rpc.client import Client

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from integration.rpc_child import Where
from integration.test_rpc_cluster import Child

CALLS_BETWEEN = 2_000
"""Made between two restarts, so that every server has its share of the load again."""


async def run(rounds: int, callers: int) -> bool:
    """Runs the story, and says whether all calls were answered."""
    answered: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    over = asyncio.Event()

    async def caller(where: Where) -> None:
        while not over.is_set():
            try:
                answered[await where.am_i(answered.total())] += 1
            except RpcError as error:
                failed[str(error)] += 1

    async def more() -> None:
        wanted = answered.total() + CALLS_BETWEEN
        while answered.total() < wanted:  # noqa: ASYNC110 - it is a count, and has no event
            await asyncio.sleep(0.01)

    with tempfile.TemporaryDirectory() as folder:
        servers = [Child(f"server-{number}", Path(folder, str(number))) for number in range(3)]
        for server in servers:
            await server.start()
        async with Client([f"tcp://127.0.0.1:{server.port}" for server in servers], app="bench") as client:
            calls = [asyncio.ensure_future(caller(client.reference(Where))) for _ in range(callers)]
            for server in servers * rounds:
                await more()
                await server.end(signal.SIGTERM)
                await server.start()
            await more()
            over.set()
            await asyncio.gather(*calls)
        for server in servers:
            await server.end(signal.SIGTERM)
    print(f"{rounds * 3} restarts, {answered.total()} calls answered, {failed.total()} failed")
    for words, count in failed.most_common(5):
        print(f"    failed {count} times: {words}")
    return not failed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--callers", type=int, default=64)
    options = parser.parse_args()
    raise SystemExit(not uvloop.run(run(options.rounds, options.callers)))


if __name__ == "__main__":
    main()
