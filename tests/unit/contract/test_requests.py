"""Requests as they are decoded: unknown fields refused, null like left out, figures within their bounds."""

import json
from typing import Any

import msgspec
import pytest

from placet_contract.limits import TIME_MS_MAX
from placet_contract.services import InstanceRequest
from placet_contract.transactions import (
    AbortRequest,
    BeginRequest,
    BranchRequest,
    CommitRequest,
    FinishedRequest,
    RegisterRequest,
    RetryRequest,
)

BRANCH = {"branch_id": "a", "target": "shop/a"}
BEGIN = {"pattern": "tcc", "gid": "g"}


def read(kind: type[Any], value: object) -> Any:
    return msgspec.json.decode(json.dumps(value), type=kind)


def refused(kind: type[Any], value: object, match: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=match):
        read(kind, value)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (BeginRequest, BEGIN),
        (BeginRequest, {**BEGIN, "branches": [BRANCH]}),
        (RegisterRequest, {"branches": [BRANCH]}),
        (CommitRequest, {}),
        (AbortRequest, {"reason_text": "why"}),
        (FinishedRequest, {"gids": ["g"]}),
        (InstanceRequest, {"base_url": "http://127.0.0.1:7001", "actions": {"a": ["try"]}}),
        (BranchRequest, BRANCH),
        (RetryRequest, {"max_attempts": 3}),
    ],
)
def test_unknown_field_is_refused_in_every_request(kind, value):
    """A misspelt field must not be taken for one that was left out."""
    read(kind, value)
    refused(kind, {**value, "unknwon": 1}, "unknown field `unknwon`")


def test_unknown_field_is_refused_inside_branches_and_retry_too():
    """At every depth."""
    refused(BeginRequest, {**BEGIN, "branches": [{**BRANCH, "tarqet": "x"}]}, r"unknown field `tarqet`.*branches\[0\]")
    nested = {**BRANCH, "retry": {"max": 1}}
    refused(RegisterRequest, {"branches": [nested]}, r"unknown field `max`.*retry")


def test_null_equals_left_out():
    """In begin, in a branch and in its retry; `payload` has null for its default anyway."""
    optional = ["gid", "name", "key", "parent", "timeout_ms", "drive", "branches"]
    assert read(BeginRequest, {"pattern": "tcc", **dict.fromkeys(optional)}) == read(BeginRequest, {"pattern": "tcc"})
    optional = ["headers", "envelope", "after", "pivot", "compensate", "timeout_ms", "retry"]
    bare, nulls = read(BranchRequest, BRANCH), read(BranchRequest, {**BRANCH, **dict.fromkeys([*optional, "payload"])})
    assert bytes(bare.payload) == bytes(nulls.payload) == b"null"
    assert msgspec.structs.replace(nulls, payload=bare.payload) == bare
    optional = ["max_attempts", "for_ms", "first_ms", "cap_ms"]
    assert read(RetryRequest, dict.fromkeys(optional)) == RetryRequest()
    assert read(AbortRequest, {"reason_text": None}) == AbortRequest()


def test_payload_is_kept_as_it_was_written():
    """The coordinator carries it and never looks inside: figures keep their spelling."""
    text = b'{"branch_id":"a","target":"s/a","payload":{"b":1.0, "a":1e2,"n":12345678901234567890123}}'
    branch = msgspec.json.decode(text, type=BranchRequest)
    assert bytes(branch.payload) == b'{"b":1.0, "a":1e2,"n":12345678901234567890123}'


@pytest.mark.parametrize("field", ["pattern"])
def test_begin_needs_its_pattern(field):
    """Nothing else is needed at this point."""
    refused(BeginRequest, {"gid": "g"}, f"missing required field `{field}`")
    refused(BeginRequest, {"gid": "g", field: None}, field)
    refused(BeginRequest, {"gid": "g", field: "TCC"}, "Invalid enum value")


@pytest.mark.parametrize("field", ["branch_id", "target"])
def test_branch_needs_an_id_and_a_target(field):
    """Left out or null."""
    without = {key: value for key, value in BRANCH.items() if key != field}
    refused(BranchRequest, without, f"missing required field `{field}`")
    refused(BranchRequest, {**BRANCH, field: None}, field)


@pytest.mark.parametrize("times", [0, -1, TIME_MS_MAX + 1, 1.5, "1", True])
@pytest.mark.parametrize(
    ("kind", "around"),
    [
        (BeginRequest, lambda value: {**BEGIN, "timeout_ms": value}),
        (BranchRequest, lambda value: {**BRANCH, "timeout_ms": value}),
        (RetryRequest, lambda value: {"for_ms": value}),
        (RetryRequest, lambda value: {"first_ms": value}),
        (RetryRequest, lambda value: {"cap_ms": value}),
    ],
)
def test_times_are_whole_milliseconds_from_one_to_a_year(kind, around, times):
    """1 to 31,536,000,000, and nothing that only looks like a figure."""
    assert TIME_MS_MAX == 31_536_000_000
    refused(kind, around(times), "int")
    for good in (1, TIME_MS_MAX, None):
        read(kind, around(good))


@pytest.mark.parametrize("attempts", [0, -1, 1.5, "3"])
def test_attempts_are_counted_from_one(attempts):
    """None at all is no plan."""
    refused(RetryRequest, {"max_attempts": attempts}, "int")


@pytest.mark.parametrize("field", ["pivot", "compensate", "envelope"])
@pytest.mark.parametrize("value", [0, 1, "true", []])
def test_flags_are_true_or_false(field, value):
    """Nothing is taken for true."""
    refused(BranchRequest, {**BRANCH, field: value}, "bool")


@pytest.mark.parametrize("gid", ["", "a/b", "a b", "g" * 129, "g\n", "ü"])
def test_gid_is_checked_wherever_it_stands(gid):
    """In begin, in a parent, and in the question which are finished."""
    refused(BeginRequest, {**BEGIN, "gid": gid}, "regex")
    refused(BeginRequest, {**BEGIN, "parent": f"{gid}/b"}, "regex")
    refused(FinishedRequest, {"gids": [gid]}, "regex")


@pytest.mark.parametrize("branch_id", ["", "a/b", "b" * 65, "b\n"])
def test_branch_id_is_checked_wherever_it_stands(branch_id):
    """In a branch, in `after`, in a parent, and as the name of an action."""
    refused(BranchRequest, {**BRANCH, "branch_id": branch_id}, "regex")
    refused(BranchRequest, {**BRANCH, "after": [branch_id]}, "regex")
    refused(BeginRequest, {**BEGIN, "parent": f"g/{branch_id}"}, "regex")
    refused(InstanceRequest, {"base_url": "http://a", "actions": {branch_id: []}}, "regex")


def test_parent_is_gid_slash_branch_id():
    """Both of them."""
    assert read(BeginRequest, {**BEGIN, "parent": "g-1/b.2"}).parent == "g-1/b.2"
    for parent in ("g", "g/", "/b", "g/b/c", "g/b\n"):
        refused(BeginRequest, {**BEGIN, "parent": parent}, "regex")


@pytest.mark.parametrize(("field", "longest"), [("name", 128), ("key", 256)])
def test_name_and_key_have_a_length(field, longest):
    """Text of one character at least."""
    read(BeginRequest, {**BEGIN, field: "ß" * longest})
    refused(BeginRequest, {**BEGIN, field: "x" * (longest + 1)}, f"length <= {longest}")
    refused(BeginRequest, {**BEGIN, field: ""}, "length >= 1")


def test_reason_text_has_a_length():
    """The caller's own words, in one column."""
    read(AbortRequest, {"reason_text": "x" * 1_000})
    refused(AbortRequest, {"reason_text": "x" * 1_001}, "length <= 1000")


def test_register_brings_at_least_one_branch():
    """Registering nothing is a mistake, not a repeat."""
    refused(RegisterRequest, {"branches": []}, "length >= 1")
    refused(RegisterRequest, {}, "missing required field `branches`")
    refused(RegisterRequest, {"branches": None}, "array")


def test_finished_is_asked_about_a_thousand_at_most():
    """One page of gids."""
    read(FinishedRequest, {"gids": ["g"] * 1_000})
    refused(FinishedRequest, {"gids": ["g"] * 1_001}, "length <= 1000")


def test_target_object_names_operations():
    """Text, or an object from operation to URL; other keys are refused."""
    target = {"confirm": "http://127.0.0.1/c", "cancel": "http://127.0.0.1/x"}
    assert read(BranchRequest, {**BRANCH, "target": target}).target == target
    refused(BranchRequest, {**BRANCH, "target": {"confrim": "http://127.0.0.1/c"}}, "Invalid enum value 'confrim'")
    refused(BranchRequest, {**BRANCH, "target": 7}, "str")
    refused(BranchRequest, {**BRANCH, "target": "x" * 2_049}, "length <= 2048")
    refused(BranchRequest, {**BRANCH, "target": ""}, "length >= 1")


def test_headers_are_texts_by_name():
    """Nothing else can be sent."""
    refused(BranchRequest, {**BRANCH, "headers": {"x": 1}}, "str")
    refused(BranchRequest, {**BRANCH, "headers": ["x"]}, "object")
