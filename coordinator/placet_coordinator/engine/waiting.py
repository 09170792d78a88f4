"""Waiting for a transaction's end: in memory where this node drives it, by one batched query for all others."""

import asyncio

from placet_contract.vocabulary import FINAL_STATUSES
from placet_coordinator.engine.held import Held, Lane, Write
from placet_coordinator.engine.journal import Journal
from placet_coordinator.ports.rows import Row
from placet_coordinator.ports.store import StoreError, TransactionStore

POLL_FIRST_S = 0.02
POLL_LAST_S = 0.2
WAITERS_MAX = 10_000
"""Beyond it a wait ends at once with the status as it is."""


class EndWatch:
    """Tells when transactions end, whoever drives them."""

    def __init__(self, store: TransactionStore, journal: Journal) -> None:
        self._store, self._journal = store, journal
        self._watched: dict[str, list[asyncio.Future[Row | None]]] = {}
        self._poller: asyncio.Task[None] | None = None
        self._count = 0
        self._loop = asyncio.get_running_loop()
        self._stopped = False

    async def wait(self, gid: str, held: Held | None, wait_ms: int) -> Write | Row | None:
        """Return the write or the row that ended the transaction; None when `wait_ms` is over, or this node drains."""
        if self._count >= WAITERS_MAX or self._stopped:
            return None
        self._count += 1
        give_up_at = self._loop.time() + wait_ms / 1_000
        try:
            if held is not None and _may_end(held):
                end = await self._in_memory(held, give_up_at)
                if end is not None or self._loop.time() >= give_up_at:
                    return end
            return None if self._stopped else await self._in_store(gid, give_up_at)
        except StoreError:
            return None
        finally:
            self._count -= 1

    def stop(self) -> None:
        """Answer everybody who waits: this node drains."""
        self._stopped = True
        for futures in self._watched.values():
            for future in futures:
                if not future.done():
                    future.set_result(None)
        if self._poller is not None:
            self._poller.cancel()

    async def _in_memory(self, held: Held, give_up_at: float) -> Write | None:
        future: asyncio.Future[Write | None] = self._loop.create_future()
        held.finish_waiters.append(future)
        if held.pending is not None and not held.transaction.is_open:
            self._journal.hurry(held.pending, Lane.URGENT)
        try:
            async with asyncio.timeout_at(give_up_at):
                return await future
        except TimeoutError:
            return None
        finally:
            if future in held.finish_waiters:
                held.finish_waiters.remove(future)

    async def _in_store(self, gid: str, give_up_at: float) -> Row | None:
        row = await self._store.load(gid)
        if row is None or row.status in FINAL_STATUSES:
            return row
        if self._loop.time() >= give_up_at:
            return None
        future: asyncio.Future[Row | None] = self._loop.create_future()
        self._watched.setdefault(gid, []).append(future)
        if self._poller is None:
            self._poller = self._loop.create_task(self._poll())
        try:
            async with asyncio.timeout_at(give_up_at):
                return await future
        except TimeoutError:
            return None
        finally:
            waiting = self._watched.get(gid)
            if waiting is not None:
                waiting.remove(future)
                if not waiting:
                    del self._watched[gid]

    async def _poll(self) -> None:
        pause_s = POLL_FIRST_S
        try:
            while self._watched:
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 1.5, POLL_LAST_S)
                try:
                    rows = await self._store.load_many(list(self._watched))
                except StoreError:
                    continue
                if self._tell(rows):
                    pause_s = POLL_FIRST_S
        finally:
            self._poller = None

    def _tell(self, rows: list[Row]) -> bool:
        """Answer those whose transaction has ended; say whether there were any."""
        ended = [row for row in rows if row.status in FINAL_STATUSES]
        for row in ended:
            for future in self._watched.get(row.gid, ()):
                if not future.done():
                    future.set_result(row)
        return bool(ended)


def _may_end(held: Held) -> bool:
    """Say whether this copy will tell its waiters of an end: one that has ended, or was dropped, tells nobody."""
    return not held.dead and (held.transaction.is_open or held.pending is not None or held.writing is not None)
