"""Durations as users write them, and the integer milliseconds of the wire."""

import math
import re
from datetime import timedelta

from placet_contract.limits import TIME_MS_MAX, TIME_MS_MIN

Duration = timedelta | float | str
"""A `timedelta`, a number of seconds, or text such as `500ms`, `30s`, `10m`, `2h`, `1d`."""

_TEXT = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_UNIT_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def duration_ms(value: Duration, name: str) -> int:
    """Returns the duration in whole milliseconds.

    Args:
        value: the duration.
        name: the argument's name, for the message.

    Raises:
        ValueError: not readable, or not within 1 ms and one year.
    """
    exact_ms: float
    if isinstance(value, timedelta):
        exact_ms = value // timedelta(milliseconds=1)
    elif isinstance(value, str):
        match = _TEXT.fullmatch(value.strip())
        if match is None:
            raise ValueError(f"{name}={value!r}: write a number with ms, s, m, h or d, such as '10m'")
        exact_ms = float(match[1]) * _UNIT_MS[match[2]]
    else:
        exact_ms = value * 1_000
    milliseconds = round(exact_ms) if math.isfinite(exact_ms) else 0
    if not TIME_MS_MIN <= milliseconds <= TIME_MS_MAX:
        raise ValueError(f"{name}={value!r}: must be from 1 ms to one year; a plain number means seconds")
    return milliseconds
