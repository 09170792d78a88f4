"""Locks with fencing tokens, and elections, over SQL, Redis or ZooKeeper: for what versions can't guard.

A lock says who may try; it can't say who may write. A holder that was stopped (a pause of the machine, a slow disk)
goes on as if no time had passed, so whatever a lock protects must also refuse a token older than the newest it saw.
"""

from placet_rpc.locks.election import Election
from placet_rpc.locks.lease import Lease
from placet_rpc.locks.lock import Locks
from placet_rpc.locks.opening import open_locks
from placet_rpc.locks.store import Holder, LockLost, LockStore, LockTaken, LockUnavailable

__all__ = [
    "Election",
    "Holder",
    "Lease",
    "LockLost",
    "LockStore",
    "LockTaken",
    "LockUnavailable",
    "Locks",
    "open_locks",
]
