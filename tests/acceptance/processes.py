"""The product as users run it: `placet server` as a process on a free port, asked by plain HTTP."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

PLACET = Path(sys.executable).parent / "placet"
START_TIMEOUT_S = 30
ANSWER_TIMEOUT_S = 30
LOOK_INTERVAL_S = 0.02


class Answer(NamedTuple):
    status: int
    json: Any


def ask(method: str, url: str, body: Any = None, **fields: str) -> Answer:
    """Send one request as JSON, with further header fields, and return the answer, whatever its status."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"content-type": "application/json"} | {name.replace("_", "-"): text for name, text in fields.items()}
    request = urllib.request.Request(url, data=data, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_TIMEOUT_S) as reply:
            return Answer(reply.status, json.loads(reply.read() or b"null"))
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, json.loads(error.read() or b"null"))


def until(what: str, look: Callable[[], Any], timeout_s: float = 30) -> Any:
    """Look again and again until there is something; fail with `what` if nothing comes."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(LOOK_INTERVAL_S)
    raise AssertionError(f"within {timeout_s:g} s not: {what}")


def free_port() -> int:
    """Return a port on which nobody listens, below those that the system hands out to connections."""
    while True:
        port = random.randrange(20_000, 30_000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def clean_environment(**variables: str) -> dict[str, str]:
    """Return the environment without settings of the person who runs the tests."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PLACET_")} | variables


class Process:
    """A process of a test, with its output in a file; ended with the test.

    Args:
        command: what to run.
        folder: where it runs and logs.
        variables: of its environment.
    """

    def __init__(self, command: list[str], folder: Path, variables: dict[str, str], name: str) -> None:
        self.log = folder / f"{name}.log"
        self._command, self._folder, self._variables = command, folder, variables
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                env=clean_environment(**self._variables),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def has_ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def wait_ready(self, url: str) -> None:
        """Wait until a GET of the URL says 200."""

        def is_ready() -> bool:
            assert not self.has_ended(), f"it ended at its start: {self.log.read_text()}"
            try:
                return ask("GET", url).status == 200
            except (urllib.error.URLError, ConnectionError):
                return False

        until(f"{url} says 200", is_ready, START_TIMEOUT_S)

    def send_signal(self, number: int) -> None:
        """Send it a signal, such as SIGSTOP and SIGCONT."""
        assert self._process is not None
        self._process.send_signal(number)

    def children(self) -> list[int]:
        """Return the processes that it has started and that live."""
        assert self._process is not None
        pid = self._process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def freeze(self) -> None:
        """Stop it in its tracks, with its connections open: what is sent to it from now on gets no answer."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def kill(self) -> None:
        """End it as a power cut does: it can write nothing more."""
        assert self._process is not None
        self._process.kill()
        assert self._process.wait() == -signal.SIGKILL

    def stop(self) -> None:
        """Ask it to stop, and see that it does."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise AssertionError(f"did not stop within 20 s of SIGTERM: {self.log.read_text()}") from None


class Server(Process):
    """One `placet server`.

    Args:
        database_url: as `PLACET_DATABASE_URL`.
        folder: where it runs and logs.
        settings: further `PLACET_*` variables.
    """

    def __init__(self, database_url: str, folder: Path, **settings: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        command = [str(PLACET), "server", "--port", str(self.port)]
        variables = {"PLACET_DATABASE_URL": database_url, **settings}
        super().__init__(command, folder, variables, f"server-{self.port}")

    def run(self) -> "Server":
        """Start it and wait until it serves."""
        self.start()
        self.wait_ready(f"{self.url}/readyz")
        return self

    def begin(self, body: Any, query: str = "") -> Answer:
        return ask("POST", f"{self.url}/v1/transactions{query}", body)

    def transaction(self, gid: str) -> Any:
        answer = ask("GET", f"{self.url}/v1/transactions/{gid}")
        assert answer.status == 200, answer
        return answer.json

    def settled(self, gid: str, status: str, timeout_s: float = 30) -> Any:
        """Wait until a transaction has the status, and return it."""
        seen: list[str] = [""]

        def look() -> Any:
            view = self.transaction(gid)
            seen[0] = view["status"]
            return view if view["status"] == status else None

        try:
            return until("", look, timeout_s)
        except AssertionError:
            raise AssertionError(f"{gid} is {seen[0]}, not {status}, after {timeout_s:g} s") from None
