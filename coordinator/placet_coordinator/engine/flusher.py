"""The flusher: brings one batch to the store, and finds out what became of each of its writes.

A bad or a locked row harms its own caller only. After a lost acknowledgement nothing is replayed: the rows are read
back, and whatever carries our stamp is durable.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from placet_coordinator.engine.held import Write, WriteEnd
from placet_coordinator.engine.queue import WriteQueue
from placet_coordinator.ports.clock import Chance
from placet_coordinator.ports.observer import Observer
from placet_coordinator.ports.rows import Entry, EntryKind, Row
from placet_coordinator.ports.store import (
    BadData,
    JournalStore,
    RowLocked,
    StoreError,
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


class Flusher:
    """Writes batches.

    Args:
        queue: where gids are parked whose row is locked.
        settle: told once for each write how it ended.
    """

    def __init__(
        self,
        *,
        store: JournalStorage,
        chance: Chance,
        observer: Observer,
        limits: JournalLimits,
        queue: WriteQueue,
        settle: Callable[[Write, WriteEnd], None],
    ) -> None:
        self._store, self._chance, self._observer = store, chance, observer
        self._limits, self._queue, self._settle = limits, queue, settle
        self._loop = asyncio.get_running_loop()
        self._durable: list[Write] = []
        self._aside_places = asyncio.Semaphore(limits.aside_tasks_max)
        self._aside_tasks: set[asyncio.Task[None]] = set()

    async def flush(self, batch: list[Write]) -> None:
        """Write a batch.

        When this returns, each of its writes is settled, or waits for its lock aside, or is durable and settled in the
        loop's next turn: so the next batch is on its way before this one's callers are answered, and the database does
        not wait for them.
        """
        started = self._loop.time()
        try:
            await self._write(batch)
        except Exception as error:  # noqa: BLE001 - a defect of an adapter must not stop the journal for everybody
            self._observer.trouble("journal", f"{type(error).__name__}: {error}")
            self._settle_all(batch, WriteEnd.UNRESOLVED)
        except BaseException:
            self._settle_all(batch, WriteEnd.UNRESOLVED)  # cancelled: the store may still make the write
            raise
        self._observer.flushed(len(batch), (self._loop.time() - started) * 1_000)

    def settle_durable(self) -> None:
        """Settle what is durable and was put off."""
        durable, self._durable = self._durable, []
        self._settle_all(durable, WriteEnd.DURABLE)

    async def _write(self, batch: list[Write]) -> None:
        """Write and settle a batch, whatever the store says."""
        give_up_at = self._loop.time() + self._limits.store_patience_s
        conflicts = 0
        while True:
            match await self._sent(batch):
                case WriteConflict():
                    conflicts += 1
                    if conflicts > self._limits.conflict_retries_max:
                        return self._settle_all(batch, WriteEnd.REFUSED)
                    await asyncio.sleep(self._chance.uniform() * 0.005 * conflicts)
                case RowLocked():
                    return await self._write_around_locks(batch)
                case BadData() as error:
                    return await self._halve(batch, error)
                case StoreUnavailable() as error:
                    self._observer.trouble("store", str(error))
                    if not error.wrote_nothing:
                        return await self._read_back(batch)
                    if self._loop.time() >= give_up_at:
                        return self._settle_all(batch, WriteEnd.REFUSED)
                    await self._pause()
                case StoreError() as error:
                    raise error
                case hits:
                    return self._settle_hits(batch, hits)

    async def _sent(self, batch: list[Write]) -> dict[int, Row | None] | StoreError:
        """Send a batch; return what hit, or the store's error: what is done about it waits, so not in its handler.

        A compiled coroutine that waits in a handler leaves its exception behind for all others to see (decision 0017).
        """
        try:
            return await self._store.write([_entry(write) for write in batch])
        except StoreError as error:
            return error
        finally:
            self.settle_durable()  # of the batch before, if the loop had no turn: writes are settled in their order

    async def _halve(self, batch: list[Write], error: BadData) -> None:
        """Find the guilty entry: the others must not suffer for it."""
        if len(batch) == 1:
            self._observer.trouble("bad data", f"{batch[0].held.gid}: {error}")
            return self._settle(batch[0], WriteEnd.BAD_DATA)
        middle = len(batch) // 2
        await self._write(batch[:middle])
        return await self._write(batch[middle:])

    # --- locked rows

    async def _write_around_locks(self, batch: list[Write]) -> None:
        """Ask once which rows are free, write those, and let the others wait on side connections."""
        try:
            free = await self._store.free([write.held.gid for write in batch if write.kind is not EntryKind.INSERT])
        except StoreError:
            free = set()
        blocked = [each for each in batch if each.kind is not EntryKind.INSERT and each.held.gid not in free]
        if not blocked:
            # Every existing row is free, so an insert waits for another session's insert of the same gid.
            blocked = [each for each in batch if each.kind is EntryKind.INSERT] or batch
        self._write_aside(blocked)
        others = [each for each in batch if not self._queue.is_parked(each.held.gid)]
        if not others:
            return
        match await self._sent(others):
            case RowLocked():
                self._write_aside(others)
            case StoreError():
                await self._write(others)
            case hits:
                self._settle_hits(others, hits)

    def _write_aside(self, writes: Iterable[Write]) -> None:
        for write in writes:
            self._queue.park(write.held.gid)
            task = self._loop.create_task(self._aside(write))
            self._aside_tasks.add(task)
            task.add_done_callback(self._aside_tasks.discard)

    async def _aside(self, write: Write) -> None:
        """Write one entry on a side connection; its gid stays parked until it is settled."""
        end = WriteEnd.UNRESOLVED
        try:
            end = await self._waited_for_lock(write)
        except Exception as error:  # noqa: BLE001 - a defect must not leave the gid parked for ever
            self._observer.trouble("journal", f"{type(error).__name__}: {error}")
        finally:
            self._settle(write, end)
            self._queue.unpark(write.held.gid)

    async def _waited_for_lock(self, write: Write) -> WriteEnd:
        give_up_at = self._loop.time() + self._limits.aside_patience_s
        while self._loop.time() < give_up_at:
            match await self._sent_aside(write):
                case RowLocked() | WriteConflict():
                    await asyncio.sleep(self._chance.uniform() * 0.005)
                case BadData() as error:
                    self._observer.trouble("bad data", f"{write.held.gid}: {error}")
                    return WriteEnd.BAD_DATA
                case StoreUnavailable() as error:
                    if not error.wrote_nothing:
                        return _end_by(write, await self._rows_of([write]))
                    await self._pause()
                case StoreError() as error:
                    raise error
                case hits:
                    write.row = hits.get(0) or write.row
                    return WriteEnd.DURABLE if 0 in hits else WriteEnd.MISSED
        return WriteEnd.REFUSED

    async def _sent_aside(self, write: Write) -> dict[int, Row | None] | StoreError:
        async with self._aside_places:
            try:
                return await self._store.write_aside(_entry(write))
            except StoreError as error:
                return error

    # --- lost acknowledgements

    async def _read_back(self, batch: list[Write]) -> None:
        rows = await self._rows_of(batch)
        for write in batch:
            self._settle(write, _end_by(write, rows))

    async def _rows_of(self, writes: Sequence[Write]) -> dict[str, Row] | None:
        """Return the rows as they are now, by gid; None if the store did not tell in time."""
        give_up_at = self._loop.time() + self._limits.resolve_patience_s
        while self._loop.time() < give_up_at:
            with suppress(StoreError):
                return {row.gid: row for row in await self._store.load_many([write.held.gid for write in writes])}
            await self._pause()
        return None

    async def _pause(self) -> None:
        await asyncio.sleep(0.05 + self._chance.uniform() * 0.1)

    # --- ends

    def _settle_hits(self, batch: list[Write], hits: dict[int, Row | None]) -> None:
        """Settle what missed at once, for what follows it must not be sent; and the rest in the loop's next turn."""
        for position, write in enumerate(batch):
            if position not in hits:
                self._settle(write, WriteEnd.MISSED)
                continue
            write.row = hits[position] or write.row
            self._durable.append(write)
        self._loop.call_soon(self.settle_durable)

    def _settle_all(self, batch: list[Write], end: WriteEnd) -> None:
        for write in batch:
            self._settle(write, end)


def _entry(write: Write) -> Entry:
    assert write.row is not None  # noqa: S101 - the journal prepares every write of a batch
    return Entry(
        kind=write.kind,
        row=write.row,
        expected_version=write.expected_version,
        plan_changed=write.plan_changed,
        attempts=write.attempts,
    )


def _end_by(write: Write, rows: dict[str, Row] | None) -> WriteEnd:
    """Return how a write ended, by the rows as they are after its acknowledgement was lost."""
    if rows is None:
        return WriteEnd.UNRESOLVED
    row = rows.get(write.held.gid)
    if row is None or row.written_by != write.written_by:
        return WriteEnd.UNSEEN
    if write.kind is EntryKind.DECIDE:
        write.row = row
    return WriteEnd.DURABLE
