"""What an answer means: wire.md's table, line by line."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet_contract.outcomes import DETAIL_LENGTH_MAX, Verdict, classify
from placet_contract.vocabulary import FORWARD_OPERATIONS, Operation, Outcome

OPERATIONS = st.sampled_from(Operation)
EVERY = list(Operation)
BACKWARD = [operation for operation in Operation if operation not in FORWARD_OPERATIONS]


def conflict(slug: str, **members: object) -> bytes:
    return json.dumps({"type": f"https://placet.dev/problems/{slug}", **members}).encode()


@pytest.mark.parametrize("status", [200, 201, 202, 204, 226, 299])
@pytest.mark.parametrize("operation", EVERY)
def test_any_2xx_is_done(operation, status):
    """Whatever was asked, and whatever the body says."""
    for body in (b"", b"not json", conflict("rejected")):
        verdict = classify(operation, status, body)
        assert verdict.outcome is Outcome.DONE
        assert verdict.answered


@pytest.mark.parametrize("operation", ["try", "prepare", "action"])
def test_409_rejected_to_a_forward_operation_is_a_business_no(operation):
    """Final, and in the participant's own words."""
    verdict = classify(Operation(operation), 409, conflict("rejected", title="No", detail="no seats left"))
    assert verdict == Verdict(Outcome.REJECTED, answered=True, detail="no seats left")


@pytest.mark.parametrize("operation", ["try", "action"])
def test_409_late_to_a_try_or_action_is_rejected_and_late(operation):
    """Nothing will run there any more; shown as outcome `rejected`, detail `late`."""
    verdict = classify(Operation(operation), 409, conflict("late"))
    assert verdict == Verdict(Outcome.REJECTED, late=True, answered=True, detail="late")


def test_409_not_tried_to_a_confirm_is_told_apart():
    """Not done, so unknown; but the participant answered, and a human has to look."""
    verdict = classify(Operation.CONFIRM, 409, conflict("not-tried"))
    assert verdict.outcome is Outcome.UNKNOWN
    assert verdict.not_tried
    assert verdict.answered


@pytest.mark.parametrize("operation", EVERY)
def test_425_is_ongoing(operation):
    """Ask again later; it is an answer."""
    verdict = classify(operation, 425, conflict("ongoing"))
    assert verdict.outcome is Outcome.ONGOING
    assert verdict.answered


@pytest.mark.parametrize(
    "status",
    [100, 199, 300, 301, 302, 307, 308, 400, 401, 403, 404, 408, 410, 422, 429, 500, 502, 503, 504, 599, 0, 999],
)
@pytest.mark.parametrize("operation", EVERY)
def test_any_other_status_is_unknown_and_no_answer(operation, status):
    """Redirects, refusals of proxies, server errors: nothing is known, whatever the body claims."""
    verdict = classify(operation, status, conflict("rejected"))
    assert verdict.outcome is Outcome.UNKNOWN
    assert not verdict.answered
    assert str(status) in verdict.detail


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b'"rejected"',
        b"<html>conflict</html>",
        b'{"type": 409}',
        b'{"type": null}',
        b'{"type": "about:blank", "title": "Conflict"}',
        b'{"type": "https://placet.dev/problems/rejected/"}',
        b'{"type": "https://placet.dev/problems/Rejected"}',
        b'{"type": "https://placet.dev/problems/not-rejected"}',
        b'{"type": "\xff/rejected"}',
        b'{"type": "x/rejected", "title": "\\ud800"}',
        pytest.param(b'{"deep": ' + b"[" * 100_000 + b"]" * 100_000 + b', "type": "x/rejected"}', id="deep"),
    ],
)
def test_409_of_nobody_we_know_is_unknown(body):
    """Only our types say something: another 409, broken JSON, JSON that can't be read, say nothing."""
    verdict = classify(Operation.ACTION, 409, body)
    assert verdict.outcome is Outcome.UNKNOWN
    assert not verdict.answered


def test_types_are_compared_by_what_stands_behind_the_last_slash():
    """Any base will do: a participant in another language may serve its own."""
    for base in ("https://placet.dev/problems/", "https://shop.example/errors/", "/"):
        body = json.dumps({"type": f"{base}rejected"}).encode()
        assert classify(Operation.TRY, 409, body).outcome is Outcome.REJECTED


@pytest.mark.parametrize("operation", BACKWARD)
def test_phase_two_may_not_be_refused(operation):
    """A no to a confirm, cancel or compensation is a breach of the protocol: unknown, though it is an answer."""
    verdict = classify(operation, 409, conflict("rejected", detail="will not"))
    assert verdict.outcome is Outcome.UNKNOWN
    assert verdict.answered
    assert "may not be refused: will not" in verdict.detail


@pytest.mark.parametrize("operation", BACKWARD)
def test_late_says_nothing_to_phase_two(operation):
    """It belongs to tries and actions."""
    verdict = classify(operation, 409, conflict("late"))
    assert verdict.outcome is Outcome.UNKNOWN
    assert not verdict.late


@pytest.mark.parametrize("operation", [each for each in EVERY if each is not Operation.CONFIRM])
def test_not_tried_says_nothing_but_to_a_confirm(operation):
    """Elsewhere it is a 409 like any other."""
    verdict = classify(operation, 409, conflict("not-tried"))
    assert verdict.outcome is Outcome.UNKNOWN
    assert not verdict.not_tried
    assert not verdict.answered


def test_detail_falls_back_to_the_title():
    """RFC 9457 makes both optional."""
    assert classify(Operation.TRY, 409, conflict("rejected", title="Sold out")).detail == "Sold out"
    assert classify(Operation.TRY, 409, conflict("rejected")).detail == ""


def test_detail_is_short_and_printable_whatever_a_participant_wrote():
    """It goes into columns and logs: a NUL, a line break or a megabyte must not."""
    nasty = "no\0\r\nlevel=error \x1b[31m" + "x" * 1_000_000
    for body in (conflict("rejected", detail=nasty), conflict(nasty, detail=nasty)):
        detail = classify(Operation.ACTION, 409, body).detail
        assert detail.isprintable()
        assert len(detail) == DETAIL_LENGTH_MAX
    assert Verdict(Outcome.UNKNOWN, detail="a\tb").detail == "a b"


@given(operation=OPERATIONS, status=st.integers(0, 1_000), body=st.binary(max_size=200))
def test_classifying_never_fails(operation, status, body):
    """Any bytes get a verdict: an exception here would lose the end of a call."""
    verdict = classify(operation, status, body)
    assert verdict.detail.isprintable()


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(operation=OPERATIONS, members=st.dictionaries(st.sampled_from(["type", "title", "detail", "x"]), _JSON))
def test_any_json_at_all_gets_a_verdict(operation, members):
    """A 409 with members of any kind is one of the types, or unknown."""
    verdict = classify(operation, 409, json.dumps(members).encode())
    assert verdict.outcome in (Outcome.REJECTED, Outcome.UNKNOWN)
    assert len(verdict.detail) <= DETAIL_LENGTH_MAX
