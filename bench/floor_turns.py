"""The floor and our coordinator in turns: the ratio of two figures that were taken within seconds of each other.

    .venv/bin/python bench/floor_turns.py FLOOR --store postgres --callers 64 --turns 10

On a shared machine the same program runs half as fast again a minute later, so one run of each, one after the other,
compares the minutes. Here both coordinators stay up; the floor's own load drives the one, then the other, for a few
seconds each, in an order that alternates. Printed are the medians, and the ratio within each turn: median, least and
most. `FLOOR` is the floor program: `FLOOR coordinator|participants|load`.
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
import time

from transactions import COORDINATOR_PORT, cpu_seconds, machine, stage

from databases import database

LINE = re.compile(r"(\d+) tx/s\s+p50 ([\d.]+) ms\s+p99 ([\d.]+) ms")
WARM_UP_SECONDS = 1
"""The load runs so long before it counts."""


def run_turn(floor: list[str], arguments: list[str], pid: int, seconds: float) -> dict[str, float]:
    """Drive one coordinator, and return its figures."""
    before = cpu_seconds(pid)
    done = subprocess.run([*floor, "load", *arguments], check=True, capture_output=True, text=True, timeout=120)
    found = LINE.search(done.stdout)
    if found is None:
        raise SystemExit(f"the load says no figures: {done.stdout}{done.stderr}")
    rate, p50, p99 = map(float, found.groups())
    count = rate * (seconds + WARM_UP_SECONDS)
    cpu_us = (cpu_seconds(pid) - before) / count * 1e6
    return {"tx_per_s": rate, "p50_ms": p50, "p99_ms": p99, "coordinator_cpu_us_per_tx": cpu_us}


def medians(turns: list[dict[str, float]]) -> dict[str, float]:
    """Return the median of each figure."""
    return {name: round(statistics.median(turn[name] for turn in turns), 1) for name in turns[0]}


def main() -> None:
    """Run the turns and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("floor", metavar="FLOOR")
    parser.add_argument("--store", choices=["sqlite", "postgres"], default="postgres")
    parser.add_argument("--callers", default="64")
    parser.add_argument("--turns", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=2)
    options = parser.parse_args()
    print(json.dumps(machine()))
    floor = [sys.executable, options.floor]
    with database(options.store) as store, stage(store) as pid:
        participants = subprocess.Popen([*floor, "participants"])
        time.sleep(1)  # it says nothing when it is ready, and the floor's coordinator connects to it at once
        coordinator = subprocess.Popen([*floor, "coordinator", "--store", store.floor_url])
        try:
            time.sleep(2)  # as above
            for callers in options.callers.split(","):
                load = ["--callers", callers, "--seconds", str(options.seconds)]
                sides = {
                    "floor": (load, coordinator.pid),
                    "placet": ([*load, "--product-port", str(COORDINATOR_PORT)], pid),
                }
                turns: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
                for turn in range(options.turns):
                    for name in sorted(sides, reverse=bool(turn % 2)):
                        turns[name].append(run_turn(floor, *sides[name], options.seconds))
                pairs = zip(turns["placet"], turns["floor"], strict=True)
                ratios = sorted(ours["tx_per_s"] / theirs["tx_per_s"] for ours, theirs in pairs)
                ratio = {"median": statistics.median(ratios), "least": ratios[0], "most": ratios[-1]}
                figures = {name: medians(each) for name, each in turns.items()}
                figures["ratio"] = {name: round(value, 2) for name, value in ratio.items()}
                print(json.dumps({"store": options.store, "callers": int(callers), **figures}), flush=True)
        finally:
            for child in (coordinator, participants):
                child.terminate()
                child.wait(10)


if __name__ == "__main__":
    main()
