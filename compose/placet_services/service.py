"""What every server has in common; each server is one file that fills this in."""

import os
import shutil
import signal
import socket
from abc import ABC, abstractmethod
from pathlib import Path

from placet_services import process
from placet_services.failure import ServicesError
from placet_services.home import Home

HOST = "127.0.0.1"
PROBE_LIMIT_S = 2.0
PORTS = range(1024, 65_536)


class Service(ABC):
    """One server: how it is installed, prepared, started, asked and stopped."""

    name: str
    default_port: int
    packages: tuple[str, ...]
    """Debian's packages, installed when `is_installed` says no."""
    account: str
    """The user it runs as when root starts it."""
    stop_signal = signal.SIGTERM
    start_limit_s = 60.0
    stop_limit_s = 30.0

    def __init__(self, home: Home) -> None:
        self.home = home
        given = os.environ.get(self.port_variable, str(self.default_port))
        if not given.isdecimal() or int(given) not in PORTS:
            raise ServicesError(
                f"{self.port_variable}={given!r} is no port",
                f"give a number from {PORTS[0]} to {PORTS[-1]}, or unset it",
            )
        self.port = int(given)

    @property
    def port_variable(self) -> str:
        """The environment variable that chooses another port."""
        return f"PLACET_SERVICES_{self.name.upper()}_PORT"

    @property
    def folder(self) -> Path:
        """What belongs to this server's user."""
        return self.home.folder / self.name

    @property
    def log(self) -> Path:
        """What the server printed."""
        return self.home.logs / f"{self.name}.log"

    @property
    def state(self) -> Path:
        """The file that names the running process."""
        return self.home.state / f"{self.name}.json"

    def running(self) -> process.Running | None:
        """The process we started, if it still lives."""
        return process.read_state(self.state)

    def is_up(self) -> bool:
        """Whether the process we started lives on our port and answers its protocol."""
        running = self.running()
        return running is not None and running.port == self.port and self.answers()

    @abstractmethod
    def is_installed(self) -> bool:
        """Whether its programs are on this machine."""

    @abstractmethod
    def prepare(self) -> None:
        """Make the data folder and the settings; must be safe to repeat, also after a kill in the middle."""

    def clear_remains(self) -> None:  # noqa: B027 (most servers leave nothing behind)
        """Remove what a killed process left that would refuse the next one; called before each start."""

    @abstractmethod
    def command(self) -> list[str]:
        """The server's command line; it must stay in the foreground."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether something on our port serves this protocol now."""

    @abstractmethod
    def settings(self) -> dict[str, str]:
        """The environment variables that tell tests where it is."""

    def run_preparation(self, command: list[str], what: str) -> None:
        """Run a preparing command as the server's user."""
        process.run(command, account=self.account, folder=self.folder, log=self.log, what=f"{self.name}: {what}")


def exchange(port: int, request: bytes, enough_bytes: int) -> bytes:
    """Send a probe and read up to `enough_bytes` of the answer; empty when nobody answers."""
    answer = b""
    try:
        with socket.create_connection((HOST, port), timeout=PROBE_LIMIT_S) as connection:
            connection.sendall(request)
            while len(answer) < enough_bytes:
                received = connection.recv(enough_bytes - len(answer))
                if not received:
                    break
                answer += received
    except OSError:
        return b""
    return answer


def port_is_taken(port: int) -> bool:
    """Whether somebody listens on the loopback port."""
    try:
        with socket.create_connection((HOST, port), timeout=PROBE_LIMIT_S):
            return True
    except OSError:
        return False


def find_program(name: str) -> str | None:
    """A program's path, also from the folders that an ordinary user's PATH leaves out."""
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin")
