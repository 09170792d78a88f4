"""Takes instances out of the choice that behave worse than the others, for a while, and never too many of them.

After Envoy's outlier detection and gRPC's A50. What speaks against an instance: failures in a row, a share of failures
that stands out, and calls much slower than its peers'. An ejection is a guess: if it would leave less than half of the
instances, all of them are used.
"""

import logging
import statistics
from dataclasses import dataclass
from datetime import timedelta

from placet_rpc.balancing.member import Member
from placet_rpc.clock import Clock
from placet_rpc.governance.histogram import Histogram, bucket_of, percentiles_us

_log = logging.getLogger("placet_rpc.client")

_PERCENTILE = 0.95
_COMPARABLE = 3  # of two, nobody can say which one is the outlier
_NOBODY: frozenset[Member] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class EjectionLimits:
    """Who is ejected, and for how long.

    Attributes:
        failures_in_a_row: eject at once.
        interval: between two comparisons of all instances.
        hosts_min: with fewer instances (of enough calls) shares of failures are not compared.
        calls_min: in an interval, for an instance to be compared.
        deviations: below the mean share of successes by so many standard deviations is too bad.
        failed_share: is too bad in any company, given half of `calls_min`.
        slow_factor: a 95th percentile so many times the median of all is too slow.
        slow_min: below it nothing is too slow.
        ejected_first: for how long; longer by as much each further time.
        ejected_cap: the longest.
        share_max: of the instances, but at least one.
        share_max_of_few: the same, with fewer than ten instances.
    """

    failures_in_a_row: int = 5
    interval: timedelta = timedelta(seconds=10)
    hosts_min: int = 5
    calls_min: int = 100
    deviations: float = 1.9
    failed_share: float = 0.85
    slow_factor: float = 3.0
    slow_min: timedelta = timedelta(milliseconds=20)
    ejected_first: timedelta = timedelta(seconds=30)
    ejected_cap: timedelta = timedelta(seconds=300)
    share_max: float = 0.1
    share_max_of_few: float = 0.3

    def __post_init__(self) -> None:
        if self.failures_in_a_row < 1 or self.hosts_min < 1 or self.calls_min < 1:
            raise ValueError("failures_in_a_row, hosts_min and calls_min of an ejection must be at least 1")
        if not timedelta() < self.ejected_first <= self.ejected_cap or self.interval <= timedelta():
            raise ValueError(
                "ejected_first and interval must be longer than nothing, ejected_first at most ejected_cap"
            )
        if not (0 < self.share_max <= 1 and 0 < self.share_max_of_few <= 1 and 0 < self.failed_share <= 1):
            raise ValueError("shares of an ejection are above 0 and at most 1")


FEW = 10


class _Record:
    """How one instance has behaved in this interval."""

    __slots__ = ("calls", "failed", "failed_in_a_row", "histogram", "times")

    def __init__(self) -> None:
        self.calls = 0
        self.failed = 0
        self.failed_in_a_row = 0
        self.times = 0  # ejected, less the intervals since in which it behaved
        self.histogram = Histogram()


class Ejection:
    """Of one service. There is no timer: the comparison is made by the call that comes when it is due.

    Args:
        clock: where time comes from.
        limits: who is ejected.

    Attributes:
        out: instances that are ejected; the time of some may be over, see `ejected`.
        count: of all ejections.
    """

    def __init__(self, clock: Clock, limits: EjectionLimits | None = None) -> None:
        self.limits = limits or EjectionLimits()
        self.out: set[Member] = set()
        self.count = 0
        self._now = clock.monotonic
        self._records: dict[Member, _Record] = {}
        self._compare_at = self._now() + self.limits.interval.total_seconds()

    def keep(self, members: set[Member]) -> None:
        """Forgets all other instances; they are gone."""
        self._records = {member: self._records.get(member) or _Record() for member in members}
        self.out &= members

    def note(self, member: Member, seconds: float, now: float, *, failed: bool) -> None:
        """Takes what a request to an instance came to.

        Args:
            member: the instance.
            seconds: that it took.
            now: in monotonic seconds.
            failed: it speaks against the instance.
        """
        record = self._records.get(member)
        if record is None:
            return  # it left while the call was under way
        record.calls += 1
        if not failed:
            record.failed_in_a_row = 0
            record.histogram.counts[bucket_of(int(seconds * 1_000_000))] += 1
        else:
            record.failed += 1
            record.failed_in_a_row += 1
            if record.failed_in_a_row >= self.limits.failures_in_a_row:
                self._eject(member, record, now)
        if now >= self._compare_at:
            self._compare(now)

    def ejected(self) -> set[Member] | frozenset[Member]:
        """Returns the instances that are to be left out now."""
        if not self.out:
            return _NOBODY
        now = self._now()
        self.out = {member for member in self.out if member.ejected_until > now}
        return self.out

    def _eject(self, member: Member, record: _Record, now: float) -> None:
        record.failed_in_a_row = 0
        count = len(self._records)
        share = self.limits.share_max if count >= FEW else self.limits.share_max_of_few
        if member in self.ejected() or len(self.out) >= max(1, int(count * share)):
            return
        record.times += 1
        self.count += 1
        first, cap = self.limits.ejected_first.total_seconds(), self.limits.ejected_cap.total_seconds()
        seconds = min(first * record.times, cap)
        member.ejected_until = now + seconds
        self.out.add(member)
        _log.warning("instance %s is left out for %g s: it behaves worse than the others", member.instance_id, seconds)

    def _compare(self, now: float) -> None:
        self._compare_at = now + self.limits.interval.total_seconds()
        for member in (*self._failing(), *self._slow()):
            self._eject(member, self._records[member], now)
        out = self.ejected()
        for member, record in self._records.items():
            if member not in out and record.times and record.calls and not record.failed_in_a_row:
                record.times -= 1
            record.calls = record.failed = 0
            record.histogram = Histogram()

    def _failing(self) -> list[Member]:
        limits = self.limits
        many = {m: r.failed / r.calls for m, r in self._records.items() if r.calls >= limits.calls_min}
        enough = {m: r.failed / r.calls for m, r in self._records.items() if r.calls * 2 >= limits.calls_min}
        failing = []
        if len(enough) >= limits.hosts_min:
            failing += [member for member, share in enough.items() if share >= limits.failed_share]
        if len(many) >= limits.hosts_min:
            worst = statistics.fmean(many.values()) + limits.deviations * statistics.pstdev(many.values())
            failing += [member for member, share in many.items() if share > worst]
        return sorted(set(failing), key=lambda member: -enough[member])

    def _slow(self) -> list[Member]:
        limits = self.limits
        slowness = {
            member: percentiles_us(record.histogram.recent(), [_PERCENTILE])[0] or 0.0
            for member, record in self._records.items()
            if record.calls >= limits.calls_min
        }
        if len(slowness) < _COMPARABLE:
            return []
        slow_us = max(
            limits.slow_factor * statistics.median(slowness.values()), limits.slow_min.total_seconds() * 1_000_000
        )
        return sorted((m for m, us in slowness.items() if us > slow_us), key=lambda member: -slowness[member])
