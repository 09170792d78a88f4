"""Leases on every store that another process can reach; threads make no difference here."""

import asyncio
from datetime import timedelta

import pytest

from conformance.locks.kinds import SHARED
from placet_rpc.locks.lock import Locks
from placet_rpc.locks.store import LockTaken

LONG = timedelta(seconds=30)
KEPT_MS = 1_200
"""For leases that are extended, by a machine that has other things to do as well."""


@pytest.fixture(params=SHARED)
async def kind(request):
    """The stores."""
    make, server = SHARED[request.param]
    kind = make(request.getfixturevalue(server))
    await kind.prepare()
    yield kind
    await kind.clear()


async def test_no_two_are_inside_at_once_and_each_has_a_greater_token(store, other):
    """Twelve tasks over two connections enter one after the other, and all get in."""
    inside, tokens = [], []

    async def enter(locks):
        async with await locks.acquire("m", LONG) as lease:
            inside.append(lease.token)
            assert inside == [lease.token]
            tokens.append(lease.token)
            await asyncio.sleep(0.002)
            inside.clear()

    async with asyncio.timeout(60):
        await asyncio.gather(*(enter(Locks(one)) for one in (store, other) * 6))
    assert len(tokens) == 12
    assert tokens == sorted(set(tokens))


async def test_who_does_not_want_to_wait_is_told_at_once(store, other):
    """One look, no lease, and nothing left behind."""
    async with await Locks(store, who="first").acquire("m", LONG) as lease:
        with pytest.raises(LockTaken):
            await Locks(other).acquire("m", LONG, wait=timedelta())
        assert (await Locks(other).holder("m")).holder.startswith("first#")
        assert lease.is_held
    async with await Locks(other).acquire("m", LONG, wait=timedelta()) as following:
        assert following.token > lease.token


async def test_a_lease_is_kept_for_as_long_as_its_holder_works(store, other):
    """Beyond its length, without a line of the holder's own."""
    async with await Locks(store).acquire("m", timedelta(milliseconds=KEPT_MS)) as lease:
        with pytest.raises(LockTaken):
            await Locks(other).acquire("m", LONG, wait=timedelta(milliseconds=1.5 * KEPT_MS))
        assert lease.is_held
