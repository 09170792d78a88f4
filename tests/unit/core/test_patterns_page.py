"""The page of patterns is what the tables say, and a stale one is refused."""

import importlib.util
from pathlib import Path

import pytest

from placet_coordinator.core.events import EVENTS
from placet_coordinator.core.patterns import PATTERNS

SCRIPT = Path(__file__).resolve().parents[3] / "docs" / "patterns.py"


@pytest.fixture(scope="module")
def patterns():
    """Load the script as a module."""
    spec = importlib.util.spec_from_file_location("patterns_page", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_page_is_what_the_tables_say(patterns):
    """Whoever changes a table draws the page again."""
    assert "is what the tables" in patterns.main(["--check"])


def test_stale_page_is_refused_with_the_command_to_run(patterns, tmp_path):
    """The check says what to do."""
    page = tmp_path / "patterns.md"
    with pytest.raises(SystemExit, match=r"run: .*docs/patterns\.py$"):
        patterns.main(["--check"], page)
    patterns.main([], page)
    patterns.main(["--check"], page)
    page.write_text(page.read_text().replace("repeat", "refused", 1))
    with pytest.raises(SystemExit, match=r"patterns\.md is not what the tables"):
        patterns.main(["--check"], page)


def test_page_names_every_event_and_pattern(patterns):
    """Nothing is left out."""
    assert set(patterns.NAMES) == set(EVENTS)
    page = patterns.page()
    assert all(f"\n## {rules.name}\n" in page for rules in PATTERNS.values())
    assert page.count("```mermaid\nstateDiagram-v2\n") == len(PATTERNS)


def test_diagram_shows_a_decision_and_no_way_back(patterns):
    """An arrow leads from a status to another only if some event leads there; none leads back to active."""
    for rules in PATTERNS.values():
        diagram = patterns.diagram(rules)
        assert "--> active:" not in diagram.replace("[*] --> active:", "")
        assert "committed --> a" not in diagram
        assert "aborted --> c" not in diagram
