"""The two documents of a row: what is written is what is read."""

import json

import msgspec
import pytest

from placet_coordinator.core.documents import decode_plan, decode_progress, encode_plan, encode_progress
from unit.core.exploring import walk
from unit.core.life import Life, plan_of


@pytest.mark.parametrize("name", ["tcc", "driven tcc", "saga"])
def test_every_reachable_state_survives_its_documents(name):
    """Plan and progress come back as they were."""
    for _, _, taken, _ in walk(name)[::7]:
        transaction = taken.transaction
        plan, progress = decode_plan(encode_plan(transaction)), decode_progress(encode_progress(transaction))
        assert plan.branches == transaction.branches
        assert (plan.timeout_ms, plan.drive, plan.begun_count) == (
            transaction.timeout_ms,
            transaction.drive,
            transaction.begun_count,
        )
        assert progress.branches == transaction.progress
        assert progress.decided_at_ms == transaction.decided_at_ms


def test_documents_are_json_that_people_can_read():
    """An operator reads them with any SQL client: words, no defaults spelt out."""
    life = Life.of("saga", "a", "b")
    life.answer("a", result={"seat": 4})
    assert json.loads(encode_progress(life.transaction))["branches"][0]["result"] == {"seat": 4}
    plan = json.loads(encode_plan(plan_of("tcc", "a")))
    assert set(plan["branches"][0]) == {"branch_id", "target", "timeout_ms", "retry"}


def test_payload_of_nul_and_all_planes_survives():
    r"""`\u0000` and characters beyond the first plane are JSON like any other."""
    plan = plan_of("tcc", {"branch_id": "a", "payload": "\0 \U0001f600"})
    assert decode_plan(encode_plan(plan)).branches == plan.branches


@pytest.mark.parametrize("text", ["", "{", "[]", '{"branches": [{}]}', '{"branches": 1}'])
def test_damaged_documents_are_told(text):
    """Never a transaction made up from half a row."""
    with pytest.raises(msgspec.MsgspecError):
        decode_plan(text)


def test_unknown_member_of_a_document_is_passed_over():
    """A later release may write more under the same format."""
    assert decode_progress('{"branches": [{"status": "done", "later": 1}], "format": 1}').branches[0].status == "done"
