"""How soon after a failed connect the next one is tried: a server that is away must not be hammered."""

import asyncio
from typing import Final

from placet_coordinator.ports.store import StoreUnavailable

FIRST_S: Final = 0.05
CAP_S: Final = 1.0
"""The pause doubles up to this; until it is over, what would need the connection is refused at once."""


class ReconnectPause:
    """The pause of one session."""

    def __init__(self) -> None:
        self._not_before = 0.0
        self._pause_s = FIRST_S
        self._refusal = ""

    def check(self) -> None:
        """Let a connect be tried, or not yet.

        Raises:
            StoreUnavailable: the last one failed a moment ago; the message is the one it failed with.
        """
        if asyncio.get_running_loop().time() < self._not_before:
            raise StoreUnavailable(self._refusal, wrote_nothing=True)

    def failed(self, refusal: str) -> StoreUnavailable:
        """Note a failed connect, and return what to raise: nothing was sent."""
        self._refusal = refusal
        self._not_before = asyncio.get_running_loop().time() + self._pause_s
        self._pause_s = min(2 * self._pause_s, CAP_S)
        return StoreUnavailable(refusal, wrote_nothing=True)

    def succeeded(self) -> None:
        """Begin anew with the shortest pause."""
        self._pause_s = FIRST_S
