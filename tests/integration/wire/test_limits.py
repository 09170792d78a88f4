"""What a request may hold: JSON, size, depth, text; and how each mistake is told."""

import json
import socket

import pytest

from .conftest import refused

TRANSACTIONS = "/v1/transactions"
MIB = 1_048_576


def hot_paths(gid):
    return [
        TRANSACTIONS,
        f"{TRANSACTIONS}/{gid}/branches",
        f"{TRANSACTIONS}/{gid}/commit",
        f"{TRANSACTIONS}/{gid}/abort",
    ]


@pytest.fixture
def with_payload(api, gid):
    """Begins a transaction whose one payload is given as raw JSON."""

    def post(payload, **members):
        branch = f'{{"branch_id":"a","target":"stock/hold","payload":{payload}}}'
        more = "".join(f'"{name}":{json.dumps(value)},' for name, value in members.items())
        body = f'{{"pattern":"tcc",{more}"gid":"{gid}","branches":[{branch}]}}'
        return api.post(TRANSACTIONS, content=body.encode("utf-8", "surrogatepass"))

    return post


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"tcc",
        b'{"pattern":"tcc"}x',
        b"{'pattern':'tcc'}",
        b'{"pattern":"tcc",}',
        b'{"a":NaN}',
        b"\xff\xfe{\x00}\x00",
    ],
    ids=repr,
)
def test_what_is_not_json_is_400(api, gid, body):
    """On each call that takes a body."""
    for path in (*hot_paths(gid), "/v1/transactions/finished"):
        refused(api.post(path, content=body), 400, "not-json")


def test_begin_and_register_need_a_body(api, gid):
    """No body is no JSON; commit and abort need none."""
    for path in hot_paths(gid)[:2]:
        refused(api.post(path), 400, "not-json")


def test_not_utf8_is_400(api, with_payload):
    """Inside a payload as anywhere else."""
    body = b'{"pattern":"tcc","branches":[{"branch_id":"a","target":"s/h","payload":"\xff"}]}'
    refused(api.post(TRANSACTIONS, content=body), 400, "not-json")


@pytest.mark.parametrize("body", ["[]", "1", '"tcc"', "null", "true"])
def test_json_that_is_no_object_is_422(api, gid, body):
    """It is well-formed, and against a rule."""
    for path in hot_paths(gid):
        refused(api.post(path, content=body.encode()), 422, "rule")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "pattern"),
        ({"pattern": "2pc"}, "pattern"),
        ({"pattern": None}, "pattern"),
        ({"pattern": "notification"}, "pattern"),
        ({"pattern": "tcc", "colour": "red"}, "colour"),
        ({"pattern": "tcc", "name": ""}, "name"),
        ({"pattern": "tcc", "name": "x" * 129}, "name"),
        ({"pattern": "tcc", "name": "a\0b"}, "name"),
        ({"pattern": "tcc", "key": "x" * 257}, "key"),
        ({"pattern": "tcc", "key": "a\0b"}, "key"),
        ({"pattern": "tcc", "parent": "no-branch"}, "parent"),
        ({"pattern": "tcc", "parent": "a/b/c"}, "parent"),
        ({"pattern": "tcc", "timeout_ms": 0}, "timeout_ms"),
        ({"pattern": "tcc", "timeout_ms": 31_536_000_001}, "timeout_ms"),
        ({"pattern": "tcc", "timeout_ms": "30s"}, "timeout_ms"),
        ({"pattern": "tcc", "drive": 1}, "drive"),
        ({"pattern": "saga", "gid": "x", "drive": True}, "drive"),
        ({"pattern": "tcc", "branches": {}}, "branches"),
        ({"pattern": "tcc", "gid": ""}, "gid"),
        ({"pattern": "tcc", "gid": "x" * 129}, "gid"),
        ({"pattern": "tcc", "gid": "a b"}, "gid"),
        ({"pattern": "tcc", "gid": "a\n"}, "gid"),
        ({"pattern": "tcc", "gid": 1}, "gid"),
    ],
    ids=str,
)
def test_rules_of_a_begin_are_named(api, body, field):
    """`field` and `rule` always, `limit` where there is one."""
    told = refused(api.post(TRANSACTIONS, json=body), 422, "rule", field)
    if "timeout_ms" in body and isinstance(body["timeout_ms"], int):
        assert told["limit"] in {1, 31_536_000_000}


def test_unknown_fields_are_refused_everywhere(api, gid, tcc):
    """A misspelt member is never ignored."""
    api.post(TRANSACTIONS, json=tcc)
    for path in hot_paths(gid)[2:]:
        refused(api.post(path, json={"wait": 1}), 422, "rule", "wait")
    refused(api.post(hot_paths(gid)[1], json={"branches": tcc["branches"], "wait": 1}), 422, "rule", "wait")
    refused(api.post("/v1/transactions/finished", json={"gids": [], "wait": 1}), 422, "rule", "wait")


def test_unknown_query_fields_are_refused_everywhere(api, gid, tcc):
    """`wait_ms` belongs to begin, commit and abort."""
    api.post(TRANSACTIONS, json=tcc)
    begin, register, commit, abort = hot_paths(gid)
    for path in (begin, commit, abort):
        refused(api.post(f"{path}?wait=1", json=tcc if path == begin else {}), 422, "rule", "wait")
    refused(api.post(f"{register}?wait_ms=1", json={"branches": tcc["branches"]}), 422, "rule", "wait_ms")
    for path in (f"{TRANSACTIONS}/{gid}", "/v1/services", "/v1/services/x", "/v1/nodes"):
        refused(api.get(f"{path}?x=1"), 422, "rule", "x")


@pytest.mark.parametrize("gid", ["x" * 128, "A-Z.a_z-0"])
def test_gids_of_the_alphabet(api, gid):
    """1 to 128 of A-Z a-z 0-9 _ - . are taken, in body and path."""
    assert api.post(TRANSACTIONS, json={"pattern": "tcc", "gid": gid}).status_code in {200, 201}
    assert api.get(f"{TRANSACTIONS}/{gid}").json()["gid"] == gid


@pytest.mark.parametrize("gid", ["x" * 129, "%C3%A4", "a%20b", "a%0A", "%2e%2e%2Fx"])
def test_gids_beside_the_alphabet_in_a_path(api, gid):
    """A rule that is broken, or no path at all; never a gid that the server made up."""
    calls = [api.get(f"{TRANSACTIONS}/{gid}"), *(api.post(path, json={}) for path in hot_paths(gid)[2:])]
    assert {answer.status_code for answer in calls} <= {404, 422}
    assert all(answer.headers["content-type"] == "application/problem+json" for answer in calls)


def test_a_thousand_branches_and_no_more(api, gid):
    """In one request, and over all registers of a transaction."""
    branches = [{"branch_id": str(number), "target": "stock/hold"} for number in range(1_001)]
    told = refused(
        api.post(TRANSACTIONS, json={"pattern": "tcc", "gid": gid, "branches": branches}), 422, "rule", "branches"
    )
    assert told["limit"] == 1_000
    body = {"pattern": "tcc", "gid": gid, "branches": branches[:999]}
    assert api.post(TRANSACTIONS, json=body).status_code == 201
    register = f"{TRANSACTIONS}/{gid}/branches"
    assert api.post(register, json={"branches": branches[998:1_000]}).status_code == 200
    refused(api.post(register, json={"branches": branches[1_000:]}), 422, "rule", "branches")
    assert len(api.get(f"{TRANSACTIONS}/{gid}").json()["branches"]) == 1_000


def test_body_of_a_mebibyte_and_no_more(api, gid, with_payload):
    """One byte more is 413, and the limit is told."""
    frame = len(
        f'{{"pattern":"tcc","gid":"{gid}","branches":[{{"branch_id":"a","target":"stock/hold","payload":""}}]}}'
    )
    assert with_payload(f'"{"x" * (MIB - frame)}"').status_code == 201
    assert refused(with_payload(f'"{"x" * (MIB - frame + 1)}"'), 413, "too-large")["limit"] == MIB
    for path in (*hot_paths(gid)[1:], "/v1/transactions/finished"):
        refused(api.post(path, content=b" " * (MIB + 1)), 413, "too-large")
    refused(api.put("/v1/services/s/instances/i", content=b" " * (MIB + 1)), 413, "too-large")


def test_body_without_a_length_is_held_to_the_limit_too(api):
    """A chunked request is read no further than that."""
    refused(api.post(TRANSACTIONS, content=iter([b" " * 600_000] * 2)), 413, "too-large")


def test_too_large_a_body_is_refused_before_it_is_sent(server):
    """The announced length is enough: nobody has to send a gigabyte to learn it."""
    head = b"POST /v1/transactions HTTP/1.1\r\nhost: x\r\ncontent-length: 1073741824\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(head)
        assert connection.recv(12) == b"HTTP/1.1 413"


@pytest.mark.parametrize("depth", [64, 65, 5_000, 500_000])
def test_json_is_nested_64_deep_and_no_more(with_payload, depth):
    """Body, list of branches and branch are three of the levels."""
    answer = with_payload("[" * (depth - 3) + "]" * (depth - 3))
    if depth == 64:
        assert answer.status_code == 201
    else:
        assert refused(answer, 422, "rule")["limit"] == 64


def test_brackets_inside_text_are_no_depth(with_payload):
    """Only structure counts."""
    assert with_payload(json.dumps("[{" * 200 + '\\"[')).status_code == 201


@pytest.mark.parametrize(
    "text", ['"\\ud800"', '"\\udc00x"', '"\\ud800\\ud800"', '{"\\udfff": 1}', '"\ud800"'], ids=ascii
)
def test_lone_surrogates_are_422_or_no_utf8(with_payload, text):
    """No database stores them; as raw bytes they are no UTF-8 in the first place."""
    answer = with_payload(text)
    if "\\u" in text:
        refused(answer, 422, "rule")
    else:
        refused(answer, 400, "not-json")


@pytest.mark.parametrize("member", ["name", "key"])
def test_lone_surrogates_in_columns_are_422(api, member):
    """They are told as what they are."""
    body = f'{{"pattern":"tcc","{member}":"\\ud800"}}'
    refused(api.post(TRANSACTIONS, content=body.encode()), 422, "rule")


@pytest.mark.parametrize(
    "payload",
    [
        '"\\u0000"',
        '{"a\\u0000b": "\\u0000"}',
        '"\\ud83d\\ude00"',
        '"☂"',
        "12345678901234567890123456789",
        "-0.0",
        "1e-7",
        "null",
    ],
)
def test_payloads_are_kept_as_they_are(api, with_payload, gid, payload):
    """NUL, pairs of surrogates and figures of any size come back as they were sent, and are the same again."""
    assert with_payload(payload).status_code == 201
    shown = api.get(f"{TRANSACTIONS}/{gid}").text
    assert json.loads(shown)["branches"][0]["payload"] == json.loads(payload)
    assert with_payload(payload).status_code == 200


def test_nul_reaches_the_participant(api, gid, participant):
    """What was stored is what is sent."""
    branch = {"branch_id": "a", "target": f"{participant.url}/a", "payload": {"a\0": "\0"}}
    api.post(TRANSACTIONS, json={"pattern": "tcc", "gid": gid, "branches": [branch]})
    assert api.post(f"{TRANSACTIONS}/{gid}/commit?wait_ms=20000").json()["status"] == "committed"
    assert participant.calls[0].body == {"a\0": "\0"}


@pytest.mark.parametrize("number", ["1e999", "9" * 5_000])
def test_figures_beyond_every_reader_are_422(with_payload, number):
    """A participant could not read them."""
    refused(with_payload(number), 422, "rule")


def test_other_methods_and_paths(api, gid):
    """405 names what the path takes; 404 is a problem, too."""
    answer = api.put(TRANSACTIONS, json={})
    assert refused(answer, 405, "method-not-allowed")
    assert "POST" in answer.headers["allow"]
    refused(api.post("/v1/transaction", json={}), 404, "not-found")
    refused(api.post(f"{TRANSACTIONS}/{gid}/undo", json={}), 404, "not-found")
    refused(api.post(f"{TRANSACTIONS}/", json={}), 404, "not-found")
