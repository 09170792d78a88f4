"""When a lease is got, kept and lost."""

import asyncio
from datetime import timedelta

import pytest

from placet_rpc.locks.lease import MARGIN
from placet_rpc.locks.store import LockLost, LockTaken, LockUnavailable

TTL = timedelta(seconds=10)


async def test_a_lease_is_extended_three_times_in_its_length(store, locks):
    """No more often than is needed to survive a lost answer."""
    async with await locks.acquire("m", TTL):
        await asyncio.sleep(96)
    assert store.asked.count("extend") == 30


async def test_an_outage_shorter_than_the_lease_costs_nothing(store, locks):
    """The store may be away for a while; the lease goes on as soon as it is back."""
    async with await locks.acquire("m", TTL) as lease:
        await asyncio.sleep(30)
        store.is_down = True
        await asyncio.sleep(6)
        store.is_down = False
        await asyncio.sleep(20)
        assert lease.is_held


async def test_an_outage_ends_the_lease_before_the_store_would(store, locks, clock):
    """The holder stops by its own clock, with a margin, and says so once."""
    told = []
    lease = await locks.acquire("m", TTL)
    lease.on_lost(lambda: told.append(clock.monotonic()))
    began_at = clock.monotonic()
    store.is_down = True
    await lease.wait_over()
    assert told == [pytest.approx(began_at + 10 * (1 - MARGIN))]
    assert not lease.is_held
    assert lease.is_lost
    store.is_down = False
    with pytest.raises(LockLost):
        await lease.renew()
    lease.on_lost(lambda: told.append("late"))
    assert told[1:] == ["late"]


async def test_an_extension_that_hangs_does_not_hide_the_end(store, locks, clock):
    """The lease is given up in time while its extension still waits for an answer."""
    lease = await locks.acquire("m", TTL)
    began_at = clock.monotonic()
    store.delay = 60
    await lease.wait_over()
    assert clock.monotonic() - began_at <= 10
    store.delay = 0
    await lease.release()


async def test_an_answer_that_comes_too_late_extends_nothing(store, locks):
    """What counts is when an extension was asked for, not when the answer came."""
    lease = await locks.acquire("m", TTL)
    await asyncio.sleep(3.5)  # one extension
    store.delay = 7
    assert lease.is_held
    await asyncio.sleep(9.5)
    assert not lease.is_held
    store.delay = 0
    await lease.release()


async def test_a_lease_that_another_took_over_is_lost_at_the_next_extension(store, locks, clock):
    """A store that was wiped tells the holder by its answer."""
    lease = await locks.acquire("m", TTL)
    store._holders.clear()
    await asyncio.sleep(4)
    assert lease.is_lost
    with pytest.raises(LockLost, match="with token 1 is over"):
        lease.check()


async def test_a_lost_answer_to_a_take_is_asked_for_again(store, locks):
    """The lock that was taken without our knowing is ours, by the same token."""
    store.loses_answers = True
    taking = asyncio.ensure_future(locks.acquire("m", TTL))
    await asyncio.sleep(1)
    store.loses_answers = False
    lease = await taking
    assert lease.token == 1
    await lease.release()


async def test_a_cancelled_wait_leaves_no_lock_behind(store, locks):
    """Not even one that the store had given just then."""
    store.delay = 5
    taking = asyncio.ensure_future(locks.acquire("m", TTL))
    await asyncio.sleep(1)
    taking.cancel()
    await asyncio.wait((taking,))
    assert await store.holder("m") is None


async def test_a_take_whose_answer_took_the_whole_lease_is_no_lease(store, locks):
    """The next look gets the same lock with its time before it."""
    store.delay = 9.9
    taking = asyncio.ensure_future(locks.acquire("m", TTL))
    await asyncio.sleep(5)
    store.delay = 0
    lease = await taking
    assert lease.is_held
    assert store.asked.count("take") == 2
    await lease.release()


async def test_waiting_ends_when_it_should(store, locks, clock):
    """A held lock is waited for as long as the caller says, an absent store too; each ends in its own error."""
    async with await locks.acquire("m", TTL):
        began_at = clock.monotonic()
        with pytest.raises(LockTaken, match="held by another"):
            await locks.acquire("m", TTL, wait=timedelta(seconds=7))
        assert clock.monotonic() - began_at == pytest.approx(7)
    store.is_down = True
    with pytest.raises(LockUnavailable):
        await locks.acquire("m", TTL, wait=timedelta(seconds=7))


async def test_looks_become_rarer_as_the_wait_grows(store, locks):
    """A lock that is held for an hour costs its store about a look a second per waiter."""
    async with await locks.acquire("m", timedelta(minutes=1)):
        store.asked.clear()
        with pytest.raises(LockTaken):
            await locks.acquire("m", TTL, wait=timedelta(minutes=5))
    assert store.asked.count("take") < 500


async def test_a_release_that_fails_is_left_to_time(store, locks, caplog):
    """Nobody is stopped by it; the lock frees itself."""
    lease = await locks.acquire("m", TTL)
    store.is_down = True
    await lease.release()
    await lease.release()
    assert "could not be freed" in caplog.text
    store.is_down = False
    async with await locks.acquire("m", TTL) as following:
        assert following.token == 2


async def test_a_callback_that_fails_keeps_no_other_from_being_told(store, locks, caplog):
    """Each is called."""
    told = []
    lease = await locks.acquire("m", TTL)
    lease.on_lost(lambda: 1 / 0)
    lease.on_lost(lambda: told.append("second"))
    store.is_down = True
    await lease.wait_over()
    assert told == ["second"]
    assert "a callback of the lease of m failed" in caplog.text
    await lease.release()


async def test_a_released_lease_is_not_lost(locks):
    """`on_lost` is for the unexpected."""
    told = []
    lease = await locks.acquire("m", TTL)
    lease.on_lost(lambda: told.append("lost"))
    await lease.release()
    await asyncio.sleep(60)
    assert (told, lease.is_held, lease.is_lost) == ([], False, False)


@pytest.mark.parametrize(
    ("name", "ttl", "rule"),
    [
        ("", TTL, "no name of a lock"),
        ("a/b", TTL, "no name of a lock"),
        ("x" * 129, TTL, "no name of a lock"),
        ("m", timedelta(milliseconds=199), "from 0.2 s to 3600 s"),
        ("m", timedelta(hours=2), "from 0.2 s to 3600 s"),
    ],
)
async def test_what_not_all_stores_can_keep_is_refused(locks, name, ttl, rule):
    """Names and times are the same everywhere, so that a store can be changed."""
    with pytest.raises(ValueError, match=rule):
        await locks.acquire(name, ttl)
