"""Hot calls without a task: their first step, and what becomes of a call whose first step did not hit."""

import asyncio

import msgspec
import pytest

from placet_coordinator.api.access import Access
from placet_coordinator.api.lane import FastLane
from placet_coordinator.engine.flusher import JournalLimits
from placet_coordinator.ports.store import StoreUnavailable
from unit.engine.node import Limits, begin, register, until

ACCESS = Access(())


def started(node, path, body=b"{}"):
    """Start a hot call; return the future of its answer."""
    call = FastLane(node.commands, ACCESS).find("POST", f"/v1/transactions{path}")
    future = asyncio.get_running_loop().create_future()
    call.start([], body, future.set_result)
    return future


def begun(node, gid, *branch_ids):
    """Start a begin."""
    return started(node, "", msgspec.json.encode(begin(gid, *branch_ids)))


def told(answer):
    """Return status and body of an answer."""
    return answer.status, msgspec.json.decode(answer.body)


class Losing:
    """A journal whose next writes end as told; `reaches` says whether the database gets them all the same."""

    def __init__(self, node, *faults):
        self._write, self._faults = node.store.write, list(faults)
        node.store.write = self.write

    async def write(self, batch):
        if not self._faults:
            return await self._write(batch)
        reaches, wrote_nothing = self._faults.pop(0)
        if reaches:
            await self._write(batch)
        raise StoreUnavailable("the connection is gone", wrote_nothing=wrote_nothing)


async def test_a_hot_call_is_answered_when_its_write_is_durable_and_not_before(node):
    """Begin, registration, commit: each answers the version that the row has."""
    node.store.hold_writes()
    answer = begun(node, "t", "a")
    await node.store.arrived.wait()
    assert not answer.done()
    node.store.let_writes_go()
    assert told(await answer)[0] == 201
    body = msgspec.json.encode(register("b"))
    assert told(await started(node, "/t/branches", body))[1]["version"] == 2
    assert told(await started(node, "/t/commit"))[1]["status"] == "committing"
    await node.until_status("t", "committed")


async def test_a_hot_call_takes_no_task(node):
    """That is the point of it: what runs for it is the journal's, which runs for everybody."""
    before = asyncio.all_tasks()
    for answer in (begun(node, "t", "a"), begun(node, "u", "a")):
        assert asyncio.all_tasks() == before
        assert told(await answer)[0] == 201
    commit = started(node, "/t/commit")
    assert asyncio.all_tasks() == before
    assert told(await commit)[0] == 200


async def test_a_begin_that_misses_goes_on_to_the_answer_of_a_repeat(make_node):
    """The gid is another node's: the insert misses, and the row that is there answers."""
    one, two = await make_node(), await make_node(node_id="two")
    assert told(await begun(one, "t", "a"))[0] == 201
    assert told(await begun(two, "t", "a"))[0] == 200
    assert told(await begun(two, "t", "b"))[0] == 422


async def test_a_decision_that_misses_is_told_of_the_one_that_won(make_node):
    """This node's copy is old: another one has aborted."""
    one, two = await make_node(), await make_node(node_id="two")
    await begun(one, "t", "a")
    assert told(await started(two, "/t/abort"))[0] == 200
    status, problem = told(await started(one, "/t/commit"))
    assert (status, problem["reason"]) == (409, "initiator")


async def test_a_lost_acknowledgement_of_a_durable_begin_is_a_begin(node):
    """The row carries the write's stamp."""
    Losing(node, (True, False))
    assert told(await begun(node, "t", "a"))[0] == 201


async def test_a_begin_that_was_lost_on_the_way_is_begun_again(node):
    """The row is not there: the same transaction is written by a second attempt, in a task."""
    Losing(node, (False, False))
    assert told(await begun(node, "t", "a")) == (201, told(await begun(node, "u", "a"))[1] | {"gid": "t"})
    assert (await node.row("t")).version == 1


async def test_a_store_that_takes_nothing_is_told_as_nothing_written(make_node):
    """503, and the caller may go elsewhere."""
    node = await make_node(limits=Limits(journal=JournalLimits(store_patience_s=0)))
    Losing(node, (False, True))
    status, problem = told(await begun(node, "t", "a"))
    assert (status, problem["title"]) == (503, "Nothing was written; try again")


async def test_after_a_lost_write_an_overload_is_not_told_as_nothing_written(make_node):
    """The first attempt may have been written: the outcome is unknown, and the caller has to repeat."""
    node = await make_node(limits=Limits(journal=JournalLimits(store_patience_s=0)))
    Losing(node, (False, False), (False, True))
    status, problem = told(await begun(node, "t", "a"))
    assert (status, problem["title"]) == (500, "The outcome is unknown; repeat the call")


@pytest.mark.parametrize("path", ["/never/commit", "/t/commit?wait_ms=x"])
async def test_what_the_first_step_can_not_answer_is_answered_later(node, path):
    """A gid that nobody holds is looked for in the store; a bad query is refused."""
    path, _, query = path.partition("?")
    call = FastLane(node.commands, ACCESS).find("POST", f"/v1/transactions{path}", query.encode())
    future = asyncio.get_running_loop().create_future()
    call.start([], b"{}", future.set_result)
    assert not future.done()  # never from inside: pipelined calls would be answered one inside the other
    assert told(await future)[0] == (404 if "never" in path else 422)


async def test_a_begin_of_a_gid_that_is_held_is_answered_as_a_repeat(node):
    """Ten at once: one is new."""
    answers = await asyncio.gather(*(begun(node, "t", "a") for _ in range(10)))
    assert sorted(answer.status for answer in answers) == [200] * 9 + [201]
    await until(lambda: node.driver.journal.depth == 0, "nothing is left on its way")
