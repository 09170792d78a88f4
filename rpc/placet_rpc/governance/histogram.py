"""Latencies in buckets that widen as they grow: 16 per power of two, so a percentile is off by 3 % at most.

The layout is that of HdrHistogram with 4 significant bits; a value's bucket is two shifts and an addition away.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping

SUB_BUCKET_BITS = 4
_SUB_BUCKETS = 1 << SUB_BUCKET_BITS
_MAX_BITS = 36  # 19 hours in microseconds: longer than any call that somebody still waits for
MAX_US = (1 << _MAX_BITS) - 1
BUCKETS = (_MAX_BITS - SUB_BUCKET_BITS + 1) << SUB_BUCKET_BITS


def bucket_of(value_us: int) -> int:
    """Returns the bucket of a latency; what is out of range goes into the first or last one."""
    if value_us < _SUB_BUCKETS:
        return max(value_us, 0)
    if value_us > MAX_US:
        return BUCKETS - 1
    shift = value_us.bit_length() - SUB_BUCKET_BITS - 1
    return (shift << SUB_BUCKET_BITS) + (value_us >> shift)


def middle_us(bucket: int) -> float:
    """Returns the latency in the middle of a bucket."""
    if bucket < 2 * _SUB_BUCKETS:
        return float(bucket)
    shift = (bucket >> SUB_BUCKET_BITS) - 1
    lowest = (bucket - (shift << SUB_BUCKET_BITS)) << shift
    return lowest + ((1 << shift) - 1) / 2


def percentiles_us(counts: Mapping[int, int], shares: Iterable[float]) -> list[float | None]:
    """Returns the latencies that the given shares of calls did not pass.

    Args:
        counts: calls per bucket.
        shares: between 0 and 1, growing.

    Returns:
        One per share, in microseconds; None where there were no calls.
    """
    total = sum(counts.values())
    wanted = list(shares)
    if not total:
        return [None] * len(wanted)
    found: list[float | None] = []
    seen = 0
    buckets = iter(sorted(counts.items()))
    middle = 0.0
    for share in wanted:
        while seen < max(share * total, 1):
            bucket, count = next(buckets)
            seen += count
            middle = middle_us(bucket)
        found.append(middle)
    return found


_NOTHING: Mapping[int, int] = {}


class Histogram:
    """Latencies of the last one to two periods: old ones must not hide what happens now.

    Attributes:
        counts: calls per bucket of this period; whoever counts adds to it. Most instances have few different buckets,
            and a whole row of them is 4 KiB.
    """

    __slots__ = ("_previous", "counts")

    def __init__(self) -> None:
        self.counts: defaultdict[int, int] = defaultdict(int)
        self._previous: Mapping[int, int] = _NOTHING

    def rotate(self) -> None:
        """Begins a new period and forgets the one before the last."""
        self._previous = self.counts
        self.counts = defaultdict(int)

    def recent(self) -> dict[int, int]:
        """Returns the calls per bucket, of this period and the last, without empty buckets."""
        merged = dict(self._previous)
        for bucket, count in self.counts.items():
            merged[bucket] = merged.get(bucket, 0) + count
        return merged
