"""Transactions begun inside a handler know its branch: they join it, or bind its answer to their own outcome."""

from contextlib import suppress
from typing import Annotated

import pytest
from fastapi import Depends, FastAPI
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncSession

from placet import PlacetError
from placet.client import Client
from placet.context import current_branch
from placet.fastapi import Participant, Placet, Reject
from placet_contract.ids import nested_gid
from unit.sdk_initiator.conftest import LOST, announce, done, problem, transaction
from unit.sdk_participant.conftest import Note, calling, slug


class Order(BaseModel):
    """What the handler makes of an inner call that fails.

    Attributes:
        swallows: it goes on as if nothing had been.
        rejects: it refuses.
    """

    swallows: bool = False
    rejects: bool = False


@pytest.fixture
async def shop(serve):
    """A participant further inside, whose actions all succeed unless a test scripts it otherwise."""
    server = await serve()
    server.on("/try", done({"price": 5}))
    return server


@pytest.fixture
async def call(database, coordinator, shop, environment):
    """A participant whose every operation calls the shop in a transaction of its own making."""
    announce(coordinator, shop=[shop])
    middle = Participant("middle", session=database.beginning)
    DbSession = Annotated[AsyncSession, Depends(database.beginning)]  # noqa: N806 - a type

    async def act(cmd: Order, placet: Placet, db: DbSession) -> None:
        db.add(Note(words="acted"))
        await db.flush()
        try:
            async with placet.tcc("inner") as tx:
                await tx.call("shop/hold", {})
        except PlacetError:
            if cmd.rejects:
                raise Reject("nothing left") from None
            if not cmd.swallows:
                raise

    hold = middle.tcc("hold")(act)
    hold.confirm(act)
    hold.cancel(act)
    middle.saga("book")(act)
    app = FastAPI(lifespan=middle.lifespan)
    app.include_router(middle.router)
    async with app.router.lifespan_context(app), calling(app) as caller:
        caller.shop = shop
        yield caller


async def test_transaction_begun_in_a_try_joins_it(call, coordinator, shop):
    """The inner branch is registered with the outer transaction, which alone decides."""
    assert (await call("hold/try", {}, branch_id="7")).status_code == 200
    assert [request.path for request in coordinator.sent("/branches")] == ["/v1/transactions/g/branches"]
    assert coordinator.sent("/v1/transactions") == coordinator.sent("/commit") == []
    inner = shop.requests[0].headers
    assert (inner["placet-gid"], inner["placet-branch"]) == ("g", "7.1")
    assert int(inner["placet-deadline-ms"]) <= 5_000


@pytest.mark.parametrize("operation", ["confirm", "cancel", "action"])
async def test_transaction_begun_elsewhere_has_its_own_outcome_and_a_gid_that_a_repeat_finds(
    call, coordinator, operation
):
    """An action may run again, so the inner transaction is the same one however often it does."""
    path = "book/action" if operation == "action" else f"hold/{operation}"
    if operation != "action":
        assert (await call("hold/try", {})).status_code == 200
    assert (await call(path, {})).status_code == 200
    (begun,) = coordinator.sent("/v1/transactions")
    assert begun.body["gid"] == nested_gid("g", "1", operation, 1)
    assert begun.body["parent"] == "g/1"
    assert coordinator.sent("/commit")[0].gid == begun.body["gid"]


FAILURES = pytest.mark.parametrize(
    "answer", [problem(409, "rejected", detail="no"), LOST], ids=["inner-rejected", "inner-unknown"]
)


@FAILURES
@pytest.mark.parametrize("handler", ["swallows", "raises", "rejects"])
async def test_inner_call_that_is_not_done_aborts_before_the_answer(call, coordinator, database, answer, handler):
    """It can't be undone alone, so the whole is durably aborted whatever the handler makes of it; its work is gone."""
    call.shop.on("/try", answer)
    seen = []
    coordinator.on("/abort", lambda request: (seen.append(database.notes()), transaction(request, "aborting"))[1])
    response = await call("hold/try", {} if handler == "raises" else {handler: True})
    assert response.status_code == (500 if handler == "raises" else 409)
    assert [request.gid for request in coordinator.sent("/abort")] == ["g"]
    assert seen == [[]]
    assert database.notes() == []
    assert database.rows() == ([("1", "rejected", None, '"nothing left"')] if handler == "rejects" else [])
    if handler == "swallows":
        assert (slug(response), response.headers["placet-outcome"]) == ("late", "g/1/try")


@FAILURES
async def test_answer_is_unknown_when_the_abort_is_not_known(call, coordinator, shop, database, answer):
    """Nobody may hear that the try is done, nor that it is refused for good: the outer one could still commit."""
    shop.on("/try", answer)
    coordinator.on("/abort", problem(409, "conflict", transaction_status="committed"))
    response = await call("hold/try", {"swallows": True})
    assert response.status_code == 500
    assert response.headers.get("placet-outcome") is None
    assert (database.notes(), database.rows()) == ([], [])


async def test_transaction_of_a_saga_action_dooms_nothing(call, coordinator, shop, database):
    """It has an outcome of its own, aborted here; the action may well go on without it."""
    shop.on("/try", problem(409, "rejected", detail="no"))
    assert (await call("book/action", {"swallows": True})).status_code == 200
    assert [request.gid for request in coordinator.sent("/abort")] == [nested_gid("g", "1", "action", 1)]
    assert database.notes() == ["acted"]


async def test_synchronous_handlers_have_the_context_in_their_thread(database, coordinator, shop, environment):
    """`placet.sync` in a `def` handler joins as `placet` does in an `async def` one."""
    announce(coordinator, shop=[shop])
    middle = Participant("middle", session=database.sync_beginning)

    @middle.tcc("hold")
    def hold(cmd: Order, placet: Placet) -> str:
        with placet.sync.tcc("inner") as tx:
            tx.call("shop/hold", {})
        branch = current_branch()
        assert branch is not None
        return branch.branch_id

    @hold.confirm
    def _(cmd: Order) -> None: ...

    @hold.cancel
    def _(cmd: Order) -> None: ...

    app = FastAPI(lifespan=middle.lifespan)
    app.include_router(middle.router)
    async with app.router.lifespan_context(app), calling(app) as caller:
        assert (await caller("hold/try", {}, branch_id="7")).json() == "7"
    assert shop.requests[0].headers["placet-branch"] == "7.1"
    assert current_branch() is None


async def test_abort_is_sent_without_a_lifespan_too(database, coordinator, shop, environment):
    """A test of the application may call it without starting it; the promise holds all the same."""
    announce(coordinator, shop=[shop])
    shop.on("/try", problem(409, "rejected"))
    middle = Participant("middle", session=database.beginning)

    @middle.tcc("hold")
    async def hold(cmd: Order) -> None:
        async with Client() as placet:
            with suppress(PlacetError):
                async with placet.tcc("inner") as tx:
                    await tx.call("shop/hold")

    app = FastAPI()
    app.include_router(middle.router)
    async with calling(app) as caller:
        assert (await caller("hold/try", {})).status_code == 409
    assert [request.gid for request in coordinator.sent("/abort")] == ["g"]
