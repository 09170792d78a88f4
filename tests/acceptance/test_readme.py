"""The README does what it says: every shell command is run, in its order, and the Python is accepted by the SDK."""

import asyncio
import re
import subprocess
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path

from fastapi import FastAPI
from pydantic import BaseModel

from acceptance.processes import Process, ask, clean_environment, free_port, until

PROJECT = Path(__file__).resolve().parent.parent.parent
COMMAND_LIMIT_S = 90
RUN_BY_CI = "make test"
"""Running all tests within a test would not end; that CI runs the same command is checked instead."""


def blocks(language: str) -> list[str]:
    """Return the README's fenced blocks of a language, in their order."""
    return re.findall(rf"^```{language}\n(.*?)^```", (PROJECT / "README.md").read_text(), re.MULTILINE | re.DOTALL)


class Reader:
    """Types the README's commands in a folder of its own, on free ports, and with the test's databases.

    Args:
        folder: stands for the clone; its `.venv` is the project's.
        stack: ends what goes on running.
        instead: texts of the README, and what a reader would put in their place.
    """

    def __init__(self, folder: Path, stack: ExitStack, instead: dict[str, str]) -> None:
        self._folder, self._stack = folder, stack
        self.ports = {port: str(free_port()) for port in ("8470", "8471", "8472", "8473")}
        self._instead = instead | self.ports
        self.serving: list[str] = []
        (folder / ".venv").symlink_to(PROJECT / ".venv")

    def type(self, line: str) -> None:
        """Run one line; what goes on running is waited for until it serves."""
        for text, other in self._instead.items():
            line = line.replace(text, other)
        if " server " in line or " -m placet_samples " in line:
            self._serve(line)
            return
        # As a person would notice a refusal, the test does.
        line = re.sub(r"^curl ", "curl --silent --show-error --fail-with-body ", line)
        shown = subprocess.run(
            ["bash", "-c", line],
            cwd=PROJECT if line.startswith("make ") else self._folder,
            env=clean_environment(
                TMPDIR=str(self._folder), PLACET_URL=f"http://127.0.0.1:{self.ports['8470']}", MAKEFLAGS=""
            ),
            capture_output=True,
            text=True,
            check=False,
            timeout=COMMAND_LIMIT_S,
        )
        assert shown.returncode == 0, f"{line}\n{shown.stdout}{shown.stderr}"
        assert shown.stdout, f"{line} shows nothing"

    def _serve(self, line: str) -> None:
        is_on_other_database = line.startswith("PLACET_DATABASE_URL=")
        port = re.search(r"--port (\d+)", line)
        assert port is not None
        number = port[1]
        if is_on_other_database:  # beside the server that runs already
            number = str(free_port())
            line = line.replace(port[0], f"--port {number}")
        name = f"process-{number}"
        coordinator = f"http://127.0.0.1:{self.ports['8470']}"
        process = Process(["bash", "-c", f"exec env {line}"], self._folder, {"PLACET_URL": coordinator}, name)
        self._stack.callback(process.stop)
        process.start()
        is_sample = "placet_samples" in line
        process.wait_ready(f"http://127.0.0.1:{number}/{'openapi.json' if is_sample else 'readyz'}")
        self.serving.append(line)
        if is_on_other_database:
            process.stop()
        if is_sample:
            service = re.search(r"--name (\S+)", line) or re.search(r"placet_samples (\S+)", line)
            assert service is not None
            url = f"{coordinator}/v1/services/{service[1]}"
            until(f"{service[1]} is announced", lambda: ask("GET", url).json["instances"])


def test_every_shell_command_of_the_readme_works(tmp_path, postgres_url, mariadb_url):
    """A reader who types all commands in their order sees each of them succeed."""
    instead = {
        "postgresql://user:password@127.0.0.1:5432/placet": postgres_url,
        "mysql://user:password@127.0.0.1:3306/placet": mariadb_url,
    }
    lines = [line for block in blocks("sh") for line in block.splitlines() if line and not line.startswith("#")]
    assert RUN_BY_CI in lines
    with ExitStack() as stack:
        reader = Reader(tmp_path, stack, instead)
        for line in lines:
            if line != RUN_BY_CI:
                reader.type(line)
        assert len(reader.serving) == 6
        accounts = ask("GET", f"http://127.0.0.1:{reader.ports['8472']}/accounts").json
        assert [(row["account"], row["balance_cents"], row["incoming_cents"]) for row in accounts] == [("bob", 3500, 0)]


def test_ci_runs_the_test_command_of_the_readme():
    """The one command that the test above leaves out is what CI runs, word for word."""
    assert RUN_BY_CI in (PROJECT / ".ci" / "run").read_text().splitlines()


def test_python_of_the_readme_is_accepted_by_the_sdk():
    """The code on one screen makes an application with the operations that it promises."""

    class Order(BaseModel):
        sku: str
        account: str
        price_cents: int

    class Trip(BaseModel):
        trip_id: str

    async def get_session() -> AsyncIterator[None]:
        yield None

    async def act(*_: object) -> bool:
        return True

    namespace: dict[str, object] = {"get_session": get_session, "Order": Order, "Trip": Trip}
    namespace |= dict.fromkeys(("reserve", "settle", "release"), act)
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), namespace)
    app = namespace["app"]
    assert isinstance(app, FastAPI)
    paths = app.openapi()["paths"]
    for path in ("/placet/hold/try", "/placet/hold/confirm", "/placet/hold/cancel", "/purchases", "/trips"):
        assert "post" in paths[path]
    assert asyncio.run(namespace["main"]()) == 50, "the call of the page's own service"


def test_every_link_of_the_pages_leads_somewhere():
    """No page of the documentation links to a file that is not there."""
    pages = [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *(PROJECT / "docs").rglob("*.md")]
    assert len(pages) > 10
    broken = [
        f"{page.relative_to(PROJECT)}: {target}"
        for page in pages
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text())
        if not (page.parent / target).exists()
    ]
    assert broken == []
