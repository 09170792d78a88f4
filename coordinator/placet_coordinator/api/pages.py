"""The list of transactions: its query, its cursor, and how much of it one answer holds."""

import base64
import binascii
from typing import Annotated

from msgspec import Meta, Struct
from msgspec.structs import replace

from placet_contract.ids import matches_gid
from placet_contract.limits import LIST_LIMIT, LIST_LIMIT_MAX, TIME_MS_MAX
from placet_contract.transactions import KeyText, NameText, ParentText
from placet_contract.vocabulary import Pattern, Status
from placet_coordinator.core.rule import RuleBroken
from placet_coordinator.ports.rows import ListFilter, Row
from placet_coordinator.ports.store import TransactionStore

ROWS_PER_READ = 50
"""Rows are read in portions, so that a page of large plans never stands in memory as a whole."""
PAGE_BYTES_MAX = 8 * 1_048_576
"""A page ends early once its documents pass this; the cursor goes on from there."""
_CREATED_AT_DIGITS_MAX = 18


class ListQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """The query of `GET /v1/transactions`."""

    status: Status | None = None
    pattern: Pattern | None = None
    name: NameText | None = None
    key: KeyText | None = None
    parent: ParentText | None = None
    attention: bool | None = None
    older_than_ms: Annotated[int, Meta(ge=0, le=TIME_MS_MAX)] | None = None
    limit: Annotated[int, Meta(ge=1, le=LIST_LIMIT_MAX)] = LIST_LIMIT
    cursor: Annotated[str, Meta(max_length=300)] | None = None


async def read_page(store: TransactionStore, query: ListQuery, now_ms: int) -> tuple[list[Row], str | None]:
    """Return the rows of one page, and the cursor of the next if there are more.

    Raises:
        RuleBroken: the cursor is none of ours.
    """
    wanted = ListFilter(
        status=query.status,
        pattern=query.pattern,
        name=query.name,
        business_key=query.key,
        parent=query.parent,
        attention=query.attention,
        created_before_ms=None if query.older_than_ms is None else now_ms - query.older_than_ms,
        before=None if query.cursor is None else _read_cursor(query.cursor),
    )
    rows: list[Row] = []
    size_bytes = 0
    while True:
        asked = min(query.limit - len(rows), ROWS_PER_READ) + 1  # one more than shown: is there a next page?
        portion = await store.page(_from(wanted, rows), asked)
        for row in portion[: asked - 1]:
            rows.append(row)
            size_bytes += len(row.plan) + len(row.progress)
            if size_bytes > PAGE_BYTES_MAX:
                return rows, _cursor(rows[-1])
        if len(portion) < asked:
            return rows, None
        if len(rows) == query.limit:
            return rows, _cursor(rows[-1])


def _from(wanted: ListFilter, rows: list[Row]) -> ListFilter:
    if not rows:
        return wanted
    return replace(wanted, before=(rows[-1].created_at_ms, rows[-1].gid))


def _cursor(row: Row) -> str:
    return base64.urlsafe_b64encode(f"{row.created_at_ms}/{row.gid}".encode()).decode().rstrip("=")


def _read_cursor(text: str) -> tuple[int, str]:
    try:
        plain = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        plain = ""
    created_at, _, gid = plain.partition("/")
    if not created_at.isdigit() or len(created_at) > _CREATED_AT_DIGITS_MAX or not matches_gid(gid):
        raise RuleBroken("cursor", "not a cursor of this list: pass `next_cursor` of the page before as it is")
    return int(created_at), gid
