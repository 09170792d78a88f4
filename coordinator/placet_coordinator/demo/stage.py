"""The demo's services: a coordinator on SQLite, two banks and a shop, as processes on loopback."""

import random
import socket
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx2

from placet_coordinator.demo.child import Child

REQUEST_TIMEOUT_S = 30.0
SETTLE_TIMEOUT_S = 20.0
LOOK_INTERVAL_S = 0.05
# Below the ports that systems hand out to connections, so that none of those takes one before its service is up.
PORTS = range(20_000, 30_000)
PORT_TRIES = 100
OPENING_CENTS = {("bank-a", "alice"): 100_00, ("bank-b", "bob"): 50_00, ("bank-b", "shop"): 0}
LAMPS = 5

T = TypeVar("T")


class Stage:
    """All services of the demo, started by entering, stopped by leaving.

    Args:
        folder: for their databases and logs.

    Attributes:
        coordinator_url: where the coordinator listens.
        coordinator: its process.
        folder: databases and logs.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        ports = dict(zip(("coordinator", "bank-a", "bank-b", "shop"), free_ports(4), strict=True))
        self._urls = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
        self.coordinator_url = self._urls["coordinator"]
        self._http = httpx2.Client(timeout=REQUEST_TIMEOUT_S, trust_env=False)
        self.coordinator = Child(
            "coordinator",
            ["placet_coordinator", "server", "--port", str(ports["coordinator"])],
            f"{self.coordinator_url}/readyz",
            folder,
            {"PLACET_DATABASE_URL": f"sqlite:///{folder / 'placet.db'}", "PLACET_NODE_ID": "demo"},
        )
        self._samples = [
            Child(
                name,
                ["placet_samples", name.partition("-")[0], "--name", name, "--port", str(ports[name])],
                f"{self._urls[name]}/openapi.json",
                folder,
                {"PLACET_URL": self.coordinator_url},
            )
            for name in ("bank-a", "bank-b", "shop")
        ]

    @property
    def urls(self) -> dict[str, str]:
        """Each service's name and base URL."""
        return dict(self._urls)

    @property
    def children(self) -> list[Child]:
        """All processes."""
        return [self.coordinator, *self._samples]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # The samples first, for they take their announcements away at the coordinator.
        try:
            for child in self._samples:
                child.ask_to_stop()
            for child in self._samples:
                child.wait_stopped()
            self.coordinator.ask_to_stop()
            self.coordinator.wait_stopped()
        finally:  # a second Ctrl-C: at once
            for child in self.children:
                child.kill()
            self._http.close()

    def open(self) -> None:
        """Start all services, and wait until each serves and can be found by its name; then fill their tables.

        Raises:
            ChildFailed: one did not come up.
            StageFailed: one answers otherwise than it should.
        """
        for child in self.children:
            child.start()
        for child in self.children:
            child.wait_ready(self._http)
        for name in ("bank-a", "bank-b", "shop"):
            self.until(f"{name} is announced", partial(self._is_announced, name))
        for (bank, account), balance_cents in OPENING_CENTS.items():
            self.call("PUT", bank, f"/accounts/{account}", {"balance_cents": balance_cents})
        self.call("PUT", "shop", "/stock/lamp", {"quantity": LAMPS})

    def start_coordinator_again(self) -> None:
        """Start a coordinator on the same database and port."""
        self.coordinator.start()
        self.coordinator.wait_ready(self._http)

    def ask(self, method: str, service: str, path: str, body: Any = None) -> httpx2.Response:
        """Send one request and return the answer, whatever it is."""
        return self._http.request(method, f"{self._urls[service]}{path}", json=body)

    def call(self, method: str, service: str, path: str, body: Any = None) -> Any:
        """Send one request, and return the JSON of its answer.

        Raises:
            StageFailed: the answer is no success.
        """
        answer = self.ask(method, service, path, body)
        if not answer.is_success:
            raise StageFailed(f"{method} {path} at {service} was answered {answer.status_code}: {answer.text}")
        return answer.json()

    def transaction(self, gid: str) -> dict[str, Any]:
        """Return a transaction as the coordinator shows it."""
        view: dict[str, Any] = self.call("GET", "coordinator", f"/v1/transactions/{gid}")
        return view

    def settled(self, gid: str, status: str) -> dict[str, Any]:
        """Wait until a transaction has this status, and return it."""
        return self.until(f"{gid} is {status}", lambda: _if_status(self.transaction(gid), status))

    def accounts(self) -> list[dict[str, Any]]:
        """Return all accounts of both banks."""
        return [row for bank in ("bank-a", "bank-b") for row in self.call("GET", bank, "/accounts")]

    def stock(self) -> int:
        """Return how many lamps the shop has."""
        (lamps,) = self.call("GET", "shop", "/stock")
        return int(lamps["quantity"])

    def until(self, what: str, look: Callable[[], T | None]) -> T:
        """Look again and again until there is something.

        Raises:
            StageFailed: there is nothing in time.
        """
        deadline = time.monotonic() + SETTLE_TIMEOUT_S
        while time.monotonic() < deadline:
            if found := look():
                return found
            time.sleep(LOOK_INTERVAL_S)
        raise StageFailed(f"waited {SETTLE_TIMEOUT_S:g} s in vain until {what}")

    def _is_announced(self, service: str) -> bool:
        answer = self.ask("GET", "coordinator", f"/v1/services/{service}")
        return answer.is_success and bool(answer.json()["instances"])


class StageFailed(Exception):
    """A service of the demo behaves otherwise than it should."""


def free_ports(count: int) -> list[int]:
    """Return ports of the loopback on which nobody listens now."""
    ports: list[int] = []
    for port in random.sample(PORTS, PORT_TRIES):  # chosen by chance, so that two demos at once don't meet
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        ports.append(port)
        if len(ports) == count:
            return ports
    raise StageFailed(f"no {count} free ports between {PORTS.start} and {PORTS.stop - 1} on 127.0.0.1")


def _if_status(view: dict[str, Any], status: str) -> dict[str, Any] | None:
    return view if view["status"] == status else None
