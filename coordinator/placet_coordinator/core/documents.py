"""The two documents of a transaction's row, as JSON text.

Text, not a binary form: an operator reads them with any SQL client at 3 a.m.
"""

from collections.abc import Sequence

import msgspec

from placet_coordinator.core.transaction import Branch, PlanDocument, ProgressDocument, Transaction

_encode = msgspec.json.Encoder().encode
_decode_plan = msgspec.json.Decoder(PlanDocument).decode
_decode_progress = msgspec.json.Decoder(ProgressDocument).decode


def encode_plan(transaction: Transaction) -> str:
    """Return the JSON text of what was begun."""
    return _encode(
        PlanDocument(
            branches=transaction.branches,
            begun_count=transaction.begun_count,
            timeout_ms=transaction.timeout_ms,
            drive=transaction.drive,
            traceparent=transaction.traceparent,
        )
    ).decode()


def size_bytes(branches: Sequence[Branch]) -> int:
    """Return how much room the branches take in the plan's text."""
    return len(_encode(branches))


def encode_progress(transaction: Transaction) -> str:
    """Return the JSON text of what happened since."""
    return _encode(ProgressDocument(branches=transaction.progress, decided_at_ms=transaction.decided_at_ms)).decode()


def decode_plan(text: str | bytes) -> PlanDocument:
    """Return the plan that the text holds; raises `msgspec.MsgspecError` on damaged text."""
    return _decode_plan(text)


def decode_progress(text: str | bytes) -> ProgressDocument:
    """Return the progress that the text holds; raises `msgspec.MsgspecError` on damaged text."""
    return _decode_progress(text)
