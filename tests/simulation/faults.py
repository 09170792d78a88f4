"""A store and participants that fail as a seed wants, over a real store and a barrier that keeps the wire's rules."""

import asyncio
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from msgspec import Raw

from placet_contract.outcomes import Verdict
from placet_contract.transactions import NULL
from placet_contract.vocabulary import Operation, Outcome
from placet_coordinator.ports.participants import BranchCall, CallEnd
from placet_coordinator.ports.rows import Entry, Row
from placet_coordinator.ports.store import RowLocked, Store, StoreUnavailable, WriteConflict

DONE = Verdict(Outcome.DONE, answered=True)
REJECTED = Verdict(Outcome.REJECTED, answered=True, detail="no")
LATE = Verdict(Outcome.REJECTED, late=True, answered=True, detail="late")
NOT_TRIED = Verdict(Outcome.UNKNOWN, not_tried=True, answered=True, detail="not tried")
UNKNOWN = Verdict(Outcome.UNKNOWN, detail="no answer")

DELAY_MAX_S = 0.03
FORWARD = (Operation.TRY, Operation.ACTION)


class FaultyStore:
    """The real store behind a line that breaks.

    Attributes:
        rate: how many of a hundred questions meet a fault.
    """

    def __init__(self, store: Store, chance: Random) -> None:
        self._store, self._chance = store, chance
        self.rate = 0
        self._late: set[asyncio.Task[Any]] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def write(self, batch: Sequence[Entry]) -> dict[int, Row | None]:
        return await self._write(batch)

    async def write_aside(self, entry: Entry) -> dict[int, Row | None]:
        return await self._write([entry])

    async def free(self, gids: Sequence[str]) -> set[str]:
        return {gid for gid in gids if self._chance.random() < 0.7} if self.rate else set(gids)

    async def load(self, gid: str) -> Row | None:
        self._may_be_away()
        return await self._store.load(gid)

    async def load_many(self, gids: Sequence[str]) -> list[Row]:
        self._may_be_away()
        return await self._store.load_many(gids)

    async def claim_lapsed(self, *arguments: Any) -> list[Row]:
        self._may_be_away()
        return await self._store.claim_lapsed(*arguments)

    async def due(self, *arguments: Any) -> list[Row]:
        self._may_be_away()
        return await self._store.due(*arguments)

    async def settle(self) -> None:
        """Wait for the writes that are still to arrive."""
        while self._late:
            await asyncio.wait(self._late)

    def _meets_fault(self) -> bool:
        return self._chance.randrange(100) < self.rate

    def _may_be_away(self) -> None:
        if self._meets_fault():
            raise StoreUnavailable("away", wrote_nothing=True)

    async def _write(self, batch: Sequence[Entry]) -> dict[int, Row | None]:
        if not self._meets_fault():
            return await self._store.write(batch)
        fault = self._chance.choice(("conflict", "locked", "away", "answer lost", "request lost", "request late"))
        if fault == "conflict":
            raise WriteConflict("as the seed wants")
        if fault == "locked":
            raise RowLocked("as the seed wants")
        if fault == "answer lost":
            await self._store.write(batch)
        elif fault == "request late":
            late = asyncio.create_task(self._arrive(batch, self._chance.random() * DELAY_MAX_S))
            self._late.add(late)
            late.add_done_callback(self._late.discard)
        raise StoreUnavailable(fault, wrote_nothing=fault == "away")

    async def _arrive(self, batch: Sequence[Entry], delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        await self._store.write(batch)


class Barrier:
    """What participants have in their databases: the four rules of wire.md, and the effects that are left."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str, str], Verdict] = {}
        self._effects: dict[tuple[str, str], int] = {}
        self.rejects: set[tuple[str, str]] = set()

    def effects(self, gid: str) -> dict[str, int]:
        """Return the effects that are left of a transaction, by branch."""
        return {branch_id: count for (of, branch_id), count in self._effects.items() if of == gid and count}

    def carry_out(self, gid: str, branch_id: str, operation: Operation) -> Verdict:
        """Carry an operation out once, and answer every time what was answered then."""
        row = (gid, branch_id, str(operation))
        if row not in self._rows:
            self._rows[row] = self._first(gid, branch_id, operation)
        return self._rows[row]

    def _first(self, gid: str, branch_id: str, operation: Operation) -> Verdict:
        key = (gid, branch_id)
        undone = any((*key, undo) in self._rows for undo in ("cancel", "compensate"))
        if operation in FORWARD:
            if undone:
                return LATE
            if key in self.rejects:
                return REJECTED
            if operation is Operation.ACTION:
                self._effects[key] = self._effects.get(key, 0) + 1
            return DONE
        if operation is Operation.CONFIRM:
            if self._rows.get((*key, "try")) is not DONE:
                return NOT_TRIED
            self._effects[key] = self._effects.get(key, 0) + 1
        elif operation is Operation.COMPENSATE and self._rows.get((*key, "action")) is DONE:
            self._effects[key] -= 1
        return DONE


class FaultyParticipants:
    """Calls that get lost on their way there, on their way back, or arrive when nobody waits for them any more."""

    def __init__(self, barrier: Barrier, clock: Any, chance: Random) -> None:
        self._barrier, self._clock, self._chance = barrier, clock, chance
        self._loop = asyncio.get_running_loop()
        self.rate = 0
        self.is_dead = False
        self.calls: list[tuple[str, str, str]] = []

    def call(self, call: BranchCall, ended: Callable[[CallEnd], None]) -> None:
        if self.is_dead:
            return  # a client's coroutine has outlived the process that it stands for
        key = (call.transaction.gid, call.branch.branch_id, call.operation)
        self.calls.append(key)
        started_at_ms = self._clock.now_ms()
        fault = "none"
        if self._chance.randrange(100) < self.rate:
            fault = self._chance.choice(("not sent", "request lost", "answer lost", "request late"))

        def arrive() -> None:
            verdict = UNKNOWN
            if fault in ("none", "answer lost"):
                carried_out = self._barrier.carry_out(*key)
                verdict = carried_out if fault == "none" else UNKNOWN
            elif fault == "request late":
                self._loop.call_later(self._chance.random() * DELAY_MAX_S, self._barrier.carry_out, *key)
            if not self.is_dead:
                ended(self._end(call, verdict, started_at_ms, sent=fault != "not sent"))

        self._loop.call_later(self._chance.random() * DELAY_MAX_S / 10, arrive)

    def _end(self, call: BranchCall, verdict: Verdict, started_at_ms: int, *, sent: bool) -> CallEnd:
        return CallEnd(
            participant=call.branch.branch_id,
            verdict=verdict,
            result=Raw(b"1") if verdict is DONE else NULL,
            sent=sent,
            started_at_ms=started_at_ms,
            duration_ms=0,
            deadline_at_ms=started_at_ms + call.branch.timeout_ms,
        )
