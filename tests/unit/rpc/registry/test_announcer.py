"""A server's announcements, in virtual time."""

import asyncio
from datetime import timedelta
from itertools import pairwise

import pytest

from placet_rpc.chance import Chance
from placet_rpc.registry import Announcer, RegistryRefused
from unit.rpc.registry.conftest import instance

SERVICES = ("stock/1", "price/1")


@pytest.fixture
async def announcer(registry, clock):
    """An announcer of two services."""
    announcer = Announcer(registry, SERVICES, instance("a"), clock=clock, chance=Chance(1))
    yield announcer
    registry.refuses, registry.down = None, False
    await announcer.aclose()


async def test_all_services_are_announced_before_start_returns(announcer, registry):
    """Whoever is told that the server has started finds it."""
    await announcer.start()
    assert set(registry.registered) == {(service, "a") for service in SERVICES}
    assert announcer.is_announced


async def test_an_announcement_is_renewed_well_before_its_lease_ends(announcer, registry):
    """Each service is announced at least three times per lease, give or take a fifth, and not in step."""
    await announcer.start()
    await asyncio.sleep(300)
    times = [at for at, what, service in registry.calls if (what, service) == ("register", "stock/1")]
    waits = [later - earlier for earlier, later in pairwise(times)]
    third = registry.lease.total_seconds() / 3
    assert all(0.8 * third <= wait <= 1.2 * third for wait in waits)
    assert len({round(wait, 3) for wait in waits}) > len(waits) / 2


async def test_a_long_lease_is_looked_after_every_ten_seconds(registry, clock):
    """What was lost is announced again soon, however long it would have lasted."""
    registry.lease = timedelta(hours=1)
    announcer = Announcer(registry, SERVICES, instance("a"), clock=clock, chance=Chance(1))
    await announcer.start()
    registry.registered.clear()
    await asyncio.sleep(12)
    assert len(registry.registered) == 2
    await announcer.aclose()


async def test_a_registry_that_is_down_does_not_keep_a_server_from_starting(announcer, registry, caplog):
    """It is told as soon as it is back."""
    registry.go_down()
    await announcer.start()
    assert not announcer.is_announced
    await asyncio.sleep(60)
    assert "is not announced, which is tried again" in caplog.text
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 1
    registry.come_back()
    await asyncio.sleep(5)
    assert announcer.is_announced
    assert len(registry.registered) == 2


async def test_a_registry_that_has_forgotten_is_told_again(announcer, registry):
    """The loop does not ask whether it is needed: it announces."""
    await announcer.start()
    registry.registered.clear()
    await asyncio.sleep(10)
    assert len(registry.registered) == 2


async def test_what_the_registry_refuses_keeps_the_server_from_starting(announcer, registry):
    """An answer that repetition would not change is raised, and nothing stays announced."""
    registry.refuses = RegistryRefused("no")
    with pytest.raises(RegistryRefused):
        await announcer.start()
    assert registry.registered == {}
    assert [what for _, what, _ in registry.calls].count("unregister") == 2


async def test_a_refusal_later_does_not_end_the_announcements(announcer, registry):
    """A registry that refuses for an hour and changes its mind is told."""
    await announcer.start()
    registry.refuses = RegistryRefused("no")
    await asyncio.sleep(3600)
    assert not announcer.is_announced
    registry.refuses = None
    registry.registered.clear()
    await asyncio.sleep(6)
    assert announcer.is_announced
    assert len(registry.registered) == 2


async def test_withdrawing_ends_the_renewals_first(announcer, registry):
    """No renewal under way brings a withdrawn instance back."""
    await announcer.start()
    await announcer.withdraw()
    assert registry.registered == {}
    await asyncio.sleep(60)
    assert registry.registered == {}


async def test_a_registry_that_is_down_does_not_hold_up_a_shutdown(announcer, registry, caplog):
    """The withdrawal is given up, with a line in the log: the lease ends by itself."""
    await announcer.start()
    registry.go_down()
    loop = asyncio.get_running_loop()
    began = loop.time()
    await announcer.withdraw()
    assert loop.time() - began <= 3
    assert "not withdrawn" in caplog.text
