"""A registry that is away for a minute, with the default leases and limits: no call may fail.

    .venv/bin/python bench/rpc_registry_outage.py [redis|zookeeper] [--seconds 60]

A test runs the same story, shortened (`tests/integration/registry_outage.py` says why that proves the same). Prints the
tally; exits with 1 if a call failed.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import uvloop

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).parents[1] / "compose"))
from integration.registry_outage import Times, outage
from private_servers import PrivateServer

KINDS = {
    "redis": "redis://127.0.0.1:{}/0?lease_ms={}",
    "zookeeper": "zookeeper://127.0.0.1:{}/placet?session_ms={}",
}


async def run(kind: str, seconds: float) -> bool:
    """Runs the story on one registry, and says whether all calls were answered."""
    with tempfile.TemporaryDirectory() as folder, PrivateServer(kind) as server:
        times = Times.default(seconds, Path(folder))
        registry = KINDS[kind].format(server.port, int(times.lease.total_seconds() * 1000))
        tally = await outage(registry, times, server.kill, server.start)
    print(f"{kind}: away for {seconds:g} s, {tally.answered.total()} calls answered, {tally.failed.total()} failed")
    for server_name, count in sorted(tally.answered.items()):
        print(f"    {server_name}: {count}")
    for words, count in tally.failed.most_common(5):
        print(f"    failed {count} times: {words}")
    return not tally.failed


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("registry", nargs="?", choices=list(KINDS), help="both, if none is named")
    parser.add_argument("--seconds", type=float, default=60.0)
    given = parser.parse_args()
    results = [await run(kind, given.seconds) for kind in ([given.registry] if given.registry else KINDS)]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(uvloop.run(main()))
