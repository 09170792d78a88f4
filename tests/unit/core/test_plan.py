"""From a request to a plan: defaults filled in, and every rule of wire.md with the field that breaks it."""

import msgspec
import pytest

from placet_contract.transactions import BeginRequest, BranchRequest
from placet_contract.vocabulary import Pattern
from placet_coordinator.core.plan import plan_branches, planned
from placet_coordinator.core.rule import RuleBroken
from unit.core.life import plan_of


def broken(*branches, pattern="tcc", **fields) -> RuleBroken:
    with pytest.raises(RuleBroken) as caught:
        plan_of(pattern, *branches, **fields)
    return caught.value


# --- defaults


def test_defaults_are_filled_in():
    """Stored with the plan, so that a later change of a default changes nothing that is begun."""
    tcc = plan_of("tcc", "a")
    (branch,) = tcc.branches
    assert tcc.timeout_ms == 30_000
    assert branch.timeout_ms == 10_000
    assert (branch.retry.first_ms, branch.retry.cap_ms) == (200, 60_000)
    assert (branch.retry.for_ms, branch.retry.max_attempts) == (None, None)
    assert bytes(branch.payload) == b"null"
    assert (branch.envelope, branch.headers) == (False, {})


def test_defaults_of_a_saga():
    """No timeout; actions 24 hours and attempts without limit; a step follows the one before and may be undone."""
    saga = plan_of("saga", "a", "b")
    assert saga.timeout_ms is None
    assert (saga.branches[0].retry.for_ms, saga.branches[0].retry.max_attempts) == (86_400_000, None)
    assert [branch.after for branch in saga.branches] == [(), ("a",)]
    assert [(branch.pivot, branch.compensate) for branch in saga.branches] == [(False, True)] * 2


def test_what_is_given_is_taken():
    """Each figure on its own: the others keep their defaults."""
    retry = {"max_attempts": 5, "for_ms": 9, "first_ms": 7, "cap_ms": 8}
    branch = plan_of("saga", {"branch_id": "a", "timeout_ms": 3, "retry": retry}, timeout_ms=4).branches[0]
    assert (branch.timeout_ms, branch.retry.max_attempts, branch.retry.for_ms) == (3, 5, 9)
    assert (branch.retry.first_ms, branch.retry.cap_ms) == (7, 8)
    partly = plan_of("saga", {"branch_id": "a", "retry": {"max_attempts": 5}}).branches[0].retry
    assert (partly.first_ms, partly.cap_ms, partly.for_ms) == (200, 60_000, 86_400_000)


def test_cap_follows_a_longer_first_delay():
    """Left out, it is never below the first."""
    retry = plan_of("tcc", {"branch_id": "a", "retry": {"first_ms": 90_000}}).branches[0].retry
    assert (retry.first_ms, retry.cap_ms) == (90_000, 90_000)


def test_plan_keeps_what_the_request_says_of_the_whole():
    """Name, key and parent are searched by; `drive` is part of what a begin is compared with."""
    request = BeginRequest(pattern=Pattern.TCC, name="transfer", key="order-1", parent="p/b")
    plan = planned(request, "g", 5, traceparent="00-1")
    assert (plan.gid, plan.name, plan.key, plan.parent, plan.created_at_ms) == ("g", "transfer", "order-1", "p/b", 5)
    assert (plan.drive, plan.traceparent, plan.begun_count) == (False, "00-1", 0)


# --- rules of the whole


@pytest.mark.parametrize("pattern", ["xa", "local_message", "transactional_message", "notification"])
def test_pattern_that_this_build_does_not_drive_is_refused(pattern):
    """By name, with those that it drives."""
    error = broken(pattern=pattern)
    assert error.field == "pattern"
    assert "tcc and saga" in error.rule


def test_only_a_tcc_can_be_driven():
    """A saga always is."""
    assert broken("a", pattern="saga", drive=True).field == "drive"
    assert plan_of("saga", "a", drive=False).drive is False


@pytest.mark.parametrize("fields", [{"pattern": "saga"}, {"pattern": "tcc", "drive": True}])
def test_saga_and_driven_tcc_need_a_branch(fields):
    """Both are whole from the start; a tcc by hand may begin empty."""
    error = broken(**fields)
    assert error.field == "branches"
    assert plan_of("tcc").branches == ()


def test_branches_have_a_number():
    """1,000 by default, whoever sends them."""
    many = [{"branch_id": f"b{number}"} for number in range(1_001)]
    error = broken(*many)
    assert (error.field, error.limit) == ("branches", 1_000)
    assert len(plan_of("tcc", *many[:-1]).branches) == 1_000
    few = [BranchRequest(branch_id=name, target="s/a") for name in "abc"]
    with pytest.raises(RuleBroken) as caught:
        plan_branches(few, Pattern.TCC, drive=False, branches_max=2)
    assert caught.value.limit == 2


def test_branch_id_stands_once_in_a_request():
    """The second of two is named."""
    error = broken("a", "b", "a")
    assert error.field == "branches[2].branch_id"
    assert plan_of("tcc", "a", "A").branches[1].branch_id == "A", "ids are bytes: case tells them apart"


def test_cap_below_the_first_delay_is_refused():
    """It would never be reached."""
    error = broken({"branch_id": "a", "retry": {"first_ms": 500, "cap_ms": 499}})
    assert (error.field, error.limit) == ("branches[0].retry.cap_ms", 500)


@pytest.mark.parametrize(
    ("field", "value"), [("after", []), ("pivot", True), ("pivot", False), ("compensate", False), ("compensate", True)]
)
def test_order_belongs_to_sagas(field, value):
    """Outside a saga these words are refused, even where they would change nothing."""
    error = broken("a", {"branch_id": "b", field: value})
    assert error.field == f"branches[1].{field}"


# --- targets

URL = "http://127.0.0.1:7001/a"


@pytest.mark.parametrize(
    "target",
    [
        "shop/buy",
        "A.b_c-9/x",
        URL,
        "https://shop.example",
        "http://[::1]:7001/a/b",
        "http://h/%20x",
        "http://h:65535/a",
    ],
)
def test_target_is_a_name_or_an_absolute_url(target):
    """`service/action`, or http(s) with a host."""
    assert plan_of("tcc", {"branch_id": "a", "target": target}).branches[0].target == target


@pytest.mark.parametrize(
    "target",
    [
        "shop",
        "shop/",
        "/buy",
        "shop/buy/now",
        "shop/b uy",
        "sh\u00f6p/buy",
        "s" * 65 + "/buy",
        "//host/path",
        "ftp://host/a",
        "file:///etc/passwd",
        "unix://socket/a",
        "http://",
        "http:///a",
        "http:/host/a",
        "http://user@host/a",
        "http://user:secret@host/a",
        "http://@host/a",
        "http://host/a?x=1",
        "http://host/a?",
        "http://host/a#x",
        "http://host/a#",
        "http://host/a b",
        "http://host/a\r\nx-evil: 1",
        "http://host\\@evil/a",
        "http://h\u00f6st/a",
        "http://host:0/a",
        "http://host:65536/a",
        "http://host:x/a",
        "http://[::1/a",
        "http://[fe80::1%25eth0]/a",
        "http://*.example/a",
        "http://-a/a",
    ],
)
def test_anything_else_is_no_target(target):
    """Userinfo, query, fragment, other schemes, characters that would split a request, hosts that can't be called."""
    for around in (target, {"confirm": target, "cancel": URL}):
        if isinstance(around, dict) and "://" not in target:
            continue
        error = broken({"branch_id": "a", "target": around})
        assert error.field.startswith("branches[0].target")


def test_name_is_no_url_in_an_object_target():
    """There each operation has an absolute URL of its own."""
    error = broken({"branch_id": "a", "target": {"confirm": "shop/confirm", "cancel": URL}})
    assert error.field == "branches[0].target.confirm"


@pytest.mark.parametrize(
    ("pattern", "fields", "owed"),
    [
        ("tcc", {}, ("confirm", "cancel")),
        ("tcc", {"drive": True}, ("confirm", "cancel", "try")),
        ("saga", {}, ("action",)),
    ],
)
def test_object_target_names_what_will_be_called(pattern, fields, owed):
    """Each of them: a missing one would be found too late."""
    whole = dict.fromkeys(owed, URL)
    assert plan_of(pattern, {"branch_id": "a", "target": whole}, **fields).branches[0].target == whole
    for missing in owed:
        less = {operation: url for operation, url in whole.items() if operation != missing}
        error = broken({"branch_id": "a", "target": less}, pattern=pattern, **fields)
        assert error.field == "branches[0].target"
        assert missing in error.rule


# --- headers


@pytest.mark.parametrize("name", ["X-Tenant", "authorization", "x_1", "accept"])
def test_headers_of_a_branch_are_kept(name):
    """Sent with each call as they are."""
    assert plan_of("tcc", {"branch_id": "a", "headers": {name: "v 1"}}).branches[0].headers == {name: "v 1"}


@pytest.mark.parametrize("name", ["", "a b", "a:b", "x\r\ny", "h\u00e4", "-", "__", "a/b"])
def test_header_name_is_letters_digits_and_two_marks(name):
    """Nothing that could end a line."""
    assert broken({"branch_id": "a", "headers": {name: "v"}}).field == "branches[0].headers"


@pytest.mark.parametrize(
    "name",
    [
        "placet-gid",
        "Placet-Anything",
        "Idempotency-Key",
        "traceparent",
        "Host",
        "Content-Length",
        "content-type",
        "Connection",
        "Transfer-Encoding",
        "Expect",
        "te",
        "Trailer",
        "Upgrade",
        "Keep-Alive",
        "proxy-connection",
    ],
)
def test_headers_of_the_coordinator_and_the_transport_are_not_a_plans_to_set(name):
    """Whatever their case."""
    error = broken({"branch_id": "a", "headers": {name: "v"}})
    assert error.field == f"branches[0].headers.{name}"


@pytest.mark.parametrize("value", ["a\nb", "a\r", "a\0", "\u00e4", "x" * 4_097])
def test_header_value_is_printable_ascii_of_some_length(value):
    """Nothing that could begin another header."""
    error = broken({"branch_id": "a", "headers": {"x-a": value}})
    assert (error.field, error.limit) == ("branches[0].headers.x-a", 4_096)


def test_headers_have_a_number():
    """32 a branch."""
    names = {f"x-{number}": "" for number in range(33)}
    error = broken({"branch_id": "a", "headers": names})
    assert (error.field, error.limit) == ("branches[0].headers", 32)
    names.popitem()
    assert len(plan_of("tcc", {"branch_id": "a", "headers": names}).branches[0].headers) == 32


def test_rule_is_told_as_field_rule_and_limit():
    """The edge answers 422 with these three members; as text it reads as one line."""
    error = broken(*[{"branch_id": f"b{number}"} for number in range(1_001)])
    assert str(error) == "branches: a transaction has at most 1000 branches"


def test_payload_of_any_json_is_carried_as_it_is():
    """Spelling and order are the caller's."""
    text = b'[{"branch_id":"a","target":"s/a","payload":{"z":1.0,"a":[1e2]}}]'
    (branch,) = plan_branches(msgspec.json.decode(text, type=list[BranchRequest]), Pattern.TCC, drive=False)
    assert bytes(branch.payload) == b'{"z":1.0,"a":[1e2]}'
