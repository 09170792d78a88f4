"""T9: a row is forgotten only when nobody can ask for it any more; what comes later still is refused by its age."""

import time
from collections.abc import Sequence

import pytest
from sqlalchemy import select, update

from placet import purge, tables
from placet.session import with_session
from placet_contract.transactions import FinishedReply

DAY_SECONDS = 86_400


class Coordinator:
    """Knows what has ended; remembers what it was asked."""

    def __init__(self, *, open_gids: Sequence[str] = (), unknown: Sequence[str] = ()) -> None:
        self._open = set(open_gids)
        self._unknown = set(unknown)
        self.asked: list[list[str]] = []

    async def finished(self, gids: Sequence[str]) -> FinishedReply:
        self.asked.append(list(gids))
        known = [gid for gid in gids if gid not in self._unknown]
        return FinishedReply([gid for gid in known if gid not in self._open], [g for g in gids if g in self._unknown])


async def purged(service, coordinator) -> int:
    counted = []

    async def work(session):
        counted.append(await purge.purge(session, coordinator, service.participant.retention))

    await with_session(service.participant.session, None, work)
    return counted[0]


def kept(service) -> list[str]:
    with service.plain.connect() as connection:
        return list(connection.scalars(select(tables.barrier.c.gid).order_by(tables.barrier.c.gid)))


def make_older(service, *, days: float, gids: Sequence[str]) -> None:
    with service.plain.begin() as connection:
        aged_ms = int((time.time() - days * DAY_SECONDS) * 1_000)
        connection.execute(update(tables.barrier).where(tables.barrier.c.gid.in_(gids)).values(created_at_ms=aged_ms))


async def test_rows_go_when_they_are_old_and_their_transaction_is_over(service):
    """Young rows stay whatever the coordinator says, rows of an open transaction stay however old they are."""
    for gid in ("young", "over", "open", "forgotten"):
        await service.call("hold/try", gid=gid)
    make_older(service, days=8, gids=["over", "open", "forgotten"])
    coordinator = Coordinator(open_gids=["open"], unknown=["forgotten"])
    assert await purged(service, coordinator) == 2
    assert kept(service) == ["open", "young"]
    assert coordinator.asked == [["forgotten", "open", "over"]]
    assert await purged(service, Coordinator()) == 1
    assert kept(service) == ["young"]


async def test_rows_are_asked_for_in_pages(service, monkeypatch):
    """However many rows are old, a question has a page of gids, and open ones at the front stop nothing."""
    monkeypatch.setattr(purge, "PAGE_ROWS", 4)
    gids = [f"g-{number}" for number in range(10)]
    for gid in gids:
        await service.call("hold/cancel", gid=gid)
    make_older(service, days=9, gids=gids[:5])
    make_older(service, days=8, gids=gids[5:])
    coordinator = Coordinator(open_gids=gids[:5])
    assert await purged(service, coordinator) == 5
    assert coordinator.asked == [gids[:4], gids[4:8], gids[8:]]
    assert kept(service) == gids[:5]


@pytest.mark.parametrize("operation", ["hold/try", "book/action"])
async def test_repeat_from_before_the_purge_is_refused_by_its_age(service, operation):
    """Its row is forgotten, so nothing but its age tells it from a first attempt."""
    await service.call(operation, said="a", age_seconds=0)
    make_older(service, days=8, gids=["g"])
    assert await purged(service, Coordinator()) == 1
    reply = await service.call(operation, said="b", age_seconds=7 * DAY_SECONDS - 300)
    assert (reply.status, reply.slug) == (409, "late")
    assert service.ledger.effects(branch_id="1") == [(operation.rpartition("/")[2], "a")]
    assert kept(service) == []


async def test_five_minutes_lie_between_the_refusal_and_the_forgetting(service):
    """Just before them a try still runs, and its row will be kept for longer than any repeat of it is accepted."""
    assert (await service.call("hold/try", said="a", age_seconds=7 * DAY_SECONDS - 330)).status == 200
    assert await purged(service, Coordinator()) == 0


@pytest.mark.parametrize("end", ["confirm", "cancel"])
async def test_ends_are_served_at_any_age(service, end):
    """A decision is repeated for ever, so it may come after a long time, and its row is there: it is not finished."""
    await service.call("hold/try", said="a", age_seconds=0)
    make_older(service, days=400, gids=["g"])
    assert await purged(service, Coordinator(open_gids=["g"])) == 0
    assert (await service.call(f"hold/{end}", said="b", age_seconds=400 * DAY_SECONDS)).status == 200
    assert service.ledger.effects() == [("try", "a"), (end, "b of ref-a")]
