"""The coordinator that the commands ask: `PLACET_URL`, with `PLACET_TOKEN`, over its HTTP API."""

import os
from types import TracebackType
from typing import Any, NoReturn, Self

import httpx2
import typer

DEFAULT_URL = "http://127.0.0.1:8470"
TIMEOUT_S = 30.0


class Remote:
    """A coordinator somewhere. A refusal or silence ends the command with a sentence and exit code 1."""

    def __init__(self) -> None:
        self.url = os.environ.get("PLACET_URL", DEFAULT_URL).rstrip("/")
        token = os.environ.get("PLACET_TOKEN")
        headers = {"authorization": f"Bearer {token}"} if token else {}
        # The operator's own machine decides where to ask, not a proxy of its environment.
        self._http = httpx2.Client(base_url=self.url, headers=headers, timeout=TIMEOUT_S, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._http.close()

    def get(self, path: str, **query: str | int | None) -> Any:
        """Return the JSON of a GET; a parameter that is None is left out."""
        return self._ask("GET", path, {name: value for name, value in query.items() if value is not None})

    def post(self, path: str) -> Any:
        """Return the JSON of a POST without a body."""
        return self._ask("POST", path, {})

    def _ask(self, method: str, path: str, query: dict[str, str | int]) -> Any:
        try:
            answer = self._http.request(method, path, params=query)
            told = answer.json() if answer.content else None
        except httpx2.TransportError as error:
            fail(
                f"no answer from {self.url} ({error}). Is it running? Start it: placet server; "
                "or name another: export PLACET_URL=http://…"
            )
        except ValueError:
            fail(f"{self.url}{path} answered HTTP {answer.status_code} without JSON: is this a Placet coordinator?")
        if not answer.is_success:
            fail(_told(answer.status_code, told))
        return told


def _told(status: int, problem: Any) -> str:
    if not isinstance(problem, dict):
        return f"HTTP {status}"
    text = str(problem.get("detail") or problem.get("title") or f"HTTP {status}")
    if status == httpx2.codes.UNAUTHORIZED:
        text += "; set PLACET_TOKEN to one of the server's PLACET_SERVER_TOKENS"
    if status == httpx2.codes.NOT_FOUND:
        text += "; look with: placet tx list"
    return text


def fail(why: str, code: int = 1) -> NoReturn:
    """End the command with a sentence on standard error."""
    typer.echo(f"placet: {why}", err=True)
    raise typer.Exit(code)
