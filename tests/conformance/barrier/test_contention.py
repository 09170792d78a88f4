"""Locks, deadlocks and failed serializations never make a wrong answer: they say "again later", and leave nothing."""

import asyncio
import contextlib

import pytest
from sqlalchemy import insert, select, text, update
from sqlalchemy.exc import DBAPIError

from conformance.barrier.ledger import Stock
from conformance.barrier.service import effect_of


@pytest.fixture
def stocked(rows_service):
    """The service with two articles, and an action that takes both in the order of the words in `said`."""
    with rows_service.plain.begin() as connection:
        connection.execute(insert(Stock), [{"sku": sku, "quantity": 10} for sku in ("a", "b")])
    return rows_service


def take(db, sku):
    db.execute(update(Stock).where(Stock.sku == sku).values(quantity=Stock.quantity - 1))


async def both_take(service):
    """Two branches that have each one of the two articles, and want the other's."""
    first = asyncio.create_task(service.call("take/action", "1", said="a b", gate="1"))
    other = asyncio.create_task(service.call("take/action", "2", said="b a", gate="2"))
    for gate in ("1", "2"):
        await service.gates[gate].arrived()
    for gate in ("1", "2"):
        service.gates[gate].open()
    return await first, await other


async def test_deadlock_is_asked_again_and_leaves_one_effect_each(stocked):
    """One of two branches is the database's victim: it is told to come again, and then has its effect once."""

    def take_both(db, order):
        first, second = order.said.split()
        take(db, first)
        db.add(effect_of("action", order.said))
        stocked.stand_at(order.gate)
        take(db, second)

    stocked.action("take", take_both)
    replies = await both_take(stocked)
    assert 425 in {reply.status for reply in replies}
    for branch_id, said in (("1", "a b"), ("2", "b a")):
        assert (await stocked.settled("take/action", branch_id, said=said, gate=branch_id)).status == 200
        assert stocked.ledger.effects(branch_id=branch_id) == [("action", said)]
    assert stocked.ledger.quantities() == {"a": 8, "b": 8}


async def test_deadlock_that_a_handler_swallows_is_not_taken_for_done(stocked):
    """The database has rolled back everything, barrier row and all; what the handler writes then must not stay."""

    def take_what_can_be_had(db, order):
        first, second = order.said.split()
        take(db, first)
        stocked.stand_at(order.gate)
        try:
            take(db, second)
        except DBAPIError:
            if stocked.kind.survives_errors:
                take(db, first)
        db.add(effect_of("action", order.said))

    stocked.action("take", take_what_can_be_had)
    replies = await both_take(stocked)
    assert {reply.status for reply in replies} <= {200, 425}
    for branch_id, said in (("1", "a b"), ("2", "b a")):
        assert (await stocked.settled("take/action", branch_id, said=said, gate=branch_id)).status == 200
        assert stocked.ledger.effects(branch_id=branch_id) == [("action", said)]
    assert stocked.ledger.quantities() == {"a": 8, "b": 8}


async def test_twin_of_a_swallowed_deadlock_is_not_taken_for_its_own_row(stocked):
    """While the victim goes on, its twin takes the row that the deadlock has freed: that row is no leave to commit."""

    def take_what_can_be_had(db, order):
        first, second = order.said.split()
        take(db, first)
        stocked.stand_at(order.gate)
        try:
            take(db, second)
        except DBAPIError:
            stocked.stand_at("victim")
            if stocked.kind.survives_errors:
                db.add(effect_of("action", "victim"))

    stocked.action("take", take_what_can_be_had)
    stocked.action("twin", stocked.effect("action"))
    taking = asyncio.create_task(both_take(stocked))
    await stocked.gates["victim"].arrived()
    twins = [await stocked.call("twin/action", branch_id, said="twin", seconds=0.5) for branch_id in ("1", "2")]
    stocked.gates["victim"].open()
    statuses = {reply.status for reply in await taking}
    assert statuses == {200, 425}
    assert [reply.body for reply in twins].count({"reference": "ref-twin"}) == 1
    assert [said for _, said in stocked.ledger.effects()] == ["twin"]


async def test_row_that_is_younger_than_the_sessions_snapshot_is_seen(rows_service):
    """The session has read before the barrier, as a dependency may; the repeat is told what the first was."""
    looks = []

    def look(db):
        db.execute(select(Stock)).all()
        looks.append(db)
        rows_service.stand_at(f"look {len(looks)}")

    rows_service.first_looks.append(look)
    for number in range(1, 4):
        rows_service.gates[f"look {number}"].open()
    first = asyncio.create_task(rows_service.call("hold/try", said="a", gate="open"))
    await rows_service.gates["open"].arrived()
    repeat = asyncio.create_task(rows_service.call("hold/try", said="b"))
    await rows_service.gates["look 2"].arrived()
    rows_service.gates["open"].open()
    told = [await first, await repeat]
    assert told[0].told == (200, {"reference": "ref-a"})
    if rows_service.kind.isolation in {None, "READ COMMITTED"}:
        assert told[1] == told[0]
    rows_service.first_looks.clear()
    assert await rows_service.settled("hold/try", said="c") == told[0]
    assert rows_service.ledger.effects() == [("try", "a")]


async def test_serialization_that_fails_at_the_commit_is_asked_again(stocked):
    """Two branches read what the other writes: where the database finds out, one is told to come again."""

    def take_if_both_are_there(db, order):
        quantities = dict(db.execute(select(Stock.sku, Stock.quantity)).all())
        stocked.stand_at(order.gate)
        if sum(quantities.values()) >= 20:
            take(db, order.said)
        db.add(effect_of("action", order.said))

    stocked.action("take", take_if_both_are_there)
    tasks = [
        asyncio.create_task(stocked.call("take/action", branch_id, said=said, gate=branch_id))
        for branch_id, said in (("1", "a"), ("2", "b"))
    ]
    for gate in ("1", "2"):
        await stocked.gates[gate].arrived()
    for gate in ("1", "2"):
        stocked.gates[gate].open()
    statuses = {(await task).status for task in tasks}
    for branch_id, said in (("1", "a"), ("2", "b")):
        assert (await stocked.settled("take/action", branch_id, said=said, gate=branch_id)).status == 200
        assert stocked.ledger.effects(branch_id=branch_id) == [("action", said)]
    if stocked.kind.isolation == "SERIALIZABLE":
        assert statuses == {200, 425}
        assert sum(stocked.ledger.quantities().values()) == 19


async def test_error_that_a_handler_swallows_is_not_taken_for_done(service):
    """PostgreSQL has given the transaction up by then, and would answer COMMIT with a ROLLBACK nobody sees."""

    def shrug(db, order):
        db.add(effect_of("action", order.said))
        db.flush()
        with contextlib.suppress(DBAPIError):
            db.execute(text("SELECT * FROM no_such_table"))

    service.action("shrug", shrug)
    reply = await service.call("shrug/action", said="a")
    done = service.kind.survives_errors
    assert reply.status == (200 if done else 500)
    assert service.ledger.effects() == ([("action", "a")] if done else [])
    assert (await service.call("shrug/action", said="b")).status == reply.status
    assert service.ledger.effects() == ([("action", "a")] if done else [])


async def test_error_in_a_savepoint_is_the_handlers_own_business(service):
    """What was put into a nested transaction fails alone, on every database, and the rest is committed."""

    def careful(db, order):
        try:
            with db.begin_nested():
                db.execute(text("SELECT * FROM no_such_table"))
        except DBAPIError:
            db.add(effect_of("action", order.said))

    service.action("careful", careful)
    assert (await service.call("careful/action", said="a")).body == {"reference": "ref-a"}
    assert service.ledger.effects() == [("action", "a")]


async def test_lock_of_somebody_else_is_waited_for_no_longer_than_the_call(service):
    """A row that another session holds: the answer is "again later" and comes in time; then the effect is had once."""
    with service.plain.begin() as connection:
        connection.execute(insert(Stock).values(sku="a", quantity=10))

    def take_one(db, order):
        db.add(effect_of("action", order.said))
        db.flush()
        take(db, "a")

    service.action("take", take_one)
    with service.plain.begin() as connection:
        connection.execute(update(Stock).values(quantity=5))
        blocked = asyncio.create_task(service.call("take/action", said="a", seconds=0.5))
        if service.kind.bounds_handlers:
            assert (await blocked).status == 425
            assert service.ledger.effects() == []
    await blocked
    assert (await service.settled("take/action", said="b")).status == 200
    assert len(service.ledger.effects()) == 1
    assert service.ledger.quantities() == {"a": 4}
