"""Admission: which requests are taken while this node is short of something; begins are shed first."""

from dataclasses import dataclass

from placet_contract import limits as wire_limits
from placet_coordinator.engine.driver import Driver
from placet_coordinator.engine.errors import Overloaded
from placet_coordinator.ports.owner import Owner


@dataclass(frozen=True)
class CommandLimits:
    """Where requests are shed.

    Attributes:
        open_transactions_max: transactions in memory; beyond it a begin is shed.
        journal_begins_max: writes on their way beyond which a begin is shed.
        journal_writes_max: writes on their way beyond which everything is shed: places reserved for the end of what
            has begun.
        branches_max: branches of one transaction.
    """

    open_transactions_max: int = 100_000
    journal_begins_max: int = 8_192
    journal_writes_max: int = 16_384
    branches_max: int = wire_limits.BRANCHES_MAX


class Admission:
    """Says whether a request may come in.

    Attributes:
        draining: no new transaction is taken; what has begun is still served.
    """

    def __init__(self, driver: Driver, owner: Owner, limits: CommandLimits) -> None:
        self._driver, self._owner, self._limits = driver, owner, limits
        self.draining = False

    def check(self) -> None:
        """Check that a request for what has begun may come in.

        Raises:
            Overloaded: it may not; nothing was written.
        """
        if not self._owner.holds_lease:
            raise Overloaded("this node holds no lease at the moment")
        if self._driver.journal.depth >= self._limits.journal_writes_max:
            raise Overloaded(f"{self._limits.journal_writes_max} writes wait for the store, the limit")

    def check_begin(self) -> None:
        """Check that a begin may come in.

        Raises:
            Overloaded: it may not; nothing was written.
        """
        if self.draining:
            raise Overloaded("this node is draining and takes no new transactions")
        if len(self._driver.held) >= self._limits.open_transactions_max:
            raise Overloaded(f"{self._limits.open_transactions_max} transactions are open, the limit of this node")
        if self._driver.journal.depth >= self._limits.journal_begins_max:
            raise Overloaded(f"{self._limits.journal_begins_max} writes wait for the store, the limit for begins")
        self.check()
