"""A server as a child process: started in a session of its own, recorded in a state file, stopped by signal."""

import json
import os
import pwd
import shutil
import signal
import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypedDict

from placet_services.failure import ServicesError

POLL_S = 0.02
KILLED_WAIT_LIMIT_S = 10.0
LOG_LIMIT_BYTES = 20_000_000  # a longer log is set aside as NAME.log.1 when its server is started


@dataclass(frozen=True)
class Running:
    """The process behind a state file. A process id alone may have been given to another process since."""

    pid: int
    started_ticks: int
    port: int

    def is_alive(self) -> bool:
        """Whether that very process still runs (a zombie does not)."""
        return started_ticks(self.pid) == self.started_ticks


def started_ticks(pid: int) -> int | None:
    """When the process started, in clock ticks since boot (proc(5), stat, field 22); None when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def read_state(path: Path) -> Running | None:
    """The running process that a state file names, or None."""
    try:
        running = Running(**json.loads(path.read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None
    return running if running.is_alive() else None


def start(command: list[str], *, account: str, folder: Path, log: Path, state: Path, port: int) -> Running:
    """Start a server that outlives the caller and its shell, as `account` when the caller is root."""
    if log.exists() and log.stat().st_size > LOG_LIMIT_BYTES:
        log.replace(log.with_suffix(".log.1"))
    with log.open("ab") as output:
        child = subprocess.Popen(
            command,
            cwd=folder,
            env=child_environment(folder),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **identity(account),
        )
    running = Running(child.pid, started_ticks(child.pid) or 0, port)
    unfinished = state.with_suffix(".new")
    unfinished.write_text(json.dumps(asdict(running)))
    unfinished.replace(state)
    child.returncode = 0  # the child is meant to outlive us: keeps Popen from warning that it still runs
    return running


def run(command: list[str], *, account: str, folder: Path, log: Path, what: str) -> None:
    """Run a preparing command to its end, as `account` when the caller is root.

    Raises:
        ServicesError: it failed; the log holds what it said.
    """
    with log.open("ab") as output:
        finished = subprocess.run(
            command,
            cwd=folder,
            env=child_environment(folder),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
            **identity(account),
        )
    if finished.returncode != 0:
        raise ServicesError(f"{what} failed ({finished.returncode})\n{tail(log)}", f"read {log}")


def stop(running: Running, *, with_signal: signal.Signals, limit_s: float) -> bool:
    """End a server and wait for its end; True when it went by itself, False when it had to be killed."""
    _send(running, with_signal)
    if _wait_for_end(running, limit_s):
        return True
    _send(running, signal.SIGKILL)
    if not _wait_for_end(running, KILLED_WAIT_LIMIT_S):
        raise ServicesError(f"process {running.pid} does not end", f"look at it: ps -fp {running.pid}")
    return False


def own_folder(folder: Path, account: str) -> None:
    """Make a folder that belongs to the server's user alone."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    if os.geteuid() == 0:
        shutil.chown(folder, account, pwd.getpwnam(account).pw_gid)


class Identity(TypedDict, total=False):
    """The arguments of `subprocess` that say as whom a child runs."""

    user: int
    group: int
    extra_groups: list[int]
    umask: int


def identity(account: str) -> Identity:
    """The arguments that make a child of root run as `account`; nothing for the rest of us."""
    if os.geteuid() != 0:
        return {}
    entry = pwd.getpwnam(account)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": [], "umask": 0o077}


def child_environment(folder: Path) -> dict[str, str]:
    """A small environment: neither the caller's secrets nor its PG*/MYSQL* settings reach a server."""
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return {"PATH": path, "LANG": "C.UTF-8", "HOME": str(folder), "TZ": "UTC"}


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log, indented, for an error message."""
    text = log.read_bytes()[-8192:].decode(errors="replace") if log.exists() else ""
    return "\n".join(f"    | {line}" for line in text.splitlines()[-lines:])


def _send(running: Running, which: signal.Signals) -> None:
    if running.is_alive():
        os.kill(running.pid, which)


def _wait_for_end(running: Running, limit_s: float) -> bool:
    deadline = time.monotonic() + limit_s
    while running.is_alive():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True
