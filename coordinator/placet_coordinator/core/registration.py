"""Branches added to a transaction that is under way, and the comparison of plans as decoded."""

import msgspec
from msgspec.structs import replace

from placet_coordinator.core.moves import Refusal, RefusalKind, Step
from placet_coordinator.core.transaction import UNTOUCHED, Branch, Transaction

_encode_sorted = msgspec.json.Encoder(order="deterministic").encode


def _canonical(payload: bytes) -> bytes:
    """Return the payload with its keys in order and without white space: equal exactly if the decoded values are.

    Comparing decoded Python values would take 1 for True and 1.0 for 1.
    """
    return _encode_sorted(msgspec.json.decode(payload))


def same_branch(one: Branch, other: Branch) -> bool:
    """Say whether two branches ask for the same, payloads compared as decoded."""
    if bytes(one.payload) == bytes(other.payload):
        return replace(one, payload=other.payload) == other
    if _canonical(bytes(one.payload)) != _canonical(bytes(other.payload)):
        return False
    return replace(one, payload=other.payload) == other


def same_plan(stored: Transaction, asked: Transaction) -> bool:
    """Say whether a repeated begin asks for what was first begun; later branches are ignored."""
    return (
        (stored.pattern, stored.name, stored.key, stored.parent, stored.timeout_ms, stored.drive)
        == (asked.pattern, asked.name, asked.key, asked.parent, asked.timeout_ms, asked.drive)
        and stored.begun_count == len(asked.branches)
        and all(
            same_branch(one, other)
            for one, other in zip(stored.branches[: stored.begun_count], asked.branches, strict=True)
        )
    )


def add_branches(transaction: Transaction, branches: tuple[Branch, ...]) -> Step:
    """Add the branches that are new; the same branch again is a repeat, other content under its id is refused."""
    known = {branch.branch_id: branch for branch in transaction.branches}
    fresh = []
    for branch in branches:
        earlier = known.get(branch.branch_id)
        if earlier is None:
            fresh.append(branch)
        elif not same_branch(earlier, branch):
            rule = f"branch {branch.branch_id} is registered with other content; a branch_id is used once"
            return Step(transaction, refusal=Refusal(RefusalKind.CONTENT_DIFFERS, rule, "branches"))
    if not fresh:
        return Step(transaction)
    return Step(
        replace(
            transaction,
            branches=(*transaction.branches, *fresh),
            progress=(*transaction.progress, *([UNTOUCHED] * len(fresh))),
        )
    )
