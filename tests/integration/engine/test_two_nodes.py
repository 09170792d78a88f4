"""Two engines on one database: whoever is asked, and whoever dies, every transaction has one outcome."""

import asyncio
import random
from datetime import timedelta

from placet_coordinator.engine.errors import Refused
from placet_coordinator.engine.rows import from_row
from unit.engine.node import register, until
from unit.engine.script import DONE, UNKNOWN, Script

SEED = 20_240_607
TRANSACTIONS = 60
LEASE = timedelta(milliseconds=1_500)


async def test_two_nodes_agree_on_every_outcome(make_node):
    """Begun at one node, and registered, committed and aborted at random ones at once: answers never contradict."""
    chance, script = random.Random(SEED), Script()
    for name in ("a/confirm", "b/cancel"):
        script.answer(name, *(chance.choice((UNKNOWN, DONE)) for _ in range(TRANSACTIONS)), DONE)
    nodes = [await make_node(node_id=f"node-{number}", script=script) for number in range(2)]

    async def live(gid: str) -> list[object]:
        await chance.choice(nodes).begin(gid, "a")
        asked = [
            chance.choice(nodes).commands.register(gid, register("b")),
            chance.choice(nodes).commands.commit(gid),
            chance.choice(nodes).commands.abort(gid),
        ]
        order = chance.sample(range(3), 3)
        ends = await asyncio.gather(*(asked[place] for place in order), return_exceptions=True)
        return [ends[order.index(place)] for place in range(3)]

    gids = [f"t-{number}" for number in range(TRANSACTIONS)]
    answers = dict(zip(gids, await asyncio.gather(*map(live, gids)), strict=True))
    for gid, (registered, committed, aborted) in answers.items():
        final = "committed" if isinstance(aborted, Refused) else "aborted"
        row = await nodes[0].until_status(gid, final, timeout_s=30)
        assert isinstance(committed, Refused) is (final == "aborted")
        branches = [branch.branch_id for branch in from_row(row).branches]
        # A registration whose acknowledgement was lost is stepped again, and may find that all is decided by then.
        assert branches == ["a", "b"] or (isinstance(registered, Refused) and branches == ["a"])
        operation, other = ("confirm", "cancel") if final == "committed" else ("cancel", "confirm")
        for branch_id in branches:
            assert script.made(f"{branch_id}/{operation}", gid)
            assert not script.made(f"{branch_id}/{other}", gid)


async def test_survivor_finishes_what_a_dead_node_had_open(make_node):
    """A node that stops dead, releasing nothing, is taken over once its lease has lapsed; each claim is a version."""
    script = Script()
    one = await make_node(node_id="one", lease=LEASE, script=script)
    two = await make_node(node_id="two", lease=timedelta(hours=1), script=script)
    script.hold("a/confirm", "a/cancel")
    gids = [f"t-{number}" for number in range(30)]
    for number, gid in enumerate(gids):
        await one.begin(gid, "a", "b", timeout_ms=1_000)
        if number % 3 == 1:
            await one.commands.commit(gid)
        elif number % 3 == 2:
            await one.commands.abort(gid)
    await one.die()
    versions = {gid: (await two.row(gid)).version for gid in gids}
    await until(lambda: len(two.driver.held) == 30, "the survivor holds them")
    for name in ("a/confirm", "a/cancel"):
        script.release(name)
    for number, gid in enumerate(gids):
        row = await two.until_status(gid, "committed" if number % 3 == 1 else "aborted")
        assert row.owner == two.ownership.boot_id
        assert row.version >= versions[gid] + 2


async def test_dead_nodes_transactions_are_shared_out_and_claimed_once(make_node):
    """Two survivors claim in pages that pass each other's locked rows over: nothing is claimed twice, nothing left."""
    script = Script()
    dead = await make_node(node_id="dead", lease=LEASE, script=script)
    gids = [f"t-{number:03}" for number in range(100)]
    await asyncio.gather(*(dead.begin(gid, "a") for gid in gids))
    await dead.die()
    await dead.ownership.release()
    survivors = [
        await make_node(node_id=f"node-{number}", lease=timedelta(hours=1), recovers=False) for number in range(2)
    ]
    claims = [
        node.store.claim_lapsed(node.ownership.boot_id, node.clock.now_ms(), 0, 10)
        for node in survivors
        for _ in range(6)
    ]
    claimed = [row for page in await asyncio.gather(*claims) for row in page]
    assert len(claimed) == len({row.gid for row in claimed})
    for node in survivors:
        await node.recovery.sweep()
    owners = {(await dead.row(gid)).owner for gid in gids}
    assert owners <= {node.ownership.boot_id for node in survivors}
    assert {(await dead.row(gid)).version for gid in gids} == {2}
