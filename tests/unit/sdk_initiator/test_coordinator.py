"""The coordinator's single calls: one request each, a typed answer or a typed error."""

from datetime import timedelta

import pytest

from placet.coordinator import Coordinator
from placet.errors import (
    Conflict,
    ContentDiffers,
    CoordinatorOverloaded,
    CoordinatorRefused,
    CoordinatorUnavailable,
    TransactionNotFound,
)
from placet.settings import Settings
from placet_contract.services import InstanceRequest
from placet_contract.transactions import BeginRequest
from placet_contract.vocabulary import Operation, Pattern

from .conftest import HUNG, LOST, Answer, problem, transaction
from .views import view


@pytest.fixture
async def calls(coordinator):
    async with Coordinator(coordinator.url + "/", token="secret") as made:
        yield made


async def test_every_call_carries_the_token(calls, coordinator):
    """Reads and writes alike."""
    coordinator.on("GET /v1/transactions/t-1", Answer(200, view("t-1", "active", {})))
    await calls.commit("t-1")
    await calls.get("t-1")
    assert [request.headers["authorization"] for request in coordinator.requests] == ["Bearer secret"] * 2


async def test_a_list_is_asked_for_by_the_wires_words(calls, coordinator):
    """What is left out is not sent; names are escaped."""
    coordinator.on("GET /v1/transactions", Answer(200, {"items": [view("t-1", "active", {})], "next_cursor": "c2"}))
    page = await calls.list(status="active", name="ä b", attention=True, older_than="1m", parent="o/1", limit=7)
    assert ([each.gid for each in page.items], page.next_cursor) == (["t-1"], "c2")
    await calls.list(pattern="tcc", key="k", cursor="c2")
    queries = [request.path.partition("?")[2] for request in coordinator.requests]
    assert queries == [
        "status=active&name=%C3%A4+b&parent=o%2F1&attention=true&older_than_ms=60000&limit=7",
        "pattern=tcc&key=k&limit=50&cursor=c2",
    ]


async def test_services_are_announced_withdrawn_and_looked_up(calls, coordinator):
    """The paths and bodies of the wire."""
    coordinator.on("PUT /v1/services/shop/instances/one", Answer(200, {}))
    coordinator.on("DELETE /v1/services/shop/instances/one", Answer(204, b""))
    coordinator.on("GET /v1/services", Answer(200, {"items": [{"service": "shop", "instances": 2}]}))
    await calls.announce(
        "shop", "one", InstanceRequest("http://127.0.0.1:1", {"hold": [Operation.TRY]}, lease_ms=9_000)
    )
    await calls.withdraw("shop", "one")
    assert [(each.service, each.instances) for each in (await calls.services()).items] == [("shop", 2)]
    assert coordinator.requests[0].body == {
        "base_url": "http://127.0.0.1:1",
        "actions": {"hold": ["try"]},
        "lease_ms": 9_000,
    }


async def test_finished_is_asked_in_pages_of_a_thousand(calls, coordinator):
    """A larger page is refused before it is sent."""
    coordinator.on("/finished", Answer(200, {"finished": ["a"], "unknown": ["b"]}))
    reply = await calls.finished(["a", "b", "c"])
    assert (reply.finished, reply.unknown) == (["a"], ["b"])
    with pytest.raises(ValueError, match="in pages"):
        await calls.finished(["a"] * 1_001)
    assert len(coordinator.requests) == 1


@pytest.mark.parametrize(
    ("answer", "error", "maybe_written"),
    [
        (problem(404, "not-found"), TransactionNotFound, False),
        (problem(409, "conflict"), Conflict, False),
        (problem(422, "content-differs"), ContentDiffers, False),
        (problem(422, "rule", field="gid", rule="short"), CoordinatorRefused, False),
        (problem(401, "unauthorized"), CoordinatorRefused, False),
        (problem(503, "overloaded"), CoordinatorOverloaded, False),
        (problem(500, "internal"), CoordinatorUnavailable, True),
        (problem(500, "unavailable"), CoordinatorUnavailable, True),
        (problem(503, "unavailable"), CoordinatorUnavailable, True),
        (problem(418, "never-heard-of"), CoordinatorRefused, False),
        (Answer(503, b"busy", {"retry-after": "1"}), CoordinatorUnavailable, True),
        (
            Answer(409, {"type": "https://example.org/conflict", "title": "x", "status": 409}),
            CoordinatorUnavailable,
            True,
        ),
        (Answer(200, {"gid": "another"}), CoordinatorUnavailable, True),
        (Answer(301, b"", {"location": "/elsewhere"}), CoordinatorUnavailable, True),
        (LOST, CoordinatorUnavailable, True),
        (HUNG, CoordinatorUnavailable, True),
    ],
    ids=lambda value: f"{value.status}" if isinstance(value, Answer) else None,
)
async def test_errors_say_whether_anything_may_have_been_written(calls, coordinator, answer, error, maybe_written):
    """Only the coordinator's own words leave no doubt, and each call is sent once."""
    coordinator.on("/commit", answer)
    with pytest.raises(error) as caught:
        await calls.commit("t-1", timeout=0.2)
    assert type(caught.value) is error
    assert caught.value.maybe_written == maybe_written
    assert len(coordinator.requests) == 1


async def test_answer_about_another_gid_is_none(calls, coordinator):
    """A mixed-up proxy must not commit one transaction by another's answer."""
    coordinator.on("/commit", lambda request: transaction(request, "committed", gid="t-2"))
    with pytest.raises(CoordinatorUnavailable):
        await calls.commit("t-1")


@pytest.mark.parametrize(
    ("said", "seconds"), [("7", 7), ("9999999", 60), ("Wed, 21 Oct 2026 07:28:00 GMT", 1), ("", 1)]
)
async def test_retry_after_is_read_and_bounded(calls, coordinator, said, seconds):
    """A date, or nothing, counts as a second; nobody is sent away for longer than a minute."""
    coordinator.on("/commit", problem(503, "overloaded", headers={"retry-after": said}))
    with pytest.raises(CoordinatorOverloaded) as caught:
        await calls.commit("t-1")
    assert caught.value.retry_after == timedelta(seconds=seconds)


async def test_the_call_waits_as_long_as_it_asks_the_coordinator_to(calls, coordinator):
    """`wait` holds the answer there; the time for the answer itself comes on top, and a minute is the most."""
    await calls.begin(BeginRequest(pattern=Pattern.TCC, gid="t-1"), wait=2)
    await calls.commit("t-1", wait="1h")
    await calls.abort("t-1", wait="5ms", reason_text="no more")
    assert [request.path.partition("?")[2] for request in coordinator.requests] == [
        "wait_ms=2000",
        "wait_ms=60000",
        "wait_ms=5",
    ]
    assert coordinator.requests[-1].body == {"reason_text": "no more"}


@pytest.mark.parametrize("gid", ["", "a/b", "a?b", "ä", "x" * 129, "a\n"])
async def test_a_gid_that_would_be_another_path_is_not_sent(calls, coordinator, gid):
    """Ids stand in paths, so their alphabet is checked here, too."""
    for call in (calls.get, calls.commit, calls.abort):
        with pytest.raises(ValueError, match="1 to 128 characters"):
            await call(gid)
    with pytest.raises(ValueError, match="1 to 64 characters"):
        await calls.service(gid[:65])
    assert coordinator.requests == []


async def test_settings_come_from_the_environment(coordinator, monkeypatch):
    """`PLACET_URL` and `PLACET_TOKEN` serve a client that is made without arguments; the token is never shown."""
    from placet.client import Client  # noqa: PLC0415 - as a service would

    monkeypatch.setenv("PLACET_URL", coordinator.url)
    monkeypatch.setenv("PLACET_TOKEN", "from-environment")
    async with Client() as placet:
        await placet.coordinator.commit("t-1")
    assert coordinator.requests[0].headers["authorization"] == "Bearer from-environment"
    assert "from-environment" not in repr(Settings())
