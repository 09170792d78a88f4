"""What a document changes in a running process, and what it can't."""

import asyncio

import pytest

from placet_rpc import ConnectionLost, LimitReached
from placet_rpc.configuration import LiveConfiguration, Verdict
from placet_rpc.configuration.live import CHANGES_MAX
from placet_rpc.context import CallContext
from placet_rpc.governance.access import AccessList, AccessRule
from placet_rpc.policies.degradation import Call
from unit.rpc.cluster.network import Stock
from unit.rpc.configuration.conftest import DOWN

FORCED = {"services": {"stock/1": {"methods": {"count": {"degrade": {"value": 7, "always": True}}}}}}


@pytest.fixture
async def client(make_client):
    return make_client()


@pytest.fixture
async def stock(client, network):
    """A service whose instances all fail."""
    stock = client.reference(Stock)
    client.chains.instances_of("stock/1").latest()
    for route in network.routes.values():
        route.always = ConnectionLost("m")
    return stock


async def attempts_of(network, call):
    """Awaits a call that fails, and returns how many requests it made."""
    before = sum(network.called.values())
    with pytest.raises(ConnectionLost):
        await call
    return sum(network.called.values()) - before


async def test_settings_hold_from_the_next_call_on_and_are_taken_back(client, network, stock, follow, said):
    """Of a service and of a method over it; what the next document does not name is the program's again."""
    await said({"services": {"stock/1": {"attempts": 2, "methods": {"count": {"attempts": 4}}}}})
    live = await follow(client=client)
    assert await attempts_of(network, stock.peek("A1")) == 2
    assert await attempts_of(network, stock.count()) == 4
    await said({"services": {"stock/1": {"methods": {"count": {"attempts": 1}}}}})
    assert await attempts_of(network, stock.peek("A1")) == 3
    assert await attempts_of(network, stock.count()) == 1
    await said({})
    assert await attempts_of(network, stock.count()) == 3
    assert (live.rejected, live.trouble) == ("", "")


async def test_a_method_is_degraded_and_limited_by_a_document(client, network, stock, follow, said):
    """A forced value is answered without a call, typed as the method returns it; a rate refuses."""
    await follow(client=client)
    await said(FORCED)
    before = sum(network.called.values())
    assert await stock.count() == 7
    assert sum(network.called.values()) == before
    await said({"services": {"stock/1": {"rate": {"per_second": 0.001}}}})
    await attempts_of(network, stock.peek("A1"))
    with pytest.raises(LimitReached):
        await stock.peek("A1")


async def test_a_substitute_of_the_program_is_chosen_by_its_name(client, stock, follow, said):
    """The document says which and whether always; a name that the program does not offer is refused."""
    live = await follow(client=client, substitutes={"cached": Call(lambda sku: f"cached {sku}")})
    await said({"services": {"stock/1": {"methods": {"peek": {"degrade": {"use": "cached", "always": True}}}}}})
    assert await stock.peek("A1") == "cached A1"
    await said({"services": {"stock/1": {"methods": {"peek": {"degrade": {"use": "nothing"}}}}}})
    assert "it offers cached" in live.rejected
    assert await stock.peek("A1") == "cached A1"


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (b"{", "truncated"),
        ({"service": {}}, "unknown field `service`"),
        ({"services": {"stock/1": {"atempts": 2}}}, "unknown field `atempts`"),
        ({"services": {"stock/1": {"attempts": 0}}}, "`int` >= 1"),
        ({"services": {"stock/1": {"breaker": {"open_first_ms": 90_000}}}}, "stock/1: open_first of a breaker"),
        ({"services": {"stock/1": {"backoff_first_ms": 9, "backoff_cap_ms": 8}}}, "at most backoff_cap_ms"),
        ({"services": {"stock/1": {"degrade": {"always": True}}}}, "either value or use"),
        ({"services": {"stock/1": {"cluster": "failsafe"}}}, "reserve can't be degraded to None"),
        ({"services": {"stock/1": {"methods": {"count": {"degrade": {"value": "x"}}}}}}, "count can't be degraded"),
        ({"services": {"stock/1": {"methods": {"weigh": {"attempts": 1}}}}}, "has no method weigh"),
        ({"services": {"nobody/1": {"balancer": "psychic"}}}, "psychic"),
        ({"services": {"nobody/1": {"cluster": "psychic"}}}, "psychic"),
        ({"access": [{"methods": "*", "alow": ["*"]}]}, "unknown field `alow`"),
    ],
)
async def test_a_rejected_document_changes_nothing_and_says_why(client, stock, follow, said, document, why):  # noqa: PLR0917 - fixtures and a case
    """Not a part of it holds, even where other parts are right; the audit names the cause."""
    rules = AccessList([AccessRule("*", ("app:order",))])
    live = await follow(client=client, access=rules)
    good = await said(FORCED | {"access": []})
    if isinstance(document, dict):
        document = {"services": {"a/1": {"attempts": 9}}} | document
    bad = await said(document)
    assert why in live.rejected
    assert live.revision == good
    assert await stock.count() == 7
    assert client.chains.overrides("a/1", "") == ({}, {})
    assert rules.rules == ()
    assert [(change.revision, change.verdict) for change in live.changes] == [
        (good, Verdict.APPLIED),
        (bad, Verdict.REJECTED),
    ]
    assert why in live.changes[-1].why
    await said(FORCED | {"access": []})
    assert live.rejected == ""


async def test_a_document_that_does_not_suit_the_last_of_many_services_leaves_the_first_as_it_was(
    client, network, stock, follow, said
):
    """Settings that were put in before the one that fails are taken out again, in the same turn of the loop."""
    live = await follow(client=client)
    await said({"services": {"a/1": {"attempts": 2}, "stock/1": {"attempts": 2}}})
    await said(
        {"services": {"a/1": {"attempts": 5}, "stock/1": {"attempts": 1, "methods": {"weigh": {"attempts": 1}}}}}
    )
    assert "weigh" in live.rejected
    assert client.chains.overrides("a/1", "")[0] == {"attempts": 2}
    assert await attempts_of(network, stock.peek("A1")) == 2


async def test_access_rules_are_replaced_and_given_back(follow, said):
    """While a document has rules they hold alone; without them the program's do."""
    rules = AccessList([AccessRule("stock/*", ("app:order",))])
    order, shop = (CallContext(identity=(f"app:{name}",)) for name in ("order", "shop"))
    await follow(access=rules)
    await said({"access": [{"methods": "stock/1.reserve", "allow": ["app:shop"]}]})
    assert rules.admits("stock/1.reserve", shop)
    assert not rules.admits("stock/1.reserve", order)
    await said({"services": {}})
    assert rules.admits("stock/1.reserve", order)
    assert not rules.admits("stock/1.reserve", shop)


async def test_the_audit_says_who_when_and_what(client, follow, said):
    """The source's word of who it was goes before the document's; differences are told member by member."""
    told = []
    live = await follow(client=client, on_change=told.append)
    await said({"changed_by": "ana", "reason": "incident 4711", "services": {"stock/1": {"timeout_ms": 800}}})
    more = {"changed_by": "ana", "services": {"stock/1": {"timeout_ms": 500, "breaker": None}}}
    await said(more, changed_by="ben", changed_at_ms=5)
    assert told == list(live.changes)
    first, second = told
    assert (first.changed_by, first.reason, first.changed_at_ms) == ("ana", "incident 4711", None)
    assert first.differences == ("services.stock/1.timeout_ms: (nothing) → 800",)
    assert (second.changed_by, second.changed_at_ms) == ("ben", 5)
    assert second.differences == (
        "services.stock/1.breaker: (nothing) → null",
        "services.stock/1.timeout_ms: 800 → 500",
    )
    assert live.counts == {Verdict.APPLIED: 2, Verdict.REJECTED: 0}


async def test_the_audit_in_memory_is_bounded(client, follow, said):
    """The latest are kept; the counts know of all."""
    live = await follow(client=client)
    for number in range(CHANGES_MAX + 5):
        await said({"reason": str(number)})
    assert len(live.changes) == CHANGES_MAX
    assert live.changes[-1].reason == str(CHANGES_MAX + 4)
    assert live.counts[Verdict.APPLIED] == CHANGES_MAX + 5


async def test_a_source_that_is_down_or_empty_changes_nothing(board, client, stock, follow, said):
    """A source that has lost its memory flips no switch back; what it says afterwards holds again."""
    live = await follow(client=client)
    await said(FORCED)
    board.fail(DOWN)
    await asyncio.sleep(60)
    assert live.trouble == "it is down"
    assert live.age.total_seconds() > 50
    assert await stock.count() == 7
    board.take_away()
    board.fail(None)
    await asyncio.sleep(10)
    assert live.trouble == "there is no document"
    assert await stock.count() == 7
    board.fail(RuntimeError("an adapter with a fault"))
    await asyncio.sleep(10)
    assert live.trouble == "RuntimeError"
    board.fail(None)
    await asyncio.sleep(10)
    await said({"services": {"stock/1": {"methods": {"count": {"degrade": {"value": 8, "always": True}}}}}})
    assert await stock.count() == 8
    assert (live.trouble, live.rejected) == ("", "")


async def test_a_process_starts_without_its_source(board, client, network, stock, clock):
    """The program's own settings hold until there is a first word, and the start does not wait for ever."""
    board.fail(DOWN)
    board.say({"services": {"stock/1": {"attempts": 1}}})
    began_at = clock.monotonic()
    async with LiveConfiguration(board, client=client, clock=clock) as live:
        assert clock.monotonic() - began_at < 5
        assert (live.age, live.revision) == (None, "")
        assert await attempts_of(network, stock.peek("A1")) == 3
        board.fail(None)
        await asyncio.sleep(10)
        assert await attempts_of(network, stock.peek("A1")) == 1
    assert board.closed


async def test_a_document_is_judged_once(board, client, follow, said):
    """A watch that begins anew with the same document applies and counts nothing."""
    live = await follow(client=client)
    await said({"atempts": 1})
    board.fail(DOWN)
    await asyncio.sleep(10)
    board.fail(None)
    await asyncio.sleep(10)
    assert board.watches > 1
    assert len(live.changes) == 1


async def test_there_is_something_to_configure(board):
    """Neither a client nor an access list is a mistake."""
    with pytest.raises(ValueError, match="nothing to configure"):
        LiveConfiguration(board)
