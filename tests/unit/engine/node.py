"""One node's engine in process: the real parts on a real store, with participants that play a script."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from placet_contract.transactions import BeginRequest, BranchRequest, RegisterRequest, RetryRequest
from placet_contract.vocabulary import Pattern
from placet_coordinator.engine.admission import CommandLimits
from placet_coordinator.engine.cancellation import cancel_until_ended
from placet_coordinator.engine.chance import SystemChance
from placet_coordinator.engine.commands import Commands
from placet_coordinator.engine.driver import Driver, DriverLimits
from placet_coordinator.engine.flusher import JournalLimits
from placet_coordinator.engine.ownership import Ownership
from placet_coordinator.engine.recovery import Recovery, RecoveryLimits
from placet_coordinator.engine.waiting import EndWatch
from placet_coordinator.ports.rows import Entry, Row
from placet_coordinator.ports.store import Store, StoreError
from unit.engine.script import Script

LOOK_S = 0.002


class Notes:
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.started_gids: list[str] = []
        self.finished_gids: list[str] = []
        self.attentions: list[str] = []
        self.batches: list[int] = []
        self.troubles: list[tuple[str, str]] = []

    def started(self, transaction: Any) -> None:
        self.started_gids.append(transaction.gid)

    def finished(self, transaction: Any) -> None:
        self.finished_gids.append(transaction.gid)

    def attention(self, transaction: Any) -> None:
        self.attentions.append(transaction.attention)

    def called(self, *_: Any) -> None:
        """Keep nothing."""

    def flushed(self, entries: int, duration_ms: float) -> None:
        assert duration_ms >= 0
        self.batches.append(entries)

    def trouble(self, what: str, cause: str) -> None:
        self.troubles.append((what, cause))


class SteeredStore:
    """The real store, whose journal writes and reads can be held back, and are noted."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._may_write, self._may_acknowledge, self._may_answer = asyncio.Event(), asyncio.Event(), asyncio.Event()
        for each in (self._may_write, self._may_acknowledge, self._may_answer):
            each.set()
        self.batches: list[list[Entry]] = []
        self.arrived, self.has_written = asyncio.Event(), asyncio.Event()
        self.loads: list[list[str]] = []
        self.has_read = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def hold_writes(self) -> None:
        """Keep every batch from now on until `let_writes_go`."""
        self._may_write.clear()
        self.arrived.clear()

    def let_writes_go(self) -> None:
        """Let the held batch, and those after it, go on."""
        self._may_write.set()

    async def write(self, batch: Sequence[Entry]) -> dict[int, Row | None]:
        self.batches.append(list(batch))
        self.arrived.set()
        await self._may_write.wait()
        hits = await self._store.write(batch)
        self.has_written.set()
        await self._may_acknowledge.wait()
        return hits

    def hold_acknowledgements(self) -> None:
        """Write every batch from now on, and say so after `let_acknowledgements_go`."""
        self._may_acknowledge.clear()
        self.has_written.clear()

    def let_acknowledgements_go(self) -> None:
        """Say what was written."""
        self._may_acknowledge.set()

    def hold_answers(self) -> None:
        """Do at once what `load`, `due` and `renew` ask for, and keep the answer until `let_answers_go`."""
        self._may_answer.clear()
        self.has_read.clear()

    def let_answers_go(self) -> None:
        """Hand over what was read."""
        self._may_answer.set()

    async def load(self, gid: str) -> Row | None:
        self.loads.append([gid])
        return await self._kept(await self._store.load(gid))

    async def due(self, owner: str, before_ms: int, limit: int) -> list[Row]:
        return await self._kept(await self._store.due(owner, before_ms, limit))

    async def renew(self, node_id: str, boot_id: str, lease_ms: int) -> int | None:
        return await self._kept(await self._store.renew(node_id, boot_id, lease_ms))

    async def _kept(self, answer: Any) -> Any:
        self.has_read.set()
        await self._may_answer.wait()
        return answer

    async def load_many(self, gids: Sequence[str]) -> list[Row]:
        self.loads.append(list(gids))
        return await self._store.load_many(gids)


class ShiftedClock:
    """The node's clock, which a test may put forward."""

    def __init__(self, ownership: Ownership) -> None:
        self._ownership = ownership
        self.shift_ms = 0

    def now_ms(self) -> int:
        return self._ownership.now_ms() + self.shift_ms


@dataclass
class Limits:
    """The parts' figures; recovery looks often, so that tests are quick."""

    journal: JournalLimits = field(default_factory=JournalLimits)
    driver: DriverLimits = field(default_factory=DriverLimits)
    commands: CommandLimits = field(default_factory=CommandLimits)
    recovery: RecoveryLimits = field(default_factory=lambda: RecoveryLimits(sweep_every=timedelta(milliseconds=30)))


class Node:
    """A coordinator without HTTP."""

    def __init__(
        self,
        store: Store,
        *,
        node_id: str = "one",
        lease: timedelta = timedelta(seconds=10),
        script: Script | None = None,
        participants: Callable[[ShiftedClock], Any] | None = None,
        limits: Limits | None = None,
    ) -> None:
        limits = limits or Limits()
        self.notes = Notes()
        self.store = SteeredStore(store)
        self.script = script or Script()
        chance = SystemChance()
        self.ownership = Ownership(
            store=self.store, chance=chance, observer=self.notes, node_id=node_id, base_url="http://node", lease=lease
        )
        self.clock = ShiftedClock(self.ownership)
        self.participants = self.script.participants(self.clock) if participants is None else participants(self.clock)
        self.driver = Driver(
            store=self.store,
            participants=self.participants,
            owner=self.ownership,
            clock=self.clock,
            chance=chance,
            observer=self.notes,
            limits=limits.driver,
            journal_limits=limits.journal,
        )
        self.ends = EndWatch(self.store, self.driver.journal)
        self.commands = Commands(
            driver=self.driver,
            store=self.store,
            owner=self.ownership,
            clock=self.clock,
            chance=chance,
            ends=self.ends,
            limits=limits.commands,
            check_targets=lambda _branches: None,
        )
        self.recovery = Recovery(
            driver=self.driver, store=self.store, ownership=self.ownership, observer=self.notes, limits=limits.recovery
        )
        self.ownership.lost = self.driver.drop_all
        self.ownership.gained = self.recovery.sweep
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def start(self, *, recovers: bool = True, renews: bool = True) -> "Node":
        """Begin its life; without recovery or renewal, a test calls these itself."""
        await self.ownership.start()
        self._tasks["journal"] = asyncio.create_task(self.driver.journal.run())
        if renews:
            self._tasks["ownership"] = asyncio.create_task(self.ownership.run())
        if recovers:
            self._tasks["recovery"] = asyncio.create_task(self.recovery.run())
        return self

    async def stop(self) -> None:
        """End in order: what waits is written, the lease is given back."""
        journal = self._tasks.pop("journal", None)
        if journal is None:
            return
        await self._cancel()
        self.ends.stop()
        self.driver.release_waiters()
        self.store.let_writes_go()
        self.store.let_acknowledgements_go()
        self.driver.journal.stop()
        await journal
        self.driver.stop()
        with suppress(StoreError):  # the lease ends by itself
            await self.ownership.release()

    async def die(self) -> None:
        """Stop dead: nothing more is written, answered, called or released."""
        self.script.forget(self.participants)
        self.driver.stop()
        await self._cancel()

    async def _cancel(self) -> None:
        tasks = list(self._tasks.values())
        self._tasks.clear()
        await cancel_until_ended(tasks)

    # --- short forms

    async def begin(self, gid: str, *branch_ids: str, wait_ms: int = 0, **fields: Any) -> Any:
        """Begin a transaction, a TCC unless told otherwise."""
        reply, is_new = await self.commands.begin(begin(gid, *branch_ids, **fields), wait_ms=wait_ms)
        return reply if is_new else None

    async def row(self, gid: str) -> Row:
        """Return the row as committed."""
        found = await self.store.load(gid)
        assert found is not None
        return found

    async def until_status(self, gid: str, status: str, timeout_s: float = 10) -> Row:
        """Wait until the row has the status."""
        return await until(lambda: self._row_with(gid, status), f"{gid} is {status}", timeout_s)

    async def _row_with(self, gid: str, status: str) -> Row | None:
        found = await self.store.load(gid)
        return found if found is not None and found.status == status else None


async def until(look: Callable[[], Any], what: str, timeout_s: float = 10) -> Any:
    """Look again and again until there is something."""
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                found = look()
                if asyncio.iscoroutine(found):
                    found = await found
                if found:
                    return found
                await asyncio.sleep(LOOK_S)
    except TimeoutError:
        raise AssertionError(f"within {timeout_s:g} s not: {what}") from None


def branch(branch_id: str, **fields: Any) -> BranchRequest:
    """Return a branch at a participant of its name, retried quickly."""
    fields.setdefault("retry", RetryRequest(first_ms=10, cap_ms=20))
    return BranchRequest(branch_id=branch_id, target=f"http://{branch_id}/do", **fields)


def begin(gid: str | None, *branch_ids: str, pattern: Pattern = Pattern.TCC, **fields: Any) -> BeginRequest:
    """Return a begin with plain branches."""
    fields.setdefault("branches", [branch(each) for each in branch_ids])
    return BeginRequest(gid=gid, pattern=pattern, **fields)


def register(*branch_ids: str) -> RegisterRequest:
    """Return a registration of plain branches."""
    return RegisterRequest(branches=[branch(each) for each in branch_ids])
