"""A participant announces itself while it runs, whether or not the coordinator is there."""

import asyncio
import logging
from datetime import timedelta

import pytest
from fastapi import FastAPI
from pydantic import BaseModel

from placet import CoordinatorRefused, announcement
from placet.fastapi import Participant
from unit.sdk_initiator.conftest import Answer, problem

LIMIT_SECONDS = 10


class Order(BaseModel):
    """A payload."""


@pytest.fixture
def stock(database) -> Participant:
    """A participant with an action of each pattern."""
    made = Participant("stock", session=database.beginning)

    async def act(cmd: Order) -> None: ...

    hold = made.tcc("hold")(act)
    hold.confirm(act)
    hold.cancel(act)
    made.saga("book")(act).compensate(act)
    return made


async def until(condition) -> None:
    async with asyncio.timeout(LIMIT_SECONDS):
        while not condition():  # noqa: ASYNC110 - the server has no event for it
            await asyncio.sleep(0.01)


async def test_instance_is_announced_and_withdrawn(stock, coordinator, environment):
    """Its address, actions and memory stand in the directory for as long as it runs."""
    async with stock.running():
        (announced,) = coordinator.announcements()
        assert announced.path.startswith("/v1/services/stock/instances/")
        assert announced.body["base_url"] == "http://127.0.0.1:9999/placet"
        assert announced.body["actions"] == {"hold": ["try", "confirm", "cancel"], "book": ["action", "compensate"]}
        assert announced.body["barrier_retention_ms"] == 7 * 86_400_000
        assert announced.body["sdk"].startswith("placet-python/")
    (withdrawn,) = coordinator.announcements("DELETE")
    assert withdrawn.path == announced.path


async def test_announcement_is_repeated_before_its_lease_ends(stock, coordinator, environment, monkeypatch):
    """Three times within a lease, so that a lost one takes nothing away."""
    assert announcement.RENEWAL_SECONDS == 5
    monkeypatch.setattr(announcement, "RENEWAL_SECONDS", 0.01)
    async with stock.running():
        await until(lambda: len(coordinator.announcements()) >= 3)
    assert len({(request.path, str(request.body)) for request in coordinator.announcements()}) == 1


async def test_coordinator_that_is_down_does_not_keep_a_service_from_starting(
    stock, coordinator, environment, monkeypatch, caplog
):
    """It is told once it is there; the log says so once, not at every attempt."""
    monkeypatch.setattr(announcement, "FIRST_PAUSE_MS", 20)
    caplog.set_level(logging.INFO, "placet.announcement")
    coordinator.on_instances[:] = [Answer(cut=True)] * 3 + [problem(503, "overloaded"), Answer(200, {})]
    async with stock.running():
        await until(lambda: len(coordinator.announcements()) >= 5)
        await until(lambda: "is announced" in caplog.text)
    said = [record.levelname for record in caplog.records if record.name == "placet.announcement"]
    assert said == ["WARNING", "INFO"]
    assert len(coordinator.announcements("DELETE")) == 1


async def test_nobody_at_the_address_does_not_keep_a_service_from_starting(stock, environment, monkeypatch, caplog):
    """Nor does it keep it from stopping."""
    monkeypatch.setenv("PLACET_URL", "http://127.0.0.1:1")
    async with stock.running():
        pass
    assert "stock is not announced to http://127.0.0.1:1" in caplog.text


async def test_barrier_that_forgets_too_soon_is_an_error_of_the_start(database, coordinator, environment):
    """The coordinator may still ask for what the barrier has forgotten: the error names rule and remedy."""
    rule = "the barrier must not forget sooner than the coordinator: raise the retention to at least 604800000 ms"
    coordinator.on_instances[:] = [problem(422, "rule", field="barrier_retention_ms", rule=rule, limit=604_800_000)]
    made = Participant("stock", session=database.beginning, retention=timedelta(days=1))
    with pytest.raises(CoordinatorRefused, match="must not forget sooner") as caught:
        async with made.running():
            pytest.fail("it started")
    assert "Participant(retention=timedelta" in "".join(caught.value.__notes__)


async def test_service_without_an_address_says_so(stock, coordinator, environment, monkeypatch, caplog):
    """It takes part by URLs alone, and the log names what to set."""
    monkeypatch.delenv("PLACET_SELF_URL")
    async with stock.running():
        pass
    assert coordinator.announcements() == []
    assert "PLACET_SELF_URL" in caplog.text


async def test_lifespan_of_the_application_runs_it(stock, coordinator, environment):
    """`FastAPI(lifespan=stock.lifespan)` is all there is to write, and it may be started again."""
    app = FastAPI(lifespan=stock.lifespan)
    app.include_router(stock.router)
    for times in (1, 2):
        async with app.router.lifespan_context(app):
            assert len(coordinator.announcements()) == times
        assert len(coordinator.announcements("DELETE")) == times
