"""A repeated begin is compared, as decoded, with the plan as first begun."""

import json

import msgspec
import pytest

from placet_contract.transactions import BeginRequest
from placet_coordinator.core.moves import RefusalKind
from placet_coordinator.core.patterns.recorded_abort import recorded_abort
from placet_coordinator.core.plan import planned
from placet_coordinator.core.registration import same_plan
from placet_coordinator.core.transaction import Transaction
from unit.core.life import BEGUN_AT_MS, Life, plan_of

BRANCH = {"branch_id": "a", "target": "s/a", "payload": {"x": 1}, "headers": {"h": "1"}}
BODY = {"pattern": "saga", "name": "n", "key": "k", "parent": "p/b", "timeout_ms": 9_000, "branches": [BRANCH]}


def begun(body: dict | bytes) -> Transaction:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return planned(msgspec.json.decode(text, type=BeginRequest), "g", BEGUN_AT_MS)


def branch(**fields) -> dict:
    return {**BODY, "branches": [{**BRANCH, **fields}]}


@pytest.mark.parametrize(
    "again",
    [
        BODY,
        dict(reversed(BODY.items())),
        {**BODY, "drive": None},
        branch(timeout_ms=10_000, compensate=True, pivot=False, envelope=None, after=[]),
        branch(retry={"first_ms": 200, "cap_ms": 60_000, "for_ms": 86_400_000, "max_attempts": None}),
        json.dumps(BODY, indent=3).encode(),
    ],
)
def test_same_content_in_another_spelling_is_the_same(again):
    """Order of members, white space, null, and defaults that are spelt out make no difference."""
    assert same_plan(begun(BODY), begun(again))


@pytest.mark.parametrize(
    "other",
    [
        {**BODY, "pattern": "tcc"},
        {**BODY, "name": "m"},
        {**BODY, "name": None},
        {**BODY, "key": "l"},
        {**BODY, "parent": None},
        {**BODY, "timeout_ms": 9_001},
        {**BODY, "branches": [BRANCH, {**BRANCH, "branch_id": "b"}]},
        branch(branch_id="b"),
        branch(target="s/b"),
        branch(payload={"x": 2}),
        branch(payload=None),
        branch(headers={}),
        branch(envelope=True),
        branch(compensate=False),
        branch(pivot=True),
        branch(timeout_ms=1),
        branch(retry={"max_attempts": 1}),
    ],
)
def test_other_content_is_other_content(other):
    """Each member counts."""
    assert not same_plan(begun(BODY), begun(other))


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ('{"a":1,"b":[{}]}', '{ "b": [ {} ], "a": 1 }', True),
        ('"\\u0041"', '"A"', True),
        ("[1,2]", "[2,1]", False),
        ("1", "1.0", False),
        ("1", "true", False),
        ("0", "false", False),
        ("null", '""', False),
        ('{"a":null}', "{}", False),
        ("123456789012345678901234567890", "123456789012345678901234567891", False),
        ("123456789012345678901234567890", "123456789012345678901234567890", True),
    ],
)
def test_payloads_are_compared_as_decoded_and_strictly(one, other, is_same):
    """Python takes 1 for True and for 1.0: JSON does not."""
    bodies = [
        b'{"pattern":"tcc","branches":[{"branch_id":"a","target":"s/a","payload":%b}]}' % text.encode()
        for text in (one, other)
    ]
    assert same_plan(begun(bodies[0]), begun(bodies[1])) is is_same


def test_branches_registered_later_are_ignored():
    """A begin that is repeated does not know of them."""
    asked = plan_of("tcc", "a")
    life = Life(asked)
    life.register("b")
    assert life.begin_again(asked).refusal is None


@pytest.mark.parametrize(
    "happen", [lambda life: None, Life.commit, Life.abort, lambda life: (life.commit(), life.finish())]
)
def test_other_content_is_told_before_the_status(happen):
    """422 rather than 409, whatever became of the first."""
    life = Life.of("tcc", "a")
    happen(life)
    refusal = life.begin_again(plan_of("tcc", "b")).refusal
    assert refusal is not None
    assert refusal.kind is RefusalKind.CONTENT_DIFFERS


def test_recorded_abort_without_a_plan_is_always_409():
    """There is nothing to compare with: the gid is aborted."""
    life = Life.of("tcc")
    life.last = msgspec.structs.replace(life.last, transaction=recorded_abort("g", "gone", BEGUN_AT_MS))
    refusal = life.begin_again(plan_of("tcc", "a")).refusal
    assert refusal is not None
    assert refusal.kind is RefusalKind.DECIDED


def test_recorded_abort_says_why_and_may_be_repeated():
    """It is final from the start, and another abort is a repeat."""
    aborted = recorded_abort("g", "gave up", BEGUN_AT_MS)
    assert (aborted.status, aborted.reason, aborted.reason_text) == ("aborted", "initiator", "gave up")
    assert (aborted.pattern, aborted.next_due_at_ms, aborted.finished_at_ms) == (None, None, BEGUN_AT_MS)
    life = Life.of("tcc")
    life.last = msgspec.structs.replace(life.last, transaction=aborted)
    assert life.abort().transaction is aborted
    for ask in (life.commit, lambda: life.register("a")):
        refusal = ask().refusal
        assert refusal is not None
        assert refusal.kind is RefusalKind.DECIDED
