"""One pattern, one file: its rules, then its table of legal moves. The docs' diagrams are generated from the tables."""

from collections.abc import Mapping

from placet_contract.vocabulary import Pattern
from placet_coordinator.core.moves import PatternRules
from placet_coordinator.core.patterns.recorded_abort import RECORDED_ABORT
from placet_coordinator.core.patterns.saga import SAGA
from placet_coordinator.core.patterns.tcc import TCC

PATTERNS: Mapping[Pattern | None, PatternRules] = {Pattern.TCC: TCC, Pattern.SAGA: SAGA, None: RECORDED_ABORT}
"""The patterns that this build drives; None: an abort that was recorded for a gid nobody had begun."""
