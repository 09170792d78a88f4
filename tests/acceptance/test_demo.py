"""`placet demo` as a user runs it: as a process whose exit code tells whether everything was as it has to be."""

import os
import re
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from acceptance.processes import PLACET, clean_environment, until

DEMO_LIMIT_S = 60


class Demo:
    """One run of the demo, whose temporary files lie in a folder of the test.

    Args:
        folder: of the test.
        options: of the command.
    """

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self._output = folder / "output.txt"
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [str(PLACET), "demo", *options],
                cwd=folder,
                env=clean_environment(TMPDIR=str(folder)),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        return self._output.read_text()

    @property
    def pids(self) -> list[int]:
        """The processes that it named."""
        return [int(pid) for pid in re.findall(r"pid (\d+)", self.output)]

    def file(self, name: str) -> Path | None:
        """Return one of its temporary files, as soon as it is there."""
        return next(iter(self.folder.glob(f"placet-demo-*/{name}")), None)

    def end(self) -> int:
        """Wait for its end and return its exit code."""
        return self.process.wait(DEMO_LIMIT_S)

    def leftovers(self) -> list[int]:
        """Return those of its processes that still run."""
        return [pid for pid in self.pids if Path(f"/proc/{pid}").exists()]


@pytest.fixture
def demo(tmp_path) -> Iterator[Demo]:
    """The demo, started."""
    running = Demo(tmp_path)
    yield running
    _end(running)


@pytest.fixture
def kept_demo(tmp_path) -> Iterator[Demo]:
    """The demo, started with `--keep`."""
    running = Demo(tmp_path, "--keep")
    yield running
    _end(running)


def _end(demo: Demo) -> None:
    if demo.process.poll() is None:
        demo.process.send_signal(signal.SIGTERM)
        demo.end()


def test_demo_ends_well_and_leaves_nothing_behind(demo):
    """All scenes are shown, all checks hold, and no process and no file stays."""
    assert demo.end() == 0, demo.output
    for words in ("1 · TCC", "2 · TCC", "3 · Saga", "4 · Saga", "5 · The coordinator is killed", "checks hold"):
        assert words in demo.output
    assert "✗" not in demo.output
    assert "\x1b[" not in demo.output, "no colours where the output is no terminal"
    assert len(demo.pids) == 4
    assert demo.leftovers() == []
    assert list(demo.folder.glob("placet-demo-*")) == []


def test_demo_fails_when_a_balance_is_off(demo):
    """A cent that appears from nowhere while the demo runs turns the exit code, and the logs are kept and named."""

    def add_a_cent() -> bool:
        database = demo.file("bank-b.db")
        if database is None:
            return False
        try:
            with sqlite3.connect(database) as bank:
                changed = bank.execute("UPDATE account SET balance_cents = balance_cents + 1 WHERE account = 'bob'")
                return changed.rowcount == 1
        except sqlite3.OperationalError:  # no table yet
            return False
        finally:
            bank.close()

    until("bob has his account", add_a_cent)
    assert demo.end() == 1
    assert "checks are off" in demo.output
    assert "expected 150.00" in demo.output
    assert demo.leftovers() == []
    log = demo.file("bank-b.log")
    assert log is not None
    assert str(log.parent) in demo.output


def test_demo_that_is_terminated_stops_its_services(demo):
    """SIGTERM in the midst of it leaves no process behind."""
    until("all services are started", lambda: len(demo.pids) == 4)
    demo.process.send_signal(signal.SIGTERM)
    assert demo.end() == 130
    assert demo.leftovers() == []


def test_kept_demo_can_be_inspected_until_it_is_interrupted(kept_demo):
    """With `--keep` the commands that it prints work, and Ctrl-C ends it with the demo's own exit code."""
    until("the demo waits", lambda: "Ctrl-C ends it" in kept_demo.output, DEMO_LIMIT_S)
    commands = [line.strip() for line in kept_demo.output.splitlines() if line.startswith(("  placet ", "  curl "))]
    exported = re.search(r"export (PLACET_URL)=(\S+)", kept_demo.output)
    assert exported is not None
    assert len(commands) >= 4
    for command in commands:
        shown = subprocess.run(
            command.split(),
            env=clean_environment(PATH=f"{PLACET.parent}:{os.environ['PATH']}", PLACET_URL=exported[2]),
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        assert shown.returncode == 0, f"{command}\n{shown.stdout}{shown.stderr}"
        assert shown.stdout
    kept_demo.process.send_signal(signal.SIGINT)
    assert kept_demo.end() == 0, kept_demo.output
    assert kept_demo.leftovers() == []
