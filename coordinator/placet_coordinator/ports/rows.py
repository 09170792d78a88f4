"""The rows that cross the store port: plain values, one field a column."""

from enum import StrEnum

from msgspec import Struct


class Row(Struct):
    """One row of `global_transaction`.

    `plan` and `progress` are JSON text. Instants are integer milliseconds since the epoch, by the database's clock.
    `next_due_at_ms` is None exactly in final rows. `written_by` is the boot id and entry number of the last write.
    """

    gid: str
    pattern: str | None
    name: str | None
    business_key: str | None
    parent: str | None
    status: str
    reason: str | None
    reason_text: str | None
    attention: str | None
    heuristic: bool
    paused_at_ms: int | None
    driven: bool
    version: int
    owner: str
    written_by: str
    format: int
    next_due_at_ms: int | None
    created_at_ms: int
    finished_at_ms: int | None
    plan: str
    progress: str


class AttemptRow(Struct, frozen=True):
    """One failed or slow call of a branch: a side row, inserted only if the write it rides with hits."""

    gid: str
    branch_id: str
    operation: str
    attempt: int
    outcome: str
    started_at_ms: int
    duration_ms: int
    detail: str


class EntryKind(StrEnum):
    """How a journal entry is guarded."""

    INSERT = "insert"
    """Hits if no row with this gid exists."""
    UPDATE = "update"
    """Hits if the row's version is `expected_version` and its format is not newer than ours."""
    DECIDE = "decide"
    """The one write not guarded by a version: hits if the row is active, of pattern tcc or xa, not driven, not paused,
    and of no newer format than ours; sets status, reason, reason_text, owner, written_by, next_due_at_ms, adds 1 to the
    version, and returns the row as it then is."""


class Entry(Struct):
    """One journal entry: one write to one gid, as the store must make it.

    `row` holds every column as it shall be after the write, for DECIDE only those it sets (the rest is ignored).
    An update never changes what a transaction was begun with: pattern, name, business_key, parent, driven and
    created_at_ms. `plan_changed` is False where it may leave the plan column, too. `written_by` is unique to the entry.
    """

    kind: EntryKind
    row: Row
    expected_version: int = 0
    plan_changed: bool = False
    attempts: tuple[AttemptRow, ...] = ()


class NodeRow(Struct, frozen=True):
    """One coordinator process: `boot_id` names one life of the node, `lease_until_ms` bounds its ownership."""

    node_id: str
    boot_id: str
    base_url: str
    format: int
    lease_until_ms: int


class InstanceRow(Struct, frozen=True):
    """One announced instance of a service; `actions` is JSON text."""

    service: str
    instance_id: str
    base_url: str
    actions: str
    sdk: str | None
    lease_until_ms: int
    tcp_url: str | None = None


class ListFilter(Struct, frozen=True):
    """Which transactions a list shows; None filters nothing. `before` is the cursor (created_at_ms, gid), exclusive."""

    status: str | None = None
    pattern: str | None = None
    name: str | None = None
    business_key: str | None = None
    parent: str | None = None
    attention: bool | None = None
    created_before_ms: int | None = None
    before: tuple[int, str] | None = None
