"""Statistics of calls, kept where they pass, always: balancers, operators and the call graph read the same figures.

The hot path only adds to plain integers; windows and percentiles are worked out when somebody looks, or once in
`SLOT_SECONDS`.
"""

from collections.abc import Iterable

import msgspec

from placet_rpc.clock import SYSTEM_CLOCK, Clock
from placet_rpc.governance.histogram import BUCKETS, MAX_US, SUB_BUCKET_BITS, Histogram, percentiles_us
from placet_rpc.policies.window import Window

MAX_ROWS = 4_096
OTHERS = "(others)"
SLOT_SECONDS = 5.0
MINUTE_SLOTS = 12
PERIOD_SECONDS = 60.0
_SHARES = (0.5, 0.9, 0.99, 0.999)
_CALLS, _FAILED = 0, 1
_SUB_BUCKETS = 1 << SUB_BUCKET_BITS
_SIGNIFICANT_BITS = SUB_BUCKET_BITS + 1


class Latency(msgspec.Struct, frozen=True):
    """What the calls of the last one to two minutes took, in microseconds; None: there were none."""

    p50: float | None = None
    p90: float | None = None
    p99: float | None = None
    p999: float | None = None


class Availability(msgspec.Struct, frozen=True):
    """The share of calls that did not fail, between 0 and 1; None: there were none, so nobody knows."""

    one_minute: float | None = None
    five_minutes: float | None = None
    one_hour: float | None = None


class RowState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one row says, to be sent, shown and merged.

    Attributes:
        caller: the calling application, as authenticated where there is authentication.
        service: name and version.
        method: of it.
        instance: that ran the calls; empty: all of a client's attempts together.
        in_flight: begun and not ended.
        calls: ended, since the start.
        failed: of these, those that speak against the service: timeouts, lost connections, overload, faults.
        max_us: the longest, since the start.
        per_second: over the last minute.
        errors: calls without a result, by class, since the start.
        availability: over the last minute, five minutes, hour.
        buckets: recent calls per bucket of latency (`histogram`), for merging.
    """

    caller: str
    service: str
    method: str
    instance: str = ""
    in_flight: int = 0
    calls: int = 0
    failed: int = 0
    max_us: int = 0
    per_second: float = 0.0
    errors: dict[str, int] = {}
    availability: Availability = Availability()
    buckets: dict[int, int] = {}

    @property
    def latency(self) -> Latency:
        """Percentiles of the recent calls."""
        return latency_of((self,))


def latency_of(rows: Iterable[RowState]) -> Latency:
    """Returns the percentiles over all calls of some rows; those of parts can't be averaged."""
    merged: dict[int, int] = {}
    for row in rows:
        for bucket, count in row.buckets.items():
            merged[bucket] = merged.get(bucket, 0) + count
    return Latency(*percentiles_us(merged, _SHARES))


class Row:
    """The figures of one (caller, service, method, instance).

    Attributes:
        in_flight: calls begun and not ended; whoever begins one adds to it.
        calls: ended.
        failed: of these, those that speak against the service.
        errors: calls without a result, by class.
    """

    __slots__ = (
        *("_counts", "_histogram", "_hour", "_minutes", "_now", "_period_ends", "_seen", "_slot_ends"),
        *("calls", "errors", "failed", "in_flight", "key", "max_us"),
    )

    def __init__(self, key: tuple[str, str, str, str], clock: Clock) -> None:
        self.key = key
        self.in_flight = self.calls = self.failed = self.max_us = 0
        self.errors: dict[str, int] = {}
        self._histogram = Histogram()
        self._counts = self._histogram.counts
        self._minutes = Window(2, slots=60, slot_seconds=SLOT_SECONDS)
        self._hour = Window(2, slots=60, slot_seconds=60.0)
        self._seen = (0, 0)  # of calls and failed, what the windows have
        self._now = clock.monotonic
        now = self._now()
        self._slot_ends = now + SLOT_SECONDS
        self._period_ends = now + PERIOD_SECONDS

    def end(self, began_at: float) -> None:
        """Counts a call that ended with a result, or with an exception of its contract.

        Args:
            began_at: in the clock's monotonic seconds.
        """
        now = self._now()
        if now >= self._slot_ends:
            self._roll(now)
        self.in_flight -= 1
        self.calls += 1
        # `bucket_of` by hand: a call of a function is a tenth of what all this may take.
        took_us = int((now - began_at) * 1_000_000)
        if took_us > self.max_us:  # noqa: PLR1730 - and so is one of `max`
            self.max_us = took_us
        if took_us < _SUB_BUCKETS:
            self._counts[took_us] += 1
        elif took_us <= MAX_US:
            shift = took_us.bit_length() - _SIGNIFICANT_BITS
            self._counts[(shift << SUB_BUCKET_BITS) + (took_us >> shift)] += 1
        else:
            self._counts[BUCKETS - 1] += 1

    def end_without_result(self, began_at: float, error: str, *, failed: bool) -> None:
        """Counts a call that ended otherwise.

        Args:
            began_at: in the clock's monotonic seconds.
            error: its class, a stable word.
            failed: it speaks against the service.
        """
        self.end(began_at)
        self.errors[error] = self.errors.get(error, 0) + 1
        if failed:
            self.failed += 1

    def state(self) -> RowState:
        """Returns the figures as of now."""
        now = self._now()
        self._roll(now)
        of_minute = self._minutes.latest(now, MINUTE_SLOTS)
        caller, service, method, instance = self.key
        return RowState(
            caller=caller,
            service=service,
            method=method,
            instance=instance,
            in_flight=self.in_flight,
            calls=self.calls,
            failed=self.failed,
            max_us=self.max_us,
            per_second=of_minute[_CALLS] / 60,
            errors=dict(self.errors),
            availability=Availability(_share(of_minute), _share(self._minutes.roll(now)), _share(self._hour.roll(now))),
            buckets=self._histogram.recent(),
        )

    def _roll(self, now: float) -> None:
        """Gives the windows what came since the last time, as of the end of that slot."""
        calls, failed = self.calls, self.failed
        at = min(now, self._slot_ends)
        for window in (self._minutes, self._hour):
            window.add(at, _CALLS, calls - self._seen[_CALLS])
            window.add(at, _FAILED, failed - self._seen[_FAILED])
        self._seen = (calls, failed)
        self._slot_ends = now + SLOT_SECONDS
        if now >= self._period_ends:
            self._histogram.rotate()
            if now >= self._period_ends + PERIOD_SECONDS:
                self._histogram.rotate()
            self._counts = self._histogram.counts
            self._period_ends = now + PERIOD_SECONDS


def _share(totals: list[int]) -> float | None:
    calls, failed = totals
    return 1 - failed / calls if calls else None


class Statistics:
    """All rows of one process.

    Args:
        clock: where time comes from.
        max_rows: callers say who they are, so their number must have a limit; further callers share one row per method
            and, if that is not enough, one row.
    """

    def __init__(self, clock: Clock = SYSTEM_CLOCK, *, max_rows: int = MAX_ROWS) -> None:
        if max_rows < 1:
            raise ValueError("max_rows must be at least 1")
        self.clock = clock
        self._max_rows = max_rows
        self._rows: dict[tuple[str, str, str, str], Row] = {}
        self.find = self._rows.get
        """Returns the row of (caller, service, method, instance), or None: the hot path's half of `row`."""

    def row(self, caller: str, service: str, method: str, instance: str = "") -> Row:
        """Returns a row, made if need be."""
        key = (caller, service, method, instance)
        if len(self._rows) >= self._max_rows and key not in self._rows:
            key = (OTHERS, service, method, instance)
            if len(self._rows) >= 2 * self._max_rows and key not in self._rows:
                key = (OTHERS, OTHERS, OTHERS, "")
        row = self._rows.get(key)
        if row is None:
            row = self._rows[key] = Row(key, self.clock)
        return row

    def states(self) -> list[RowState]:
        """Returns all rows as of now, in order."""
        return [row.state() for _, row in sorted(self._rows.items())]
