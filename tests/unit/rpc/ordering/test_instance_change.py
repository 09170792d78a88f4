"""The rule at instance change: who runs a key when instances come, leave and die. `World` checks each run's place."""

import asyncio
import random
from collections import Counter

import pytest

from placet_rpc.errors import CallRefused, ConnectFailed, ConnectionLost
from placet_rpc.ordering.owner import Owners
from unit.rpc.ordering.world import LEASE, World

IN_TURN = ("handing_over", "moved", "out_of_order")
LEASE_SECONDS = LEASE.total_seconds()
HEARD_AFTER_SECONDS = 6
"""So late at most do the participants of the chaos hear of a change."""


@pytest.fixture
async def world(clock):
    """No servers yet."""
    made = World(clock)
    yield made
    await made.aclose()
    assert made.violations == []


def owned(world, by, without=None):
    """An account that one instance owns, and that another owns where that is not there."""
    owners = Owners.of(world.listed)
    for account in map(str, range(10_000)):
        if owners.owner(account) == by and (without is None or owners.without(by).owner(account) == without):
            return account
    raise AssertionError


async def test_a_new_instance_waits_for_the_call_that_the_old_owner_runs(world, clock):
    """Scale-out: what runs ends where it runs, then the new owner begins; nobody's call fails."""
    world.node("a"), world.node("b")
    one, two = world.client("one"), world.client("two")
    world.announce("a", "b")
    account = owned(world, "b", "a")
    world.announce("a")
    running = asyncio.ensure_future(one.pay(account, 1, seconds=5))
    await asyncio.sleep(1)
    began_at = clock.monotonic()
    world.announce("a", "b")
    assert await two.pay(account, 1) == 1
    assert 4 <= clock.monotonic() - began_at < 5
    assert await running == 1
    assert [node for *_, node in world.ran] == ["a", "b"]


async def test_an_old_owner_that_has_not_heard_of_the_new_one_lets_go_of_the_key(world):
    """A caller who has not heard of it either is told to ask again, and gets through once it has."""
    a, b = world.node("a"), world.node("b")
    one, two = world.client("one"), world.client("two")
    world.announce("a", "b")
    account = owned(world, "b", "a")
    world.announce("a")
    await one.pay(account, 1)
    news = world.announce("a", "b", to=[b.view, two.view])
    assert await two.pay(account, 1) == 1
    late = asyncio.ensure_future(one.pay(account, 2))
    await asyncio.sleep(3)
    assert not late.done()
    one.view.hear(news)
    assert await late == 2
    a.view.hear(news)
    assert [node for *_, node in world.ran] == ["a", "b", "b"]


async def test_an_idle_key_moves_at_once(world, clock):
    """One question, and no lease is waited for."""
    world.node("a"), world.node("b")
    one = world.client("one")
    world.announce("a", "b")
    account = owned(world, "b", "a")
    world.announce("a")
    await one.pay(account, 1)
    world.announce("a", "b")
    began_at = clock.monotonic()
    await one.pay(account, 2)
    assert clock.monotonic() - began_at < 0.1


async def test_a_leaving_instance_hands_over_what_it_runs(world, clock):
    """Scale-in: it is withdrawn, ends its call, and the next owner begins after it."""
    world.node("a"), world.node("b")
    one, two = world.client("one"), world.client("two")
    world.announce("a", "b")
    account = owned(world, "a", "b")
    await asyncio.sleep(LEASE_SECONDS + 1)
    running = asyncio.ensure_future(one.pay(account, 1, seconds=5))
    await asyncio.sleep(1)
    world.announce("b")
    began_at = clock.monotonic()
    assert await two.pay(account, 1) == 1
    assert 4 <= clock.monotonic() - began_at < 5
    assert await running == 1


async def test_an_instance_that_left_in_peace_is_not_waited_for(world, clock):
    """It says so as the last thing it does; in its next life under the same id it is asked again."""
    a, _ = world.node("a"), world.node("b")
    one, two = world.client("one"), world.client("two")
    world.announce("a", "b")
    account = owned(world, "a", "b")
    await asyncio.sleep(LEASE_SECONDS + 1)
    await one.pay(account, 1)
    world.announce("b")
    await a.server.aclose()
    a.kill()
    began_at = clock.monotonic()
    await one.pay(account, 2)
    assert clock.monotonic() - began_at < 0.1
    world.node("a")
    world.announce("a", "b")
    running = asyncio.ensure_future(two.pay(account, 1, seconds=5))
    await asyncio.sleep(1)
    world.announce("b")
    assert await one.pay(account, 3) == 3
    assert await running == 1
    assert [node for *_, node in world.ran] == ["a", "b", "a", "b"]


async def test_the_keys_of_a_dead_instance_wait_for_its_lease(world, clock):
    """Crash: nobody can say what it still runs, so nobody runs its keys before its time is over; others go on."""
    a, _ = world.node("a"), world.node("b")
    one = world.client("one")
    world.announce("a", "b")
    account, other = owned(world, "a"), owned(world, "b")
    await asyncio.sleep(LEASE_SECONDS + 1)
    running = asyncio.ensure_future(one.pay(account, 1, seconds=5))
    await asyncio.sleep(1)
    a.kill()
    with pytest.raises(ConnectionLost):
        await running
    with pytest.raises(ConnectFailed):  # the registry still lists it
        await one.pay(account, 2)
    world.announce("b")
    began_at = clock.monotonic()
    await one.pay(other, 1)
    assert clock.monotonic() - began_at < 0.1
    assert await one.pay(account, 3) == 3
    # The lease, and at most one more question of the caller's.
    assert LEASE_SECONDS <= clock.monotonic() - began_at < LEASE_SECONDS + 1.5
    assert [number for a, _, number, _ in world.ran if a == account] == [1, 3]


async def test_an_owner_that_dies_soon_after_it_took_a_key_is_waited_for_as_any_other(world, clock):
    """Its lease runs from when the registry drops it, not from when it was given the key."""
    world.node("a"), world.node("b")
    one = world.client("one")
    world.announce("a", "b")
    account = owned(world, "b", "a")
    world.announce("a")
    await asyncio.sleep(LEASE_SECONDS + 1)
    await one.pay(account, 1)
    world.announce("a", "b")
    await one.pay(account, 2)
    world.nodes["b"].kill()
    await asyncio.sleep(5)
    world.announce("a")
    began_at = clock.monotonic()
    await one.pay(account, 3)
    assert LEASE_SECONDS <= clock.monotonic() - began_at < LEASE_SECONDS + 1.5


async def test_a_death_is_counted_from_when_it_is_known_and_not_from_the_next_call(world, clock):
    """A key that nobody used meanwhile is free at once."""
    a, _ = world.node("a"), world.node("b")
    one = world.client("one")
    world.announce("a", "b")
    account = owned(world, "a", "b")
    a.kill()
    world.announce("b")
    await asyncio.sleep(LEASE_SECONDS + 1)
    began_at = clock.monotonic()
    await one.pay(account, 1)
    assert clock.monotonic() - began_at < 0.1


async def test_a_key_that_moves_twice_is_waited_for_through_both_moves(world):
    """The owner in between vouches for the first one too, though it has run nothing of the key itself."""
    for name in "abc":
        world.node(name)
    one, two = world.client("one"), world.client("two")
    world.announce("a", "b", "c")
    owners = Owners.of(world.listed)
    account = next(
        key for key in map(str, range(10_000)) if (owners.owner(key), owners.without("c").owner(key)) == ("c", "b")
    )
    world.announce("a")
    running = asyncio.ensure_future(one.pay(account, 1, seconds=8))
    await asyncio.sleep(1)
    world.announce("a", "b")
    await asyncio.sleep(1)
    world.announce("a", "b", "c")
    assert await two.pay(account, 1) == 1
    assert await running == 1
    assert [node for *_, node in world.ran] == ["a", "c"]


async def test_a_newcomer_learns_of_an_owner_that_left_as_it_came(world):
    """It never saw that one; whoever has been there for a lease names it, though he never owned the key."""
    world.node("a"), world.node("b")
    one, two = world.client("one"), world.client("two")
    owners = Owners.of(world.announce("a", "b", "c", to=[]))
    account = next(
        key for key in map(str, range(10_000)) if (owners.owner(key), owners.without("c").owner(key)) == ("c", "a")
    )
    world.announce("a", "b")
    await asyncio.sleep(LEASE_SECONDS + 1)
    world.node("c")
    running = asyncio.ensure_future(one.pay(account, 1, seconds=8))
    await asyncio.sleep(1)
    world.announce("b", "c")
    assert await two.pay(account, 1) == 1
    assert await running == 1
    assert [node for *_, node in world.ran] == ["a", "c"]


@pytest.mark.parametrize(("strict", "seconds"), [(False, 0.0), (True, LEASE_SECONDS)])
async def test_where_nobody_knows_who_was_there_before_a_strict_server_waits(world, clock, strict, seconds):
    """A service that starts anew begins at once, or after a lease, whichever its operator wants."""
    nodes = [world.node(name, strict=strict) for name in "ab"]
    one = world.client("one")
    world.announce("a", "b")
    began_at = clock.monotonic()

    async def confirm():
        while True:
            await asyncio.sleep(1)
            for node in nodes:
                node.view.hear(world.listed)

    confirming = asyncio.ensure_future(confirm())
    await one.pay("x", 1)
    confirming.cancel()
    assert seconds <= clock.monotonic() - began_at < seconds + 1.5


async def test_a_key_that_comes_back_is_taken_back(world):
    """An owner that let go asks who had it meanwhile."""
    world.node("a"), world.node("b")
    one, two = world.client("one"), world.client("two")
    world.announce("a", "b")
    account = owned(world, "b", "a")
    world.announce("a")
    await one.pay(account, 1)
    world.announce("a", "b")
    running = asyncio.ensure_future(two.pay(account, 1, seconds=4))
    await asyncio.sleep(1)
    world.announce("a")
    assert await one.pay(account, 2) == 2
    assert await running == 1
    assert [node for *_, node in world.ran] == ["a", "b", "a"]


async def test_an_instance_does_not_give_its_keys_to_one_that_is_behind(world):
    """Only a later view of the instances, or its own, moves a key."""
    a, b = world.node("a"), world.node("b")
    one, two = world.client("one"), world.client("two")
    world.announce("a", "b")
    account = owned(world, "b", "a")
    world.announce("a", to=[a.view, one.view])  # a believes this for ever
    a.view.is_cut_off = True
    world.announce("a", "b", to=[b.view, two.view])
    running = asyncio.ensure_future(two.pay(account, 1, seconds=30))
    await asyncio.sleep(1)
    stale = asyncio.ensure_future(one.pay(account, 1, within=10))
    with pytest.raises(CallRefused, match="another instance owns"):
        await stale
    assert await running == 1
    assert [node for *_, node in world.ran] == ["b"]


async def test_a_strict_server_that_is_cut_off_stops_before_others_may_begin(world, clock):
    """Its lease is over for it as it is for them."""
    a, _ = world.node("a", strict=True), world.node("b")
    one, two = world.client("one"), world.client("two")
    world.announce("a", "b")
    account = owned(world, "a", "b")
    await one.pay(account, 1)
    a.view.is_cut_off = one.view.is_cut_off = True
    a.is_reachable = True
    await asyncio.sleep(LEASE_SECONDS + 0.1)
    with pytest.raises(CallRefused, match="registry has not been heard") as caught:
        await one.pay(account, 2, within=2)
    assert caught.value.reason == "cut_off"
    a.is_reachable = False
    world.announce("b")
    assert await two.pay(account, 1) == 1


class Chaos:
    """Servers that come, leave and die, and news that reach each participant late."""

    NAMES = ("n0", "n1", "n2", "n3", "n4")

    def __init__(self, world, seed):
        self.world, self.chance = world, random.Random(seed)
        self.listed = set(self.NAMES[:2])
        self.background = []
        self.outcomes = Counter()
        self.is_over = False
        self.since = dict.fromkeys(self.listed, -10.0 * LEASE_SECONDS)
        for name in sorted(self.listed):
            world.node(name)
        self.clients = [world.client(f"client-{number}", max_in_flight=1 + number) for number in range(3)]
        world.announce(*self.listed)

    async def change(self):
        """Changes the instances, again and again."""
        for _ in range(25):
            await asyncio.sleep(self.chance.uniform(0.5, 12))
            unused = [name for name in self.NAMES if name not in self.world.nodes]
            free_to_leave = self._free_to_leave()
            if free_to_leave and (not unused or self.chance.random() < 0.5):
                await self._leave(self.chance.choice(free_to_leave))
            elif unused:
                self.world.node(unused[0])
                self.listed.add(unused[0])
                self.since[unused[0]] = self.world.clock.monotonic()
            snapshot = self.world.announce(*self.listed, to=[])
            self.background += [asyncio.ensure_future(self._tell(view, snapshot)) for view in self.world.views]
        self.is_over = True

    def _free_to_leave(self):
        """Those after whom somebody stays who has been there, and has been heard of, for a lease.

        Without one the rule holds for `strict` servers only (`Ownership`): who has just come knows nobody to ask.
        """
        long_ago = self.world.clock.monotonic() - LEASE_SECONDS - HEARD_AFTER_SECONDS
        old = {name for name in self.listed if self.since[name] <= long_ago}
        return sorted(name for name in self.listed if old - {name})

    async def _leave(self, name):
        self.listed.discard(name)
        if self.chance.random() < 0.4:
            self.world.nodes[name].kill()
            await asyncio.sleep(LEASE_SECONDS)  # the registry needs its time to notice
        else:
            self.background.append(asyncio.ensure_future(self._drain(self.world.nodes[name])))

    async def _drain(self, node):
        await asyncio.sleep(40)  # for what it has under way
        node.kill()

    async def _tell(self, view, snapshot):
        await asyncio.sleep(self.chance.uniform(0, HEARD_AFTER_SECONDS))
        if snapshot.revision > view.snapshot("").revision:
            view.hear(snapshot)

    async def call(self, client, account):
        """Makes calls, now and then two at once."""
        number = 0
        while not self.is_over:
            numbers = range(number + 1, number + 2 + (self.chance.random() < 0.3))
            number = numbers[-1]
            calls = [client.pay(account, n, self.chance.choice((0.0, 0.05, 2.0)), within=20) for n in numbers]
            for outcome in await asyncio.gather(*calls, return_exceptions=True):
                reason = getattr(outcome, "reason", "")
                self.outcomes["done" if isinstance(outcome, int) else reason or type(outcome).__name__] += 1
            await asyncio.sleep(self.chance.uniform(0, 0.5))


@pytest.mark.parametrize("seed", range(4))
async def test_order_holds_through_any_coming_and_going(world, seed):
    """Whoever comes and goes, and whoever hears of it late: the runs of a key never cross, and most are served."""
    chaos = Chaos(world, seed)
    callers = [chaos.call(client, account) for client in chaos.clients for account in "uvwxyz"]
    await asyncio.gather(chaos.change(), *callers)
    await asyncio.gather(*chaos.background)
    assert world.violations == []
    assert chaos.outcomes["done"] > 300
    # A dead instance is listed for a while: its keys wait for it. Nothing else fails but what lasts too long.
    assert set(chaos.outcomes) <= {"done", "ConnectFailed", "ConnectionLost", "CallTimeout", "expired", *IN_TURN}
    await asyncio.sleep(2 * LEASE_SECONDS)
    for client in chaos.clients:
        for account in "uvwxyz":
            assert await client.pay(account, 10**6) == 10**6
