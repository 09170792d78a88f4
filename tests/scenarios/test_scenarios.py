"""Each scenario's transcript is what the core says today."""

from pathlib import Path

import pytest

from scenarios.transcript import COMMAND, rewritten

SCENARIOS = sorted(Path(__file__).parent.glob("*.txt"))


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_transcript_is_what_the_core_says(path):
    """A change of behaviour shows as a change of these texts, and is committed with them."""
    text = path.read_text()
    drawn = rewritten(text)
    assert drawn == text, f"{path.name} is stale; if the change is meant, run: {COMMAND}"
    assert text.startswith("# "), "a scenario opens with what it shows"


def test_there_are_scenarios():
    """The runner finds its files."""
    assert len(SCENARIOS) >= 8


def test_stale_transcript_is_found():
    """A line that the core would not say is drawn otherwise."""
    path = next(each for each in SCENARIOS if each.stem == "tcc_commit")
    assert rewritten(path.read_text().replace("committing", "aborting")) == path.read_text()
