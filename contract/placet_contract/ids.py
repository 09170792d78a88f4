"""Global transaction and branch ids: their alphabet, and how a fresh gid is made.

Ids are bytes: ids that differ in case only are different ids, on every database.
"""

import hashlib
import re
from typing import NewType

from placet_contract.limits import BRANCH_ID_LENGTH_MAX, GID_LENGTH_MAX

Gid = NewType("Gid", str)
BranchId = NewType("BranchId", str)

ID_ALPHABET = "A-Za-z0-9_.-"
# \Z, not $: $ also matches before a trailing newline.
GID_PATTERN = rf"^[{ID_ALPHABET}]{{1,{GID_LENGTH_MAX}}}\Z"
BRANCH_ID_PATTERN = rf"^[{ID_ALPHABET}]{{1,{BRANCH_ID_LENGTH_MAX}}}\Z"
PARENT_PATTERN = rf"^[{ID_ALPHABET}]{{1,{GID_LENGTH_MAX}}}/[{ID_ALPHABET}]{{1,{BRANCH_ID_LENGTH_MAX}}}\Z"

matches_gid = re.compile(GID_PATTERN).match
matches_branch_id = re.compile(BRANCH_ID_PATTERN).match


def nested_gid(gid: str, branch_id: str, operation: str, ordinal: int) -> str:
    """Return the gid of the `ordinal`-th transaction begun inside one operation of a branch.

    A repeat of the operation computes the same gid, and so begins the same transaction instead of a second one.
    """
    source = f"{gid}\n{branch_id}\n{operation}\n{ordinal}".encode()
    return "n-" + hashlib.sha256(source).hexdigest()[:32]
