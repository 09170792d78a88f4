"""What a store has sent: counted where it is sent, so that budgets are facts."""

from dataclasses import dataclass


@dataclass
class Counters:
    """What was sent since the store was opened.

    Attributes:
        statements: what the database was asked to execute, BEGIN and COMMIT included where they are sent.
        commits: transactions that wrote, each a wait for the disk.
        round_trips: how often an answer was waited for.
        entries: journal entries in all batches.
        batches: journal batches, those of one entry on a side session included.
    """

    statements: int = 0
    commits: int = 0
    round_trips: int = 0
    entries: int = 0
    batches: int = 0
