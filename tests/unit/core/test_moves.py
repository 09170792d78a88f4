"""The tables of legal moves, enumerated: every (status, event) pair, in every state that small transactions reach."""

import copy
import functools
from collections import defaultdict

import msgspec
import pytest

from placet_contract.vocabulary import Status
from placet_coordinator.core.events import EVENTS, Answered, Event
from placet_coordinator.core.moves import Illegal, Legal, Repeat
from placet_coordinator.core.patterns import PATTERNS
from placet_coordinator.core.patterns.recorded_abort import RECORDED_ABORT
from placet_coordinator.core.transaction import Transaction
from placet_coordinator.core.transitions import begin, rules_of, step
from unit.core.exploring import Taken, seeds, walk
from unit.core.invariants import check_step

RULES = {rules.name: rules for rules in PATTERNS.values()}
PAIRS = [
    pytest.param(name, status, event, id=f"{name}-{status}-{event.__name__}")
    for name, rules in RULES.items()
    for status in rules.table
    for event in EVENTS
]


@functools.cache
def steps_by_pair(name: str) -> dict[tuple[Status, type[Event]], list[Taken]]:
    """Return the same steps by status and event."""
    steps = defaultdict(list)
    for each in walk(name):
        steps[each[0].status, type(each[1])].append(each)
    return steps


@pytest.mark.parametrize("name", [name for name in RULES if name != RECORDED_ABORT.name])
def test_every_pattern_names_every_event_in_every_status(name):
    """No pair is left to chance: each table is the whole product of statuses and events."""
    table = RULES[name].table
    assert set(table) == set(Status)
    assert all(set(moves) == set(EVENTS) for moves in table.values())


def test_recorded_abort_is_final_and_names_every_event():
    """An abort without a begin has one status, and an answer to everything that may still come."""
    assert set(RECORDED_ABORT.table) == {Status.ABORTED}
    assert set(RECORDED_ABORT.table[Status.ABORTED]) == set(EVENTS)


@pytest.mark.parametrize(("name", "status", "event"), PAIRS)
def test_pair_is_exactly_one_of_legal_repeat_illegal(name, status, event):
    """A repeat and a refusal change nothing and call nobody; a legal move ends in one of its declared statuses."""
    move = RULES[name].table[status][event]
    taken = steps_by_pair(name)[status, event]
    assert taken or event is Answered, "the exploration reaches every pair; an answer needs a call"
    for before, _, result, _ in taken:
        assert rules_of(before) is RULES[name]
        if isinstance(move, Repeat):
            assert result.transaction is before
            assert not result.calls
            assert result.refusal is None
        elif isinstance(move, Illegal):
            assert result.transaction is before
            assert not result.calls
            assert result.refusal is not None
        else:
            assert isinstance(move, Legal)
            assert result.transaction.status in move.to


@pytest.mark.parametrize(("name", "status", "event"), PAIRS)
def test_every_declared_move_really_happens(name, status, event):
    """The tables, and the diagrams drawn from them, promise no arrow that no transaction ever takes."""
    move = RULES[name].table[status][event]
    if isinstance(move, Legal):
        reached = {result.transaction.status for _, _, result, _ in steps_by_pair(name)[status, event]}
        assert reached == set(move.to)


@pytest.mark.parametrize("name", list(RULES))
def test_every_step_keeps_the_promises(name):
    """One decision, all or nothing, no call twice at once, in order, and never forgotten: in every reachable state."""
    for before, _, taken, now_ms in walk(name):
        check_step(before, taken, now_ms)


@pytest.mark.parametrize("name", list(RULES))
def test_same_input_gives_the_same_step_and_stays_as_it_was(name):
    """A step depends on nothing but its arguments, and leaves them alone."""
    for before, event, taken, now_ms in walk(name)[::10]:
        untouched = copy.deepcopy(before)
        assert step(before, event, now_ms) == taken
        assert before == untouched


@pytest.mark.parametrize("name", list(RULES))
def test_change_of_status_is_always_awaited(name):
    """What follows a decision goes out only when the decision is durable."""
    for before, _, taken, _ in walk(name):
        if taken.transaction.status is not before.status:
            assert taken.awaited is True


@pytest.mark.parametrize("name", list(RULES))
def test_begin_is_awaited_and_repeatable(name):
    """Nothing is called before the transaction is durable, and beginning the same twice gives the same."""
    for seed in seeds(name):
        if seed.status is Status.ACTIVE:
            first = begin(seed, seed.created_at_ms)
            assert first.awaited is True
            assert first == begin(seed, seed.created_at_ms)
            assert first.transaction.status is Status.ACTIVE
            assert first.transaction.next_due_at_ms is not None


def test_every_status_is_reached_by_every_pattern():
    """The exploration is not blind: it sees each pattern in each of its statuses."""
    seen = defaultdict(set)
    for name in RULES:
        for before, _, taken, _ in walk(name):
            seen[name].update((before.status, taken.transaction.status))
    assert {name: seen[name] == set(rules.table) for name, rules in RULES.items()} == dict.fromkeys(RULES, True)


def test_step_leads_to_plain_data():
    """A step's result is plain data: what the row can't hold is not part of it."""
    for _, _, taken, _ in walk("saga")[:200]:
        text = msgspec.json.encode(taken.transaction)
        assert msgspec.json.decode(text, type=Transaction) == taken.transaction
