"""Servers that one test has for itself, to kill and start again; the shared ones belong to all tests.

def test_…(private_server):
    redis = private_server("redis")
    redis.kill()
    redis.start()
"""

import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import pytest

from acceptance.processes import free_port
from placet_services import local, process
from placet_services.command import KINDS
from placet_services.home import Home

FOLDER = "/var/tmp"  # the servers' own users must be able to enter it, which pytest's folders forbid


class PrivateServer:
    """One server of compose/services with a port and a folder of its own; a context manager too.

    Attributes:
        port: where it listens.
        url: what `compose/services env` would say.
    """

    def __init__(self, name: str) -> None:
        kind = next(kind for kind in KINDS if kind.name == name)
        self.folder = Path(tempfile.mkdtemp(prefix="placet-test-", dir=FOLDER))
        self.folder.chmod(0o755)
        self.port = free_port()
        self.service = kind(Home(self.folder))
        self.service.port = self.port
        (self.url,) = self.service.settings().values()

    def start(self) -> None:
        """Starts it, or starts it again, and returns when it answers."""
        local.up([self.service])

    def kill(self) -> None:
        """Ends it as a power cut would, and returns when it is gone."""
        process.stop(self._running, with_signal=signal.SIGKILL, limit_s=self.service.stop_limit_s)

    def stop(self) -> None:
        """Lets it live and answer nothing."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Ends `stop`."""
        self._signal(signal.SIGCONT)

    def remove(self) -> None:
        """Leaves nothing."""
        if self.service.running() is not None:
            self.kill()
        self.service.clear_remains()
        shutil.rmtree(self.folder)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.remove()

    def _signal(self, number: signal.Signals) -> None:
        """Reaches the server and its children: PostgreSQL answers by a process per connection."""
        pid = self._running.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for one in (pid, *map(int, children)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(one, number)

    @property
    def _running(self) -> process.Running:
        running = self.service.running()
        assert running is not None
        return running


@pytest.fixture
def private_server() -> Iterator[Callable[[str], PrivateServer]]:
    """Starts servers by name (`compose/services`); they are gone after the test."""
    servers: list[PrivateServer] = []

    def start(name: str) -> PrivateServer:
        servers.append(PrivateServer(name))
        servers[-1].start()
        return servers[-1]

    yield start
    for server in servers:
        server.remove()
