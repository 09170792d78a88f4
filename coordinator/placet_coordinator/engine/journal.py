"""The journal: writes of concurrent transactions, gathered while the batch before them commits (group commit).

One batch is with the store at a time; it is one round trip and one commit. Each caller learns its own result.
"""

import asyncio
from collections.abc import Callable

from placet_coordinator.core.transaction import Transaction
from placet_coordinator.engine.flusher import Flusher, JournalLimits, JournalStorage
from placet_coordinator.engine.held import Held, Lane, Waiter, Write, WriteEnd
from placet_coordinator.engine.queue import WriteQueue
from placet_coordinator.engine.rows import to_row
from placet_coordinator.ports.clock import Chance, Clock
from placet_coordinator.ports.observer import Observer
from placet_coordinator.ports.owner import Owner
from placet_coordinator.ports.rows import AttemptRow, EntryKind, Row

_PARTIAL, _, _URGENT = Lane  # looked up once: an enum's member costs 0.1 µs each time (CPython 3.11)
_FOLLOWERS_END = {
    WriteEnd.BAD_DATA: WriteEnd.MISSED,
    WriteEnd.UNSEEN: WriteEnd.MISSED,
    WriteEnd.UNRESOLVED: WriteEnd.REFUSED,
}
"""How the write behind another one ends: it was never sent, and is not to blame for the other's data."""


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
        self._owner, self._clock, self._observer = owner, clock, observer
        self._limits, self._settled = limits, settled
        self._queue = WriteQueue(limits.rider_delay_s, self._settle)
        self._flusher = Flusher(
            store=store, chance=chance, observer=observer, limits=limits, queue=self._queue, settle=self._settle
        )
        self._loop = asyncio.get_running_loop()
        self._entry_number = 0
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
        write.row = None
        if lane is not _PARTIAL:
            self._prepare_ahead(write)
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
            self.tell(write, future)
        return future

    def tell(self, write: Write, waiter: Waiter) -> None:
        """Have the waiter told of the end of a write that has none yet, and hurry it."""
        write.waiters.append(waiter)
        if write.lane is not _URGENT:
            self._queue.hurry(write, _URGENT)

    async def run(self) -> None:
        """Write batches until `stop`, and all that waits then; if it is cancelled, nobody is left waiting."""
        limits = self._limits
        try:
            while await self._queue.has_work():
                batch = self._queue.take(limits.batch_entries_max, limits.batch_bytes_max, self._prepare)
                if batch:
                    await self._flusher.flush(batch)
        finally:
            self._flusher.settle_durable()
            self._has_ended = True
            self._queue.clear()

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

    def _prepare_ahead(self, write: Write) -> None:
        """Make the row now, while the batch before is with the database: it waits for us once that one is done."""
        try:  # noqa: SIM105 - `suppress` costs an object and three calls, at each write
            self._make_row(write)
        except Exception:  # noqa: BLE001, S110 - it is made again, and what is wrong with it told, when it is taken
            pass

    def _prepare(self, write: Write) -> int | None:
        """Make the write's row, and return the size of its documents; None, and an end, if no row can be made of it."""
        try:
            row = write.row or self._make_row(write)
        except Exception as error:  # noqa: BLE001 - what spoils one write must not stop the journal for everybody
            self._observer.trouble("bad data", f"{write.held.gid}: {type(error).__name__} while its row was made")
            self._settle(write, WriteEnd.BAD_DATA)
            return None
        plan, progress = row.plan, row.progress
        if plan.isascii() and progress.isascii():
            return len(plan) + len(progress)
        return len(plan.encode()) + len(progress.encode())

    def _make_row(self, write: Write) -> Row:
        self._entry_number += 1
        owner = self._owner.boot_id
        write.written_by = f"{owner}:{self._entry_number}"
        write.row = to_row(write, owner, write.written_by, self._clock.now_ms())
        return write.row

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
        waiters, write.waiters = write.waiters, []  # a waiter may hold the write: no cycle is left to the collector
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(end)
        if follower is not None and follower is not write:
            self._settle(follower, _FOLLOWERS_END.get(end, end))
