"""The journal: writes of concurrent transactions, gathered while the batch before them commits (group commit).

One batch is with the store at a time; it is one round trip and one commit. Each caller learns its own result. A bad or
a locked row harms its own caller only. After a lost acknowledgement nothing is replayed: the rows are read back.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from placet_coordinator.core.transaction import Transaction
from placet_coordinator.engine.held import Held, Lane, Write, WriteEnd
from placet_coordinator.engine.queue import WriteQueue
from placet_coordinator.engine.rows import to_row
from placet_coordinator.ports.clock import Chance, Clock
from placet_coordinator.ports.observer import Observer
from placet_coordinator.ports.owner import Owner
from placet_coordinator.ports.rows import AttemptRow, Entry, EntryKind, Row
from placet_coordinator.ports.store import (
    BadData,
    JournalStore,
    RowLocked,
    StoreUnavailable,
    TransactionStore,
    WriteConflict,
)


@dataclass(frozen=True)
class JournalLimits:
    """The journal's figures.

    Attributes:
        batch_entries_max: writes in one batch.
        batch_bytes_max: documents in one batch; a larger single write goes alone.
        rider_delay_s: how long a write that nobody waits for may wait for a batch to ride with.
        conflict_retries_max: how often a batch that met a deadlock or serialization failure is repeated.
        store_patience_s: how long a batch is repeated while the store surely takes nothing.
        resolve_patience_s: how long rows are read back after a lost acknowledgement.
        aside_patience_s: how long a write waits for a locked row on a side connection.
        aside_tasks_max: how many side writes run at once.
    """

    batch_entries_max: int = 256
    batch_bytes_max: int = 1_048_576
    rider_delay_s: float = 0.02
    conflict_retries_max: int = 20
    store_patience_s: float = 2.0
    resolve_patience_s: float = 10.0
    aside_patience_s: float = 15.0
    aside_tasks_max: int = 4


class JournalStorage(JournalStore, TransactionStore, Protocol):
    """What the journal needs of the store: to write, and to read back."""


class Journal:
    """Gathers writes and makes them durable, in order per transaction.

    Args:
        settled: called once for each write, on the loop, when its end is known.
    """

    def __init__(
        self,
        *,
        store: JournalStorage,
        owner: Owner,
        clock: Clock,
        chance: Chance,
        observer: Observer,
        limits: JournalLimits,
        settled: Callable[[Write], None],
    ) -> None:
        self._store, self._owner, self._clock, self._chance = store, owner, clock, chance
        self._observer, self._limits, self._settled = observer, limits, settled
        self._queue = WriteQueue(limits.rider_delay_s, self._settle)
        self._loop = asyncio.get_running_loop()
        self._entry_number = 0
        self._aside_places = asyncio.Semaphore(limits.aside_tasks_max)
        self._aside_tasks: set[asyncio.Task[None]] = set()
        self._has_ended = False
        self.depth = 0
        """Writes appended and not yet settled."""

    def append(
        self,
        held: Held,
        transaction: Transaction,
        lane: Lane,
        *,
        plan_changed: bool = False,
        attempts: tuple[AttemptRow, ...] = (),
    ) -> Write:
        """Queue the transaction's new state, folded into the write that is still waiting, if there is one."""
        write = held.pending
        if write is None:
            held.version += 1
            kind = EntryKind.INSERT if held.version == 1 else EntryKind.UPDATE
            write = held.pending = Write(held, kind, transaction, held.version)
            self._enter(write, lane)
        else:
            write.transaction = transaction
            self.hurry(write, lane)
        write.plan_changed = write.plan_changed or plan_changed
        if attempts:
            write.attempts += attempts
        return write

    def append_decision(self, held: Held) -> Write:
        """Queue a decision that is written without a read (design, section 4)."""
        write = held.pending = Write(held, EntryKind.DECIDE, held.transaction, 0)
        self._enter(write, Lane.URGENT)
        return write

    def hurry(self, write: Write, lane: Lane) -> None:
        """Give a waiting write more hurry."""
        self._queue.hurry(write, lane)

    def wait(self, write: Write) -> asyncio.Future[WriteEnd]:
        """Return a future of the write's end, and hurry it."""
        future: asyncio.Future[WriteEnd] = self._loop.create_future()
        if write.end is not None:
            future.set_result(write.end)
        else:
            write.waiters.append(future)
            self.hurry(write, Lane.URGENT)
        return future

    async def run(self) -> None:
        """Write batches until `stop`; ends when nothing is left to write."""
        limits = self._limits
        while await self._queue.has_work():
            batch = self._queue.take(limits.batch_entries_max, limits.batch_bytes_max, self._prepare)
            if batch:
                await self._flush(batch)
        self._has_ended = True

    def stop(self) -> None:
        """Let `run` end once everything that waits is written."""
        self._queue.close()

    def abandon(self) -> None:
        """Refuse everything that waits and was not taken: this node has lost its lease."""
        self._queue.clear()

    def _enter(self, write: Write, lane: Lane) -> None:
        self.depth += 1
        if self._has_ended:
            # Not at once: whoever appends is in the middle of a step.
            self._loop.call_soon(self._settle, write, WriteEnd.REFUSED)
        else:
            self._queue.enter(write, lane)

    def _prepare(self, write: Write) -> int | None:
        """Make the write's row, and return the size of its documents; None, and an end, if no row can be made of it."""
        self._entry_number += 1
        owner = self._owner.boot_id
        write.written_by = f"{owner}:{self._entry_number}"
        try:
            row = write.row = to_row(write, owner, write.written_by, self._clock.now_ms())
        except Exception as error:  # noqa: BLE001 - what spoils one write must not stop the journal for everybody
            self._observer.trouble("bad data", f"{write.held.gid}: {type(error).__name__} while its row was made")
            self._settle(write, WriteEnd.BAD_DATA)
            return None
        return len(row.plan) + len(row.progress)

    # --- the store

    async def _flush(self, batch: list[Write]) -> None:
        started = self._loop.time()
        try:
            await self._write(batch)
        except Exception as error:  # noqa: BLE001 - a defect of an adapter must not stop the journal for everybody
            self._observer.trouble("journal", f"{type(error).__name__}: {error}")
            self._settle_all(batch, WriteEnd.UNRESOLVED)
        self._observer.flushed(len(batch), (self._loop.time() - started) * 1_000)

    async def _write(self, batch: list[Write]) -> None:
        """Write and settle a batch, whatever the store says."""
        give_up_at = self._loop.time() + self._limits.store_patience_s
        conflicts = 0
        while True:
            try:
                hits = await self._store.write([_entry(write) for write in batch])
            except WriteConflict:
                conflicts += 1
                if conflicts > self._limits.conflict_retries_max:
                    return self._settle_all(batch, WriteEnd.REFUSED)
                await asyncio.sleep(self._chance.uniform() * 0.005 * conflicts)
            except RowLocked:
                return await self._write_around_locks(batch)
            except BadData as error:
                return await self._halve(batch, error)
            except StoreUnavailable as error:
                self._observer.trouble("store", str(error))
                if not error.wrote_nothing:
                    return await self._read_back(batch)
                if self._loop.time() >= give_up_at:
                    return self._settle_all(batch, WriteEnd.REFUSED)
                await asyncio.sleep(0.05 + self._chance.uniform() * 0.1)
            else:
                return self._settle_hits(batch, hits)

    def _settle_hits(self, batch: list[Write], hits: dict[int, Row | None]) -> None:
        for position, write in enumerate(batch):
            if position not in hits:
                self._settle(write, WriteEnd.MISSED)
                continue
            decided_row = hits[position]
            if decided_row is not None:
                write.row = decided_row
            self._settle(write, WriteEnd.DURABLE)

    async def _halve(self, batch: list[Write], error: BadData) -> None:
        """Find the guilty entry: the others must not suffer for it."""
        if len(batch) == 1:
            self._observer.trouble("bad data", f"{batch[0].held.gid}: {error}")
            return self._settle(batch[0], WriteEnd.BAD_DATA)
        middle = len(batch) // 2
        await self._write(batch[:middle])
        return await self._write(batch[middle:])

    async def _write_around_locks(self, batch: list[Write]) -> None:
        """Ask once which rows are free, write those, and let the others wait on side connections."""
        try:
            free = await self._store.free([write.held.gid for write in batch if write.kind is not EntryKind.INSERT])
        except (StoreUnavailable, WriteConflict, RowLocked):
            free = set()
        blocked = [w for w in batch if w.kind is not EntryKind.INSERT and w.held.gid not in free]
        if not blocked:
            # Every existing row is free, so an insert waits for another session's insert of the same gid.
            blocked = [write for write in batch if write.kind is EntryKind.INSERT] or batch
        self._write_aside(blocked)
        others = [write for write in batch if not self._queue.is_parked(write.held.gid)]
        if not others:
            return
        try:
            hits = await self._store.write([_entry(write) for write in others])
        except RowLocked:
            self._write_aside(others)
        except (WriteConflict, BadData, StoreUnavailable):
            await self._write(others)
        else:
            self._settle_hits(others, hits)

    def _write_aside(self, writes: Iterable[Write]) -> None:
        for write in writes:
            self._queue.park(write.held.gid)
            task = self._loop.create_task(self._aside(write))
            self._aside_tasks.add(task)
            task.add_done_callback(self._aside_tasks.discard)

    async def _aside(self, write: Write) -> None:
        give_up_at = self._loop.time() + self._limits.aside_patience_s
        end, gid = WriteEnd.REFUSED, write.held.gid
        while self._loop.time() < give_up_at:
            try:
                async with self._aside_places:
                    hits = await self._store.write_aside(_entry(write))
            except (RowLocked, WriteConflict):
                continue
            except BadData:
                end = WriteEnd.BAD_DATA
            except StoreUnavailable as error:
                if error.wrote_nothing:
                    await asyncio.sleep(0.1)
                    continue
                end = await self._outcome_by_reading(write)
            else:
                end = WriteEnd.DURABLE if 0 in hits else WriteEnd.MISSED
                write.row = hits.get(0) or write.row
            break
        self._settle(write, end)
        self._queue.unpark(gid)

    async def _read_back(self, batch: list[Write]) -> None:
        """After a lost acknowledgement: whatever carries our stamp is durable; the rest is stepped again."""
        rows = await self._read_rows([write.held.gid for write in batch])
        for write in batch:
            self._settle(write, WriteEnd.UNRESOLVED if rows is None else _end_by(write, rows.get(write.held.gid)))

    async def _outcome_by_reading(self, write: Write) -> WriteEnd:
        rows = await self._read_rows([write.held.gid])
        return WriteEnd.UNRESOLVED if rows is None else _end_by(write, rows.get(write.held.gid))

    async def _read_rows(self, gids: list[str]) -> dict[str, Row] | None:
        give_up_at = self._loop.time() + self._limits.resolve_patience_s
        while self._loop.time() < give_up_at:
            try:
                return {row.gid: row for row in await self._store.load_many(gids)}
            except StoreUnavailable:
                await asyncio.sleep(0.05 + self._chance.uniform() * 0.1)
        return None

    # --- the ends

    def _settle_all(self, batch: list[Write], end: WriteEnd) -> None:
        for write in batch:
            self._settle(write, end)

    def _settle(self, write: Write, end: WriteEnd) -> None:
        if write.end is not None:
            return
        write.end = end
        self.depth -= 1
        held = write.held
        if held.writing is write:
            held.writing = None
        if held.gate is write:
            held.gate = None
        follower = None
        if end is not WriteEnd.DURABLE:
            held.dead = True
            follower, held.pending = held.pending, None
        try:
            self._settled(write)
        except Exception as error:  # noqa: BLE001 - one transaction's defect must not reach those of the same batch
            self._observer.trouble("defect", f"{held.gid}: {type(error).__name__}: {error}")
        for waiter in write.waiters:
            if not waiter.done():
                waiter.set_result(end)
        if follower is not None and follower is not write:
            # What followed was never sent, and is not to blame for the data of the write before it.
            self._settle(follower, WriteEnd.MISSED if end is WriteEnd.BAD_DATA else end)


def _entry(write: Write) -> Entry:
    assert write.row is not None  # noqa: S101 - `_take` prepares every write of a batch
    return Entry(
        kind=write.kind,
        row=write.row,
        expected_version=write.expected_version,
        plan_changed=write.plan_changed,
        attempts=write.attempts,
    )


def _end_by(write: Write, row: Row | None) -> WriteEnd:
    if row is None or row.written_by != write.written_by:
        return WriteEnd.MISSED
    if write.kind is EntryKind.DECIDE:
        write.row = row
    return WriteEnd.DURABLE
