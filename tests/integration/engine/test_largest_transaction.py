"""The largest transaction that the limits allow is written, driven and ended by every server."""

import pytest
from msgspec import Raw

from placet_contract.limits import PLAN_BYTES_MAX, RESULTS_BYTES_MAX
from placet_contract.transactions import RegisterRequest
from placet_contract.vocabulary import Pattern
from placet_coordinator.core.documents import decode_progress
from placet_coordinator.core.rule import RuleBroken
from unit.engine.node import branch

QUOTES = Raw(b'"' + rb"\"" * 499_000 + b'"')
"""JSON of some 1 MB in which every character is one that a database's text literal has to escape."""


async def test_saga_whose_results_are_too_much_for_its_row_ends(node):
    """What has no room is null; nothing is called again and again because the row can't be written."""
    node.script.result = QUOTES
    steps = [branch("a"), branch("b", after=["a"]), branch("c", after=["b"]), branch("d", after=["c"])]
    await node.begin("t", branches=steps, pattern=Pattern.SAGA)
    row = await node.until_status("t", "committed", 30)
    kept = [len(each.result) for each in decode_progress(row.progress).branches]
    assert kept == [len(QUOTES), len(QUOTES), 4, 4]
    assert sum(kept) <= RESULTS_BYTES_MAX
    assert len(node.script.calls) == 4
    assert not node.notes.troubles


async def test_transaction_of_the_largest_plan_is_driven(node):
    """Branches are registered until there is no room; the decision and its calls go on as ever."""
    await node.begin("t", branches=[branch("b0", payload=QUOTES)])
    for number in range(1, 4):
        await node.commands.register("t", RegisterRequest(branches=[branch(f"b{number}", payload=QUOTES)]))
    with pytest.raises(RuleBroken) as broken:
        await node.commands.register("t", RegisterRequest(branches=[branch("b4", payload=QUOTES)]))
    assert broken.value.limit == PLAN_BYTES_MAX
    assert len((await node.row("t")).plan) > PLAN_BYTES_MAX - len(QUOTES)
    assert (await node.commands.commit("t", wait_ms=20_000)).status == "committed"
    assert len(node.script.calls) == 4
