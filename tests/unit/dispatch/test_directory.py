"""Names of services: looked up at each call, in turn, with the last good answer while the store is away."""

import asyncio

import pytest

from placet_contract.vocabulary import Outcome
from placet_coordinator.ports.store import StoreUnavailable
from unit.engine.node import until
from unit.rpc.conftest import reply


@pytest.fixture
async def instance(serve):
    """Starts an instance that keeps the paths it was asked for."""

    async def start():
        paths = []

        async def script(peer):
            while True:
                paths.append((await peer.request()).split()[1].decode())
                await peer.send(reply())

        server = await serve(script)
        server.paths = paths
        return server

    return start


async def test_service_is_called_where_it_was_announced(dispatch, instance):
    """The action's URL is the instance's base with the action and the operation behind it."""
    server = await instance()
    await dispatch.announce("bank", f"{server.url}/api/")
    assert (await dispatch.call("bank/debit")).verdict.outcome is Outcome.DONE
    assert server.paths == ["/api/debit/confirm"]


async def test_name_is_looked_up_at_each_call(dispatch, instance):
    """A service that moves is found where it is now."""
    before, after = await instance(), await instance()
    await dispatch.announce("bank", before.url)
    await dispatch.call("bank/debit")
    await dispatch.announce("bank", after.url)
    await dispatch.call("bank/debit")
    assert (len(before.paths), len(after.paths)) == (1, 1)


async def test_instances_are_called_in_turn(dispatch, instance):
    """Each gets its share; one that does not offer the action is passed over."""
    one, two, other = await instance(), await instance(), await instance()
    for instance_id, server in (("one", one), ("two", two)):
        await dispatch.announce("bank", server.url, instance_id)
    await dispatch.announce("bank", other.url, "three", actions='{"credit":["confirm"]}')
    for _ in range(6):
        await dispatch.call("bank/debit")
    assert (len(one.paths), len(two.paths), len(other.paths)) == (3, 3, 0)


async def test_service_without_a_live_instance_is_unknown_and_unsent(dispatch, instance):
    """The end says where to look; a later attempt may find one."""
    end = await dispatch.call("bank/debit")
    assert (end.verdict.outcome, end.sent) == (Outcome.UNKNOWN, False)
    assert "no live instance of bank offers debit" in end.verdict.detail
    server = await instance()
    await dispatch.announce("bank", server.url)
    assert (await dispatch.call("bank/credit")).sent is False
    assert (await dispatch.call("bank/debit")).verdict.outcome is Outcome.DONE


async def test_instance_that_was_withdrawn_is_called_no_more(dispatch, instance):
    """The next look at the store forgets it."""
    server = await instance()
    await dispatch.announce("bank", server.url)
    await dispatch.store.withdraw("bank", "one")
    await dispatch.directory.refresh()
    assert (await dispatch.call("bank/debit")).sent is False


async def test_last_good_answer_is_kept_while_the_store_is_away(dispatch, instance):
    """A database that can't be read costs no call: instances are called as last known, and one trouble is told."""
    server = await instance()
    await dispatch.announce("bank", server.url)
    await dispatch.store.close()
    with pytest.raises(StoreUnavailable):
        await dispatch.directory.refresh()
    running = asyncio.create_task(dispatch.directory.run())
    dispatch.directory.look_again()
    await until(lambda: dispatch.troubles.told, "the trouble is told")
    assert (await dispatch.call("bank/debit")).verdict.outcome is Outcome.DONE
    running.cancel()
    assert len(dispatch.troubles.told) == 1


async def test_instance_that_is_missed_is_found_soon(dispatch, instance):
    """A call that finds no instance has the store asked at once: it may have been announced at another node."""
    running = asyncio.create_task(dispatch.directory.run())
    server = await instance()
    refresh, dispatch.directory.refresh = dispatch.directory.refresh, _nothing
    await dispatch.announce("bank", server.url)
    dispatch.directory.refresh = refresh
    assert (await dispatch.call("bank/debit")).sent is False

    async def is_found():
        return (await dispatch.call("bank/debit")).sent

    await until(is_found, "it is found")
    running.cancel()


async def _nothing():
    return


async def test_row_that_cannot_be_read_hides_no_other_instance(dispatch, instance):
    """An instance announced in words that this build does not know is left out and told of; the others are called."""
    server = await instance()
    await dispatch.announce("shop", server.url, actions='{"sell":["barter"]}')
    await dispatch.announce("bank", server.url)
    assert (await dispatch.call("bank/debit")).verdict.outcome is Outcome.DONE
    assert (await dispatch.call("shop/sell")).sent is False
    assert dispatch.troubles.told[0][1].startswith("shop/one is left out")
