"""What every registry holds."""

import asyncio
import time
from contextlib import aclosing, suppress
from itertools import pairwise

import pytest

from acceptance.processes import free_port
from conformance.registry.announce import endpoint
from conformance.store.proxy import Proxy
from placet_rpc.registry.registry import RegistryUnavailable

pytestmark = pytest.mark.filterwarnings("error")


def ids(snapshot) -> list[str]:
    """The instances of a snapshot."""
    return [instance.instance_id for instance in snapshot.endpoints]


async def seen(registry, service):
    """What a watch begun now says first."""
    async with aclosing(registry.watch(service)) as watch:
        return await anext(watch)


async def until(watch, condition):
    """Returns the first snapshot of a watch that meets a condition; the test's own timeout bounds it."""
    async for snapshot in watch:
        if condition(snapshot):
            return snapshot
    raise AssertionError("the watch has ended")


async def test_what_an_instance_says_arrives(kind, registry, opened):
    """A watch begun after the announcement sees the instance with all that this registry holds of it."""
    service = kind.service("stock/1")
    announced = endpoint("a", actions={"debit": ("try", "confirm", "cancel")})
    if kind.holds_all:
        announced = endpoint(
            "a", weight=7, zone="north", tags={"version": "2"}, codecs=("msgpack",), actions=announced.actions
        )
    await registry.register(service, announced)
    snapshot = await seen(opened(), service)
    assert snapshot.service == service
    (arrived,) = snapshot.endpoints
    for field in announced.__struct_fields__:
        if field != "up_since":
            assert getattr(arrived, field) == getattr(announced, field)


async def test_an_instance_is_as_old_as_it_says(kind, registry, opened):
    """A reader knows when an instance started, by its own monotonic clock; the coordinator can't tell, and says so."""
    began = time.monotonic() - 100
    await registry.register(kind.service("stock/1"), endpoint("a", up_since=began))
    (arrived,) = (await seen(opened(), kind.service("stock/1"))).endpoints
    if kind.holds_all:
        assert arrived.up_since == pytest.approx(began, abs=5)
    else:
        assert arrived.up_since is None


async def test_a_service_that_nobody_announced_has_no_instances(kind, registry):
    """A watch says so at once, and goes on."""
    service = kind.service("stock/1")
    async with aclosing(registry.watch(service)) as watch:
        assert ids(await anext(watch)) == []
        await registry.register(service, endpoint("a"))
        await until(watch, lambda snapshot: ids(snapshot) == ["a"])


async def test_a_watch_sees_instances_come_change_and_go(kind, registry, opened):
    """Each change arrives at a watch under way, also at one of another client."""
    service = kind.service("stock/1")
    async with aclosing(registry.watch(service)) as own, aclosing(opened().watch(service)) as other:
        for change, expected in (
            (registry.register(service, endpoint("b")), [("b", 7001)]),
            (registry.register(service, endpoint("a")), [("a", 7001), ("b", 7001)]),
            (registry.register(service, endpoint("a", port=7002)), [("a", 7002), ("b", 7001)]),
            (registry.unregister(service, "b"), [("a", 7002)]),
            (registry.unregister(service, "a"), []),
        ):
            await change
            urls = [(name, f"http://127.0.0.1:{port}/rpc") for name, port in expected]
            for watch in (own, other):
                await until(
                    watch, lambda snapshot, urls=urls: [(e.instance_id, e.urls[0]) for e in snapshot.endpoints] == urls
                )


async def test_what_was_withdrawn_is_not_seen_later(kind, registry, opened):
    """A watch begun after the withdrawal does not see the instance; withdrawing again is no error."""
    service = kind.service("stock/1")
    await registry.register(service, endpoint("a"))
    await registry.unregister(service, "a")
    assert ids(await seen(opened(), service)) == []
    await registry.unregister(service, "a")


async def test_a_killed_process_is_gone_when_its_lease_ends(kind, registry):
    """An instance that nobody renews is taken away by itself, and watches under way are told."""
    service = kind.service("stock/1")
    async with aclosing(registry.watch(service)) as watch:
        await kind.announce_and_die(service, "a", kind.short_lease_ms)
        await until(watch, lambda snapshot: ids(snapshot) == [])
    assert ids(await seen(registry, service)) == []


async def test_a_renewed_instance_stays(kind, opened):
    """An announcement that is repeated in time outlives its lease many times, and no watch sees it missing."""
    service = kind.service("stock/1")
    lease = kind.short_lease_ms / 1000
    writer = opened(lease_ms=kind.short_lease_ms)
    await writer.register(service, endpoint("a"))

    async def renew():
        while True:
            await asyncio.sleep(lease / 5)
            await writer.register(service, endpoint("a"))

    renewing = asyncio.create_task(renew())
    missing = asyncio.create_task(until(opened().watch(service), lambda snapshot: ids(snapshot) != ["a"]))
    done, _ = await asyncio.wait((renewing, missing), timeout=3 * lease)
    for task in (renewing, missing):
        task.cancel()
    await asyncio.gather(renewing, missing, return_exceptions=True)
    assert not done


async def test_a_renewal_is_no_change(kind, registry, opened):
    """The same announcement again leaves the revision as it is."""
    service = kind.service("stock/1")
    await registry.register(service, endpoint("a"))
    async with aclosing(opened().watch(service)) as watch:
        first = await anext(watch)
        for _ in range(3):
            await registry.register(service, endpoint("a"))
        await registry.register(service, endpoint("z"))
        last = await until(watch, lambda snapshot: ids(snapshot) == ["a", "z"])
    assert (last.endpoints[0], last.epoch) == (first.endpoints[0], first.epoch)


async def test_changes_are_seen_in_their_order_under_growing_revisions(kind, registry, opened):
    """No watch sees a later instance without the earlier one; what differs has another, higher revision."""
    service = kind.service("stock/1")
    names = [f"i{number:02}" for number in range(20)]
    history = []
    async with aclosing(opened().watch(service)) as watch:
        await anext(watch)

        async def announce():
            for name in names:
                await registry.register(service, endpoint(name))

        announcing = asyncio.create_task(announce())
        await until(watch, lambda snapshot: history.append(snapshot) or ids(snapshot) == names)
        await announcing
    for snapshot in history:
        assert ids(snapshot) == names[: len(snapshot.endpoints)]
    for before, after in pairwise(history):
        if before.epoch == after.epoch:
            assert after.revision > before.revision or after == before


async def test_two_writers_do_not_disturb_each_other(kind, opened):
    """Two clients that announce and withdraw at once get what each asked for."""
    service = kind.service("stock/1")
    writers = {"a": opened(), "b": opened()}
    await asyncio.gather(
        *(writers[name].register(service, endpoint(f"{name}{number}")) for name in writers for number in range(8))
    )
    await asyncio.gather(
        *(writers[name].unregister(service, f"{name}{number}") for name in writers for number in range(4))
    )
    assert ids(await seen(writers["a"], service)) == [f"{name}{number}" for name in writers for number in range(4, 8)]


async def test_the_same_id_again_takes_the_place_of_the_first(kind, registry, opened):
    """A process that comes back under its id is one instance, at its new address, while the old lease still runs."""
    service = kind.service("stock/1")
    await registry.register(service, endpoint("a"))
    await opened().register(service, endpoint("a", port=7002))
    (arrived,) = (await seen(registry, service)).endpoints
    assert arrived.urls == ("http://127.0.0.1:7002/rpc",)


async def test_a_leaving_process_does_not_withdraw_its_successor(kind, registry, opened):
    """What another announced since under the same id stays; the coordinator can't tell, until the next renewal."""
    service = kind.service("stock/1")
    await registry.register(service, endpoint("a"))
    successor = opened()
    await successor.register(service, endpoint("a", port=7002))
    await registry.unregister(service, "a")
    if not kind.knows_owners:
        await successor.register(service, endpoint("a", port=7002))
    assert ids(await seen(successor, service)) == ["a"]


async def test_services_keep_apart(kind, registry):
    """Versions of a service, and services whose names resemble, are different services."""
    names = ["stock/1", "stock/2", "stock", "Stock/1", "stock.v1/1", "s-_./1.0"]
    for number, name in enumerate(names):
        await registry.register(kind.service(name), endpoint(f"i{number}"))
    for number, name in enumerate(names):
        assert ids(await seen(registry, kind.service(name))) == [f"i{number}"]


async def test_after_a_cut_connection_a_new_watch_knows_the_truth(kind, registry, opened):
    """A watch whose connection is cut goes on or says that it can't; none misses what changed meanwhile for good."""
    if not kind.address:
        return  # there is no connection within a process
    service = kind.service("stock/1")
    async with Proxy(f"tcp://{kind.address}") as proxy:
        cut_off = opened(address=f"127.0.0.1:{proxy.port}")
        await cut_off.register(service, endpoint("a"))
        async with aclosing(cut_off.watch(service)) as watch:
            await anext(watch)
            proxy.cut()
            await registry.register(service, endpoint("b"))
            with suppress(RegistryUnavailable):
                await until(watch, lambda snapshot: "b" in ids(snapshot))
        while True:
            with suppress(RegistryUnavailable):
                assert ids(await seen(cut_off, service)) == ["a", "b"]
                break
        await cut_off.register(service, endpoint("c"))
        assert ids(await seen(registry, service)) == ["a", "b", "c"]


async def test_a_registry_that_is_not_there_is_unavailable(kind, opened):
    """Every operation says so within the time that an answer may take; none hangs, none says anything else."""
    if not kind.address:
        return
    nobody = opened(address=f"127.0.0.1:{free_port()}")
    service = kind.service("stock/1")
    operations = (nobody.register(service, endpoint("a")), nobody.unregister(service, "a"), seen(nobody, service))
    for outcome in await asyncio.gather(*operations, return_exceptions=True):
        assert isinstance(outcome, RegistryUnavailable)


async def test_a_registry_that_does_not_answer_is_unavailable(kind, opened):
    """A frozen server holds no call up for longer than an answer may take, and when it thaws all is well."""
    if not kind.address:
        return
    service = kind.service("stock/1")
    async with Proxy(f"tcp://{kind.address}") as proxy:
        slow = opened(address=f"127.0.0.1:{proxy.port}")
        await slow.register(service, endpoint("a"))
        proxy.loses_answers = True
        operations = (slow.register(service, endpoint("a")), slow.unregister(service, "b"), seen(slow, service))
        for outcome in await asyncio.gather(*operations, return_exceptions=True):
            assert isinstance(outcome, RegistryUnavailable)
        proxy.cut()
        while True:
            with suppress(RegistryUnavailable):
                await slow.register(service, endpoint("a"))
                assert ids(await seen(slow, service)) == ["a"]
                break
