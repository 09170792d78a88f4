"""A participant that keeps the four rules of wire.md by hand, and can be stopped at any point of a call."""

import threading
from collections.abc import Callable
from typing import Any

from acceptance.participant import Call, Participant

LATE = (409, {"type": "https://example.org/problems/late", "title": "late", "status": 409})
REJECTED = (409, {"type": "https://example.org/problems/rejected", "title": "no", "status": 409})
DONE = (200, {})
RELEASE_LIMIT_S = 60

Key = tuple[str, str]


class BarrierParticipant(Participant):
    """Every action has an effect of its own, which its compensation takes back.

    Attributes:
        before: called with each call before it has its effect; it may block, or kill somebody.
        after: called once it has had its effect, before it is answered.
    """

    def __init__(self) -> None:
        super().__init__()
        self._server.handle_error = lambda *_: None  # who asked was killed
        self.before: Callable[[Call], None] = lambda _call: None
        self.after: Callable[[Call], None] = lambda _call: None
        self.rejects: set[Key] = set()
        self._rows: dict[tuple[str, str, str], tuple[int, Any]] = {}
        self._effects: dict[Key, int] = {}
        self._lock = threading.Lock()
        self._at_work = 0

    def answer(self, call: Call) -> tuple[int, Any]:
        with self._lock:
            self.calls.append(call)
            self._at_work += 1
        try:
            self.before(call)
            with self._lock:
                answer = self._rows.get((call.gid, call.branch_id, call.op)) or self._carry_out(call)
            self.after(call)
            return answer
        finally:
            with self._lock:
                self._at_work -= 1

    def is_idle(self) -> bool:
        """Say whether no call is at work."""
        with self._lock:
            return self._at_work == 0

    def effects(self, gid: str) -> dict[str, int]:
        """Return what is left of a transaction, by step."""
        with self._lock:
            return {step: count for (of, step), count in self._effects.items() if of == gid and count}

    def _carry_out(self, call: Call) -> tuple[int, Any]:
        """Carry out what was not carried out before, and keep its answer: the rules of wire.md, in one transaction."""
        key = (call.gid, call.branch_id)
        if call.op == "action":
            if (*key, "compensate") in self._rows:
                answer: tuple[int, Any] = LATE
            elif key in self.rejects:
                answer = REJECTED
            else:
                self._effects[key] = self._effects.get(key, 0) + 1
                answer = DONE
        else:
            if self._rows.get((*key, "action")) == DONE:
                self._effects[key] -= 1
            answer = DONE
        self._rows[*key, call.op] = answer
        return answer


class Gate:
    """Holds calls until it is opened; those that came are known by name."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self._is_passable = False
        self.arrived: set[str] = set()

    def hold(self, name: str) -> None:
        """Wait until the gate is opened, unless whoever comes now may pass."""
        if self._is_passable:
            return
        self.arrived.add(name)
        assert self._open.wait(RELEASE_LIMIT_S), f"{name} was never let go"

    def let_pass(self) -> None:
        """Hold on to those who came, and to nobody else."""
        self._is_passable = True

    def open(self) -> None:
        """Let go whoever is held, and whoever comes."""
        self._open.set()
