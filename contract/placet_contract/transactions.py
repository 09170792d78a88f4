"""Requests and replies of the transaction calls, as they stand in wire.md.

Unknown request fields are refused; null equals left out, but for `payload`, whose default is null. Payloads stay raw
JSON: the coordinator carries them and never looks inside.
"""

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from placet_contract.ids import BRANCH_ID_PATTERN, GID_PATTERN, PARENT_PATTERN
from placet_contract.limits import (
    KEY_LENGTH_MAX,
    NAME_LENGTH_MAX,
    REASON_TEXT_LENGTH_MAX,
    TARGET_LENGTH_MAX,
    TIME_MS_MAX,
    TIME_MS_MIN,
)
from placet_contract.vocabulary import Operation, Pattern

NULL = Raw(b"null")

GidText = Annotated[str, Meta(pattern=GID_PATTERN)]
BranchIdText = Annotated[str, Meta(pattern=BRANCH_ID_PATTERN)]
ParentText = Annotated[str, Meta(pattern=PARENT_PATTERN)]
NameText = Annotated[str, Meta(min_length=1, max_length=NAME_LENGTH_MAX)]
KeyText = Annotated[str, Meta(min_length=1, max_length=KEY_LENGTH_MAX)]
TargetText = Annotated[str, Meta(min_length=1, max_length=TARGET_LENGTH_MAX)]
TimeMs = Annotated[int, Meta(ge=TIME_MS_MIN, le=TIME_MS_MAX)]
Attempts = Annotated[int, Meta(ge=1, le=1_000_000)]


class RetryRequest(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How a call of a branch is repeated; the two limits bind only a saga's actions."""

    max_attempts: Attempts | None = None
    for_ms: TimeMs | None = None
    first_ms: TimeMs | None = None
    cap_ms: TimeMs | None = None


class BranchRequest(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One branch, as the initiator plans it."""

    branch_id: BranchIdText
    target: TargetText | dict[Operation, TargetText]
    payload: Raw = msgspec.field(default_factory=lambda: NULL)
    headers: dict[str, str] | None = None
    envelope: bool | None = None
    after: list[BranchIdText] | None = None
    pivot: bool | None = None
    compensate: bool | None = None
    timeout_ms: TimeMs | None = None
    retry: RetryRequest | None = None


class BeginRequest(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """`POST /v1/transactions`."""

    pattern: Pattern
    gid: GidText | None = None
    name: NameText | None = None
    key: KeyText | None = None
    parent: ParentText | None = None
    timeout_ms: TimeMs | None = None
    drive: bool | None = None
    branches: list[BranchRequest] | None = None


class RegisterRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /v1/transactions/{gid}/branches`."""

    branches: Annotated[list[BranchRequest], Meta(min_length=1)]


class CommitRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /v1/transactions/{gid}/commit`: nothing can be said."""


class AbortRequest(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """`POST /v1/transactions/{gid}/abort`."""

    reason_text: Annotated[str, Meta(max_length=REASON_TEXT_LENGTH_MAX)] | None = None


class FinishedRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /v1/transactions/finished`: which of these may a barrier forget?"""

    gids: Annotated[list[GidText], Meta(max_length=1_000)]


class FinishedReply(Struct, frozen=True):
    """Those that ended, and those that the coordinator does not know (never begun, or past its retention)."""

    finished: list[str]
    unknown: list[str]


class TransactionReply(Struct, frozen=True):
    """What every 2xx of begin, register, commit and abort says; it reports a durable state."""

    gid: str
    pattern: Pattern | None
    status: str
    reason: str | None
    version: int
    node: str


class BranchView(Struct, frozen=True, omit_defaults=True):
    """One branch as `GET` shows it; header values are masked."""

    branch_id: str
    target: str | dict[str, str]
    status: str
    payload: Raw = msgspec.field(default_factory=lambda: NULL)
    result: Raw | UnsetType = UNSET
    headers: dict[str, str] | UnsetType = UNSET
    after: list[str] | UnsetType = UNSET
    pivot: bool = False
    compensate: bool = True
    envelope: bool = False
    timeout_ms: int | UnsetType = UNSET
    attempts: int = 0
    next_attempt_at: str | None = None
    attention: str | None = None
    note: str | None = None


class AttemptView(Struct, frozen=True):
    """One failed or slow call of a branch."""

    branch_id: str
    op: str
    attempt: int
    outcome: str
    started_at: str
    duration_ms: int
    detail: str


class TimelineEntry(Struct, frozen=True, omit_defaults=True):
    """One line of a transaction's story, oldest first."""

    at: str
    event: str
    branch_id: str | None = None
    op: str | None = None
    detail: str | None = None


class TransactionView(Struct, frozen=True):
    """A transaction as `GET /v1/transactions/{gid}` and the list show it; the list leaves `timeline` out."""

    gid: str
    pattern: Pattern | None
    name: str | None
    key: str | None
    parent: str | None
    status: str
    reason: str | None
    reason_text: str | None
    attention: str | None
    heuristic: bool
    version: int
    created_at: str
    decided_at: str | None
    finished_at: str | None
    paused_at: str | None
    timeout_ms: int | None
    next_attempt_at: str | None
    drive: bool
    node: str
    branches: list[BranchView]
    attempts: list[AttemptView]
    timeline: list[TimelineEntry] | UnsetType = UNSET


class TransactionPage(Struct, frozen=True):
    """`GET /v1/transactions`."""

    items: list[TransactionView]
    next_cursor: str | None
