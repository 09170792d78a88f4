"""The transaction benchmark: one command, every figure, on this machine.

    .venv/bin/python bench/transactions.py --database-url postgresql://postgres@127.0.0.1:15432/postgres
    .venv/bin/python bench/transactions.py --database-url sqlite:////tmp/bench.db --forms tcc --callers 1,64

Starts no-op participants, a coordinator (`placet server`) on an empty database of its own, and load, each as a process on
loopback. For each form and number of callers it prints transactions per second, latencies, the coordinator's CPU per
transaction, and the statements, commits and round trips per transaction as the store counted them; then what was still
open one second after the load ended. `--floor FILE` runs a floor program with the same interface as ours beside it.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
COORDINATOR_PORT, PARTICIPANTS_PORT = 18_470, 18_471
COUNTERS = ("statements", "commits", "round_trips", "entries")
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Snapshot:
    """What the coordinator has used and done so far."""

    cpu_s: float
    counters: dict[str, float]
    open_transactions: float


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process and its threads (proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS


def get(path: str) -> str:
    """Return the body of a GET of the coordinator."""
    with urllib.request.urlopen(f"http://127.0.0.1:{COORDINATOR_PORT}{path}", timeout=10) as reply:
        return reply.read().decode()


def snapshot(pid: int) -> Snapshot:
    """Read CPU, the store's counters and the open transactions."""
    metrics = get("/metrics")
    counters = {
        name: float(found.group(1))
        if (found := re.search(rf"^placet_store_{name}_total (\S+)$", metrics, re.MULTILINE))
        else 0.0
        for name in COUNTERS
    }
    still_open = sum(float(value) for value in re.findall(r"^placet_transactions_open\{[^}]*\} (\S+)$", metrics, re.MULTILINE))
    return Snapshot(cpu_seconds(pid), counters, still_open)


def wait_ready(child: subprocess.Popen[bytes]) -> None:
    """Wait until calls are served."""
    give_up_at = time.monotonic() + 30
    while time.monotonic() < give_up_at:
        if child.poll() is not None:
            raise SystemExit("the coordinator ended at start; run `placet doctor`")
        try:
            get("/readyz")
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit("the coordinator did not become ready within 30 s")


def run_load(form: str, callers: int, seconds: float) -> dict[str, float]:
    """Run one load process and return its figures."""
    command = [
        sys.executable,
        str(HERE / "load.py"),
        form,
        "--coordinator",
        f"http://127.0.0.1:{COORDINATOR_PORT}",
        "--participants",
        f"http://127.0.0.1:{PARTICIPANTS_PORT}",
        "--callers",
        str(callers),
        "--seconds",
        str(seconds),
    ]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    if finished.returncode:
        raise SystemExit(f"{form} at {callers} callers failed:\n{finished.stderr}")
    figures: dict[str, float] = json.loads(finished.stdout)
    return figures


def measure(form: str, callers: int, seconds: float, pid: int) -> dict[str, object]:
    """Run one load, and set the coordinator's figures beside it."""
    before = snapshot(pid)
    figures = run_load(form, callers, seconds)
    time.sleep(1.1)  # the open transactions are counted at most once a second
    after = snapshot(pid)
    count = figures["count"]
    row: dict[str, object] = {"form": form, **figures}
    row["coordinator_cpu_us_per_tx"] = round((after.cpu_s - before.cpu_s) / count * 1e6)
    for name in COUNTERS:
        row[f"{name}_per_tx"] = round((after.counters[name] - before.counters[name]) / count, 3)
    row["open_after_1s"] = after.open_transactions
    return row


def machine() -> dict[str, str]:
    """Say what this was measured on."""
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        "?",
    )
    return {"cpu": f"{os.cpu_count()} x {model}", "python": platform.python_version(), "kernel": platform.release()}


def floor_figures(floor: str, store: str, callers: str, seconds: float) -> None:
    """Run the floor program: its own coordinator, and its load against ours."""
    subprocess.run(
        [sys.executable, floor, "run", "--store", store, "--callers", callers, "--seconds", str(seconds)], check=True
    )


def main() -> None:
    """Run all measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database-url", required=True, help="an empty database of its own")
    parser.add_argument("--forms", default="tcc,saga_begin,saga,drive,sdk")
    parser.add_argument("--callers", default="1,16,64,256")
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--floor", help="a floor program to run before and after, in the same session")
    parser.add_argument("--floor-store", help="the floor's store, as it names it")
    options = parser.parse_args()
    print(json.dumps(machine()))
    environment = {**os.environ, "PLACET_DATABASE_URL": options.database_url}
    children: list[subprocess.Popen[bytes]] = []
    try:
        if options.floor:
            floor_figures(options.floor, options.floor_store, options.callers, options.seconds)
        children.append(subprocess.Popen([sys.executable, str(HERE / "noop.py"), str(PARTICIPANTS_PORT)]))
        server = [str(Path(sys.executable).parent / "placet"), "server", "--port", str(COORDINATOR_PORT)]
        children.append(subprocess.Popen(server, env=environment, stdout=subprocess.DEVNULL))
        wait_ready(children[1])
        for form in options.forms.split(","):
            for callers in options.callers.split(","):
                print(json.dumps(measure(form, int(callers), options.seconds, children[1].pid)), flush=True)
    finally:
        for child in children:
            child.terminate()
        for child in children:
            child.wait(20)


if __name__ == "__main__":
    main()
