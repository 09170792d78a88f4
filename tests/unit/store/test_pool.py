"""The pool of sessions: whoever waits gets the next free one, and none is lost, however the waiting ends."""

import asyncio

import pytest

from placet_coordinator.ports.store import StoreUnavailable
from placet_coordinator.store import pool as pools
from placet_coordinator.store.pool import Pool


class Session:
    """Counts how often it was closed."""

    closed = 0

    def close(self) -> None:
        """See `Closable`."""
        self.closed += 1


async def test_who_waits_longest_gets_the_next_free_session():
    """A newcomer does not overtake, even if a session is given back in the very turn in which it asks."""
    pool = Pool(1, Session)
    session = await pool.take()
    served: list[str] = []

    async def use(name: str) -> None:
        taken = await pool.take()
        served.append(name)
        await asyncio.sleep(0)
        pool.give_back(taken)

    async with asyncio.TaskGroup() as group:
        for name in ("first", "second"):
            group.create_task(use(name))
        await asyncio.sleep(0)
        pool.give_back(session)
        group.create_task(use("newcomer"))
    assert served == ["first", "second", "newcomer"]


async def test_last_used_session_is_taken_first():
    """Its connection is the warmest."""
    pool = Pool(2, Session)
    first, second = await pool.take(), await pool.take()
    pool.give_back(second)
    pool.give_back(first)
    assert await pool.take() is first


@pytest.mark.parametrize("gives_first", [True, False])
async def test_session_given_to_one_who_gives_up_is_not_lost(gives_first: bool):
    """It comes in the turn in which the waiting task is cancelled, before or after: the next one has it."""
    pool = Pool(1, Session)
    session = await pool.take()
    waiting = asyncio.create_task(pool.take())
    await asyncio.sleep(0)
    if gives_first:
        pool.give_back(session)
        waiting.cancel()
    else:
        waiting.cancel()
        pool.give_back(session)
    with pytest.raises(asyncio.CancelledError):
        await waiting
    async with asyncio.timeout(5):
        assert await pool.take() is session


async def test_who_waits_too_long_is_told_and_the_session_stays(monkeypatch: pytest.MonkeyPatch):
    """Nothing was sent; once the session is free, others have it."""
    monkeypatch.setattr(pools, "QUEUE_LIMIT_S", 0.01)
    pool = Pool(1, Session)
    session = await pool.take()
    with pytest.raises(StoreUnavailable, match="no database session became free within") as caught:
        await pool.take()
    assert caught.value.wrote_nothing
    assert not pool._waiting
    pool.give_back(session)
    assert await pool.take() is session


async def test_session_is_not_given_to_a_coroutine_that_was_dropped():
    """Whoever waits may be closed with its loop's task gone: the session stays with the pool."""
    pool = Pool(1, Session)
    session = await pool.take()
    waiting = pool.take()
    waiting.send(None)
    waiting.close()
    pool.give_back(session)
    assert await pool.take() is session


async def test_close_ends_every_session_taken_or_free():
    """The ones in use, too: their statements are lost."""
    pool = Pool(2, Session)
    taken = await pool.take()
    pool.close()
    assert (taken.closed, (await pool.take()).closed) == (1, 1)
