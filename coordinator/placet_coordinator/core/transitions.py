"""`step`: the one way in which a transaction changes. Same transaction, event and time give the same step."""

from placet_coordinator.core.events import BeginAsked, Event
from placet_coordinator.core.moves import Illegal, Legal, PatternRules, Refusal, RefusalKind, Step
from placet_coordinator.core.patterns import PATTERNS
from placet_coordinator.core.registration import same_plan
from placet_coordinator.core.transaction import Transaction

_OTHER_CONTENT = Refusal(
    RefusalKind.CONTENT_DIFFERS, "this gid was begun with other content; use a gid for one transaction only", "gid"
)


def rules_of(transaction: Transaction) -> PatternRules:
    """Return the rules that the transaction follows."""
    return PATTERNS[transaction.pattern, transaction.drive]


def begin(transaction: Transaction, now_ms: int) -> Step:
    """Return the first step of a new transaction; it is always awaited: nothing is called before it is durable."""
    step = rules_of(transaction).begun(transaction, now_ms)
    return Step(step.transaction, step.calls, awaited=True)


def step(transaction: Transaction, event: Event, now_ms: int) -> Step:
    """Return what the event leads to.

    Args:
        transaction: as it is now.
        event: what happened or is asked.
        now_ms: the database's clock.

    Returns:
        The step. A refusal or a repeat leaves the very same transaction in it.
    """
    # Types are compared by identity: a struct's metaclass is an ABC, whose `isinstance` costs a microsecond for a no.
    if type(event) is BeginAsked and transaction.pattern is not None and not same_plan(transaction, event.asked):
        return Step(transaction, refusal=_OTHER_CONTENT)
    move = rules_of(transaction).table[transaction.status][type(event)]
    if type(move) is Legal:
        taken = move.rule(transaction, event, now_ms)
        if taken.awaited or taken.transaction.status is transaction.status:
            return taken
        return Step(taken.transaction, taken.calls, awaited=True, refusal=taken.refusal)
    if type(move) is Illegal:
        return Step(transaction, refusal=move.refusal)
    return Step(transaction)
