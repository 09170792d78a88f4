"""When instances started, by this process's own clock, worked out once for each of their lives."""

from collections.abc import Hashable


class Births:
    """Remembers the instant that was worked out first: asked again, a registry's answer differs by a few milliseconds.

    Without it each look at an unchanged registry would give another snapshot.
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[Hashable, float | None]] = {}

    def up_since(self, instance_id: str, life: Hashable, worked_out: float | None) -> float | None:
        """Returns when an instance started.

        Args:
            instance_id: the instance.
            life: tells its lives apart; another one is another start.
            worked_out: the start as it looks now.
        """
        known = self._known.get(instance_id)
        if known is None or known[0] != life:
            known = self._known[instance_id] = (life, worked_out)
        return known[1]

    def keep_only(self, instance_ids: set[str]) -> None:
        """Forgets all others."""
        for gone in self._known.keys() - instance_ids:
            del self._known[gone]
