"""Which functions the interpreter runs for a transaction, beside those that are compiled: counted, not timed.

    .venv/bin/python bench/interpreted_calls.py --store sqlite --callers 64

Runs the coordinator with a profile hook that counts calls of Python functions; compiled ones make none. Printed are
the calls a transaction, the most frequent first: what stands there often is worth to be compiled (decision 0017).
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

from transactions import COORDINATOR_PORT, participants, run_load, wait_ready, what_runs

from databases import database

SHOWN_FROM = 0.05
LIMIT_S = 10


def serve(counts_file: Path) -> None:
    """Be `placet server`, and write the counts at each SIGUSR1, which begins a new count."""
    from placet_coordinator.cli import main as placet  # noqa: PLC0415 - it has to take the compiled modules first

    counts: Counter[str] = Counter()

    def count(frame: FrameType, event: str, _argument: Any) -> None:
        if event == "call":
            code = frame.f_code
            counts[f"{code.co_filename.rpartition('site-packages/')[2]} {code.co_qualname}"] += 1

    def tell(*_signal: Any) -> None:
        written = counts_file.with_suffix(".new")
        written.write_text(json.dumps(counts))
        written.rename(counts_file)
        counts.clear()

    signal.signal(signal.SIGUSR1, tell)
    sys.argv = ["placet", "server", "--port", str(COORDINATOR_PORT)]
    sys.setprofile(count)
    placet()


def told(server: subprocess.Popen[bytes], counts_file: Path) -> dict[str, int]:
    """Return the counts since the last time."""
    server.send_signal(signal.SIGUSR1)
    give_up_at = time.monotonic() + LIMIT_S
    while not counts_file.exists():
        if time.monotonic() > give_up_at:
            raise SystemExit(f"the coordinator told no counts within {LIMIT_S} s")
        time.sleep(0.05)
    counts: dict[str, int] = json.loads(counts_file.read_text())
    counts_file.unlink()
    return counts


def main() -> None:
    """Run the load and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", choices=["sqlite", "postgres", "mariadb"], default="sqlite")
    parser.add_argument("--form", default="tcc")
    parser.add_argument("--callers", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve is not None:
        serve(options.serve)
        return
    with tempfile.TemporaryDirectory() as folder, database(options.store) as store, participants():
        counts_file = Path(folder, "counts.json")
        command = [sys.executable, __file__, "--serve", str(counts_file)]
        environment = {**os.environ, "PLACET_DATABASE_URL": store.url}
        server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_ready(server, COORDINATOR_PORT)
            runs = what_runs()
            run_load(options.form, "http", options.callers, 1)
            told(server, counts_file)
            transactions = run_load(options.form, "http", options.callers, options.seconds)["count"]
            counts = told(server, counts_file)
        finally:
            server.terminate()
            server.wait(30)
    total = sum(counts.values()) / transactions
    print(
        json.dumps({"coordinator": runs, "store": options.store, "form": options.form, "calls_per_tx": round(total, 1)})
    )
    for name, calls in sorted(counts.items(), key=lambda each: -each[1]):
        if calls / transactions >= SHOWN_FROM:
            print(f"{calls / transactions:7.2f}  {name}")


if __name__ == "__main__":
    main()
