"""What every store of requests must keep, whatever it is made of."""

import asyncio

import pytest

from placet_rpc.idempotency.store import CALLER_LENGTH_MAX, KEY_LENGTH_MAX, Found, Request, State, StoredAnswer

LONG_MS = 600_000
FIRST = Request("order", "k1", b"f" * 16, "runner-a")
ANSWER = StoredAnswer(200, "msgpack", b"\x00\xff'\"\\ \xc3")


async def begin(store, request=FIRST, *, running_ms=LONG_MS, keep_ms=LONG_MS, again=False):
    return await store.begin(request, running_ms=running_ms, keep_ms=keep_ms, again=again)


async def when_lost(store, request, **options):
    """The store's answer as soon as it is another than that the request is being run."""
    async with asyncio.timeout(20):
        while (found := await begin(store, request, **options)).state is State.RUNNING:  # noqa: ASYNC110 - another's clock
            await asyncio.sleep(0.02)
    return found


async def test_a_request_is_run_by_the_first_and_answered_to_all(store, other):
    """New, then running, then done with the very bytes of the answer."""
    assert await begin(store) == Found(State.MINE)
    assert await begin(other, FIRST._replace(runner="runner-b")) == Found(State.RUNNING)
    await store.finish(FIRST, ANSWER)
    assert await begin(other, FIRST._replace(runner="runner-b")) == Found(State.DONE, answer=ANSWER)


async def test_of_many_that_come_at_once_one_runs(store, other):
    """However the inserts interleave, one is told to run it and the others that it runs."""
    for number in range(3):
        asked = [
            begin((store, other)[n % 2], Request("order", f"k{number}", b"f" * 16, f"runner-{n}")) for n in range(10)
        ]
        states = [found.state for found in await asyncio.gather(*asked)]
        assert states.count(State.MINE) == 1
        assert states.count(State.RUNNING) == 9


async def test_a_key_belongs_to_one_request(store, other):
    """Another request under the same key is known as such while the first runs and after it."""
    await begin(store)
    otherwise = FIRST._replace(fingerprint=b"g" * 16, runner="runner-b")
    assert await begin(other, otherwise) == Found(State.RUNNING, is_same=False)
    await store.finish(FIRST, ANSWER)
    found = await begin(other, otherwise, again=True)
    assert (found.state, found.is_same) == (State.DONE, False)


async def test_keys_of_two_callers_have_nothing_to_do_with_each_other(store):
    """Nor have keys that differ in the case of a letter, or in their last of many characters."""
    keys = [("order", "k1"), ("Order", "k1"), ("order", "K1"), ("", "k1"), ("order", "k 1"), ("order", "%")]
    keys += [("c" * CALLER_LENGTH_MAX, "k" * KEY_LENGTH_MAX), ("c" * CALLER_LENGTH_MAX, "k" * (KEY_LENGTH_MAX - 1))]
    for caller, key in keys:
        assert await begin(store, Request(caller, key, b"f" * 16, "r")) == Found(State.MINE)
    for caller, key in keys:
        assert await begin(store, Request(caller, key, b"f" * 16, "r")) == Found(State.RUNNING)


async def test_a_request_that_was_not_run_is_new_again(store, other):
    """A refusal leaves no trace of its key."""
    await begin(store)
    await store.forget(FIRST)
    assert await begin(other, FIRST._replace(fingerprint=b"g" * 16)) == Found(State.MINE)


async def test_a_request_whose_runner_is_silent_is_lost(store, other):
    """After its time nobody is told to wait any longer, and a late answer is still taken."""
    await begin(store, running_ms=100)
    found = await when_lost(other, FIRST._replace(runner="runner-b"))
    assert found == Found(State.LOST)
    await store.finish(FIRST, ANSWER)
    assert (await begin(other)).state is State.DONE


async def test_a_stopped_request_is_lost_at_once(store, other):
    """Whoever stops it says so."""
    await begin(store)
    await store.lose(FIRST)
    assert await begin(other) == Found(State.LOST)


async def test_a_lost_request_may_be_run_again_by_one(store, other):
    """One of all that ask gets it; the answer of the runner that was given up comes too late."""
    await begin(store)
    await store.lose(FIRST)
    asked = [begin((store, other)[n % 2], FIRST._replace(runner=f"runner-{n}"), again=True) for n in range(8)]
    states = [found.state for found in await asyncio.gather(*asked)]
    assert states.count(State.MINE) == 1
    assert set(states) == {State.MINE, State.RUNNING}
    await store.finish(FIRST, ANSWER)
    assert (await begin(other)).state is State.RUNNING
    winner = FIRST._replace(runner=f"runner-{states.index(State.MINE)}")
    await other.finish(winner, StoredAnswer(409, "json", None))
    assert (await begin(store)).answer == StoredAnswer(409, "json", None)


async def test_a_lost_request_is_not_run_again_under_another_body(store):
    """The key still belongs to the first one."""
    await begin(store)
    await store.lose(FIRST)
    assert await begin(store, FIRST._replace(fingerprint=b"g" * 16), again=True) == Found(State.LOST, is_same=False)


async def test_a_living_runner_keeps_all_that_it_runs_and_nothing_else(store, other):
    """One word of it is enough for all its requests; those of another grow old, those lost stay lost."""
    mine = [Request("order", f"mine-{number}", b"f" * 16, "runner-a") for number in range(3)]
    theirs = Request("order", "theirs", b"f" * 16, "runner-b")
    for request in (*mine, theirs):
        await begin(store, request, running_ms=1_000)
    await store.lose(mine[0])
    await store.keep("runner-a", running_ms=LONG_MS)
    assert await when_lost(other, theirs) == Found(State.LOST)
    assert [(await begin(other, request)).state for request in mine] == [State.LOST, State.RUNNING, State.RUNNING]


async def test_a_key_is_forgotten_after_its_time(store, other):
    """A repeat that comes later is a new request, whatever its body."""
    await begin(store, keep_ms=100)
    await store.finish(FIRST, ANSWER)
    later = FIRST._replace(fingerprint=b"g" * 16, runner="runner-b")
    async with asyncio.timeout(20):
        while (await begin(other, later)).state is not State.MINE:  # noqa: ASYNC110 - another's clock
            await asyncio.sleep(0.02)


async def test_purging_removes_what_is_over_and_only_that(store):
    """In small batches, so that nobody waits for it."""
    for number in range(5):
        await begin(store, Request("order", f"old-{number}", b"f" * 16, "r"), running_ms=1, keep_ms=1)
    await begin(store)
    await asyncio.sleep(0.05)
    removed = [await store.purge(2) for _ in range(4)]
    assert removed == [2, 2, 1, 0]
    assert (await begin(store)).state is State.RUNNING


@pytest.mark.parametrize("size", [0, 70_000])
async def test_answers_of_any_length_are_kept_whole(store, size):
    """Beyond the 64 KiB of a BLOB too."""
    await begin(store)
    await store.finish(FIRST, StoredAnswer(200, "json", b"x" * size))
    assert (await begin(store)).answer == StoredAnswer(200, "json", b"x" * size)
