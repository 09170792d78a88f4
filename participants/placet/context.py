"""PLACEHOLDER by the initiator's engineer, uncommitted: the participant half's engineer overwrites this file freely."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field

from placet_contract.vocabulary import Operation


@dataclass
class Scope:
    doomed: set[str] = field(default_factory=set)
    ordinals: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def doom(self, gid: str) -> None:
        self.doomed.add(gid)

    def next_ordinal(self) -> int:
        return next(self.ordinals)


@dataclass
class Branch:
    gid: str
    branch_id: str
    operation: Operation
    begun_at_ms: int = 0
    seconds_left: float = 10.0
    traceparent: str = ""
    scope: Scope = field(default_factory=Scope)


_current: ContextVar[Branch | None] = ContextVar("placet_branch", default=None)


def current_branch() -> Branch | None:
    return _current.get()


@contextlib.contextmanager
def entered(branch: Branch) -> Iterator[Branch]:
    token = _current.set(branch)
    try:
        yield branch
    finally:
        _current.reset(token)
