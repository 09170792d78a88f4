"""Where a new transaction belongs, when it is begun inside a branch of another."""

import itertools
from collections.abc import Iterator
from typing import Literal, NamedTuple

import uuid_utils

from placet.context import Branch, current_branch
from placet.errors import NestingForbidden
from placet_contract.ids import nested_gid
from placet_contract.vocabulary import Operation

Propagation = Literal["join", "new", "forbid"]

# Only where a try with an unknown outcome is never sent again may its work join the transaction it belongs to:
# a saga's action is repeated, and would enrol its branches twice.
_JOINED_IN = frozenset({Operation.TRY, Operation.PREPARE})


class Place(NamedTuple):
    """Where a transaction belongs.

    Attributes:
        gid: its gid.
        branch: the branch it is begun in, if any.
        joins: True if it takes part in that branch's transaction.
    """

    gid: str
    branch: Branch | None = None
    joins: bool = False

    @property
    def parent(self) -> str | None:
        """The branch it is begun in, as the coordinator stores it."""
        return None if self.branch is None else f"{self.branch.gid}/{self.branch.branch_id}"

    @property
    def traceparent(self) -> str:
        """The trace it belongs to, or empty."""
        return "" if self.branch is None else self.branch.traceparent or ""

    def branch_ids(self) -> Iterator[str]:
        """Yields ids for its branches: `1`, `2`, … or, joined, `parent.n` with n counted over the whole handler."""
        if self.joins and self.branch is not None:
            while True:
                yield f"{self.branch.branch_id}.{self.branch.scope.next_ordinal()}"
        yield from map(str, itertools.count(1))


def place(propagation: Propagation, gid: str | None, *, may_join: bool) -> Place:
    """Returns where a transaction begun now belongs.

    Args:
        propagation: what the caller wants.
        gid: the caller's own gid, if any.
        may_join: False for a transaction that the coordinator drives: it has an outcome of its own everywhere.

    Raises:
        NestingForbidden: `forbid`, inside a branch.
        ValueError: a gid of its own for a transaction that joins another.
    """
    branch = current_branch()
    if branch is None:
        return Place(gid or _minted_gid())
    if propagation == "forbid":
        raise NestingForbidden(
            f"a transaction may not be begun inside {branch.operation} of branch {branch.gid}/{branch.branch_id}: "
            "propagation is 'forbid'"
        )
    if propagation == "new":
        return Place(gid or _minted_gid(), branch)
    if may_join and branch.operation in _JOINED_IN:
        if gid is not None:
            raise ValueError(
                f"gid {gid!r} is given, but the block joins {branch.gid}: leave gid out, or say propagation='new'"
            )
        return Place(branch.gid, branch, joins=True)
    own = gid or nested_gid(branch.gid, branch.branch_id, branch.operation, branch.scope.next_ordinal())
    return Place(own, branch)


def _minted_gid() -> str:
    return str(uuid_utils.uuid7())
