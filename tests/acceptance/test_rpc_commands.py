"""`placet rpc` as an operator types it, against real servers of the RPC."""

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import pytest
from redis import Redis
from typer.testing import CliRunner

from acceptance.processes import PLACET, ask, clean_environment
from placet_coordinator.cli.application import application

TESTS = Path(__file__).parent.parent
SECRET = "a-secret-of-more-than-32-characters"


class Run(NamedTuple):
    """What became of one command."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def placet():
    """Runs one command to its end, in this process: the commands load much, and a test types many of them."""

    def run(*arguments, **variables):
        settings = {name: None for name in os.environ if name.startswith("PLACET_")} | variables
        result = CliRunner().invoke(application, ["rpc", *arguments], env=settings)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Run(result.exit_code, result.stdout, result.stderr)

    return run


def typed(*arguments):
    """Runs one command as an operator does."""
    return subprocess.run(
        [str(PLACET), "rpc", *arguments],
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture
def serve():
    """Starts servers; each is asked to stop at the end of the test."""
    with ExitStack() as stack:

        def start(app="stock-app", *, caller="order", registry="", secret=""):
            process = subprocess.Popen(
                [sys.executable, "-m", "acceptance.rpc_server", app, caller, registry, secret],
                cwd=TESTS,
                env=clean_environment(PYTHONPATH=os.pathsep.join([str(TESTS), *sys.path])),
                stdout=subprocess.PIPE,
                text=True,
            )
            stack.callback(end, process)
            assert process.stdout is not None
            return json.loads(process.stdout.readline())

        yield start


def end(process):
    """Asks a server to stop, and sees that it does."""
    process.terminate()
    try:
        process.communicate(timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise


def refused(run, code, *words):
    """Checks a command that failed: its exit code, its words, and no traceback."""
    assert run.returncode == code, (run.stdout, run.stderr)
    for word in words:
        assert word in run.stderr
    assert "Traceback" not in run.stderr


def test_a_command_as_an_operator_types_it(serve):
    """A result on standard output and exit code 0, a refusal on standard error and exit code 1."""
    at = serve()["tcp"]
    called = typed("call", at, "stock/1/peek", "--args", '{"sku": "A1"}')
    assert (called.returncode, called.stdout, called.stderr) == (0, "2\n", "")
    refused(typed("call", at, "stock/1/fail"), 1, "RuntimeError")


def test_one_method_is_called_by_hand_over_tcp_and_http(serve, placet):
    """The result is JSON; an exception of the contract and a fault are exit code 1, each in its own words."""
    at = serve()
    for url in (at["tcp"], at["http"]):
        called = placet("call", url, "stock/1/reserve", "--args", '{"sku": "A1", "count": 2}')
        assert called.returncode == 0, called.stderr
        assert json.loads(called.stdout) == {"A1": 2}
    assert placet("call", at["tcp"], "stock/1/peek", "--args", '{"sku": "A1"}').stdout == "2\n"
    no = placet("call", at["tcp"], "stock/1/reserve", "--args", '{"sku": "A1", "count": 11}')
    refused(no, 1, 'OutOfStock("A1", 10)')
    refused(placet("call", at["tcp"], "stock/1/fail"), 1, "RuntimeError", "server's log")


def test_a_call_that_can_not_be_made_says_the_rule_and_the_remedy(serve, placet):
    """Names, arguments, addresses and time: exit code 2 for what was typed wrongly, 1 for what the world says."""
    at = serve()["tcp"]
    refused(placet("call", at, "reserve"), 2, "service/version/method")
    refused(placet("call", at, "stock/1/peek", "--args", "[1]"), 2, "JSON object", "--args")
    refused(placet("call", at, "stock/1/peek", "--args", "{"), 2, "no JSON")
    refused(placet("call", "stock", "stock/1/peek"), 2, "tcp://")
    refused(placet("call", at, "stock/1/stall", "--timeout", "soon"), 2, "10s")
    refused(
        placet("call", at, "stock/1/peek", "--args", '{"skew": "A1"}'), 1, "skew", "placet.introspection/1/services"
    )
    refused(placet("call", at, "stock/2/peek", "--args", '{"sku": "A1"}'), 1, "no stock/2 here")
    refused(placet("call", at, "stock/1/stall", "--timeout", "100ms"), 1, "timeout", "look before you call again")
    refused(placet("call", "tcp://127.0.0.1:9", "stock/1/stall"), 1, "is it running")
    refused(placet("call", "tcp://192.0.2.1:9", "stock/1/stall"), 1, "--plain-text", "tcps://")


def test_a_server_that_wants_to_know_who_calls_is_told_by_a_key(serve, placet):
    """Without one the remedy is named; the secret is in no output."""
    at = serve(secret=SECRET)["tcp"]
    refused(placet("stats", at), 1, "PLACET_RPC_KEY")
    key = f"order:k1:{SECRET}"
    assert placet("call", at, "stock/1/peek", "--args", '{"sku": "A1"}', PLACET_RPC_KEY=key).stdout == "2\n"
    wrong = placet("stats", at, PLACET_RPC_KEY=f"order:k1:{SECRET[::-1]}")
    refused(wrong, 1, "the token was refused")
    malformed = placet("stats", at, PLACET_RPC_KEY=f"order-k1-{SECRET}")
    refused(malformed, 2, "APP:KEY_ID:SECRET")
    for run in (wrong, malformed):
        assert SECRET not in run.stderr + run.stdout
        assert SECRET[::-1] not in run.stderr + run.stdout


def test_statistics_are_told_per_caller_and_method(serve, placet):
    """For people and for programs; over HTTP they are not for everybody, and the rule that keeps them is named."""
    at = serve()
    placet("call", at["tcp"], "stock/1/peek", "--args", '{"sku": "A1"}')
    placet("call", at["tcp"], "stock/1/fail")
    rows = json.loads(placet("stats", at["tcp"], "-o", "json").stdout)
    told = {(row["caller"], row["method"]): row for row in rows if row["service"] == "stock/1"}
    assert {caller for caller, _ in told} == {"order", "placet-rpc"}
    assert (told["order", "peek"]["calls"], told["order", "peek"]["failed"]) == (1, 0)
    assert told["placet-rpc", "fail"]["errors"] == {"fault": 1}
    assert told["placet-rpc", "fail"]["availability"]["one_minute"] == 0
    assert told["order", "peek"]["latency_us"]["p99"] > 0
    table = placet("stats", at["tcp"]).stdout.splitlines()
    assert table[0].split()[:4] == ["caller", "service", "method", "calls"]
    assert [line for line in table if line.split()[:4] == ["order", "stock/1", "peek", "1"]]
    refused(placet("stats", at["http"]), 1, "placet.introspection/*")


def test_the_graph_flags_circles_and_calls_against_the_layers(serve, placet):
    """Exit code 0 where all is well, 1 with what is wrong on standard error, in each form that it is printed."""
    stock, order = serve()["tcp"], serve("order", caller="stock-app")["tcp"]
    fine = placet("graph", stock, "--layer", "order, web", "--layer", "stock-app")
    assert fine.returncode == 0, fine.stderr
    assert fine.stdout.splitlines()[1].split() == ["order", "stock-app", "stock/1", "1", "0"]
    refused(placet("graph", stock, "--layer", "stock-app", "--layer", "order"), 1, "order calls stock-app (stock/1)")
    refused(placet("graph", stock, "--layer", "order", "--layer", "order"), 2, "in two layers")
    circle = placet("graph", stock, order)
    refused(circle, 1, "in a circle: order, stock-app")
    assert "==>" in placet("graph", stock, order, "-o", "mermaid").stdout
    assert placet("graph", stock, order, "-o", "dot").stdout.startswith("digraph")
    told = json.loads(placet("graph", stock, order, "-o", "json", "--layer", "order", "--layer", "stock-app").stdout)
    assert told["cycles"] == [["order", "stock-app"]]
    assert [(edge["caller"], edge["callee"]) for edge in told["against_layers"]] == [("stock-app", "order")]
    assert len(told["edges"]) == 2


@pytest.fixture
def redis_registry(redis_server):
    """A registry in Redis of the test's own."""
    prefix = f"t[{uuid4().hex}"
    yield f"{redis_server}?prefix={prefix}"
    with Redis.from_url(redis_server) as client:
        for key in client.scan_iter(f"*{prefix[2:]}*"):
            client.delete(key)


def test_instances_of_a_registry_are_listed_with_how_each_is_reached(serve, placet, redis_registry):
    """All services or one, their addresses, weights and ages; what nobody announced has none."""
    at = serve(registry=redis_registry)["tcp"]
    (instance,) = json.loads(placet("list", "--registry", redis_registry, "-o", "json").stdout)
    assert (instance["service"], instance["instance_id"], instance["urls"]) == ("stock/1", "stock-app-1", [at])
    assert (instance["weight"], instance["age_seconds"] >= 0) == (100, True)
    header, line = placet("list", "stock/1", "--registry", redis_registry).stdout.splitlines()
    assert header.split()[:2] == ["service", "instance"]
    assert line.split()[:3] == ["stock/1", "stock-app-1", at]
    assert placet("list", "cart/1", "--registry", redis_registry).stdout == "no instances\n"


def test_a_registry_that_does_not_answer_or_is_none_is_named(placet, tmp_path):
    """Down, unable to list, or no registry at all."""
    refused(placet("list", "--registry", "redis://127.0.0.1:9/0"), 1, "is this its address")
    refused(placet("list", "--registry", "static:tcp://127.0.0.1:9"), 1, "name the ones")
    refused(placet("list", "--registry", "etcd://127.0.0.1"), 2, "zookeeper")
    file = tmp_path / "services.json"
    file.write_text('{"stock/1": [{"urls": ["tcp://127.0.0.1:9"]}]}')
    assert "stock/1" in placet("list", "--registry", f"static:{file}").stdout
    refused(placet("list", "--registry", f"static:{file}.none"), 2, "services.json.none")


def test_without_a_registry_the_coordinator_is_asked(servers, sqlite_url, placet):
    """Its services with their leases, the TCP address first where there is one; ages it does not know."""
    server = servers(sqlite_url).run()
    body = {"base_url": "http://127.0.0.1:7001", "actions": {"debit": ["try"]}, "tcp_url": "tcp://127.0.0.1:7002"}
    for service in ("bank", "stock.v1"):
        assert ask("PUT", f"{server.url}/v1/services/{service}/instances/a", body).status == 200
    listed = json.loads(placet("list", "-o", "json", PLACET_URL=server.url).stdout)
    assert [instance["service"] for instance in listed] == ["bank", "stock.v1"]
    assert listed[0]["urls"] == ["tcp://127.0.0.1:7002", "http://127.0.0.1:7001"]
    assert listed[0]["age_seconds"] is None
    assert listed[0]["lease_until"]
    assert len(json.loads(placet("list", "stock/1", "-o", "json", PLACET_URL=server.url).stdout)) == 1
    by_registry = placet("list", "--registry", f"coordinator+{server.url}", "-o", "json")
    assert [instance["service"] for instance in json.loads(by_registry.stdout)] == ["bank", "stock/1"]
    refused(placet("list", PLACET_URL="http://127.0.0.1:9"), 1, "placet server")


def test_help_loads_neither_the_rpc_nor_tables():
    """`placet --help` stays quick."""
    code = (
        "import sys; import placet_coordinator.cli.application; "
        "print([name for name in sys.modules if name.partition('.')[0] in ('placet_rpc', 'rich.table', 'sqlalchemy')])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout == "[]\n"
