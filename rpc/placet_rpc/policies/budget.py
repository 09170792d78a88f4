"""How many extra requests a client may add to a service's load: retries, and copies of hedged calls.

After Finagle's RetryBudget: each call deposits a share of a request, each extra request withdraws a whole one, and a
reserve per second lets clients with little traffic retry at all. When a service fails as a whole, its load grows by
the share and not by the number of attempts.
"""

from placet_rpc.clock import Clock
from placet_rpc.policies.window import Window

RETRY_SHARE = 0.2
RETRY_RESERVE_PER_SECOND = 10.0
HEDGE_SHARE = 0.1
WINDOW_SECONDS = 10

_CALLS, _EXTRA = 0, 1


class Budget:
    """The budget of one client for one service.

    Args:
        clock: where time comes from.
        share: extra requests per call.
        reserve_per_second: extra requests that need no call.

    Attributes:
        refused: extra requests that were not allowed.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        share: float = RETRY_SHARE,
        reserve_per_second: float = RETRY_RESERVE_PER_SECOND,
    ) -> None:
        if share < 0 or reserve_per_second < 0:
            raise ValueError("share and reserve_per_second of a budget can't be negative")
        self._now = clock.monotonic
        self._share = share
        self._reserve = reserve_per_second * WINDOW_SECONDS
        self._window = Window(2, slots=WINDOW_SECONDS)
        self.refused = 0

    def deposit(self) -> None:
        """Notes a call."""
        self._window.add(self._now(), _CALLS)

    def withdraw(self) -> bool:
        """Takes one extra request out of the budget; False if there is none."""
        now = self._now()
        calls, extra = self._window.roll(now)
        if extra + 1 > calls * self._share + self._reserve:
            self.refused += 1
            return False
        self._window.add(now, _EXTRA)
        return True
