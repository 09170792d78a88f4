"""Every figure that is promised of the RPC, in one run, beside grpcio, aiohttp and httpx2.

    .venv/bin/python bench/rpc.py [--rounds 3] [--calls 60000] [--memory-calls 1000000] [--cuts 100000]

Some ten minutes on two free cores, with the dependency group `bench` installed; `--memory-calls 10000000` for the whole
of that promise. Each script that is run here also runs alone and says what it measures. At the end every promise stands
beside what was found. Rates depend on who else uses the machine: they are judged in words; what does not depend on it
(failed calls, lost futures, bytes) makes this command fail.
"""

import argparse
import asyncio
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import rpc_chain
import rpc_tcp
from rpc_contenders import KINDS

HERE = Path(__file__).parent
MISSING = "not measured"


class Promise(NamedTuple):
    """A promise, and what was found."""

    what: str
    promised: float
    found: float | None
    at_most: bool = False

    def __str__(self) -> str:
        bound = "at most" if self.at_most else "at least"
        if self.found is None:
            return f"{MISSING:12} {self.what}: promised {bound} {self.promised:,g}"
        kept = self.found <= self.promised if self.at_most else self.found >= self.promised
        verdict = "kept" if kept else "NOT KEPT"
        return f"{verdict:12} {self.what}: promised {bound} {self.promised:,g}, found {self.found:,.2f}"


def ratio(medians: dict[str, dict[str, float]], ours: str, theirs: str, figure: str) -> float | None:
    """Returns how many times theirs ours is, or None if one of them was not measured."""
    if ours not in medians or theirs not in medians:
        return None
    return medians[ours][figure] / medians[theirs][figure]


def rates(options: argparse.Namespace) -> list[Promise]:
    """Runs all transports and the others."""
    given = argparse.Namespace(
        calls=options.calls, in_flight=64, rounds=options.rounds, loop="uvloop", only=",".join(KINDS)
    )
    medians = rpc_tcp.run_all(given)
    return [
        Promise("calls/s over TCP, full chain", 25_000, medians["tcp-chain"]["calls_per_second"]),
        Promise("the same, times grpcio aio", 5, ratio(medians, "tcp-chain", "grpcio", "calls_per_second")),
        Promise(
            "calls/s over HTTP, full chain, times aiohttp",
            2,
            ratio(medians, "http-chain", "aiohttp", "calls_per_second"),
        ),
        Promise(
            "client CPU over HTTP without chain, times aiohttp",
            0.25,
            ratio(medians, "http", "aiohttp", "client_us"),
            at_most=True,
        ),
    ]


def overheads(options: argparse.Namespace) -> list[Promise]:
    """Measures the chain without a transport."""
    given = argparse.Namespace(calls=options.chain_calls, repeats=5)
    chain = asyncio.run(rpc_chain.chains(given))
    ring = rpc_chain.micros_of_pick("consistent_hash", 10, given.calls, given.repeats)
    return [
        Promise("us of the full chain per call", 30, chain, at_most=True),
        Promise("us of a look into the ring of 10 instances", 1, ring, at_most=True),
    ]


def holds(script: str, *arguments: object) -> bool:
    """Runs a script that fails where its claim does not hold."""
    print(f"\n-- {script} --", flush=True)
    command = [sys.executable, str(HERE / script), *map(str, arguments)]
    return subprocess.run(command, check=False).returncode == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--calls", type=int, default=60_000)
    parser.add_argument("--chain-calls", type=int, default=50_000)
    parser.add_argument("--memory-calls", type=int, default=1_000_000)
    parser.add_argument("--cuts", type=int, default=100_000)
    options = parser.parse_args()
    print("-- transports --", flush=True)
    promises = rates(options)
    print("\n-- chain --", flush=True)
    promises += overheads(options)
    claims = {
        "bytes per connection and call, memory flat": holds("rpc_memory.py", "--calls", options.memory_calls),
        f"no lost future in {options.cuts:,} disconnects": holds("rpc_disconnects.py", "--cuts", options.cuts),
        "no failed call in a rolling restart of 3 servers": holds("rpc_restart.py"),
    }
    print("\n-- promises --")
    for promise in promises:
        print(promise)
    for what, kept in claims.items():
        print(f"{'kept' if kept else 'NOT KEPT':12} {what}")
    raise SystemExit(not all(claims.values()))


if __name__ == "__main__":
    main()
