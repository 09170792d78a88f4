"""The words of the wire: problems, headers, limits and the glossary, held against the page and against each other."""

import json
from pathlib import Path

import pytest

from placet_contract import headers, limits, problems
from placet_contract.vocabulary import FINAL_STATUSES, FORWARD_OPERATIONS, OPEN_STATUSES, Operation, Status
from placet_rpc.http import headers as transport_headers

WIRE = (Path(__file__).resolve().parents[3] / "docs" / "reference" / "wire.md").read_text()


def test_problem_says_only_what_it_has_to_say():
    """Members that are not set do not stand on the wire."""
    told = json.loads(problems.encode_problem(problems.problem(problems.RULE, "A rule", 422, field="gid", limit=128)))
    assert told == {
        "type": "https://placet.dev/problems/rule",
        "title": "A rule",
        "status": 422,
        "field": "gid",
        "limit": 128,
    }


@pytest.mark.parametrize(
    ("uri", "slug"),
    [("https://x/y/rejected", "rejected"), ("rejected", "rejected"), ("", ""), ("a/", ""), ("a/b/", "")],
)
def test_slug_is_what_stands_behind_the_last_slash(uri, slug):
    """The part that clients compare."""
    assert problems.slug_of(uri) == slug


def test_idempotency_key_is_gid_branch_and_operation():
    """Ids hold no slash, so no two operations share a key."""
    assert headers.idempotency_key("g", "b", "try") == "g/b/try"


@pytest.mark.parametrize(
    "name",
    [
        headers.GID,
        headers.BRANCH,
        headers.OPERATION,
        headers.ATTEMPT,
        headers.DEADLINE_MS,
        headers.BEGUN_AT_MS,
        headers.TIME_MS,
        headers.IDEMPOTENCY_KEY,
        headers.TRACEPARENT,
        headers.SIGNATURE,
        headers.OUTCOME_ECHO,
    ],
)
def test_headers_are_those_of_the_page_and_no_branch_may_set_them(name):
    """What the coordinator says about a call can't be said by a plan."""
    assert f"`{name}" in WIRE
    assert name == name.lower()
    assert name in headers.RESERVED or name.startswith(headers.RESERVED_PREFIX)


def test_headers_that_the_transport_refuses_are_refused_at_begin():
    """Else the call would fail where nobody can correct it any more."""
    refused = {name.decode() for name in transport_headers._RESERVED}
    assert refused <= headers.RESERVED


@pytest.mark.parametrize(
    "figure",
    [
        limits.TCC_TIMEOUT_MS,
        limits.CALL_TIMEOUT_MS,
        limits.RETRY_CAP_MS,
        limits.TIME_MS_MAX,
        limits.BRANCHES_MAX,
        limits.WAIT_MS_MAX,
        limits.INSTANCE_LEASE_MS,
        limits.LIST_LIMIT,
        limits.LIST_LIMIT_MAX,
        limits.FINISHED_GIDS_MAX,
        limits.RETRY_FIRST_MS,
    ],
)
def test_figures_are_those_of_the_page(figure):
    """A limit or default that changes, changes in both."""
    assert f"{figure:,}" in WIRE or str(figure) in WIRE


def test_times_that_the_page_gives_in_words():
    """24 hours, 7 days, a mebibyte."""
    assert limits.ACTION_RETRY_FOR_MS == 24 * 3_600_000
    assert limits.RETENTION_MS == 7 * 24 * 3_600_000
    assert limits.BODY_BYTES_MAX == limits.REPLY_BYTES_MAX == 1024 * 1024


def test_every_status_is_open_or_final():
    """And none is both."""
    assert set(Status) == OPEN_STATUSES | FINAL_STATUSES
    assert not OPEN_STATUSES & FINAL_STATUSES


def test_forward_operations_are_those_that_may_be_refused():
    """try, action, prepare."""
    assert {Operation.TRY, Operation.ACTION, Operation.PREPARE} == FORWARD_OPERATIONS
