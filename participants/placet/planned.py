"""A branch as an initiator plans it, from Python values to the words of the wire."""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Raw

from placet.duration import Duration, duration_ms
from placet.payload import encode_payload
from placet_contract.transactions import BranchRequest, RetryRequest
from placet_contract.vocabulary import Operation

Target = str | Mapping[str, str]
"""`service/action`, an absolute URL, or a mapping from op to absolute URL."""


def planned_branch(
    branch_id: str,
    target: Target,
    payload: Any,
    *,
    timeout: Duration | None = None,
    headers: Mapping[str, str] | None = None,
    after: Sequence[str] | None = None,
    retry: RetryRequest | None = None,
    pivot: bool | None = None,
    compensate: bool | None = None,
    envelope: bool | None = None,
) -> BranchRequest:
    """Returns the branch; what is left out is the coordinator's to fill in.

    Raises:
        TypeError: the payload has no JSON form.
        ValueError: a duration, an op or the payload's text can't be sent.
    """
    return BranchRequest(
        branch_id=branch_id,
        target=target if isinstance(target, str) else {Operation(op): url for op, url in target.items()},
        payload=Raw(encode_payload(payload)),
        headers=dict(headers) if headers else None,
        envelope=envelope,
        after=None if after is None else list(after),
        pivot=pivot,
        compensate=compensate,
        timeout_ms=optional_ms(timeout, "timeout"),
        retry=retry,
    )


def optional_ms(value: Duration | None, name: str) -> int | None:
    """Returns a duration in milliseconds, or None if there is none."""
    return None if value is None else duration_ms(value, name)
