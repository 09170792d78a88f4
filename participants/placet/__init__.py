"""Placet's SDK: start distributed transactions, and take part in them.

`placet.fastapi` has what a FastAPI service imports; `Client` and `SyncClient` serve programs without it.
"""

from placet.client import Client
from placet.driven import DrivenTcc
from placet.errors import (
    Aborted,
    BranchError,
    BranchOutcomeUnknown,
    CommitRefused,
    Conflict,
    ContentDiffers,
    CoordinatorError,
    CoordinatorOverloaded,
    CoordinatorRefused,
    CoordinatorUnavailable,
    NestingForbidden,
    OutcomeUnknown,
    PlacetError,
    Reject,
    Rejected,
    ResultMismatch,
    TransactionClosed,
    TransactionNotFound,
)
from placet.run import Run, TransactionResult
from placet.saga import Retry, Saga
from placet.settings import Settings
from placet.sync import SyncClient
from placet.tcc import Tcc

__all__ = [
    "Aborted",
    "BranchError",
    "BranchOutcomeUnknown",
    "Client",
    "CommitRefused",
    "Conflict",
    "ContentDiffers",
    "CoordinatorError",
    "CoordinatorOverloaded",
    "CoordinatorRefused",
    "CoordinatorUnavailable",
    "DrivenTcc",
    "NestingForbidden",
    "OutcomeUnknown",
    "PlacetError",
    "Reject",
    "Rejected",
    "ResultMismatch",
    "Retry",
    "Run",
    "Saga",
    "Settings",
    "SyncClient",
    "Tcc",
    "TransactionClosed",
    "TransactionNotFound",
    "TransactionResult",
]
