"""The page of problem types says what the code says."""

import re
from pathlib import Path

from placet_contract import problems

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "reference" / "problems.md"


def test_page_lists_exactly_the_problem_types_of_the_contract():
    """Each slug that the contract defines stands in a table of the page, and no other."""
    no_slugs = {problems.TYPE_BASE, problems.CONTENT_TYPE}
    defined = {value for name, value in vars(problems).items() if name.isupper() and value not in no_slugs}
    listed = re.findall(r"^\| `([a-z-]+)` \|", PAGE.read_text(), re.MULTILINE)
    assert len(defined) >= 16
    assert sorted(listed) == sorted(defined)
    assert problems.TYPE_BASE in PAGE.read_text()
