"""Time and chance, as the engine sees them."""

from typing import Protocol


class Clock(Protocol):
    """The database's clock, carried forward by this process's monotonic one."""

    def now_ms(self) -> int:
        """Return the instant in milliseconds since the epoch, by the database's clock."""


class Chance(Protocol):
    """Where ids and jitter come from."""

    def new_gid(self) -> str:
        """Return a fresh, time-ordered gid (UUIDv7, RFC 9562)."""

    def new_boot_id(self) -> str:
        """Return a fresh id of one life of a node: 16 characters."""

    def uniform(self) -> float:
        """Return a draw from [0, 1)."""
