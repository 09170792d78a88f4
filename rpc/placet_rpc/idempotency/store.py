"""Where requests and their answers are kept. One suite holds all stores to this (`tests/conformance/idempotency`)."""

import enum
from typing import NamedTuple, Protocol

import msgspec

CALLER_LENGTH_MAX = 128
KEY_LENGTH_MAX = 256
FINGERPRINT_BYTES = 16
RUNNER_LENGTH_MAX = 64


class RequestsUnavailable(Exception):
    """The store can't be asked, or takes no more. What was asked for may have been done or not."""


class State(enum.Enum):
    """What is known of a key."""

    MINE = "mine"
    """Nobody had it: this request is to be run."""

    RUNNING = "running"
    """An earlier request is being run."""

    DONE = "done"
    """An earlier request was run; its answer is there, unless it was too long to be kept."""

    LOST = "lost"
    """Whoever ran an earlier request was stopped in the middle: nobody knows what it did."""


class Request(NamedTuple):
    """One request, as the store knows it.

    Attributes:
        caller: the application whose key it is; two callers' equal keys have nothing to do with each other.
        key: the idempotency key.
        fingerprint: `FINGERPRINT_BYTES` bytes, equal for equal requests.
        runner: who runs it, one life of a process; 1-64 characters of ASCII.
    """

    caller: str
    key: str
    fingerprint: bytes
    runner: str


class StoredAnswer(msgspec.Struct, frozen=True):
    """An answer as it was given.

    Attributes:
        status: of `placet_rpc.outcome`.
        codec: name of the codec of the body.
        body: None: it was too long to be kept.
    """

    status: int
    codec: str
    body: bytes | None


class Found(NamedTuple):
    """What a store says of a request.

    Attributes:
        state: what is known of its key.
        is_same: False: the key belongs to another request.
        answer: of the earlier request, where the state is DONE.
    """

    state: State
    is_same: bool = True
    answer: StoredAnswer | None = None


class RequestStore(Protocol):
    """Keeps requests. All methods raise `RequestsUnavailable`; all are safe to repeat."""

    async def begin(self, request: Request, *, running_ms: int, keep_ms: int, again: bool) -> Found:
        """Notes that a request is run from now on, unless its key is known.

        Args:
            request: the request.
            running_ms: how long it counts as being run without a `keep`.
            keep_ms: how long its key is known.
            again: a lost request of the same kind is run again, and is MINE.
        """
        ...

    async def keep(self, runner: str, *, running_ms: int) -> None:
        """Says that a runner still lives: what it runs counts as being run for so much longer."""
        ...

    async def finish(self, request: Request, answer: StoredAnswer) -> None:
        """Keeps the answer of a request that its runner has run. Nothing happens if the request is another's by now."""
        ...

    async def forget(self, request: Request) -> None:
        """Forgets a request that was not run after all."""
        ...

    async def lose(self, request: Request) -> None:
        """Notes that a request was stopped in the middle."""
        ...

    async def purge(self, limit: int) -> int:
        """Removes some keys whose time is over; returns how many."""
        ...
