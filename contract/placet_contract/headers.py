"""Names of the headers that travel with each call of a branch (wire.md, coordinator → branch)."""

GID = "placet-gid"
BRANCH = "placet-branch"
OPERATION = "placet-op"
ATTEMPT = "placet-attempt"
DEADLINE_MS = "placet-deadline-ms"
BEGUN_AT_MS = "placet-begun-at-ms"
TIME_MS = "placet-time-ms"
OUTCOME_ECHO = "placet-outcome"
IDEMPOTENCY_KEY = "idempotency-key"
TRACEPARENT = "traceparent"
SIGNATURE = "placet-signature"

RESERVED_PREFIX = "placet-"
RESERVED = frozenset(
    f"{IDEMPOTENCY_KEY} {TRACEPARENT} content-type "
    "connection content-length expect host keep-alive proxy-connection te trailer transfer-encoding upgrade".split()
)
"""Headers that a branch may not set for itself: the caller sets them on each call, or they frame the message (RFC 9112)
and belong to the transport."""


def idempotency_key(gid: str, branch_id: str, operation: str) -> str:
    """Return the key under which one operation of one branch has one effect."""
    return f"{gid}/{branch_id}/{operation}"
