"""Counts over the last seconds: slots of time whose oldest falls out as time goes on."""


class Window:
    """Some counters over a sliding window of `slots * slot_seconds`; adding and reading the totals is O(1).

    Only slots in which something was counted are kept: there is a window per instance and method, and most are idle.

    Args:
        counters: how many counters there are; they are known by their index.
        slots: that it covers, the one of now included.
        slot_seconds: each of them covers.

    Attributes:
        totals: of each counter, as of the last `roll`.
    """

    __slots__ = ("_kept", "_number", "_slot", "_slot_ends", "_slot_seconds", "_slots", "totals")

    def __init__(self, counters: int, *, slots: int = 10, slot_seconds: float = 1.0) -> None:
        if counters < 1 or slots < 1 or slot_seconds <= 0:
            raise ValueError("a window needs at least one counter, one slot, and slots longer than nothing")
        self._slots = slots
        self._slot_seconds = slot_seconds
        self._number = 0
        self._slot_ends = slot_seconds
        self._slot = [0] * counters
        self._kept: dict[int, list[int]] = {}  # by number, the oldest first, without the slot of now
        self.totals = [0] * counters

    def roll(self, now: float) -> list[int]:
        """Forgets what is older than the window, and returns the totals."""
        if now >= self._slot_ends:
            self._move_to(int(now / self._slot_seconds))
        return self.totals

    def latest(self, now: float, slots: int) -> list[int]:
        """Returns the totals of the last few slots alone, the one of now included; O(slots)."""
        self.roll(now)
        totals = self._slot.copy()
        for number in range(self._number - slots + 1, self._number):
            for counter, count in enumerate(self._kept.get(number, ())):
                totals[counter] += count
        return totals

    def add(self, now: float, counter: int, amount: int = 1) -> None:
        """Counts something that happened now."""
        if now >= self._slot_ends:
            self._move_to(int(now / self._slot_seconds))
        self._slot[counter] += amount
        self.totals[counter] += amount

    def clear(self) -> None:
        """Forgets everything."""
        self._kept.clear()
        for counts in (self._slot, self.totals):
            counts[:] = [0] * len(counts)

    def _move_to(self, number: int) -> None:
        kept = self._kept
        if any(self._slot):
            kept[self._number] = self._slot
            self._slot = [0] * len(self.totals)
        while kept and (oldest := next(iter(kept))) <= number - self._slots:
            for counter, count in enumerate(kept.pop(oldest)):
                self.totals[counter] -= count
        self._number = number
        self._slot_ends = (number + 1) * self._slot_seconds
