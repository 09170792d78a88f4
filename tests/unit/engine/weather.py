"""Weather: a store and participants that are slow by chance, lose acknowledgements, and say no, after a seed."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from random import Random
from typing import Any

from placet_contract.outcomes import Verdict
from placet_contract.vocabulary import FORWARD_OPERATIONS
from placet_coordinator.ports.participants import BranchCall
from placet_coordinator.ports.rows import Entry, Row
from placet_coordinator.ports.store import Store, StoreError, StoreUnavailable, WriteConflict
from unit.engine.script import DONE, ONGOING, REJECTED, UNKNOWN, Made, Script, ScriptedParticipants


class WeatheredStore:
    """The real store, before and behind which answers are late; in a storm, writes are lost on either way."""

    def __init__(self, store: Store, random: Random, *, storm: bool) -> None:
        self._store, self._random, self._storm = store, random, storm
        self._late: set[asyncio.Task[None]] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def write(self, batch: Sequence[Entry]) -> dict[int, Row | None]:
        luck = self._random.random() if self._storm else 0.5
        if luck < 0.02:
            raise StoreUnavailable("the request was lost", wrote_nothing=False)
        if luck < 0.03:
            raise StoreUnavailable("no session", wrote_nothing=True)
        if luck < 0.04:
            raise WriteConflict("deadlock")
        if luck < 0.06:
            self._late.add(asyncio.create_task(self._arrive_late(batch)))
            raise StoreUnavailable("the request is still on its way", wrote_nothing=False)
        hits = await self._slowly(self._store.write, batch)
        if luck > 0.96:
            raise StoreUnavailable("the acknowledgement was lost", wrote_nothing=False)
        return hits

    async def load(self, gid: str) -> Row | None:
        return await self._slowly(self._store.load, gid)

    async def load_many(self, gids: Sequence[str]) -> list[Row]:
        return await self._slowly(self._store.load_many, gids)

    async def due(self, owner: str, before_ms: int, limit: int) -> list[Row]:
        return await self._slowly(self._store.due, owner, before_ms, limit)

    async def claim_lapsed(self, boot_id: str, now_ms: int, overdue_before_ms: int, limit: int) -> list[Row]:
        return await self._slowly(self._store.claim_lapsed, boot_id, now_ms, overdue_before_ms, limit)

    async def calm(self) -> None:
        """Wait for what is still on its way."""
        await asyncio.gather(*self._late)

    async def _slowly(self, ask: Callable[..., Awaitable[Any]], *given: Any) -> Any:
        await self._delay(0.01)
        found = await ask(*given)
        await self._delay(0.02)
        return found

    async def _delay(self, longest_s: float) -> None:
        if self._random.random() < 0.7:
            await asyncio.sleep(self._random.random() * longest_s)

    async def _arrive_late(self, batch: Sequence[Entry]) -> None:
        await asyncio.sleep(self._random.random() * 0.05)
        with suppress(StoreError):
            await self._store.write(batch)


class WeatheredScript(Script):
    """Participants that answer late, now and then not, and may say no to what is asked first."""

    def __init__(self, random: Random) -> None:
        super().__init__()
        self._random = random
        self.done: list[Made] = []

    def called(self, participants: ScriptedParticipants, call: BranchCall, end: Any) -> None:
        made = Made(call.transaction.gid, f"{call.branch.branch_id}/{call.operation}", call.attempt)
        self.calls.append(made)
        verdict = self._verdict(may_refuse=call.operation in FORWARD_OPERATIONS)
        if verdict is DONE:
            self.done.append(made)
        asyncio.get_running_loop().call_later(self._random.random() * 0.02, end, verdict)

    def _verdict(self, *, may_refuse: bool) -> Verdict:
        luck = self._random.random()
        if luck < 0.05:
            return UNKNOWN
        if luck < 0.08:
            return ONGOING
        return REJECTED if luck < 0.13 and may_refuse else DONE
