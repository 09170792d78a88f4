"""Problem types (RFC 9457): stable names of what went wrong, the same on every door.

A problem's `type` is `TYPE_BASE` plus a slug. Clients compare the part after the last slash, as wire.md says.
"""

from typing import Any

import msgspec

TYPE_BASE = "https://placet.dev/problems/"
CONTENT_TYPE = "application/problem+json"

# What a participant answers.
REJECTED = "rejected"
LATE = "late"
NOT_TRIED = "not-tried"
ONGOING = "ongoing"

# What the coordinator answers.
NOT_JSON = "not-json"
TOO_LARGE = "too-large"
RULE = "rule"
NOT_FOUND = "not-found"
CONFLICT = "conflict"
CONTENT_DIFFERS = "content-differs"
OVERLOADED = "overloaded"
UNAVAILABLE = "unavailable"
UNAUTHORIZED = "unauthorized"
FORBIDDEN = "forbidden"
INTERNAL = "internal"
METHOD_NOT_ALLOWED = "method-not-allowed"


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """One problem as it stands on the wire; members beyond RFC 9457's are `field`, `rule`, `limit` and `gid`."""

    type: str
    title: str
    status: int
    detail: str = ""
    field: str | None = None
    rule: str | None = None
    limit: int | None = None
    gid: str | None = None
    transaction_status: str | None = None
    reason: str | None = None


_encode = msgspec.json.Encoder().encode


def problem(slug: str, title: str, status: int, **members: Any) -> Problem:
    """Return a problem of the type that `slug` names."""
    return Problem(type=TYPE_BASE + slug, title=title, status=status, **members)


def encode_problem(value: Problem) -> bytes:
    """Return the problem's JSON."""
    return _encode(value)


def slug_of(type_uri: str) -> str:
    """Return the part of a problem type after its last slash: the part that clients compare."""
    return type_uri.rsplit("/", 1)[-1]
