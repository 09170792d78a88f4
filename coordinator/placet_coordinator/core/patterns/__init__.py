"""One pattern, one file: its rules, then its table of legal moves. The docs' diagrams are generated from the tables."""

from collections.abc import Mapping

from placet_contract.vocabulary import Pattern
from placet_coordinator.core.moves import PatternRules
from placet_coordinator.core.patterns.recorded_abort import RECORDED_ABORT
from placet_coordinator.core.patterns.saga import SAGA
from placet_coordinator.core.patterns.tcc import DRIVEN_TCC, TCC

PATTERNS: Mapping[tuple[Pattern | None, bool], PatternRules] = {
    (Pattern.TCC, False): TCC,
    (Pattern.TCC, True): DRIVEN_TCC,
    (Pattern.SAGA, False): SAGA,
    (None, False): RECORDED_ABORT,
}
"""What this build drives, by pattern and `drive`; None: an abort that was recorded for a gid nobody had begun."""
