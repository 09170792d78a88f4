"""Transactions as the coordinator shows them."""

from typing import Any

_NOTHING = (
    *("name", "key", "parent", "reason_text", "attention", "decided_at"),
    *("finished_at", "paused_at", "timeout_ms", "next_attempt_at"),
)


def view(gid: str, status: str, results: dict[str, Any], *, reason: str | None = None, rejection: str = "") -> dict:
    """Returns `GET /v1/transactions/{gid}`: one branch per result, and one rejected attempt if there was one."""
    attempt = {"branch_id": "1", "op": "try", "attempt": 1, "outcome": "rejected", "started_at": "", "duration_ms": 1}
    return dict.fromkeys(_NOTHING) | {
        "gid": gid,
        "pattern": "tcc",
        "status": status,
        "reason": reason,
        "heuristic": False,
        "version": 3,
        "created_at": "2026-01-01T00:00:00Z",
        "drive": False,
        "node": "n1",
        "branches": [
            {"branch_id": name, "target": "shop/x", "status": "done", "payload": None, "result": result}
            for name, result in results.items()
        ],
        "attempts": [attempt | {"detail": rejection}] if rejection else [],
    }
