"""Names are resolved at each call, from what is remembered, and outlive the coordinator."""

import asyncio
import logging

import pytest

from placet.coordinator import Coordinator
from placet.directory import Directory, NoInstance

from .conftest import LOST, Answer, announce, problem


@pytest.fixture
async def directory(coordinator):
    async with Coordinator(coordinator.url) as asked:
        found = Directory(asked)
        yield found
        await found.aclose()


def instance(number, actions=()):
    return {
        "instance_id": str(number),
        "base_url": f"http://127.0.0.1:{7000 + number}/",
        "actions": {action: ["try"] for action in actions},
        "lease_until": "2999-01-01T00:00:00Z",
    }


def service(*instances):
    return Answer(200, {"service": "shop", "instances": list(instances)})


async def test_instances_take_turns_and_are_looked_up_once(directory, coordinator):
    """Round robin from memory: calls close together cost one lookup."""
    coordinator.on("/services/shop", service(instance(1), instance(2)))
    firsts = [(await directory.urls("shop/hold"))[0] for _ in range(4)]
    assert sorted(firsts) == [f"http://127.0.0.1:{port}/hold" for port in (7001, 7001, 7002, 7002)]
    assert firsts[0] != firsts[1]
    assert len(coordinator.requests) == 1


async def test_concurrent_first_calls_share_one_lookup(directory, coordinator):
    """A herd costs one request."""
    coordinator.on("/services/shop", service(instance(1)))
    await asyncio.gather(*(directory.urls("shop/hold") for _ in range(20)))
    assert len(coordinator.requests) == 1


async def test_an_instance_without_the_action_is_passed_over(directory, coordinator):
    """An older version of a service is not asked for what it does not offer."""
    coordinator.on("/services/shop", service(instance(1, ["sell"]), instance(2, ["hold"])))
    assert await directory.urls("shop/hold") == ["http://127.0.0.1:7002/hold"]


async def test_use_refreshes_in_the_background(directory, coordinator, monkeypatch):
    """A call after the refresh time is answered from memory, and starts a lookup for the next."""
    monkeypatch.setattr("placet.directory.REFRESH_SECONDS", 0.0)
    coordinator.on("/services/shop", service(instance(1)), service(instance(2)))
    assert await directory.urls("shop/hold") == ["http://127.0.0.1:7001/hold"]
    assert await directory.urls("shop/hold") == ["http://127.0.0.1:7001/hold"]
    await directory._services["shop"].lookup
    assert await directory.urls("shop/hold") == ["http://127.0.0.1:7002/hold"]


async def test_last_good_answer_outlives_the_coordinator(directory, coordinator, monkeypatch, caplog):
    """A coordinator that is down says nothing about the participants."""
    monkeypatch.setattr("placet.directory.STALE_SECONDS", 0.0)
    coordinator.on("/services/shop", service(instance(1)), LOST)
    with caplog.at_level(logging.WARNING, "placet.directory"):
        for _ in range(3):
            assert await directory.urls("shop/hold") == ["http://127.0.0.1:7001/hold"]
    assert len(coordinator.requests) == 3
    assert "its 1 instances are kept" in caplog.text


async def test_nobody_offers_it(directory, coordinator):
    """The message names the service, the action and where it was asked for."""
    announce(coordinator, shop=[])
    with pytest.raises(NoInstance, match=r"service 'shop' offers 'hold'.*http://127"):
        await directory.urls("shop/hold")


async def test_service_comes_up_after_a_call_in_vain(directory, coordinator):
    """Nothing is remembered of a service without instances."""
    coordinator.on("/services/shop", problem(404, "not-found"), service(), service(instance(1)))
    for _ in range(2):
        with pytest.raises(NoInstance):
            await directory.urls("shop/hold")
    assert await directory.urls("shop/hold") == ["http://127.0.0.1:7001/hold"]


async def test_absolute_url_is_taken_as_it_is(directory, coordinator):
    """No lookup for a URL."""
    assert await directory.urls("http://127.0.0.1:1/x") == ["http://127.0.0.1:1/x"]
    assert coordinator.requests == []


@pytest.mark.parametrize("target", ["shop", "shop/", "/hold", "shop/hold/try", "shop/höld", "ftp://host/x"])
async def test_a_target_of_neither_form_is_refused(directory, target):
    """The message says which forms there are."""
    with pytest.raises(ValueError, match="service/action"):
        await directory.urls(target)


async def test_names_remembered_are_bounded(directory, coordinator, monkeypatch):
    """The name unused for longest makes room."""
    monkeypatch.setattr("placet.directory.SERVICES_MAX", 2)
    for name in ("a", "b", "c"):
        coordinator.on(f"/services/{name}", service(instance(1)))
    for name in ("a", "b", "c", "b", "a"):
        await directory.urls(f"{name}/hold")
    assert [request.path[-1] for request in coordinator.requests] == ["a", "b", "c", "a"]
