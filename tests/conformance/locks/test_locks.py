"""What every store of locks must keep, whatever it is made of."""

import asyncio
import time

from placet_rpc.locks.store import Holder

LONG_MS = 30_000
SHORT_MS = 300
"""For leases that nobody extends."""
KEPT_MS = 1_200
"""For leases that are extended, by a machine that has other things to do as well."""


async def take_when_free(store, name, holder, ttl_ms=LONG_MS):
    """Takes a lock as soon as the store gives it; returns the token, and when it was given."""
    async with asyncio.timeout(20):
        while (token := await store.take(name, holder, ttl_ms)) is None:  # noqa: ASYNC110 - no event crosses processes
            await asyncio.sleep(0.01)
    return token, time.monotonic()


async def test_a_held_lock_is_given_to_nobody_else(store, other):
    """Another holder is refused until the lock is given back, and both can be told who holds it."""
    token = await store.take("m", "a", LONG_MS)
    assert await other.take("m", "b", LONG_MS) is None
    assert await store.holder("m") == await other.holder("m") == Holder("a", token)
    await store.give_back("m", "a", token)
    assert await other.holder("m") is None
    assert await other.take("m", "b", LONG_MS) > token


async def test_a_repeat_by_the_holder_gets_the_same_token(store, other):
    """An answer that was lost is asked for again, by whatever connection, and the lease runs from then on."""
    token = await store.take("m", "a", KEPT_MS)
    assert await other.take("m", "a", LONG_MS) == token
    await asyncio.sleep(KEPT_MS / 1000)
    assert await store.extend("m", "a", token, LONG_MS)


async def test_a_lock_whose_holder_does_not_extend_it_is_free_after_its_time_and_not_before(store, other):
    """The next one gets in, not sooner than the lease allows, with a greater token."""
    before = time.monotonic()
    token = await store.take("m", "a", SHORT_MS)
    following, got_at = await take_when_free(other, "m", "b")
    assert following > token
    # A database counts in whole milliseconds.
    assert got_at - before > SHORT_MS / 1000 - 0.002


async def test_nothing_can_be_done_with_a_lease_that_is_over(store, other):
    """An old token neither extends nor frees what another holds."""
    token = await store.take("m", "a", SHORT_MS)
    following, _ = await take_when_free(other, "m", "b")
    assert not await store.extend("m", "a", token, LONG_MS)
    assert not await store.extend("m", "b", token, LONG_MS)
    await store.give_back("m", "a", token)
    await store.give_back("m", "b", token)
    assert await store.holder("m") == Holder("b", following)


async def test_what_was_given_back_can_not_be_extended(store):
    """A lease that is given back is over at once, and giving it back again does nothing."""
    token = await store.take("m", "a", LONG_MS)
    await store.give_back("m", "a", token)
    await store.give_back("m", "a", token)
    assert not await store.extend("m", "a", token, LONG_MS)
    assert await store.holder("m") is None


async def test_tokens_grow_however_a_lease_ends(store, other):
    """After a return and after an expiry, for the same holder and for another."""
    tokens = []
    for number in range(6):
        mine = (store, other)[number % 2]
        token, _ = await take_when_free(mine, "m", "ab"[number % 2], SHORT_MS if number == 3 else LONG_MS)
        tokens.append(token)
        if number != 3:
            await mine.give_back("m", "ab"[number % 2], token)
    assert tokens == sorted(set(tokens))


async def test_locks_are_told_apart_by_their_whole_name(store):
    """Names differ by each byte, letters' case too, and one lock says nothing of another."""
    names = ["m", "M", "m.", "m:1", "m-1", "m_1", "x" * 128, "x" * 127]
    for name in names:
        assert await store.take(name, f"holder-of-{len(name)}", LONG_MS) is not None
    await store.give_back("M", "holder-of-1", (await store.holder("M")).token)
    assert await store.holder("M") is None
    assert (await store.holder("m")).holder == "holder-of-1"


async def test_of_many_that_ask_at_once_one_gets_the_lock(store, other):
    """However the takes of a free lock interleave, one has a token; repeated for locks that exist and that do not."""
    for name in ("fresh", "fresh", "other"):
        asked = [(store, other)[n % 2].take(name, f"h{n}", LONG_MS) for n in range(10)]
        answers = await asyncio.gather(*asked)
        winners = [(n, token) for n, token in enumerate(answers) if token is not None]
        assert len(winners) <= 1
        if winners:
            (number, token) = winners[0]
            assert await store.holder(name) == Holder(f"h{number}", token)
            await store.give_back(name, f"h{number}", token)
