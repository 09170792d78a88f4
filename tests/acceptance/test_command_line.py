"""`placet` as an operator types it, against a real server."""

import json
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from acceptance.participant import Participant
from acceptance.processes import PLACET, Server, ask, clean_environment, until

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def placet(tmp_path) -> Run:
    """Run one command to its end, with these variables set."""

    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(PLACET), *arguments],
            cwd=tmp_path,
            env=clean_environment(**variables),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    return run


def begin(server: Server, participant: Participant, gid: str, **fields: object) -> None:
    branches = [{"branch_id": name, "target": f"{participant.url}/{name}"} for name in ("debit", "credit")]
    assert server.begin({"pattern": "tcc", "gid": gid, "branches": branches, **fields}).status == 201


def test_list_filters_and_pages(servers, participant, sqlite_url, placet):
    """What is asked for is listed, newest first, page by page, for people and for programs."""
    server = servers(sqlite_url).run()
    for number in range(3):
        begin(server, participant, f"t-{number}", name="order", key=f"k-{number}")
    assert ask("POST", f"{server.url}/v1/transactions/t-0/commit?wait_ms=20000").json["status"] == "committed"
    listed = placet("tx", "list", PLACET_URL=server.url)
    assert [line.split()[0] for line in listed.stdout.splitlines()[1:]] == ["t-2", "t-1", "t-0"]
    lines = placet("tx", "list", "--status", "committed", "-o", "jsonl", PLACET_URL=server.url).stdout.splitlines()
    assert [json.loads(line)["gid"] for line in lines] == ["t-0"]
    page = json.loads(placet("tx", "list", "--limit", "2", "-o", "json", PLACET_URL=server.url).stdout)
    rest = placet("tx", "list", "--cursor", page["next_cursor"], "-o", "jsonl", PLACET_URL=server.url)
    assert [json.loads(line)["gid"] for line in rest.stdout.splitlines()] == ["t-0"]
    assert "no transactions" in placet("tx", "list", "--key", "k-9", PLACET_URL=server.url).stdout
    assert "no transactions" in placet("tx", "list", "--older-than", "1h", PLACET_URL=server.url).stdout


def test_show_tells_the_story_and_asks_for_a_human_by_its_exit_code(servers, participant, sqlite_url, placet):
    """A refused confirm needs a human: exit code 3, with the failed attempt and the cause in words."""
    server = servers(sqlite_url).run()
    participant.reject("debit/confirm")
    begin(server, participant, "t")
    assert placet("tx", "show", "t", PLACET_URL=server.url).returncode == 0
    ask("POST", f"{server.url}/v1/transactions/t/commit")
    until("it needs a human", lambda: server.transaction("t")["attention"])
    shown = placet("tx", "show", "t", PLACET_URL=server.url)
    assert shown.returncode == 3
    assert "needs attention" in shown.stdout
    assert "commit decided" in shown.stdout
    assert "next attempt debit/confirm" in shown.stdout


def test_watch_follows_to_the_end_and_retry_hurries(servers, participant, sqlite_url, placet):
    """`watch` prints each event once and ends with the transaction; `retry` makes the waiting calls now."""
    server = servers(sqlite_url).run()
    participant.hold("debit/confirm")
    retry = {"first_ms": 600_000, "cap_ms": 600_000}
    branch = {"branch_id": "debit", "target": f"{participant.url}/debit", "retry": retry}
    server.begin({"pattern": "tcc", "gid": "t", "branches": [branch]})
    ask("POST", f"{server.url}/v1/transactions/t/commit")
    until("the first confirm has failed", lambda: server.transaction("t")["next_attempt_at"])
    gave_up = placet("tx", "watch", "t", "--timeout", "100ms", PLACET_URL=server.url)
    assert gave_up.returncode == 1
    assert "still committing" in gave_up.stderr
    participant.release()
    retried = placet("tx", "retry", "t", PLACET_URL=server.url)
    assert retried.returncode == 0, retried.stderr
    watched = placet("tx", "watch", "t", "--timeout", "30s", PLACET_URL=server.url)
    assert watched.returncode == 0, watched.stderr
    assert watched.stdout.count("commit decided") == 1
    assert "committed" in watched.stdout.splitlines()[-1]


def test_errors_name_what_to_do_next(servers, sqlite_url, placet):
    """No server, an unknown gid, a wrong time: one sentence with the remedy, never a traceback."""
    nobody = placet("tx", "list", PLACET_URL="http://127.0.0.1:9")
    assert nobody.returncode == 1
    assert "placet server" in nobody.stderr
    server = servers(sqlite_url, PLACET_SERVER_TOKENS="a-token-of-some-length").run()
    assert "PLACET_TOKEN" in placet("tx", "list", PLACET_URL=server.url).stderr
    unknown = placet("tx", "show", "nobody", PLACET_URL=server.url, PLACET_TOKEN="a-token-of-some-length")
    assert unknown.returncode == 1
    assert "placet tx list" in unknown.stderr
    wrong = placet("tx", "list", "--older-than", "soon", PLACET_URL=server.url)
    assert wrong.returncode == 2
    assert "10s" in wrong.stderr
    for refused in (nobody, unknown, wrong):
        assert "Traceback" not in refused.stderr


def test_schema_is_made_checked_and_printed(database_url, placet):
    """`db check` refuses an empty database by the command that helps, `db upgrade` makes the schema, twice is once."""
    missing = placet("db", "check", "--url", database_url)
    assert missing.returncode == 1
    assert "placet db upgrade" in missing.stderr
    upgraded = placet("db", "upgrade", PLACET_DATABASE_URL=database_url)
    assert upgraded.returncode == 0, upgraded.stderr
    assert "already at" in placet("db", "upgrade", "--url", database_url).stdout
    assert placet("db", "check", "--url", database_url).returncode == 0
    printed = placet("db", "sql", database_url.partition(":")[0])
    assert "global_transaction" in printed.stdout


def test_doctor_finds_what_is_wrong(servers, participant, sqlite_url, placet):
    """A healthy set-up is exit code 0; bad settings and an unready server are named with their remedy."""
    well = placet("doctor", PLACET_DATABASE_URL=sqlite_url, PLACET_URL="http://127.0.0.1:9")
    assert well.returncode == 0, well.stdout
    assert "BAD" not in well.stdout
    exposed = placet("doctor", PLACET_HOST="0.0.0.0")
    assert exposed.returncode == 1
    assert "PLACET_SERVER_TOKENS" in exposed.stdout
    away = placet("doctor", PLACET_DATABASE_URL="postgresql://postgres@127.0.0.1:9/none")
    assert away.returncode == 1
    assert "BAD" in away.stdout


def test_server_refuses_to_start_by_the_rule_and_the_remedy(sqlite_url, placet):
    """Each way to start it wrongly ends with exit code 1 and says what to do."""
    exposed = placet("server", "--host", "0.0.0.0", PLACET_DATABASE_URL=sqlite_url)
    assert exposed.returncode == 1
    assert "PLACET_SERVER_TOKENS" in exposed.stderr
    unknown = placet("server", "--database-url", "oracle://user:secret@host/name")
    assert unknown.returncode == 1
    assert "postgresql://" in unknown.stderr
    assert "secret" not in unknown.stderr
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        in_use = placet("server", "--port", port, PLACET_DATABASE_URL=sqlite_url)
    assert in_use.returncode == 1
    assert "--port" in in_use.stderr
    for refused in (exposed, unknown, in_use):
        assert "Traceback" not in refused.stderr


def test_newer_schema_is_refused(sqlite_url, placet, tmp_path):
    """A database that a newer release has upgraded is left alone."""
    import sqlite3  # noqa: PLC0415 - only here

    assert placet("db", "upgrade", "--url", sqlite_url).returncode == 0
    with sqlite3.connect(Path(sqlite_url.removeprefix("sqlite:///"))) as database:
        database.execute("UPDATE placet_schema_version SET version_num = '9999'")
    database.close()
    refused = placet("server", "--port", "0", PLACET_DATABASE_URL=sqlite_url)
    assert refused.returncode == 1
    assert "newer" in refused.stderr


def test_stopped_server_hands_over_at_once(servers, participant, postgres_url):
    """SIGTERM makes the last writes durable and releases the lease: the other node goes on without waiting for it."""
    first = servers(postgres_url, PLACET_NODE_ID="first", PLACET_LEASE="60s").run()
    second = servers(postgres_url, PLACET_NODE_ID="second", PLACET_LEASE="60s").run()
    participant.hold("debit/confirm")
    retry = {"first_ms": 100, "cap_ms": 200}
    branches = [{"branch_id": "debit", "target": f"{participant.url}/debit", "retry": retry}]
    first.begin({"pattern": "tcc", "gid": "t", "branches": branches})
    assert ask("POST", f"{first.url}/v1/transactions/t/commit").json["status"] == "committing"
    first.stop()
    assert "the lease is released" in first.log.read_text()
    participant.release()
    assert second.settled("t", "committed", timeout_s=20)["status"] == "committed"


def test_version_and_help_need_no_server(placet):
    """`placet --version` and `placet --help` answer at once."""
    assert placet("--version").stdout.startswith("placet ")
    helped = placet("--help")
    for command in ("server", "demo", "tx", "db", "doctor", "barrier"):
        assert command in helped.stdout
