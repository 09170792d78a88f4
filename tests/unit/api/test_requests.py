"""Requests read strictly: every body and query is a value, or one problem that names the rule."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from placet_contract.limits import JSON_DEPTH_MAX
from placet_contract.transactions import BeginRequest
from placet_coordinator.api.answers import EdgeError, NotJson, of_error
from placet_coordinator.api.lane import ABORT, BEGIN, COMMIT, REGISTER
from placet_coordinator.api.pages import ListQuery
from placet_coordinator.api.queries import NoQuery, WaitQuery, read_query
from placet_coordinator.api.requests import check_gid, check_name, check_text
from placet_coordinator.core.rule import RuleBroken

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda parts: st.lists(parts, max_size=4) | st.dictionaries(st.text(), parts, max_size=4),
    max_leaves=12,
)


def outcome(read, *arguments):
    """Returns the value read, or the problem's status; anything else that is raised fails the test."""
    try:
        return read(*arguments)
    except (EdgeError, RuleBroken) as error:
        return of_error(error).status


@given(st.binary(max_size=200))
@example(b"")
@example(b'{"pattern":"tcc","branches":[{"branch_id":"a","target":"s/h","payload":\xff}]}')
@example(b"[" * 3_000)
@example(b'{"a":' * 3_000)
@example(b'"\\ud800"')
@example(b"1e999")
@example(b"-")
@example(b"\xef\xbb\xbf{}")
def test_any_bytes_are_a_value_or_a_problem(body):
    """A decoder never raises what the edge does not know; not JSON is 400, and a rule is 422."""
    for decoder in (BEGIN, REGISTER, COMMIT, ABORT):
        said = outcome(decoder.read, body)
        assert said in {400, 422} or isinstance(said, decoder.kind)
        if said == 400:
            assert not is_json(body)


def is_json(body):
    """Says whether the standard library takes it, strictly; what is too deep or holds surrogates is for others."""
    try:
        json.loads(body.decode(), parse_constant=lambda name: 1 / 0)
    except (ValueError, ZeroDivisionError, RecursionError):
        return False
    return not body.startswith(b"\xef\xbb\xbf") and bool(body)


@given(JSON)
def test_any_payload_is_carried_as_it_is(payload):
    """Whatever JSON holds that a database can store is read, and is the same afterwards."""
    raw = json.dumps(payload).encode()
    body = b'{"pattern":"tcc","branches":[{"branch_id":"a","target":"s/h","payload":%b}]}' % raw
    said = outcome(BEGIN.read, body)
    assert isinstance(said, BeginRequest)
    assert bytes(said.branches[0].payload) == raw


@given(st.binary(max_size=100))
@example(b"wait_ms=")
@example(b"wait_ms=1&wait_ms=2")
@example(b"wait_ms=%ff")
@example(b"&&&=")
@example(b"a=b&" * 100)
@example(b"limit=+1")
@example(b"name=%00")
def test_any_query_is_a_value_or_a_problem(query):
    """Percent signs, blanks, repeats and bytes of any kind."""
    for kind in (NoQuery, WaitQuery, ListQuery):
        said = outcome(read_query, query, kind)
        assert said == 422 or isinstance(said, kind)


@pytest.mark.parametrize(
    ("body", "field", "rule", "limit"),
    [
        (b"{}", "pattern", "this field is required", None),
        (b'{"pattern":"tcc","x":1}', "x", "unknown field; check its spelling", None),
        (b'{"pattern":"tcc","timeout_ms":0}', "timeout_ms", "expected int >= 1", 1),
        (b'{"pattern":"tcc","gid":"a b"}', "gid", "1-128 characters of A-Za-z0-9_.-", 128),
        (b'{"pattern":"tcc","parent":"a"}', "parent", "gid/branch_id, each of A-Za-z0-9_.-", 193),
        (b'{"pattern":"tcc","branches":[{"branch_id":"a b","target":"s/h"}]}', "branches[0].branch_id", "1-64", 64),
        (b'{"pattern":"tcc","branches":[{"branch_id":"a"}]}', "branches[0].target", "this field is required", None),
        (
            b'{"pattern":"tcc","branches":[{"branch_id":"a","target":"s/h","retry":{"x":1}}]}',
            "branches[0].retry.x",
            "",
            None,
        ),
        (b"[]", "body", "expected object, got array", None),
        (b'{"pattern":"tcc","name":"\\ud800"}', "body", "no lone surrogates", None),
    ],
    ids=str,
)
def test_a_broken_rule_names_field_rule_and_limit(body, field, rule, limit):
    """Clients read members, people read words: both are there, in words that name no library."""
    with pytest.raises(RuleBroken) as caught:
        BEGIN.read(body)
    assert (caught.value.field, caught.value.limit) == (field, limit)
    assert rule in caught.value.rule
    assert "`" not in caught.value.rule


@pytest.mark.parametrize("opening", ["[", '{"a":'])
@pytest.mark.parametrize("more", [0, 1, 100_000])
def test_depth_is_counted_without_recursion(opening, more):
    """The limit is the limit, also far beyond what a recursive parser takes."""
    depth = JSON_DEPTH_MAX - 3 + more
    payload = opening * depth + "1" + ("]" if opening == "[" else "}") * depth
    body = f'{{"pattern":"tcc","branches":[{{"branch_id":"a","target":"s/h","payload":{payload}}}]}}'.encode()
    said = outcome(BEGIN.read, body)
    assert isinstance(said, BeginRequest) if more == 0 else said == 422


def test_an_empty_body_stands_for_an_empty_object_only_where_nothing_is_asked():
    """Commit and abort take it; begin and register do not."""
    assert COMMIT.read(b"") == COMMIT.read(b"{}")
    assert ABORT.read(b"") == ABORT.read(b'{"reason_text": null}')
    for decoder in (BEGIN, REGISTER):
        with pytest.raises(NotJson):
            decoder.read(b"")


def test_an_empty_query_value_counts_as_left_out():
    """`?status=&name=` is what a form sends."""
    assert read_query(b"status=&name=&limit=", ListQuery) == ListQuery()
    assert read_query(b"wait_ms=", WaitQuery).wait_ms == 0


@pytest.mark.parametrize("text", ["x" * 129, "", "a/b", "a\n", "ä"])
def test_names_in_paths_are_held_to_their_alphabet(text):
    """A newline at the end, which `$` would let pass, included."""
    for check in (check_gid, lambda name: check_name("service", name)):
        with pytest.raises(RuleBroken):
            check(text)
    check_text(reason_text="a\n")
