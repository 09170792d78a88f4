"""Who this process is to the others: its node and the life it is in."""

from typing import Protocol


class Owner(Protocol):
    """This node's identity, as stamped on every row it writes."""

    @property
    def node_id(self) -> str:
        """The node's name, the same over restarts if it was configured."""

    @property
    def boot_id(self) -> str:
        """This life of the node; a new one after each start and after each lost lease."""

    @property
    def holds_lease(self) -> bool:
        """Whether we may drive transactions now."""
