"""Recovery never forgets: claims what dead nodes left, loads what comes due, and deletes what is past its retention."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta

from placet_contract.limits import RETENTION_MS
from placet_coordinator.engine.driver import Driver
from placet_coordinator.engine.errors import Damaged
from placet_coordinator.engine.held import Held
from placet_coordinator.engine.ownership import Ownership
from placet_coordinator.ports.observer import Observer
from placet_coordinator.ports.rows import Row
from placet_coordinator.ports.store import Store, StoreError

_MS = timedelta(milliseconds=1)


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
        self._sweeping = asyncio.Lock()
        self._lost: set[str] = set()
        self._damaged: set[str] = set()
        driver.lost = self._note_lost

    async def run(self) -> None:
        """Sweep until cancelled."""
        loop = asyncio.get_running_loop()
        tidy_every_s = self._limits.tidy_every.total_seconds()
        tidy_at = loop.time() + tidy_every_s
        while True:
            try:
                await self.sweep()
                if loop.time() >= tidy_at and await self.tidy():
                    tidy_at = loop.time() + tidy_every_s
            except StoreError as error:
                self._observer.trouble("recovery", str(error))
            except Exception as error:  # noqa: BLE001 - whatever it was, recovery must not end: nothing would be found
                self._observer.trouble("defect", f"recovery: {type(error).__name__}: {error}")
            await asyncio.sleep(self._limits.sweep_every.total_seconds())

    async def sweep(self) -> None:
        """Claim what lapsed, and load what is due; raises `StoreError` if the store is away (nothing is lost)."""
        if not self._ownership.holds_lease:
            return
        async with self._sweeping:
            # A row that is read here may be older than what this node has written and let go of in between.
            self._driver.left = set()
            try:
                await self._reload_lost()
                await self._claim()
                await self._load_due()
            finally:
                self._driver.left = None

    async def tidy(self) -> bool:
        """Delete final transactions past the retention, and nodes and instances that are long gone.

        Returns:
            Whether nothing is left to delete; else there is more than one tidying takes on.
        """
        now_ms = self._ownership.now_ms()
        before_ms = now_ms - self._limits.retention // _MS
        an_hour_ago_ms = now_ms - 3_600_000
        await self._store.forget_nodes(an_hour_ago_ms)
        await self._store.forget_instances(an_hour_ago_ms)
        for _ in range(self._limits.pages_per_sweep_max):
            if await self._store.purge(before_ms, self._limits.purge_batch) < self._limits.purge_batch:
                return True
        return False

    async def _claim(self) -> None:
        """Become the owner of what has none that lives, and of what its owner let lie for more than two leases."""
        for _ in range(self._limits.pages_per_sweep_max):
            if self._is_full():
                return
            now_ms = self._ownership.now_ms()
            overdue_before_ms = now_ms - 2 * self._ownership.lease_ms
            rows = await self._store.claim_lapsed(self._ownership.boot_id, now_ms, overdue_before_ms, self._limits.page)
            self._take_up(rows)
            if len(rows) < self._limits.page:
                return

    async def _load_due(self) -> None:
        """Load this node's own rows whose time is near; those that are in memory fill the pages, too."""
        soon_ms = self._ownership.now_ms() + self._limits.sweep_every // _MS
        limit, limit_max = self._limits.page, self._limits.page * self._limits.pages_per_sweep_max
        while not self._is_full():
            rows = await self._store.due(self._ownership.boot_id, soon_ms, limit)
            self._take_up(rows)
            if len(rows) < limit or limit >= limit_max:
                return
            limit = min(4 * limit, limit_max)

    async def _reload_lost(self) -> None:
        """Look at rows whose write did not hit: still ours, or somebody else's by now."""
        lost, self._lost = list(self._lost), set()
        for at in range(0, len(lost), self._limits.page):
            try:
                rows = await self._store.load_many(lost[at : at + self._limits.page])
            except StoreError:
                self._lost.update(lost[at:])
                raise
            ours = [row for row in rows if row.next_due_at_ms is not None and row.owner == self._ownership.boot_id]
            for gid in set(lost[at : at + self._limits.page]).difference(row.gid for row in ours):
                self._driver.let_go(gid)
            self._take_up(ours)

    def _is_full(self) -> bool:
        return len(self._driver.held) >= self._limits.open_transactions_max

    def _take_up(self, rows: list[Row]) -> None:
        if not self._ownership.holds_lease:
            return  # lost while the query ran: whoever holds them now drives them
        for row in rows:
            if row.owner != self._ownership.boot_id:
                continue
            if self._driver.left and row.gid in self._driver.left:
                self._note_lost(row.gid)  # as it was before it left memory, or claimed since: the next sweep will know
                continue
            held = self._driver.held.get(row.gid)
            if held is None or held.version < row.version:
                self._adopt(row)
            elif held.version == row.version and self._comes_too_early(row, held):
                self._driver.touch(held, row)

    def _comes_too_early(self, row: Row, held: Held) -> bool:
        """Say whether others would take the row for overdue while its time has not come (decision 0005)."""
        row_ms, held_ms = row.next_due_at_ms, held.transaction.next_due_at_ms
        return row_ms is not None and held_ms is not None and row_ms + self._ownership.lease_ms < held_ms

    def _adopt(self, row: Row) -> None:
        try:
            self._driver.adopt(row)
        except Damaged as error:
            self._note_damaged(row.gid, str(error))
        except Exception as error:  # noqa: BLE001 - a row that can't be stepped is as good as damaged; the others can
            self._note_damaged(row.gid, f"the row of {row.gid}: {type(error).__name__}: {error}")

    def _note_lost(self, gid: str) -> None:
        if len(self._lost) < self._limits.open_transactions_max:
            self._lost.add(gid)

    def _note_damaged(self, gid: str, cause: str) -> None:
        if gid not in self._damaged and len(self._damaged) < self._limits.page:
            self._damaged.add(gid)
            self._observer.trouble("damaged row", cause)
