"""Who leads, and what a leader does when it no longer does."""

import asyncio
from datetime import timedelta

import pytest

from placet_rpc.locks.election import Election
from placet_rpc.locks.lock import Locks

TTL = timedelta(seconds=10)


class Candidate:
    """A candidate whose work is to note that it leads."""

    def __init__(self, who, store, clock, leading, fails=False):
        self.election = Election(Locks(store, who=who, clock=clock), "office", ttl=TTL, clock=clock)
        self.who, self.leading, self.fails = who, leading, fails
        self.tokens = []

    async def work(self, lease):
        self.leading.append(self.who)
        assert self.leading == [self.who]
        self.tokens.append(lease.token)
        try:
            if self.fails:
                raise RuntimeError("a defect")
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.5)  # work takes its time to end; nobody else may begin meanwhile
            self.leading.remove(self.who)

    def stand(self):
        """Stands for election from now on."""
        self.task = asyncio.ensure_future(self.election.run(self.work))
        return self

    async def leave(self):
        """Gives up."""
        self.task.cancel()
        await asyncio.wait((self.task,))


@pytest.fixture
async def candidates(store, clock):
    """Three of them."""
    leading = []
    standing = [Candidate(who, store, clock, leading).stand() for who in "abc"]
    yield standing
    for candidate in standing:
        await candidate.leave()


def leaders(candidates):
    return [candidate.who for candidate in candidates if candidate.election.is_leader]


async def test_one_leads_and_when_it_leaves_another_does(candidates):
    """The office passes on, after the work has ended, with a greater token each time."""
    tokens = []
    for _ in range(3):
        await asyncio.sleep(30)
        (who,) = leaders(candidates)
        leader = next(candidate for candidate in candidates if candidate.who == who)
        assert (await leader.election.leader()).holder.startswith(f"{who}#")
        tokens += leader.tokens
        await leader.leave()
    await asyncio.sleep(30)
    assert leaders(candidates) == []
    assert await candidates[0].election.leader() is None
    assert tokens == [1, 2, 3]


async def test_a_leader_that_loses_its_lease_stops_working(candidates, store):
    """Its work is cancelled, and it stands again."""
    await asyncio.sleep(30)
    (before,) = leaders(candidates)
    store.is_down = True
    await asyncio.sleep(30)
    assert leaders(candidates) == []
    assert candidates[0].leading == []
    store.is_down = False
    await asyncio.sleep(30)
    assert len(leaders(candidates)) == 1
    assert sum(len(candidate.tokens) for candidate in candidates) == 2
    assert before in "abc"


async def test_a_leader_whose_work_fails_leaves_the_office_to_others(store, clock, caplog):
    """The error is logged and the office is not empty."""
    leading = []
    broken = Candidate("broken", store, clock, leading, fails=True).stand()
    await asyncio.sleep(0)
    sound = Candidate("sound", store, clock, leading).stand()
    await asyncio.sleep(30)
    assert sound.election.is_leader
    assert len(broken.tokens) >= 1
    assert "the leader's work as office failed" in caplog.text
    for candidate in (broken, sound):
        await candidate.leave()


async def test_work_that_ends_gives_the_office_up(store, clock):
    """A single term can be had too."""

    async def work(lease):
        return lease.token

    election = Election(Locks(store, clock=clock), "office", ttl=TTL, clock=clock)
    assert await election.lead_once(work)
    assert await election.leader() is None
