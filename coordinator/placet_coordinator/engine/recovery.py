"""Recovery never forgets: claims what dead nodes left, loads what comes due, and deletes what is past its retention."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta

import msgspec

from placet_contract.limits import RETENTION_MS
from placet_coordinator.engine.driver import Driver
from placet_coordinator.engine.held import Held
from placet_coordinator.engine.ownership import Ownership
from placet_coordinator.engine.rows import from_row
from placet_coordinator.ports.observer import Observer
from placet_coordinator.ports.rows import Row
from placet_coordinator.ports.store import Store, StoreError


@dataclass(frozen=True)
class RecoveryLimits:
    """Recovery's figures.

    Attributes:
        sweep_every: how often claims are tried and due rows looked for.
        tidy_every: how often old rows are deleted.
        page: rows of one claim or one look.
        pages_per_sweep_max: pages of one sweep, so that a flood does not keep the loop from its other work.
        purge_batch: rows deleted in one statement.
        retention: how long a final transaction is remembered.
        open_transactions_max: no more is claimed while this many are in memory.
    """

    sweep_every: timedelta = timedelta(seconds=1)
    tidy_every: timedelta = timedelta(seconds=30)
    page: int = 500
    pages_per_sweep_max: int = 20
    purge_batch: int = 500
    retention: timedelta = timedelta(milliseconds=RETENTION_MS)
    open_transactions_max: int = 100_000


class Recovery:
    """Takes up open transactions that nobody in memory drives."""

    def __init__(
        self, *, driver: Driver, store: Store, ownership: Ownership, observer: Observer, limits: RecoveryLimits
    ) -> None:
        self._driver, self._store, self._ownership = driver, store, ownership
        self._observer, self._limits = observer, limits
        self._lost: set[str] = set()
        self._damaged: set[str] = set()
        driver.lost = self._note_lost

    async def run(self) -> None:
        """Sweep until cancelled."""
        loop = asyncio.get_running_loop()
        tidy_at = loop.time() + self._limits.tidy_every.total_seconds()
        while True:
            try:
                await self.sweep()
                if loop.time() >= tidy_at:
                    tidy_at = loop.time() + self._limits.tidy_every.total_seconds()
                    await self.tidy()
            except StoreError as error:
                self._observer.trouble("recovery", str(error))
            await asyncio.sleep(self._limits.sweep_every.total_seconds())

    async def sweep(self) -> None:
        """Claim what lapsed, and load what is due; raises `StoreError` if the store is away (nothing is lost)."""
        if not self._ownership.holds_lease:
            return
        await self._reload_lost()
        for _ in range(self._limits.pages_per_sweep_max):
            if len(self._driver.held) >= self._limits.open_transactions_max:
                break
            now_ms = self._ownership.now_ms()
            overdue_before_ms = now_ms - 2 * self._ownership.lease_ms
            rows = await self._store.claim_lapsed(self._ownership.boot_id, now_ms, overdue_before_ms, self._limits.page)
            self._take_up(rows)
            if len(rows) < self._limits.page:
                break
        soon_ms = self._ownership.now_ms() + self._limits.sweep_every // timedelta(milliseconds=1)
        self._take_up(await self._store.due(self._ownership.boot_id, soon_ms, self._limits.page))

    async def tidy(self) -> None:
        """Delete final transactions past the retention, and nodes and instances that are long gone."""
        now_ms = self._ownership.now_ms()
        before_ms = now_ms - self._limits.retention // timedelta(milliseconds=1)
        for _ in range(self._limits.pages_per_sweep_max):
            if await self._store.purge(before_ms, self._limits.purge_batch) < self._limits.purge_batch:
                break
        an_hour_ago_ms = now_ms - 3_600_000
        await self._store.forget_nodes(an_hour_ago_ms)
        await self._store.forget_instances(an_hour_ago_ms)

    def _take_up(self, rows: list[Row]) -> None:
        if not self._ownership.holds_lease:
            return  # lost while the query ran: whoever holds them now drives them
        for row in rows:
            if row.owner != self._ownership.boot_id:
                continue
            held = self._driver.held.get(row.gid)
            if held is not None and held.version >= row.version:
                continue
            try:
                from_row(row)
            except (msgspec.MsgspecError, ValueError) as error:
                self._note_damaged(row.gid, error)
                continue
            self._driver.adopt(row)

    async def _reload_lost(self) -> None:
        """Look at rows whose write did not hit: still ours, or somebody else's by now."""
        gids = list(self._lost)[: self._limits.page]
        if gids:
            rows = await self._store.load_many(gids)
            self._lost.difference_update(gids)
            self._take_up([row for row in rows if row.next_due_at_ms is not None])

    def _note_lost(self, held: Held) -> None:
        if len(self._lost) < self._limits.open_transactions_max:
            self._lost.add(held.gid)

    def _note_damaged(self, gid: str, error: Exception) -> None:
        if gid not in self._damaged and len(self._damaged) < self._limits.page:
            self._damaged.add(gid)
            self._observer.trouble("damaged row", f"{gid}: {error}; it is left as it is")
