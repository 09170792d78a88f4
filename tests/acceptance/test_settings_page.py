"""The operator's page names every setting of the server, and no other."""

import re
from pathlib import Path

from placet_coordinator.config import Settings

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "how-to" / "operate.md"
FOR_LOAD_TESTS = {"PLACET_JOURNAL_BEGINS_MAX", "PLACET_JOURNAL_QUEUE_MAX"}
"""Limits of the journal's queue, which the config module explains; an operator has no cause to change them."""


def test_page_names_every_setting():
    """What can be configured is documented, and what is documented can be configured."""
    defined = {f"PLACET_{name.upper()}" for name in Settings.model_fields} - FOR_LOAD_TESTS
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| `PLACET_")]
    listed = {name for row in rows for name in re.findall(r"PLACET_[A-Z_]+", row.split("|")[1])}
    assert listed == defined
