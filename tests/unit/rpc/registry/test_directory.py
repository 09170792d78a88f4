"""What a balancer is given."""

import asyncio

import pytest

from unit.rpc.registry.conftest import shown


async def test_the_first_word_is_waited_for(directory, registry):
    """Nothing is known before, so there are no instances; the word comes as soon as the registry speaks."""
    registry.say("ab")
    assert directory.snapshot("stock/1").endpoints == ()
    assert shown(await directory.ready("stock/1", 3)) == "ab"
    assert shown(directory.snapshot("stock/1")) == "ab"


async def test_nobody_waits_longer_than_asked(directory, registry):
    """Without a registry the wait ends in its time, and says why there is nothing."""
    registry.go_down()
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert shown(await directory.ready("stock/1", 3)) == ""
    assert loop.time() - began == 3
    assert directory.trouble("stock/1") == "it is down"


async def test_many_callers_wait_for_one_watch(directory, registry):
    """A burst of first calls begins one watch."""
    registry.say("ab")
    snapshots = await asyncio.gather(*(directory.ready("stock/1", 3) for _ in range(50)))
    assert {shown(snapshot) for snapshot in snapshots} == {"ab"}
    assert registry.watches == 1


async def test_an_unchanged_service_is_the_same_object(directory, registry):
    """What a balancer computed stays good."""
    registry.say("ab")
    first = await directory.ready("stock/1", 3)
    await asyncio.sleep(60)
    assert directory.snapshot("stock/1") is first


async def test_suspects_get_half_their_weight(directory, registry, living):
    """An instance that the registry has lost and that still answers is called less than one that is listed."""
    registry.say("abc")
    living.names = "abc"
    await directory.ready("stock/1", 3)
    registry.say("a")
    await asyncio.sleep(2)
    snapshot = directory.snapshot("stock/1")
    assert shown(snapshot) == "aBC"
    assert [endpoint.weight for endpoint in snapshot.endpoints] == [100, 50, 50]


async def test_closing_ends_all(directory, registry):
    """The watch ends and the registry is closed, also while a first word is waited for."""
    registry.go_down()
    waiting = asyncio.create_task(directory.ready("stock/1", 3))
    await asyncio.sleep(0.5)
    await directory.aclose()
    assert registry.closed
    assert shown(await waiting) == ""


async def test_one_service_too_many_is_said_to_who_asks(directory, monkeypatch, caplog):
    """The limit of followed services is an error of the call that passes it, and of no other."""
    monkeypatch.setattr("placet_rpc.registry.cache.SERVICES_MAX", 1)
    await directory.ready("stock/1", 3)
    with pytest.raises(ValueError, match="1 services at most"):
        await directory.ready("price/1", 3)
    assert directory.snapshot("price/1").endpoints == ()
    await asyncio.sleep(1)
    assert "price/1 is not followed" in caplog.text
    assert directory.snapshot("stock/1").revision == 1
