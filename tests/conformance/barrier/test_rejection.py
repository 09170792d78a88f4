"""A business no is final, for every attempt of the operation, however they overlap."""

import asyncio

import pytest
from sqlalchemy import event

OPERATIONS = pytest.mark.parametrize("operation", ["hold/try", "book/action"])


@OPERATIONS
async def test_rejection_is_kept_and_repeated(service, operation):
    """The reason has changed in the meantime, the answer has not; nothing that was written before the no stays."""
    first = await service.call(operation, said="a", reject="sold out")
    assert (first.status, first.slug, first.body["detail"]) == (409, "rejected", "sold out")
    assert await service.call(operation, said="b") == first
    assert service.ledger.effects() == []


@pytest.mark.parametrize(("operation", "end"), [("hold/try", "hold/cancel"), ("book/action", "book/compensate")])
async def test_undoing_a_rejection_does_nothing_and_leaves_it(service, operation, end):
    """An abort ends every registered branch, rejected ones too; the no stays the answer."""
    first = await service.call(operation, reject="sold out")
    assert (await service.call(end)).told == (200, None)
    assert (await service.call(end)).told == (200, None)
    assert await service.call(operation, said="b") == first
    assert service.ledger.effects() == []


async def test_words_of_a_rejection_survive_the_row(service):
    """Quotes, another alphabet, a NUL and a length beyond any reason come back as the first attempt was told."""
    words = 'zu "viel" ☃ \x00 ' + "x" * 2_000
    first = await service.call("hold/try", reject=words)
    assert first.body["detail"] == words[:500]
    assert await service.call("hold/try") == first


class Pause:
    """Holds up whoever gives the next connection back to the participant's pool, its transaction ended."""

    def __init__(self, service) -> None:
        self.gate = service.gates["returned"]
        self._service = service
        event.listen(service.engine, "checkin", self._hold, once=True)

    def _hold(self, _connection, _record) -> None:
        self._service.stand_at("returned")


@pytest.mark.parametrize("second", ["done", "rejected", "failed"])
async def test_attempts_that_overlap_with_a_rejection_get_one_answer(service, second):
    """T12: attempt 2 takes the row while attempt 1 has rolled back and not yet written its no."""
    pause = Pause(service)
    first = asyncio.create_task(service.call("book/action", said="a", reject="no"))
    await pause.gate.arrived()
    order = {"done": {}, "rejected": {"reject": "nor now"}, "failed": {"fail": True}}[second]
    other = asyncio.create_task(service.settled("book/action", said="b", gate="two", **order))
    await service.gates["two"].arrived()
    pause.gate.open()
    service.gates["two"].open()
    told = [await first, await other]
    answers = [reply if reply.status != 425 else await service.settled("book/action") for reply in told]
    final = await service.settled("book/action", said="c")
    if second == "failed":
        answers = [reply for reply in answers if reply.status != 500]
    assert {str(reply.told) for reply in answers} == {str(final.told)}
    assert service.ledger.effects() == ([("action", "b")] if final.status == 200 else [])
