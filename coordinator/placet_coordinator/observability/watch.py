"""The observer: satisfies the port `Observer` by counting everything and logging what an operator should know of."""

import time

import structlog

from placet_coordinator.core.transaction import Transaction
from placet_coordinator.observability.metrics import Metrics

SAME_TROUBLE_EVERY_S = 10.0
"""A trouble that lasts is logged this often, with the number of times it was met since."""
TROUBLES_KEPT_MAX = 100

_log = structlog.get_logger("placet")


class Watch:
    """Counts and logs. The counting half is taken over method by method: no call passes through twice."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self.started = metrics.started
        self.finished = metrics.finished
        self.called = metrics.called
        self.flushed = metrics.flushed
        self._logged_at: dict[str, float] = {}
        self._since: dict[str, int] = {}

    def attention(self, transaction: Transaction) -> None:
        """Log a transaction that has come to need a human."""
        _log.warning(
            "a transaction needs attention",
            gid=transaction.gid,
            pattern=transaction.pattern,
            status=transaction.status,
            cause=transaction.attention,
            look=f"placet tx show {transaction.gid}",
        )

    def trouble(self, what: str, cause: str) -> None:
        """Log a trouble, the same one not more often than every ten seconds."""
        self._metrics.trouble(what)
        now = time.monotonic()
        self._since[what] = self._since.get(what, 0) + 1
        if now - self._logged_at.get(what, float("-inf")) < SAME_TROUBLE_EVERY_S:
            return
        if len(self._logged_at) >= TROUBLES_KEPT_MAX:
            self._logged_at.clear()
        self._logged_at[what] = now
        _log.warning(what, cause=cause, times=self._since.pop(what))
