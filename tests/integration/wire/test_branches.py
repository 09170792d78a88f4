"""`POST /v1/transactions/{gid}/branches`, and the rules of a branch."""

import pytest

from .conftest import refused

TARGET = "http://127.0.0.1:1/x"


def branch(branch_id="a", **members):
    return {"branch_id": branch_id, "target": TARGET} | members


@pytest.fixture
def begin(api, gid):
    """Begins a transaction of this test's gid."""

    def post(*branches, pattern="tcc", **members):
        body = {"pattern": pattern, "gid": gid, "branches": list(branches)} | members
        return api.post("/v1/transactions", json=body)

    return post


@pytest.fixture
def register(api, gid):
    """Registers branches with the transaction of this test's gid."""
    return lambda *branches: api.post(f"/v1/transactions/{gid}/branches", json={"branches": list(branches)})


def test_register_is_repeatable(api, begin, register, gid):
    """The same content is registered once, however often it is sent, alone or among new branches."""
    begin()
    first, again = register(branch("a"), branch("b")), register(branch("b"))
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json().keys() >= {"gid", "pattern", "status", "reason", "version", "node"}
    assert first.json()["version"] == again.json()["version"]
    assert register(branch("b"), branch("c")).status_code == 200
    view = api.get(f"/v1/transactions/{gid}").json()
    assert [each["branch_id"] for each in view["branches"]] == ["a", "b", "c"]


def test_same_branch_id_with_other_content_is_422(api, begin, register, gid):
    """Nothing of the request is registered, not even what was new."""
    begin(branch("a", payload=1))
    refused(register(branch("b"), branch("a", payload=2)), 422, "content-differs")
    assert len(api.get(f"/v1/transactions/{gid}").json()["branches"]) == 1


@pytest.mark.parametrize("decision", ["commit", "abort"])
def test_register_after_the_decision_is_409_even_of_known_branches(api, begin, register, gid, decision):
    """A decision covers what was registered before it."""
    begin(branch("a"))
    api.post(f"/v1/transactions/{gid}/{decision}")
    for each in (branch("a"), branch("b")):
        told = refused(register(each), 409, "conflict")
        assert told["transaction_status"] in {"committing", "aborting"}


def test_register_with_a_recorded_abort_is_409(api, register, gid):
    """The abort came before the begin."""
    api.post(f"/v1/transactions/{gid}/abort")
    assert refused(register(branch()), 409, "conflict")["transaction_status"] == "aborted"


def test_register_with_an_unknown_gid_is_404(register, gid):
    """Nothing is recorded."""
    assert refused(register(branch()), 404, "not-found")["gid"] == gid


@pytest.mark.parametrize("kind", [{"pattern": "saga"}, {"drive": True}], ids=["saga", "driven"])
def test_a_saga_and_a_driven_tcc_take_no_branches(begin, register, busy, kind):
    """Their plan is whole when they are begun."""
    assert begin(branch(target=f"{busy.url}/x"), **kind).status_code == 201
    refused(register(branch("b")), 422, "rule")


@pytest.mark.parametrize("kind", [{"pattern": "saga"}, {"drive": True}], ids=["saga", "driven"])
@pytest.mark.parametrize("branches", [{"branches": []}, {"branches": None}, {}], ids=["empty", "null", "left out"])
def test_a_saga_and_a_driven_tcc_need_a_branch(api, gid, kind, branches):
    """There would be nothing to drive."""
    body = {"pattern": "tcc", "gid": gid} | kind | branches
    refused(api.post("/v1/transactions", json=body), 422, "rule", "branches")


def test_a_branch_id_twice_in_one_request_is_422(begin, register):
    """In a begin as in a register, same content or not."""
    told = refused(begin(branch("a"), branch("a")), 422, "rule", "branches[1].branch_id")
    assert "a" in told["rule"]
    begin()
    refused(register(branch("b"), branch("b", payload=1)), 422, "rule", "branches[1].branch_id")


def test_register_needs_a_branch(api, begin, gid):
    """An empty list says nothing."""
    begin()
    for body in ({"branches": []}, {"branches": None}, {}):
        refused(api.post(f"/v1/transactions/{gid}/branches", json=body), 422, "rule", "branches")


@pytest.mark.parametrize("branch_id", ["a", "A.b-c_9", "x" * 64])
def test_branch_ids_of_the_alphabet(begin, register, branch_id):
    """1 to 64 of A-Z a-z 0-9 _ - . are taken."""
    begin()
    assert register(branch(branch_id)).status_code == 200


@pytest.mark.parametrize("branch_id", ["", "x" * 65, "ä", "a/b", "a b", "a\n", 1, None])
def test_branch_ids_beside_the_alphabet(begin, branch_id):
    """Anything else is 422, and the rule is named."""
    refused(begin(branch(branch_id)), 422, "rule", "branches[0].branch_id")


def test_ids_are_bytes(api, begin, register, gid):
    """Ids that differ in case only are different ids."""
    begin(branch("a"))
    assert register(branch("A", payload=1)).status_code == 200
    assert api.get(f"/v1/transactions/{gid.upper()}").status_code == 404
    assert len(api.get(f"/v1/transactions/{gid}").json()["branches"]) == 2


@pytest.mark.parametrize(
    "target",
    [
        "stock",
        "stock/",
        "/hold",
        "stock/hold/try",
        "",
        "ftp://127.0.0.1/x",
        "http://",
        "http:///x",
        "http://user:secret@127.0.0.1/x",
        "http://127.0.0.1/x?a=1",
        "http://127.0.0.1/x#a",
        "http://127.0.0.1/x y",
        "http://127.0.0.1:0/x",
        "http://127.0.0.1:65536/x",
        "http://example.org/x",
        "http://10.0.0.1/x",
        "http://169.254.169.254/latest/meta-data",
        "http://[fe80::1]/x",
        "http://0.0.0.0/x",
        1,
        None,
        [],
    ],
    ids=repr,
)
def test_targets_that_are_refused(begin, target):
    """Neither form, outside the allowed hosts, or with userinfo, query or fragment: 422, and no secret is repeated."""
    answer = begin(branch(target=target))
    refused(answer, 422, "rule", "branches[0].target")
    assert "secret" not in answer.text


@pytest.mark.parametrize(
    "target", ["stock/hold", "http://127.0.0.1:7001/debit", "https://localhost/debit", "http://[::1]:7001/a/b"]
)
def test_targets_that_are_taken(begin, target):
    """`service/action`, or an absolute URL on an allowed host: loopback by default."""
    assert begin(branch(target=target)).status_code == 201


@pytest.mark.parametrize(
    ("kind", "ops", "status"),
    [
        ({}, ["confirm", "cancel"], 201),
        ({}, ["try", "confirm", "cancel"], 201),
        ({}, ["confirm"], 422),
        ({}, ["cancel"], 422),
        ({}, [], 422),
        ({"drive": True}, ["try", "confirm", "cancel"], 201),
        ({"drive": True}, ["confirm", "cancel"], 422),
        ({"pattern": "saga"}, ["action"], 201),
        ({"pattern": "saga"}, ["action", "compensate"], 201),
        ({"pattern": "saga"}, ["compensate"], 422),
    ],
)
def test_an_object_target_names_what_its_pattern_calls(begin, kind, ops, status):
    """Confirm and cancel; a saga's action; a driven branch's try, too."""
    answer = begin(branch(target=dict.fromkeys(ops, TARGET)), **kind)
    assert answer.status_code == status, answer.text
    if status == 422:
        refused(answer, 422, "rule", "branches[0].target")


def test_an_object_targets_urls_are_checked_each(begin):
    """The field names the operation, and an unknown operation is no URL's name."""
    target = {"confirm": TARGET, "cancel": "http://10.0.0.1/x"}
    refused(begin(branch(target=target)), 422, "rule", "branches[0].target.cancel")
    assert begin(branch(target=target | {"cancel": TARGET, "undo": TARGET})).status_code == 422


@pytest.mark.parametrize("member", [{"after": []}, {"pivot": False}, {"compensate": True}], ids=str)
def test_a_sagas_members_are_refused_outside_of_a_saga(begin, member):
    """They would mean nothing there."""
    refused(begin(branch(**member)), 422, "rule", f"branches[0].{next(iter(member))}")


@pytest.mark.parametrize(
    ("steps", "field"),
    [
        ([branch("a", after=["b"])], "branches[0].after"),
        ([branch("a", after=["a"])], "branches[0].after"),
        ([branch("a", after=["b"]), branch("b", after=["a"])], "branches[0].after"),
        ([branch("a"), branch("b", after=["a", "a"])], "branches[1].after"),
        ([branch("a", pivot=True), branch("b", after=[])], "branches[1].after"),
        ([branch("a", after=[], pivot=True), branch("b", after=[], pivot=True)], "branches[1].after"),
    ],
    ids=["unknown", "itself", "cycle", "twice", "beside the pivot", "two pivots side by side"],
)
def test_orders_of_steps_that_are_refused(begin, steps, field):
    """A cycle, an unknown name, or a step neither before nor after a pivot."""
    refused(begin(*steps, pattern="saga"), 422, "rule", field)


@pytest.mark.parametrize(
    ("member", "field"),
    [
        ({"timeout_ms": 0}, "timeout_ms"),
        ({"timeout_ms": 31_536_000_001}, "timeout_ms"),
        ({"timeout_ms": "10"}, "timeout_ms"),
        ({"timeout_ms": True}, "timeout_ms"),
        ({"timeout_ms": 1.5}, "timeout_ms"),
        ({"retry": {"max_attempts": 0}}, "retry.max_attempts"),
        ({"retry": {"for_ms": 0}}, "retry.for_ms"),
        ({"retry": {"first_ms": 2_000, "cap_ms": 1_000}}, "retry.cap_ms"),
        ({"retry": {"often": 1}}, "retry.often"),
        ({"retry": 3}, "retry"),
        ({"envelope": "yes"}, "envelope"),
        ({"headers": {"placet-gid": "x"}}, "headers.placet-gid"),
        ({"headers": {"Content-Length": "1"}}, "headers.Content-Length"),
        ({"headers": {"x-a": "b\r\nx-c: d"}}, "headers.x-a"),
        ({"headers": {"x-a": "ä"}}, "headers.x-a"),
        ({"headers": {"x a": "b"}}, "headers"),
        ({"headers": {f"x-{number}": "" for number in range(33)}}, "headers"),
        ({"colour": "red"}, "colour"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_members_that_break_a_rule_are_named(begin, member, field):
    """The problem says which field of which branch, and by which rule."""
    told = refused(begin(branch("z"), branch(**member)), 422, "rule")
    assert told["field"].startswith(f"branches[1].{field}")


@pytest.mark.parametrize("timeout_ms", [1, 31_536_000_000])
def test_times_from_a_millisecond_to_a_year(begin, timeout_ms):
    """Both ends are taken."""
    assert begin(branch(timeout_ms=timeout_ms), timeout_ms=timeout_ms).status_code == 201


def test_headers_are_sent_with_each_call_and_masked_in_views(api, begin, participant, gid):
    """What a participant needs may be a secret."""
    begin(branch(target=f"{participant.url}/x", headers={"x-api-key": "hunter2"}))
    assert api.post(f"/v1/transactions/{gid}/commit?wait_ms=20000").json()["status"] == "committed"
    assert participant.calls[0].headers["x-api-key"] == "hunter2"
    shown = api.get(f"/v1/transactions/{gid}").text
    assert "x-api-key" in shown
    assert "hunter2" not in shown


def test_envelope_wraps_the_payload(begin, participant, gid, settled):
    """`{"payload", "result", "results"}`: the branch's own forward result, and those of the steps in its `after`."""
    seen = []
    participant.answer = lambda call: (seen.append(call.body), (200, {"of": call.action}))[1]
    steps = [
        branch("a", target=f"{participant.url}/a", payload=1),
        branch("b", target=f"{participant.url}/b", payload=2, envelope=True),
    ]
    begin(*steps, pattern="saga")
    settled(gid, "committed")
    assert seen == [1, {"payload": 2, "result": None, "results": {"a": {"of": "a"}}}]
