"""The page on governing says what is there, and its document is one."""

import re
from pathlib import Path

from placet_rpc.configuration import read_document
from placet_rpc.configuration.change import DIFFERENCES_MAX
from placet_rpc.configuration.document import overrides_of
from placet_rpc.configuration.live import CHANGES_MAX, FIRST_WORD
from placet_rpc.configuration.opening import CONFIGURATIONS
from placet_rpc.configuration.source import POLL_MS
from placet_rpc.configuration.sql import POLL_MS as SQL_POLL_MS
from placet_rpc.configuration.sql import REVISIONS_MAX
from placet_rpc.governance.metrics import SERIES_MAX

ROOT = Path(__file__).parents[4]
PAGE = (ROOT / "docs/how-to/govern-services.md").read_text()


def test_the_document_on_the_page_is_one_that_is_taken():
    """Whoever copies it begins with something that works."""
    text = PAGE.partition("```json\n")[2].partition("```")[0]
    overrides = overrides_of(read_document(text.encode()), {})
    assert set(overrides) == {("stock/1", ""), ("stock/1", "peek"), ("stock/1", "reserve")}


def test_the_figures_on_the_page_are_those_of_the_code():
    """Where a figure changes, the page has to change with it."""
    assert (POLL_MS, SQL_POLL_MS, FIRST_WORD.total_seconds()) == (1_000, 2_000, 3)
    assert (CHANGES_MAX, REVISIONS_MAX, SERIES_MAX, DIFFERENCES_MAX) == (100, 1_000, 1_000, 100)
    assert f"`{CONFIGURATIONS}`" in PAGE


def test_the_page_names_every_metric():
    """Each family of the code stands in the table, by its beginning or by its end."""
    code = (ROOT / "rpc/placet_rpc/governance/metrics.py").read_text()
    names = re.findall(r'"placet_rpc_(\w+)"', code) + re.findall(r'f"\{prefix\}_(\w+)"', code)
    assert len(names) > 15
    table = PAGE.partition("| metric |")[2]
    missing = [name for name in names if name not in table and name.partition("_")[2] not in table]
    assert not missing
