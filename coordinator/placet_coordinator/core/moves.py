"""The shape of a pattern's table: every (status, event) pair is exactly one of legal, harmless repeat, illegal."""

from collections.abc import Callable, Mapping
from enum import StrEnum

from msgspec import Struct

from placet_contract.vocabulary import Status
from placet_coordinator.core.events import Event
from placet_coordinator.core.transaction import Call, Transaction


class RefusalKind(StrEnum):
    """Why an event is refused; the edge turns it into an HTTP status."""

    DECIDED = "decided"
    """The other decision won, or the transaction is finished: 409."""
    CONTENT_DIFFERS = "content_differs"
    """The same id was used with other content: 422."""
    RULE = "rule"
    """The pattern has no such move at all: 422."""


class Refusal(Struct, frozen=True):
    """An illegal event: the kind, the rule in words, and the request's field where one is to blame."""

    kind: RefusalKind
    rule: str
    field: str | None = None


class Step(Struct, frozen=True):
    """What one event leads to.

    Attributes:
        transaction: as it is afterwards.
        calls: the calls to make, in order.
        awaited: the calls may go out only when this step is durable; else they may go out at once.
        refusal: the event was illegal; nothing changed.
    """

    transaction: Transaction
    calls: tuple[Call, ...] = ()
    awaited: bool = False
    refusal: Refusal | None = None


Handler = Callable[[Transaction, Event, int], Step]


class Legal(Struct, frozen=True):
    """A legal event: the rule that handles it, and the statuses it may lead to."""

    rule: Handler
    to: tuple[Status, ...]


class Repeat(Struct, frozen=True):
    """A harmless repeat: nothing changes, the answer is the state as it is."""


class Illegal(Struct, frozen=True):
    """An event that is refused in this status."""

    refusal: Refusal


REPEAT = Repeat()
COMMIT_WON = Illegal(Refusal(RefusalKind.DECIDED, "commit was decided; a decision never changes"))
ABORT_WON = Illegal(Refusal(RefusalKind.DECIDED, "abort was decided; a decision never changes"))
FINISHED = Illegal(Refusal(RefusalKind.DECIDED, "the transaction is finished: nothing is left to retry"))

Move = Legal | Repeat | Illegal
Table = Mapping[Status, Mapping[type[Event], Move]]


class PatternRules(Struct, frozen=True):
    """One pattern: its name, its table of moves, and what beginning one leads to."""

    name: str
    table: Table
    begun: Callable[[Transaction, int], Step]
