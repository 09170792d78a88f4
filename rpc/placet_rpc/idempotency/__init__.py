"""Requests with an idempotency key have one effect and one answer, however often they come.

    server = Server(filters=[Idempotency(MemoryRequests())])        # one process, forgets when it ends
    server = Server(filters=[Idempotency(SqlRequests(engine))])     # all processes on one database

What this promises and what it can't: a request runs once, unless whoever ran it was stopped in the middle. Then it is
told as what it is (`OutcomeLost`), or run again if its method is declared `idempotent`. An effect in SQL that has to be
exactly once belongs into one transaction with its mark: the barrier of the SDK.
"""

from placet_rpc.idempotency.memory import MemoryRequests
from placet_rpc.idempotency.serving import Idempotency
from placet_rpc.idempotency.store import Found, Request, RequestStore, RequestsUnavailable, StoredAnswer

__all__ = [
    "Found",
    "Idempotency",
    "MemoryRequests",
    "Request",
    "RequestStore",
    "RequestsUnavailable",
    "StoredAnswer",
]
