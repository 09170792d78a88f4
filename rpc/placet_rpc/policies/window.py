"""Counts over the last seconds: a ring of slots whose oldest falls out as time goes on."""


class Window:
    """Some counters over a sliding window of `slots * slot_seconds`; adding and reading the totals is O(1).

    Args:
        counters: how many counters there are; they are known by their index.
        slots: of the ring.
        slot_seconds: each of them covers.

    Attributes:
        totals: of each counter, as of the last `roll`.
    """

    __slots__ = ("_number", "_slot", "_slot_ends", "_slot_seconds", "_slots", "totals")

    def __init__(self, counters: int, *, slots: int = 10, slot_seconds: float = 1.0) -> None:
        if counters < 1 or slots < 1 or slot_seconds <= 0:
            raise ValueError("a window needs at least one counter, one slot, and slots longer than nothing")
        self._slots = [[0] * counters for _ in range(slots)]
        self._slot_seconds = slot_seconds
        self._number = 0
        self._slot_ends = slot_seconds
        self._slot = self._slots[0]
        self.totals = [0] * counters

    def roll(self, now: float) -> list[int]:
        """Forgets what is older than the window, and returns the totals."""
        if now >= self._slot_ends:
            self._move_to(int(now / self._slot_seconds))
        return self.totals

    def add(self, now: float, counter: int, amount: int = 1) -> None:
        """Counts something that happened now."""
        if now >= self._slot_ends:
            self._move_to(int(now / self._slot_seconds))
        self._slot[counter] += amount
        self.totals[counter] += amount

    def clear(self) -> None:
        """Forgets everything."""
        for slot in (*self._slots, self.totals):
            slot[:] = [0] * len(slot)

    def _move_to(self, number: int) -> None:
        slots = self._slots
        for passed in range(max(self._number + 1, number + 1 - len(slots)), number + 1):
            slot = slots[passed % len(slots)]
            for counter, count in enumerate(slot):
                self.totals[counter] -= count
                slot[counter] = 0
        self._number = number
        self._slot = slots[number % len(slots)]
        self._slot_ends = (number + 1) * self._slot_seconds
