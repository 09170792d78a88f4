"""One process of the demo: started with a log of its own, waited for, killed or stopped by its pid."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx2

START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 8.0
LOOK_INTERVAL_S = 0.05
LOG_LINES_SHOWN = 15


class ChildFailed(Exception):
    """A process of the demo did not come up, or went away; the message holds the end of its log."""


class Child:
    """A Python module that runs as a process and serves HTTP on loopback.

    Args:
        name: what people call it; its log is `NAME.log` in the folder.
        arguments: the module and its arguments, as after `python -m`.
        ready_url: answers 200 as soon as it serves.
        folder: where it runs.
        environment: variables beside those that every process needs.
    """

    def __init__(
        self, name: str, arguments: list[str], ready_url: str, folder: Path, environment: dict[str, str]
    ) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self._command = [sys.executable, "-m", *arguments]
        self._ready_url = ready_url
        self._folder = folder
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process's id, 0 before its first start."""
        return 0 if self._process is None else self._process.pid

    def start(self) -> None:
        """Start it; its output goes to the end of its log."""
        # The user's own PLACET_ settings are for the user's own coordinator, not for the demo's.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PLACET_")}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own modules, by this interpreter
                self._command,
                cwd=self._folder,
                env=environment | self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the demo, which then stops its children in order
            )

    def wait_ready(self, http: httpx2.Client) -> None:
        """Wait until it serves.

        Raises:
            ChildFailed: it ended, or took too long.
        """
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                raise ChildFailed(f"{self.name} ended at its start\n{self.log_end()}")
            try:
                if http.get(self._ready_url).status_code == httpx2.codes.OK:
                    return
            except httpx2.TransportError:
                pass
            time.sleep(LOOK_INTERVAL_S)
        raise ChildFailed(f"{self.name} did not serve within {START_TIMEOUT_S:g} s\n{self.log_end()}")

    def kill(self) -> bool:
        """Kill it with SIGKILL, which it can neither see nor delay; say whether that is what ended it."""
        if self._process is None:
            return False
        self._process.kill()
        return self._process.wait() == -signal.SIGKILL

    def ask_to_stop(self) -> None:
        """Send SIGTERM, if it runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def wait_stopped(self) -> bool:
        """Wait until it has ended after `ask_to_stop`; say whether it did so by itself."""
        if self._process is None:
            return True
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return False
        return True

    def log_end(self) -> str:
        """Return the last lines of its log."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join([f"the end of {self.log}:", *lines[-LOG_LINES_SHOWN:]])
