"""Whatever comes late, is lost or is asked for at once: each transaction ends, all of it one way, and calls are few."""

import asyncio
from collections import Counter
from contextlib import suppress
from random import Random

import pytest

from placet_contract.vocabulary import FINAL_STATUSES, Pattern
from placet_coordinator.core.rule import RuleBroken
from placet_coordinator.engine.errors import Overloaded, Refused, UnknownGid, Unresolved
from placet_coordinator.ports.store import StoreUnavailable
from unit.engine.node import Node, begin, branch, register, until
from unit.engine.weather import WeatheredScript, WeatheredStore

GIDS = [f"t-{number}" for number in range(20)]
UNDONE = {"aborted": ("confirm",), "committed": ("cancel", "compensate")}
"""What nobody may ever be asked for, by how the transaction ended."""


async def ask(node: Node, gid: str, name: str, **more) -> None:
    """Ask for something; that it is refused, or its fate not known, is part of the weather."""
    with suppress(Refused, RuleBroken, UnknownGid, Overloaded, Unresolved, StoreUnavailable):
        await getattr(node.commands, name)(gid, **more)


async def live(random: Random, nodes: list[Node], gid: str) -> None:
    """Begin one transaction, and ask several things of it at once at any of the nodes."""
    kind = random.choice(["tcc", "saga", "driven"])
    branches = [branch(each, timeout_ms=100) for each in "abc"[: random.randint(1, 3)]]
    pattern = Pattern.SAGA if kind == "saga" else Pattern.TCC
    request = begin(gid, branches=branches, pattern=pattern, drive=kind == "driven")
    with suppress(Overloaded, Unresolved, StoreUnavailable):
        await random.choice(nodes).commands.begin(request)
    asked = []
    for _ in range(random.randint(1, 4)):
        await asyncio.sleep(random.random() * 0.02)
        node = random.choice(nodes)
        if kind == "tcc" and random.random() < 0.2:
            asked.append(ask(node, gid, "register", request=register("d")))
        else:
            asked.append(ask(node, gid, random.choice(["abort", "commit" if kind == "tcc" else "retry"])))
    await asyncio.gather(*asked)
    await ask(random.choice(nodes), gid, "abort")  # who was told nothing certain asks again, in the end


async def lived_through(make_node, store, seed: int, *, nodes: int, storm: bool):
    """Live many transactions at once through the weather; return their rows, and what participants saw."""
    random = Random(seed)
    script = WeatheredScript(random)
    weathered = WeatheredStore(store, random, storm=storm)
    running = [await make_node(at=weathered, node_id=f"n{number}", script=script) for number in range(nodes)]
    await asyncio.gather(*(live(random, running, gid) for gid in GIDS))

    async def have_ended():
        rows = await store.load_many(GIDS)
        return all(row.status in FINAL_STATUSES for row in rows) and {row.gid: row for row in rows}

    ended = await until(have_ended, "all have ended", 30)
    await weathered.calm()
    assert {row.gid: row for row in await store.load_many(GIDS)} == ended
    return ended, script


@pytest.mark.parametrize("seed", range(10))
async def test_one_node_makes_no_call_again_that_was_done(make_node, store, seed):
    """As long as nothing is lost: what is late overtakes, but is never taken for lost."""
    ended, script = await lived_through(make_node, store, seed, nodes=1, storm=False)
    assert set(ended) == set(GIDS)
    assert max(Counter((made.gid, made.name) for made in script.done).values()) == 1


@pytest.mark.parametrize("nodes", [1, 2])
@pytest.mark.parametrize("seed", range(10))
async def test_each_transaction_ends_all_one_way_in_a_storm(make_node, store, seed, nodes):
    """Writes are lost before and behind the store and arrive late; nothing is done and undone, no try is sent twice."""
    ended, script = await lived_through(make_node, store, seed, nodes=nodes, storm=True)
    for made in script.calls:
        assert made.name.partition("/")[2] not in UNDONE[ended[made.gid].status]
    assert max(Counter((made.gid, made.name) for made in script.calls if made.name.endswith("/try")).values()) == 1
