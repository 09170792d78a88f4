"""Two nodes write the same rows while their connections are cut at any moment: every answer that they get is true.

Each entry carries an attempt with the entry's own stamp, which is in the database exactly if the entry hit.
"""

import asyncio
from contextlib import suppress
from random import Random

import pytest
from msgspec.structs import replace

from conformance.store.conftest import OpenStore
from conformance.store.proxy import Proxy
from conformance.store.rows import a_row, an_attempt, decide, insert, update
from placet_coordinator.ports.rows import Entry
from placet_coordinator.ports.store import RowLocked, Store, StoreUnavailable, WriteConflict

GIDS = [f"g{n:02}" for n in range(20)]
BATCHES = 150
LOST_BATCHES = 3
BATCHES_MAX = 5_000
"""The quicker the store, the more batches fit between two cuts: each node writes on until it has lost some."""
CUT_EVERY_S = 0.1
SETTLED_WITHIN_S = 20


class Writer:
    """One node: writes batches of random entries, and keeps what it was told of each.

    Attributes:
        told: True for a hit, False for a miss and None for an unknown outcome, by the entry's stamp.
        lost: batches whose outcome is unknown.
    """

    def __init__(self, name: str, store: Store, random: Random) -> None:
        self._name, self._store, self._random = name, store, random
        self._entries = 0
        self._versions = dict.fromkeys(GIDS, 0)
        self.told: dict[str, bool | None] = {}
        self.lost = 0

    async def write_all(self) -> None:
        """Write the batches, and more until some were lost; read what versions there are every now and then."""
        for number in range(BATCHES_MAX):
            if number >= BATCHES and self.lost >= LOST_BATCHES:
                return
            batch = [self._an_entry(gid) for gid in self._random.sample(GIDS, self._random.choice((1, 3, 8, 20)))]
            await self._write(batch)
            if number % 3 == 0:
                with suppress(StoreUnavailable):
                    self._versions |= {row.gid: row.version for row in await self._store.load_many(GIDS)}

    async def _write(self, batch: list[Entry]) -> None:
        stamps = [entry.row.written_by for entry in batch]
        try:
            hits = await self._store.write(batch)
        except StoreUnavailable as error:
            self.told |= dict.fromkeys(stamps, False if error.wrote_nothing else None)
            self.lost += not error.wrote_nothing
            await asyncio.sleep(0.01)
        except (RowLocked, WriteConflict):
            self.told |= dict.fromkeys(stamps, False)
        else:
            self.told |= {stamp: position in hits for position, stamp in enumerate(stamps)}
            for position, row in hits.items():
                assert row is None or row.written_by == stamps[position]

    def _an_entry(self, gid: str) -> Entry:
        self._entries += 1
        stamp = f"{self._name}:{self._entries}"
        attempt = an_attempt(gid, self._entries, detail=stamp)
        kind = self._random.choice(("insert", "decide", *["update"] * 8))
        if kind == "insert":
            return insert(a_row(gid, written_by=stamp), attempt)
        if kind == "decide":
            return replace(decide(gid, written_by=stamp, status="active"), attempts=(attempt,))
        row = a_row(gid, written_by=stamp, plan=f'"{stamp}"')
        expected = self._versions[gid] + self._random.choice((0, 0, 0, 1, -1))
        return update(row, expected, attempt, plan_changed=self._random.random() < 0.2)


async def cut(proxies: list[Proxy], random: Random) -> None:
    """Cut connections for ever: idle, with an answer lost, with a request lost, or with an answer that is late."""
    while True:
        await asyncio.sleep(random.random() * CUT_EVERY_S)
        proxy = random.choice(proxies)
        how = random.choice(("cut", "loses_answers", "loses_requests", "is_late"))
        if how == "is_late":
            proxy.answers_flow.clear()
            await asyncio.sleep(random.random() * CUT_EVERY_S)
            proxy.answers_flow.set()
            continue
        if how != "cut":
            setattr(proxy, how, True)
            await asyncio.sleep(random.random() * 0.02)
        proxy.cut()


async def settled(store: Store) -> tuple[dict[str, int], list[str]]:
    """Return the versions of all rows, and the stamps of all side rows, once nothing changes them any more.

    What was sent last may still be at work in the server.
    """
    async with asyncio.timeout(SETTLED_WITHIN_S):
        while True:
            before = {row.gid: row.version for row in await store.load_many(GIDS)}
            stamps = [attempt.detail for gid in GIDS for attempt in await store.attempts(gid, 100_000)]
            is_quiet = await store.free(GIDS) == set(GIDS)
            if is_quiet and before == {row.gid: row.version for row in await store.load_many(GIDS)}:
                return before, stamps


@pytest.mark.parametrize("seed", [1, 2])
async def test_every_answer_is_true_while_connections_are_cut(server_url: str, open_store: OpenStore, seed: int):
    """What was told to hit is there with its side row, what was told to miss is not, and no version has two writers."""
    random = Random(seed)
    direct = await open_store(server_url)
    async with Proxy(server_url) as first, Proxy(server_url) as second:
        writers = [
            Writer(name, await open_store(proxy.url), Random(seed)) for name, proxy in (("a", first), ("b", second))
        ]
        cutting = asyncio.create_task(cut([first, second], random))
        await asyncio.gather(*(writer.write_all() for writer in writers))
        cutting.cancel()
        first.cut()
        second.cut()
    told = {stamp: hit for writer in writers for stamp, hit in writer.told.items()}
    versions, written = await settled(direct)
    assert len(written) == len(set(written))
    assert {stamp for stamp, hit in told.items() if hit} <= set(written)
    assert not {stamp for stamp, hit in told.items() if hit is False} & set(written)
    # Each write adds one to the version, the first makes it 1: nobody's write was written over unseen.
    assert sum(versions.values()) == len(written)
    assert all(writer.lost >= LOST_BATCHES for writer in writers), "hardly an answer was ever lost"
