"""The transaction benchmark: one command, every figure, on this machine.

    .venv/bin/python bench/transactions.py --store postgres --floor floor.py
    .venv/bin/python bench/transactions.py --store sqlite --forms tcc --callers 1,64
    .venv/bin/python bench/transactions.py --store postgres --forms tcc --transports http,tcp --callers 64

Starts no-op participants, a coordinator (`placet server`) on an empty database of its own, and load, each a process on
loopback. For each form, transport and number of callers it prints transactions per second, latencies, the coordinator's
CPU per transaction, and the statements, commits and round trips per transaction as the store counted them; then
what was still open one second after the load ended. `--floor FILE` runs a floor program before, in the same session,
and again with its own load against our coordinator. `--store` postgres and mariadb need
`compose/services up postgres mariadb`.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from databases import Database, database

HERE = Path(__file__).parent
COORDINATOR_PORT, COORDINATOR_TCP_PORT = 18_470, 18_472
PARTICIPANTS_PORT, PARTICIPANTS_TCP_PORT = 18_471, 18_473
FLOOR_PARTICIPANTS_PORT = 18_791
COUNTERS = ("statements", "commits", "round_trips", "entries")
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Snapshot:
    """What the coordinator has used and done so far."""

    cpu_s: float
    counters: dict[str, float]
    open_transactions: float


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process with its threads (proc(5)), and of the process by which it writes to SQLite."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended
            fields = stat.read_text().rsplit(")", 1)[1].split()
            if int(stat.parent.name) == pid or int(fields[1]) == pid:
                ticks += int(fields[11]) + int(fields[12])
    return ticks / CLOCK_TICKS


def ask(path: str, body: object = None, method: str = "GET", *, port: int = COORDINATOR_PORT) -> str:
    """Return the body of the coordinator's answer."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data=data, method=method)
    with urllib.request.urlopen(request, timeout=10) as reply:
        return reply.read().decode()


def snapshot(pid: int) -> Snapshot:
    """Read CPU, the store's counters and the open transactions."""
    metrics = ask("/metrics")
    counters = {
        name: float(found.group(1))
        if (found := re.search(rf"^placet_store_{name}_total (\S+)$", metrics, re.MULTILINE))
        else 0.0
        for name in COUNTERS
    }
    open_rows = re.findall(r"^placet_transactions_open\{[^}]*\} (\S+)$", metrics, re.MULTILINE)
    return Snapshot(cpu_seconds(pid), counters, sum(map(float, open_rows)))


def wait_ready(child: subprocess.Popen[bytes], port: int) -> None:
    """Wait until calls are served."""
    give_up_at = time.monotonic() + 60
    while time.monotonic() < give_up_at:
        if child.poll() is not None:
            raise SystemExit("the coordinator ended at start; run `placet doctor`")
        try:
            ask("/readyz", port=port)
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit("the coordinator did not become ready within 60 s")


def run_load(
    form: str, transport: str, callers: int, seconds: float, *, port: int = COORDINATOR_PORT
) -> dict[str, float]:
    """Run one load process and return its figures."""
    by_http = f"http://127.0.0.1:{port}"
    if transport == "tcp":
        served_at = f"tcp://127.0.0.1:{COORDINATOR_TCP_PORT}" if form != "sdk" else by_http
        called_at, targets = f"tcp://127.0.0.1:{PARTICIPANTS_TCP_PORT}", "noop"
    else:
        served_at, called_at = by_http, f"http://127.0.0.1:{PARTICIPANTS_PORT}"
        targets = called_at
    command = [sys.executable, str(HERE / "load.py"), form, "--coordinator", served_at]
    command += ["--participants", called_at, "--targets", targets, "--transport", transport]
    command += ["--callers", str(callers), "--seconds", str(seconds)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    if finished.returncode:
        raise SystemExit(f"{form} at {callers} callers failed:\n{finished.stderr}")
    figures: dict[str, float] = json.loads(finished.stdout)
    return figures


def measure(form: str, transport: str, callers: int, seconds: float, pid: int) -> dict[str, object]:
    """Run one load, and set the coordinator's figures beside it."""
    before = snapshot(pid)
    figures = run_load(form, transport, callers, seconds)
    time.sleep(1.1)  # the open transactions are counted at most once a second
    after = snapshot(pid)
    count = figures["count"]
    row: dict[str, object] = {"form": form, "transport": transport, **figures}
    row["coordinator_cpu_us_per_tx"] = round((after.cpu_s - before.cpu_s) / count * 1e6)
    for name in COUNTERS:
        row[f"{name}_per_tx"] = round((after.counters[name] - before.counters[name]) / count, 3)
    row["open_after_1s"] = after.open_transactions
    return row


def machine() -> dict[str, str]:
    """Say what this was measured on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in lines if "model name" in line), "?")
    return {"cpu": f"{os.cpu_count()} x {model}", "python": platform.python_version(), "kernel": platform.release()}


def what_runs() -> str:
    """Say whether the coordinator runs compiled or plain: after an edit, what was compiled is not used."""
    found = re.search(r'placet_build_info\{[^}]*runs="(\w+)"', ask("/metrics"))
    return found[1] if found else "unknown"


@contextmanager
def stage(store: Database) -> Iterator[int]:
    """Run participants and a coordinator; yield the coordinator's pid."""
    with participants(), coordinator(store) as pid:
        operations = ["try", "confirm", "cancel", "action", "compensate"]
        instance = {
            "base_url": f"http://127.0.0.1:{PARTICIPANTS_PORT}",
            "tcp_url": f"tcp://127.0.0.1:{PARTICIPANTS_TCP_PORT}",
            "actions": {"a": operations, "b": operations},
            "lease_ms": 3_600_000,
        }
        ask("/v1/services/noop/instances/one", instance, "PUT")
        print(json.dumps({"coordinator": what_runs()}), flush=True)
        yield pid


@contextmanager
def participants() -> Iterator[None]:
    """Run the no-op participants."""
    noop = [sys.executable, str(HERE / "noop.py"), str(PARTICIPANTS_PORT), str(PARTICIPANTS_TCP_PORT)]
    child = subprocess.Popen(noop)
    try:
        yield
    finally:
        child.terminate()
        child.wait(30)


@contextmanager
def coordinator(store: Database, port: int = COORDINATOR_PORT) -> Iterator[int]:
    """Run a coordinator; yield its pid once it is ready."""
    settings = {
        "PLACET_DATABASE_URL": store.url,
        "PLACET_TCP_PORT": str(port - COORDINATOR_PORT + COORDINATOR_TCP_PORT),
    }
    server = [str(Path(sys.executable).parent / "placet"), "server", "--port", str(port)]
    with tempfile.TemporaryFile() as log:
        child = subprocess.Popen(server, env={**os.environ, **settings}, stdout=log, stderr=log)
    try:
        wait_ready(child, port)
        yield child.pid
    finally:
        child.terminate()
        child.wait(30)


def run_forms(options: argparse.Namespace, pid: int) -> None:
    """Measure and print every combination that was asked for."""
    for form in options.forms.split(","):
        for transport in options.transports.split(","):
            for callers in map(int, options.callers.split(",")):
                figures = measure(form, transport, callers, options.seconds, pid)
                print(json.dumps(figures), flush=True)


def run_floor(options: argparse.Namespace, store: Database) -> None:
    """Run the floor program: its own coordinator, then its load against ours."""
    floor = [sys.executable, options.floor]
    seconds = ["--seconds", str(options.seconds)]
    subprocess.run([*floor, "run", "--store", store.floor_url, "--callers", options.callers, *seconds], check=True)
    serving = subprocess.Popen([*floor, "participants"])
    try:
        with stage(store):
            for callers in options.callers.split(","):
                product = ["--product-port", str(COORDINATOR_PORT), "--callers", callers]
                subprocess.run([*floor, "load", *product, *seconds], check=True)
    finally:
        serving.terminate()
        serving.wait(10)


def main() -> None:
    """Run all measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", choices=["sqlite", "postgres", "mariadb"], default="sqlite")
    parser.add_argument("--forms", default="tcc,saga_begin,saga,drive,sdk")
    parser.add_argument("--transports", default="http")
    parser.add_argument("--callers", default="1,16,64,256")
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--floor", help="a floor program to run in the same session")
    options = parser.parse_args()
    print(json.dumps(machine()))
    with database(options.store) as store:
        if options.floor:
            run_floor(options, store)
            store.empty()
        with stage(store) as pid:
            run_forms(options, pid)


if __name__ == "__main__":
    main()
