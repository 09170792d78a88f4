"""The audit trail: who changed what, when, under which revision, and whether it was taken."""

import enum
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from placet_rpc.configuration.document import Document

DIFFERENCES_MAX = 100
"""Lines of one change; of further differences only the number is told."""
VALUE_LENGTH_MAX = 200
_ABOUT = frozenset({"changed_by", "reason"})


class Verdict(enum.Enum):
    """What became of a document."""

    APPLIED = "applied"
    REJECTED = "rejected"


class Change(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One document, and what became of it here.

    Attributes:
        seen_at_ms: when it was read, in milliseconds since the epoch, by this machine's clock.
        revision: of the source.
        verdict: what became of it.
        why: it was rejected, in words.
        changed_by: who put it there: by the source, else by the document's own word; empty: unknown.
        changed_at_ms: when, if the source knows.
        reason: by the document's own word.
        differences: from what held before, one line each, such as `services.stock/1.timeout_ms: 800 → 500`.
    """

    seen_at_ms: int
    revision: str
    verdict: Verdict
    why: str = ""
    changed_by: str = ""
    changed_at_ms: int | None = None
    reason: str = ""
    differences: tuple[str, ...] = ()


def differences_of(before: Document, after: Document) -> tuple[str, ...]:
    """Returns how one document differs from another, one line per member, in order."""
    old, new = dict(_leaves(msgspec.to_builtins(before))), dict(_leaves(msgspec.to_builtins(after)))
    lines = [
        f"{path}: {_shown(old, path)} → {_shown(new, path)}"
        for path in sorted(old.keys() | new.keys())
        if path not in _ABOUT and (path not in old or path not in new or old[path] != new[path])
    ]
    if len(lines) > DIFFERENCES_MAX:
        lines[DIFFERENCES_MAX:] = [f"and {len(lines) - DIFFERENCES_MAX} more"]
    return tuple(lines)


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for name, member in value.items():
            yield from _leaves(member, f"{path}.{name}" if path else str(name))
    elif path:
        yield path, value


def _shown(leaves: Mapping[str, Any], path: str) -> str:
    if path not in leaves:
        return "(nothing)"
    text = msgspec.json.encode(leaves[path]).decode()
    return text if len(text) <= VALUE_LENGTH_MAX else f"{text[:VALUE_LENGTH_MAX]}…"
