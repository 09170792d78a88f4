"""The barrier holds a saga's steps to the same: what ran is undone once, what did not run leaves nothing."""

import asyncio


async def test_compensation_of_an_action_that_never_came_has_no_effect(service):
    """S1: the action's outcome is unknown to the coordinator, so it compensates; the action was lost, and stays out."""
    assert (await service.call("book/compensate")).told == (200, None)
    reply = await service.call("book/action", said="late")
    assert (reply.status, reply.slug) == (409, "late")
    assert service.ledger.effects() == []


async def test_compensation_of_an_action_whose_answer_was_lost_undoes_it(service):
    """S1: the same unknown outcome, and this time the action has run; its result comes from the row."""
    await service.call("book/action", said="a")  # nobody heard
    assert (await service.call("book/compensate", said="b")).told == (200, None)
    assert service.ledger.effects() == [("action", "a"), ("compensate", "b of ref-a")]


async def test_repeated_action_has_one_effect_and_the_same_answer(service):
    """S1: while its outcome is unknown, an action is asked again, and told what it was told first."""
    first = await service.call("book/action", said="a")
    assert first.told == (200, {"reference": "ref-a"})
    assert await service.call("book/action", said="b") == first
    assert service.ledger.effects() == [("action", "a")]


async def test_compensation_that_fails_is_not_taken_for_done(service):
    """S2: it leaves no trace and no 2xx, however often it fails, and once it succeeds it has one effect."""
    await service.call("book/action", said="a")
    for _ in range(2):
        assert (await service.call("book/compensate", fail=True)).status == 500
    refused = await service.call("book/compensate", reject="can't be undone")
    assert (refused.status, refused.slug) == (409, "rejected")
    assert service.ledger.effects() == [("action", "a")]
    assert (await service.call("book/compensate", said="b")).status == 200
    assert service.ledger.effects() == [("action", "a"), ("compensate", "b of ref-a")]


async def test_compensation_of_an_open_action_is_told_to_come_again(service):
    """S3: the action's transaction is open for longer than the compensation may wait."""
    running = asyncio.create_task(service.call("book/action", said="a", gate="open"))
    await service.gates["open"].arrived()
    early = await service.call("book/compensate", seconds=0.5)
    service.gates["open"].open()
    assert (early.status, early.slug) == (425, "ongoing")
    assert (await running).status == 200
    assert (await service.settled("book/compensate", said="b")).status == 200
    assert service.ledger.effects() == [("action", "a"), ("compensate", "b of ref-a")]


async def test_compensation_that_meets_an_open_action_undoes_it_once_it_is_done(service):
    """S3: whichever of them comes first in the end, both are never without effect on each other."""
    running = asyncio.create_task(service.call("book/action", said="a", gate="open"))
    await service.gates["open"].arrived()
    undoing = asyncio.create_task(service.settled("book/compensate", said="b"))
    await asyncio.sleep(0)  # the compensation may be anywhere on its way
    service.gates["open"].open()
    assert ((await running).status, (await undoing).status) == (200, 200)
    assert service.ledger.effects() == [("action", "a"), ("compensate", "b of ref-a")]


async def test_resumed_unwinding_compensates_each_step_once(service):
    """S4: the coordinator died in the middle, and asks all steps again, parallel ones together."""
    for step in ("hotel", "flight", "car"):
        await service.call("book/action", step, said=step)
    await service.call("book/compensate", "hotel")  # done before the crash
    steps = ("hotel", "flight", "car", "never-run")
    replies = await asyncio.gather(*(service.settled("book/compensate", step) for step in steps for _ in range(2)))
    assert {reply.told for reply in replies} == {(200, None)}
    undone = [said for operation, said in service.ledger.effects() if operation == "compensate"]
    assert sorted(undone) == [" of ref-car", " of ref-flight", " of ref-hotel"]


async def test_steps_failing_together_leave_nothing(service):
    """S4: two parallel steps fail and two compensations overtake them; in the end no effect is left, or each undone."""
    failing = [
        asyncio.create_task(service.call("book/action", step, gate=step, said=step, fail=step == "flight"))
        for step in ("flight", "hotel")
    ]
    for step in ("flight", "hotel"):
        if service.kind.has_row_locks:
            await service.gates[step].arrived()
    undoing = [asyncio.create_task(service.settled("book/compensate", step)) for step in ("flight", "hotel")]
    for step in ("flight", "hotel"):
        service.gates[step].open()
    await asyncio.gather(*failing)
    assert {(await task).told for task in undoing} == {(200, None)}
    for step in ("flight", "hotel"):
        assert (await service.settled("book/action", step, said="again")).slug == "late"
        operations = [operation for operation, _ in service.ledger.effects(branch_id=step)]
        assert operations in ([], ["action", "compensate"])


async def test_compensation_gets_the_result_of_the_action_that_ran(service):
    """S5: whatever the plan or the code says by now, the row says what was done, byte for byte."""
    await service.call("book/action", said="é ☃ Ω")
    assert (await service.call("book/compensate", said="now")).status == 200
    assert service.ledger.effects()[1] == ("compensate", "now of ref-é ☃ Ω")
