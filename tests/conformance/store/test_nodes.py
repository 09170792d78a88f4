"""Leases of nodes, by the database's clock, and announced instances of services."""

import time

from msgspec.structs import replace

from conformance.store.rows import a_row, insert
from placet_coordinator.ports.rows import InstanceRow, NodeRow
from placet_coordinator.ports.store import Store

LEASE_MS = 10_000
CLOCK_TOLERANCE_MS = 5_000
"""The servers run on this machine; the rest is their answers' way."""


async def until(store: Store, instant_ms: int) -> None:
    """Return when the database's clock is past the instant; the clock itself is asked."""
    while await store.ping() <= instant_ms:
        pass


async def test_enrolment_returns_the_databases_clock(store: Store):
    """In whole milliseconds since the epoch, and the lease is counted from it."""
    now_ms = await store.enrol("node-a", "boot-1", "http://a:1", 3, LEASE_MS)
    assert abs(now_ms - time.time() * 1_000) < CLOCK_TOLERANCE_MS
    assert now_ms <= await store.ping() < now_ms + CLOCK_TOLERANCE_MS
    assert await store.nodes() == [NodeRow("node-a", "boot-1", "http://a:1", 3, now_ms + LEASE_MS)]


async def test_renewal_prolongs_a_lease_that_is_ours(store: Store):
    """It returns the clock again."""
    now_ms = await store.enrol("node-a", "boot-1", "http://a:1", 1, LEASE_MS)
    later_ms = await store.renew("node-a", "boot-1", 2 * LEASE_MS)
    assert later_ms is not None
    assert later_ms >= now_ms
    assert [node.lease_until_ms for node in await store.nodes()] == [later_ms + 2 * LEASE_MS]


async def test_renewals_within_a_millisecond_are_all_granted(store: Store):
    """A renewal that changes nothing, for the clock has not moved, is none that was lost."""
    await store.enrol("node-a", "boot-1", "http://a:1", 1, LEASE_MS)
    for _ in range(50):
        assert await store.renew("node-a", "boot-1", LEASE_MS) is not None


async def test_lapsed_lease_is_not_renewed(store: Store):
    """Others may have claimed since: the node must begin a new life."""
    now_ms = await store.enrol("node-a", "boot-1", "http://a:1", 1, 1)
    await until(store, now_ms + 1)
    assert await store.renew("node-a", "boot-1", LEASE_MS) is None
    assert [node.lease_until_ms for node in await store.nodes()] == [now_ms + 1]


async def test_new_boot_supersedes_the_old_one_at_once(store: Store):
    """The old boot's lease is gone, though it had time left, and its transactions may be claimed."""
    await store.enrol("node-a", "boot-1", "http://a:1", 1, LEASE_MS)
    await store.write([insert(a_row("g1", owner="boot-1"))])
    now_ms = await store.enrol("node-a", "boot-2", "http://a:2", 2, LEASE_MS)
    assert await store.renew("node-a", "boot-1", LEASE_MS) is None
    assert await store.nodes() == [NodeRow("node-a", "boot-2", "http://a:2", 2, now_ms + LEASE_MS)]
    assert [row.gid for row in await store.claim_lapsed("boot-2", now_ms, 0, 10)] == ["g1"]
    await store.release("node-a", "boot-1")
    assert await store.renew("node-a", "boot-2", LEASE_MS) is not None, "the old boot releases nothing of the new one"


async def test_unknown_node_renews_nothing(store: Store):
    """Neither another node's lease nor one that never was."""
    await store.enrol("node-a", "boot-1", "http://a:1", 1, LEASE_MS)
    assert await store.renew("node-b", "boot-1", LEASE_MS) is None
    assert await store.renew("Node-A", "boot-1", LEASE_MS) is None
    assert await store.renew("node-a", "Boot-1", LEASE_MS) is None


async def test_released_lease_lets_others_take_over_at_once(store: Store):
    """A node that stops in order makes nobody wait for its lease."""
    await store.enrol("node-a", "boot-1", "http://a:1", 1, LEASE_MS)
    await store.write([insert(a_row("g1", owner="boot-1"))])
    await store.release("node-a", "boot-1")
    assert await store.renew("node-a", "boot-1", LEASE_MS) is None
    now_ms = await store.ping()
    assert [row.gid for row in await store.claim_lapsed("boot-b", now_ms, 0, 10)] == ["g1"]


async def test_nodes_long_gone_are_forgotten(store: Store):
    """Live ones and those that lapsed lately stay."""
    now_ms = await store.enrol("gone", "boot-1", "http://a:1", 1, 1)
    await store.enrol("alive", "boot-2", "http://a:2", 1, LEASE_MS)
    await store.forget_nodes(now_ms)
    assert [node.node_id for node in await store.nodes()] == ["alive", "gone"]
    await store.forget_nodes(now_ms + 1_000)
    assert [node.node_id for node in await store.nodes()] == ["alive"]


def an_instance(service: str = "bank", instance_id: str = "i1", **changed: object) -> InstanceRow:
    """Return an instance whose lease ends at 1,000."""
    instance = InstanceRow(service, instance_id, "http://127.0.0.1:9000", '{"debit":"/debit"}', "placet/1", 1_000)
    return replace(instance, **changed)


async def test_announced_instance_is_found_until_its_lease_ends(store: Store):
    """By service and instance id, in order; ids are bytes."""
    second = an_instance(instance_id="i2", sdk=None)
    other = an_instance("Bank", lease_until_ms=2_000)
    for instance in (second, an_instance(), other):
        await store.announce(instance)
    assert await store.instances("bank", 999) == [an_instance(), second]
    assert await store.instances("bank", 1_000) == []
    assert await store.live_instances(999) == [other, an_instance(), second]
    assert await store.live_instances(1_500) == [other]


async def test_repeated_announcement_replaces_the_instance(store: Store):
    """A heartbeat, a new address, new actions."""
    await store.announce(an_instance())
    moved = an_instance(base_url="http://127.0.0.1:9001", actions='{"x":"\\u0000"}', sdk=None, lease_until_ms=5_000)
    await store.announce(moved)
    assert await store.instances("bank", 0) == [moved]


async def test_withdrawn_instance_is_gone(store: Store):
    """And the others stay; withdrawing what isn't there does nothing."""
    await store.announce(an_instance())
    await store.announce(an_instance(instance_id="i2"))
    await store.withdraw("bank", "i1")
    await store.withdraw("bank", "i1")
    assert [instance.instance_id for instance in await store.instances("bank", 0)] == ["i2"]


async def test_instances_long_gone_are_forgotten(store: Store):
    """By the end of their lease."""
    await store.announce(an_instance())
    await store.announce(an_instance(instance_id="i2", lease_until_ms=2_000))
    await store.forget_instances(1_500)
    assert [instance.instance_id for instance in await store.live_instances(0)] == ["i2"]
