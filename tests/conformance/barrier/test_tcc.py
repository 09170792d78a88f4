"""The barrier holds a TCC's operations to one effect and one order, whatever comes twice, late, early or together."""

import asyncio

import pytest


async def test_cancel_of_a_try_that_never_came_has_no_effect(service):
    """T1: the try was lost, and its cancel succeeds all the same, however often it comes."""
    for _ in range(2):
        reply = await service.call("hold/cancel")
        assert (reply.status, reply.body, reply.echo) == (200, None, "g/1/cancel")
    assert service.ledger.effects() == []


async def test_late_try_is_refused_after_cancel(service):
    """T2: the cancel has overtaken the try, which must not run any more, however often it comes."""
    await service.call("hold/cancel")
    for _ in range(2):
        reply = await service.call("hold/try", said="late")
        assert (reply.status, reply.slug, reply.echo) == (409, "late", "g/1/try")
    assert service.ledger.effects() == []


async def test_cancel_of_an_open_try_is_told_to_come_again(service):
    """T3: the try's transaction is open for longer than the cancel may wait; afterwards the cancel undoes it."""
    trying = asyncio.create_task(service.call("hold/try", said="a", gate="open"))
    await service.gates["open"].arrived()
    early = await service.call("hold/cancel", said="b", seconds=0.5)
    service.gates["open"].open()
    assert (early.status, early.slug, early.echo) == (425, "ongoing", "g/1/cancel")
    assert (await trying).status == 200
    assert (await service.settled("hold/cancel", said="b")).status == 200
    assert service.ledger.effects() == [("try", "a"), ("cancel", "b of ref-a")]


async def test_cancel_that_meets_an_open_try_undoes_it_once_it_is_done(service):
    """T3: the cancel waits for the try's transaction, or is told to come again; never do both go through unseen."""
    trying = asyncio.create_task(service.call("hold/try", said="a", gate="open"))
    await service.gates["open"].arrived()
    cancelling = asyncio.create_task(service.settled("hold/cancel", said="b"))
    await asyncio.sleep(0)  # the cancel may be anywhere on its way
    service.gates["open"].open()
    assert ((await trying).status, (await cancelling).status) == (200, 200)
    assert service.ledger.effects() == [("try", "a"), ("cancel", "b of ref-a")]


async def test_cancel_that_meets_a_failing_try_keeps_it_from_coming_back(service):
    """T3: the open try rolls back, so the cancel has nothing to undo; a repeat of the try comes too late."""
    trying = asyncio.create_task(service.call("hold/try", gate="open", fail=True))
    await service.gates["open"].arrived()
    cancelling = asyncio.create_task(service.settled("hold/cancel"))
    await asyncio.sleep(0)  # the cancel may be anywhere on its way
    service.gates["open"].open()
    assert ((await trying).status, (await cancelling).status) == (500, 200)
    assert (await service.call("hold/try", said="again")).slug == "late"
    assert service.ledger.effects() == []


async def test_repeated_try_has_one_effect_and_the_same_answer(service):
    """T4: the answer is kept, not made anew: the repeat asks for something else and is told the same."""
    first = await service.call("hold/try", said="a")
    assert first.told == (200, {"reference": "ref-a"})
    assert await service.call("hold/try", said="b") == first
    await service.call("hold/confirm")
    assert await service.call("hold/try", said="c") == first
    assert service.ledger.effects(branch_id="1")[0] == ("try", "a")
    assert [operation for operation, _ in service.ledger.effects()] == ["try", "confirm"]


@pytest.mark.parametrize("end", ["confirm", "cancel"])
async def test_repeated_end_has_one_effect_and_the_same_answer(service, end):
    """T4: the end of a branch gets what the try returned from the row, and happens once."""
    await service.call("hold/try", said="a")
    first = await service.call(f"hold/{end}", said="b")
    assert (first.told, first.echo) == ((200, None), f"g/1/{end}")
    assert await service.call(f"hold/{end}", said="c") == first
    assert service.ledger.effects() == [("try", "a"), (end, "b of ref-a")]


@pytest.mark.parametrize("operation", ["try", "confirm", "cancel"])
async def test_twins_have_one_effect_and_one_answer(service, operation):
    """T4: four calls of one operation at once, each told the same, or to come again and then the same."""
    if operation != "try":
        await service.call("hold/try", said="a")
    replies = await asyncio.gather(*(service.settled(f"hold/{operation}", said="t") for _ in range(4)))
    assert {reply.status for reply in replies} == {200}
    assert len({str(reply.body) for reply in replies}) == 1
    assert [name for name, _ in service.ledger.effects()].count(operation) == 1


async def test_try_whose_answer_was_lost_is_cancelled(service):
    """T5: to the coordinator it is unknown, to the row it is done: the cancel undoes it."""
    await service.call("hold/try", said="a")  # nobody heard
    assert (await service.call("hold/cancel", said="b")).status == 200
    assert service.ledger.effects() == [("try", "a"), ("cancel", "b of ref-a")]
    assert (await service.call("hold/try", said="a")).slug == "late"


@pytest.mark.parametrize("end", ["confirm", "cancel"])
@pytest.mark.parametrize("refusal", [{"reject": "no"}, {"fail": True}], ids=["rejects", "fails"])
async def test_end_that_refuses_is_asked_again_and_never_turned(service, end, refusal):
    """T6: a breach of the contract leaves no trace; the same end succeeds later, once."""
    await service.call("hold/try", said="a")
    reply = await service.call(f"hold/{end}", said="b", **refusal)
    assert reply.told[0] == (409 if "reject" in refusal else 500)
    assert service.ledger.effects() == [("try", "a")]
    assert (await service.call(f"hold/{end}", said="c")).status == 200
    assert service.ledger.effects() == [("try", "a"), (end, "c of ref-a")]


@pytest.mark.parametrize(
    ("first", "second", "slug"), [("confirm", "cancel", "conflict"), ("cancel", "confirm", "not-tried")]
)
async def test_the_other_end_is_refused_and_reported(service, caplog, first, second, slug):
    """T7: no coordinator decides both; if both come all the same, the first stays and the log says so."""
    await service.call("hold/try", said="a")
    await service.call(f"hold/{first}", said="b")
    reply = await service.call(f"hold/{second}", said="c")
    assert (reply.status, reply.slug, reply.echo) == (409, slug, f"g/1/{second}")
    assert service.ledger.effects() == [("try", "a"), (first, "b of ref-a")]
    assert f"g/1/{second} contradicts the {first}" in caplog.text


async def test_row_and_effect_are_one_commit(service):
    """T8: what a failing handler has written goes with its row, so the repeat is a first attempt."""
    assert (await service.call("hold/try", said="a", fail=True)).status == 500
    assert service.ledger.effects() == []
    assert (await service.call("hold/try", said="b")).body == {"reference": "ref-b"}
    assert service.ledger.effects() == [("try", "b")]


async def test_confirm_without_a_try_is_refused(service):
    """T11: nothing was reserved, nothing is confirmed, and the row is left to a try that still comes."""
    for _ in range(2):
        reply = await service.call("hold/confirm")
        assert (reply.status, reply.slug, reply.echo) == (409, "not-tried", "g/1/confirm")
    assert (await service.call("hold/try", said="a")).status == 200
    assert service.ledger.effects() == [("try", "a")]


@pytest.mark.parametrize("before", [("hold/cancel", {}), ("hold/try", {"reject": "no"}), ("hold/try", {"fail": True})])
async def test_confirm_without_a_successful_try_is_refused(service, before):
    """T11: the same, where something else than a successful try has come before."""
    path, order = before
    await service.call(path, **order)
    reply = await service.call("hold/confirm")
    assert (reply.status, reply.slug) == (409, "not-tried")
    assert service.ledger.effects() == []


async def test_branches_that_differ_in_case_are_different_branches(service):
    """Ids are bytes: on no database is the one taken for a repeat of the other."""
    for branch_id in ("a", "A"):
        assert (await service.call("hold/try", branch_id, said=branch_id)).body == {"reference": f"ref-{branch_id}"}
    for gid in ("G", "g"):
        await service.call("hold/try", gid=gid, said=gid)
    assert [said for _, said in service.ledger.effects()] == ["a", "A", "G", "g"]


async def test_branches_of_one_transaction_end_at_once(service):
    """An abort cancels all branches together, tried or not; none keeps another from ending."""
    names = [str(number) for number in range(8)]
    for name in names[::2]:
        await service.call("hold/try", name, said=name)
    replies = await asyncio.gather(*(service.settled("hold/cancel", name) for name in names))
    assert {reply.told for reply in replies} == {(200, None)}
    assert sorted(said for operation, said in service.ledger.effects() if operation == "cancel") == [
        f" of ref-{name}" for name in names[::2]
    ]
