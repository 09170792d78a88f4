"""One `placet server` on SQLite, asked by plain HTTP; what these tests know stands in docs/reference/wire.md."""

import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from acceptance.participant import Call, Participant
from acceptance.processes import Server, until


@contextmanager
def serving(folder: Path, **settings: str) -> Iterator[Server]:
    """Runs a server on a SQLite file of its own in the folder."""
    server = Server(f"sqlite:///{folder / 'placet.db'}", folder, **settings)
    try:
        yield server.run()
    finally:
        server.stop()


@pytest.fixture(scope="session")
def server(tmp_path_factory) -> Iterator[Server]:
    """The server that all tests of the wire share; each uses gids and names of its own."""
    with serving(tmp_path_factory.mktemp("wire")) as shared:
        yield shared


@pytest.fixture(scope="session")
def api(server) -> Iterator[httpx2.Client]:
    """A client that knows the base URL, and nothing of Placet."""
    with httpx2.Client(base_url=server.url, timeout=30) as client:
        yield client


@pytest.fixture
def gid() -> str:
    """A gid that no other test uses."""
    return f"t-{uuid.uuid4().hex}"


@pytest.fixture
def participant() -> Iterator[Participant]:
    """A participant without the SDK."""
    with Participant() as answering:
        yield answering


class Busy(Participant):
    """Answers no call before `finish` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.finish = threading.Event()

    def answer(self, call: Call) -> tuple[int, Any]:
        self.finish.wait(30)
        return super().answer(call)


@pytest.fixture
def busy() -> Iterator[Busy]:
    """A participant whose calls stay open until the test lets them finish, or ends."""
    with Busy() as answering:
        yield answering
        answering.finish.set()


@pytest.fixture
def tcc(gid) -> dict[str, Any]:
    """A begin of one branch whose participant nobody calls as long as nothing is decided."""
    branch = {"branch_id": "a", "target": "http://127.0.0.1:1/debit", "payload": {"amount": 30}}
    return {"pattern": "tcc", "gid": gid, "branches": [branch]}


@pytest.fixture
def settled(api) -> Callable[..., Any]:
    """Waits until a transaction has a status, and more where asked for, and returns it as the wire shows it."""

    def wait(gid: str, status: str, more: Callable[[Any], Any] = bool) -> Any:
        def look() -> Any:
            view = api.get(f"/v1/transactions/{gid}").json()
            return view if view["status"] == status and more(view) else None

        return until(f"{gid} is {status}", look)

    return wait


def slug(answer: httpx2.Response) -> str:
    """Returns the stable part of a problem's type, having checked that the answer is a problem."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    told = answer.json()
    assert told["status"] == answer.status_code
    assert told["title"]
    return told["type"].rsplit("/", 1)[-1]


def refused(answer: httpx2.Response, status: int, kind: str, field: str | None = None) -> dict[str, Any]:
    """Checks that an answer is a problem of this status and type, about this field, and returns it."""
    assert (answer.status_code, slug(answer)) == (status, kind), answer.text
    told = answer.json()
    if field is not None:
        assert told["field"] == field, told
        assert told["rule"], told
    return told
