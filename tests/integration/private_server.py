"""A server of compose/placet_services of a test's own: on a port of its own, to be killed and started again."""

import os
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Self

from acceptance.processes import free_port
from placet_services import local
from placet_services.home import Home
from placet_services.service import Service


class PrivateServer:
    """One server, from the same recipe as the shared one; a context manager.

    Args:
        kind: its recipe, such as `placet_services.redis.Redis`.
    """

    def __init__(self, kind: type[Service]) -> None:
        self._kind = kind
        self.port = free_port()
        self._folder = Path(tempfile.mkdtemp(dir="/var/tmp"))
        self._folder.chmod(0o755)  # the server's own user has to enter it
        self._service: Service | None = None

    def start(self) -> None:
        """Starts it, or starts it again, and waits until it answers."""
        if self._service is None:
            variable = f"PLACET_SERVICES_{self._kind.name.upper()}_PORT"
            before = os.environ.get(variable)
            os.environ[variable] = str(self.port)  # read by the recipe's constructor, and by nobody else meanwhile
            try:
                self._service = self._kind(Home(self._folder))
            finally:
                os.environ.pop(variable) if before is None else os.environ.update({variable: before})
        local.up([self._service])

    def kill(self) -> None:
        """Ends it as a power cut would."""
        assert self._service is not None
        running = self._service.running()
        assert running is not None
        os.kill(running.pid, signal.SIGKILL)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        if self._service is not None:
            local.down([self._service])
        shutil.rmtree(self._folder)
