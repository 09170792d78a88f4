"""What a participant makes of the headers of a call: nothing of the barrier runs for one that is not the wire's."""

import pytest
from fastapi import FastAPI
from pydantic import BaseModel

from placet.context import current_branch
from placet.fastapi import Participant
from unit.sdk_participant.conftest import calling, slug


class Order(BaseModel):
    """A payload."""

    words: str = ""


@pytest.fixture
async def call(database):
    """A participant with an action of each pattern that says what it sees."""
    stock = Participant("stock", session=database.plain_session)

    @stock.tcc("hold")
    async def hold(cmd: Order) -> dict[str, str | int | float]:
        branch = current_branch()
        assert branch is not None
        return {
            "gid": branch.gid,
            "branch_id": branch.branch_id,
            "operation": branch.operation,
            "begun_at_ms": branch.begun_at_ms,
            "seconds_left": branch.seconds_left,
            "traceparent": branch.traceparent,
        }

    @hold.confirm
    async def _(cmd: Order) -> None: ...

    @hold.cancel
    async def _(cmd: Order) -> None: ...

    app = FastAPI()
    app.include_router(stock.router)
    async with calling(app) as caller:
        yield caller


@pytest.mark.parametrize("operation", ["try", "confirm", "cancel"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("placet_gid", None),
        ("placet_gid", ""),
        ("placet_gid", "a b"),
        ("placet_gid", "x" * 129),
        ("placet_branch", None),
        ("placet_branch", "x" * 65),
        ("placet_branch", "1/2"),
        ("placet_op", None),
        ("placet_op", "action"),
        ("placet_deadline_ms", "soon"),
        ("placet_deadline_ms", "-1"),
        ("placet_time_ms", "1e9"),
        ("placet_begun_at_ms", "9" * 16),
    ],
)
async def test_call_without_its_headers_is_refused(call, database, operation, name, value):
    """T10: without a gid it could not be undone, so it never becomes a plain local commit; the rule is named."""
    response = await call(f"hold/{operation}", {}, **{name: value})
    assert (response.status_code, slug(response)) == (422, "rule")
    assert response.json()["field"] == name.replace("_", "-")
    assert response.headers["content-type"] == "application/problem+json"
    assert database.rows() == []


@pytest.mark.parametrize("value", [None, "0"])
async def test_try_has_to_say_when_its_transaction_was_begun(call, value):
    """Its age is all that tells a first attempt from a repeat whose row is forgotten; the ends need none."""
    response = await call("hold/try", {}, placet_begun_at_ms=value)
    assert (response.status_code, response.json()["field"]) == (422, "placet-begun-at-ms")
    assert (await call("hold/cancel", {}, placet_begun_at_ms=value)).status_code == 200


async def test_handler_knows_its_branch(call):
    """The context has what the headers say, and the time left runs from receipt."""
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    response = await call("hold/try", {}, branch_id="7.1", placet_deadline_ms="2000", traceparent=trace)
    seen = response.json()
    assert 0 < seen.pop("seconds_left") <= 2
    assert seen.pop("begun_at_ms") > 1_700_000_000_000
    assert seen == {"gid": "g", "branch_id": "7.1", "operation": "try", "traceparent": trace}


async def test_time_left_is_ten_seconds_if_the_caller_does_not_say(call):
    """The wire's default of a call."""
    response = await call("hold/try", {}, placet_deadline_ms=None)
    assert 9 < response.json()["seconds_left"] <= 10


@pytest.mark.parametrize("skew_ms", [-400 * 86_400_000, 400 * 86_400_000])
async def test_clock_of_the_sender_decides_nothing_alone(call, skew_ms):
    """A transaction is as old as its sender says, or as our clock says, whichever is more: both hold the promise."""
    now_ms = 1_750_000_000_000 + skew_ms
    response = await call("hold/try", {}, placet_begun_at_ms=str(now_ms - 8 * 86_400_000), placet_time_ms=str(now_ms))
    assert (response.status_code, slug(response)) == (409, "late")


@pytest.mark.parametrize("operation", ["try", "confirm", "cancel"])
async def test_every_answer_of_the_barrier_echoes_its_call(call, operation):
    """Refusals, too: a proxy's page has no echo, and so is no answer."""
    for _ in range(2):
        response = await call(f"hold/{operation}", {})
        assert response.headers["placet-outcome"] == f"g/1/{operation}"
