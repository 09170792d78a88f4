"""The page for those who call services says what there is."""

import re
from pathlib import Path

import pytest

from placet_rpc.balancing import BUILTIN_BALANCERS
from placet_rpc.cluster import BUILTIN_CLUSTERS
from placet_rpc.policies.breaker import BreakerLimits
from placet_rpc.policies.bulkhead import BulkheadLimits
from placet_rpc.settings import DEFAULTS, Settings

PAGE = (Path(__file__).parents[4] / "docs/how-to/call-services.md").read_text()


def names_of(heading):
    """Returns the names in the first column of the table below a heading, without options."""
    table = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| `")]
    return {name for row in rows for name in re.findall(r"`(\w+)[^`]*`", row.split("|")[1])}


@pytest.mark.parametrize(
    ("heading", "names"),
    [("Settings", Settings.__annotations__), ("Balancers", BUILTIN_BALANCERS), ("Strategies", BUILTIN_CLUSTERS)],
)
def test_the_page_names_all_of_them_and_no_others(heading, names):
    """Each has its row."""
    assert names_of(heading) == set(names)


def test_the_defaults_on_the_page_are_those_of_the_code():
    """Where a figure changes, the page has to change with it."""
    assert (DEFAULTS["timeout"].total_seconds(), DEFAULTS["attempts"]) == (3, 3)
    assert [DEFAULTS[name].total_seconds() for name in ("backoff_first", "backoff_cap")] == [0.05, 1]
    breaker, bulkhead = BreakerLimits(), BulkheadLimits()
    assert (breaker.calls_min, breaker.failed_share, breaker.slow_share, breaker.probes) == (20, 0.5, 0.8, 3)
    assert (breaker.open_first.total_seconds(), breaker.open_cap.total_seconds()) == (5, 60)
    assert (bulkhead.max_concurrent, bulkhead.max_waiting, bulkhead.wait.total_seconds()) == (1024, 1024, 0.05)
