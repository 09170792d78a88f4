"""Fixtures of the acceptance tests: servers as processes, and participants."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from acceptance.participant import Participant
from acceptance.processes import Server


@pytest.fixture
def servers(tmp_path) -> Iterator[Callable[..., Server]]:
    """Make a `placet server` on a database URL; each is stopped at the end of the test."""
    with ExitStack() as stack:

        def make(database_url: str, **settings: str) -> Server:
            server = Server(database_url, tmp_path, **settings)
            stack.callback(server.stop)
            return server

        yield make


@pytest.fixture
def participant() -> Iterator[Participant]:
    """A participant without the SDK."""
    with Participant() as serving:
        yield serving
