"""A saga: planned here, begun in one repeatable request, waited for without polling."""

import asyncio

import pytest

from placet.client import Client
from placet.errors import Aborted, ContentDiffers, CoordinatorOverloaded, CoordinatorUnavailable, OutcomeUnknown
from placet.saga import Retry

from .conftest import HUNG, LOST, Answer, problem, transaction
from .views import view


@pytest.fixture
def saga(placet):
    planned = placet.saga("trip", gid="trip-1", key="t")
    planned.step("hotel/book", {"nights": 2})
    return planned


async def test_the_plan_stands_on_the_wire_as_it_was_written(placet, coordinator):
    """Steps in order, each with its own limits; what is left out is left to the coordinator."""
    saga = placet.saga("trip", gid="trip-1", key="t-7", timeout="1h")
    assert saga.step("hotel/book", {"nights": 2}) == "hotel.book"
    saga.step("car/rent", after=[], compensate=False, headers={"x": "y"}, envelope=True)
    saga.step(
        "flight/book",
        {"row": 3},
        after=["hotel/book", "car.rent"],
        retry=Retry(for_="10m", attempts=4, first=0.5, cap="1m"),
        pivot=True,
        timeout=3,
    )
    saga.step({"action": "http://127.0.0.1:1/a", "compensate": "http://127.0.0.1:1/c"})
    run = await saga.submit()
    assert (str(run), run.gid, run.node) == ("trip-1", "trip-1", "n1")
    assert coordinator.requests[0].body == {
        "pattern": "saga",
        "gid": "trip-1",
        "name": "trip",
        "key": "t-7",
        "timeout_ms": 3_600_000,
        "branches": [
            {"branch_id": "hotel.book", "target": "hotel/book", "payload": {"nights": 2}},
            {
                "branch_id": "car.rent",
                "target": "car/rent",
                "payload": None,
                "headers": {"x": "y"},
                "envelope": True,
                "after": [],
                "compensate": False,
            },
            {
                "branch_id": "flight.book",
                "target": "flight/book",
                "payload": {"row": 3},
                "after": ["hotel.book", "car.rent"],
                "pivot": True,
                "timeout_ms": 3_000,
                "retry": {"max_attempts": 4, "for_ms": 600_000, "first_ms": 500, "cap_ms": 60_000},
            },
            {
                "branch_id": "step-4",
                "target": {"action": "http://127.0.0.1:1/a", "compensate": "http://127.0.0.1:1/c"},
                "payload": None,
            },
        ],
    }


async def test_mistakes_in_a_plan_are_told_before_anything_is_sent(placet, coordinator):
    """No step, an unknown predecessor, a name used twice, a bad gid, an unreadable duration."""
    saga = placet.saga("trip", gid="trip-1")
    with pytest.raises(ValueError, match="has no step"):
        await saga.submit()
    saga.step("hotel/book")
    with pytest.raises(ValueError, match="no earlier step"):
        saga.step("car/rent", after=["flight/book"])
    with pytest.raises(ValueError, match="a branch_id of its own"):
        saga.step("hotel/book")
    with pytest.raises(ValueError, match="gid"):
        placet.saga("trip", gid="a/b")
    with pytest.raises(ValueError, match="'10 minutes'"):
        Retry(for_="10 minutes")
    assert coordinator.requests == []


async def test_lost_submit_is_repeated_with_the_same_plan(saga, coordinator):
    """The gid makes it one saga however often it is sent."""
    coordinator.on("/v1/transactions", LOST, lambda request: transaction(request, "active", 201))
    await saga.submit()
    first, second = coordinator.sent("/v1/transactions")
    assert first.body == second.body


async def test_submit_without_an_answer_is_an_unknown_outcome(saga, coordinator):
    """The saga may run: that is no failure."""
    coordinator.on("/v1/transactions", LOST)
    with pytest.raises(OutcomeUnknown) as caught:
        await saga.submit(timeout=0.3)
    assert caught.value.gid == "trip-1"


async def test_submit_that_was_lost_and_then_shed_is_an_unknown_outcome(saga, coordinator):
    """The last answer says that it wrote nothing; the one before may have."""
    coordinator.on("/v1/transactions", LOST, problem(503, "overloaded", headers={"retry-after": "9"}))
    with pytest.raises(OutcomeUnknown):
        await saga.submit(timeout=0.5)


async def test_submit_that_was_only_shed_says_so(saga, coordinator):
    """Nothing was written, and the time to come back is given."""
    coordinator.on("/v1/transactions", problem(503, "overloaded", headers={"retry-after": "9"}))
    with pytest.raises(CoordinatorOverloaded) as caught:
        await saga.submit(timeout=0.5)
    assert caught.value.retry_after.total_seconds() == 9


async def test_submit_to_nobody_says_that_nothing_was_written(unused_tcp_port):
    """Refused connections leave no doubt."""
    async with Client(f"http://127.0.0.1:{unused_tcp_port}") as placet:
        saga = placet.saga("trip", gid="trip-1")
        saga.step("hotel/book")
        with pytest.raises(CoordinatorUnavailable) as caught:
            await saga.submit(timeout=0.2)
    assert not caught.value.maybe_written


@pytest.mark.parametrize(
    ("answer", "error"),
    [(problem(422, "content-differs"), ContentDiffers), (problem(409, "conflict", reason="initiator"), Aborted)],
)
async def test_submit_that_is_refused_is_not_repeated(saga, coordinator, answer, error):
    """Another plan under this gid, or an abort that came first."""
    coordinator.on("/v1/transactions", answer)
    with pytest.raises(error):
        await saga.submit()
    assert len(coordinator.requests) == 1


async def test_result_waits_at_the_coordinator_and_hands_out_results(saga, coordinator):
    """The second begin holds its answer until the saga is finished; results are typed on request."""
    coordinator.on(
        "POST /v1/transactions",
        lambda request: transaction(request, "active", 201),
        LOST,
        lambda request: transaction(request, "committed"),
    )
    coordinator.on(
        "GET /v1/transactions/trip-1",
        Answer(200, view("trip-1", "committed", {"hotel.book": {"room": 7}, "car.rent": None})),
    )
    result = await (await saga.submit()).result(timeout=5)
    assert result.results == {"hotel.book": {"room": 7}, "car.rent": None}
    assert result.of("hotel/book", dict[str, int]) == {"room": 7}
    assert result.view.status == "committed"
    waits = coordinator.sent("/v1/transactions")[1:]
    assert all("wait_ms=" in request.path for request in waits)


async def test_result_of_an_aborted_saga_names_the_cause(saga, coordinator):
    """The rejecting participant's words come along."""
    coordinator.on("POST /v1/transactions", lambda request: transaction(request, "aborted"))
    coordinator.on("POST /v1/transactions", lambda request: transaction(request, "active", 201))
    run = await saga.submit()
    coordinator.on("POST /v1/transactions", lambda request: transaction(request, "aborted"))
    said = view("trip-1", "aborted", {"hotel.book": None}, reason="rejected", rejection="no room")
    coordinator.on("GET /v1/transactions/trip-1", Answer(200, said))
    with pytest.raises(Aborted, match="no room") as caught:
        await run.result()
    assert caught.value.reason == "rejected"


@pytest.mark.parametrize("status", ["active", "committing"])
async def test_result_of_a_saga_still_running_is_unknown_yet(saga, coordinator, status):
    """The time is up; the status last seen is told."""
    coordinator.on("POST /v1/transactions", lambda request: transaction(request, status))
    coordinator.on("GET /v1/transactions/trip-1", Answer(200, view("trip-1", status, {})))
    run = await saga.submit()
    with pytest.raises(OutcomeUnknown) as caught:
        await run.result(timeout=0.2)
    assert caught.value.status == status
    assert len(coordinator.requests) < 20


async def test_result_of_a_saga_being_undone_is_aborted(saga, coordinator):
    """The decision is known although undoing goes on."""
    coordinator.on("POST /v1/transactions", lambda request: transaction(request, "aborting"))
    coordinator.on("GET /v1/transactions/trip-1", Answer(200, view("trip-1", "aborting", {}, reason="timeout")))
    run = await saga.submit()
    with pytest.raises(Aborted):
        await run.result(timeout=0.2)


async def test_result_from_a_silent_coordinator_is_unknown(saga, coordinator):
    """It ends at the time given."""
    run = await saga.submit()
    coordinator.on("POST /v1/transactions", HUNG)
    with pytest.raises(OutcomeUnknown):
        async with asyncio.timeout(3):
            await run.result(timeout=0.2)


async def test_wait_looks_until_it_is_finished(placet, coordinator):
    """Any gid can be waited for, through lost answers, too."""
    coordinator.on(
        "GET /v1/transactions/t-1",
        Answer(200, view("t-1", "committing", {})),
        LOST,
        Answer(200, view("t-1", "committed", {})),
    )
    assert (await placet.wait("t-1", timeout=5)).status == "committed"
    coordinator.on("GET /v1/transactions/t-2", Answer(200, view("t-2", "aborting", {})))
    with pytest.raises(OutcomeUnknown) as caught:
        await placet.wait("t-2", timeout=0.2)
    assert caught.value.status == "aborting"


async def test_driven_tcc_is_one_request_and_its_wait(placet, coordinator):
    """The coordinator calls the tries, decides, and holds the answer."""
    coordinator.on("POST /v1/transactions", lambda request: transaction(request, "active", 201))
    driven = placet.tcc_driven("order", gid="t-1", timeout=5).branch("shop/hold", {"sku": 1}).branch("pay/charge")
    coordinator.on(
        "POST /v1/transactions",
        lambda request: transaction(request, "active", 201),
        lambda request: transaction(request, "committed"),
    )
    coordinator.on("GET /v1/transactions/t-1", Answer(200, view("t-1", "committed", {"1": {"ok": 1}, "2": None})))
    assert (await driven.run()).of("1") == {"ok": 1}
    body = coordinator.requests[0].body
    assert (body["drive"], [branch["branch_id"] for branch in body["branches"]]) == (True, ["1", "2"])
    assert coordinator.sent("/commit") == []


async def test_driven_tcc_that_is_rejected_raises_aborted(placet, coordinator):
    """Its reason is the coordinator's."""
    coordinator.on("POST /v1/transactions", lambda request: transaction(request, "aborted", 201))
    coordinator.on("GET /v1/transactions/t-1", Answer(200, view("t-1", "aborted", {}, reason="rejected")))
    with pytest.raises(Aborted):
        await placet.tcc_driven("order", gid="t-1").branch("shop/hold").run()
    with pytest.raises(ValueError, match="has no branch"):
        await placet.tcc_driven("order").run()
