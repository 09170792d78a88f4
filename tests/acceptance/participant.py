"""A participant in another language's place: the standard library alone, written from the wire contract's page."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self


class Call(NamedTuple):
    """One call of a branch as it arrived; the names of `headers` are in lower case."""

    action: str
    op: str
    gid: str
    branch_id: str
    attempt: int
    body: Any
    headers: dict[str, str]


class Participant:
    """Answers every call at once with `{}`, but those that are held (503 until released) or rejected.

    Attributes:
        calls: what arrived, oldest first.
        url: `{url}/{action}` is a target.
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._held: set[str] = set()
        self._rejected: set[str] = set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                _, action, op = self.path.split("/")
                fields = self.headers
                call = Call(
                    action,
                    op,
                    fields["placet-gid"],
                    fields["placet-branch"],
                    int(fields["placet-attempt"]),
                    json.loads(body),
                    {name.lower(): value for name, value in fields.items()},
                )
                status, answer = outer.answer(call)
                reply = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(reply)))
                self.end_headers()
                self.wfile.write(reply)

            def log_message(self, *_: Any) -> None:
                """Stay quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def hold(self, *names: str) -> None:
        """Answer 503 to these `action/op` from now on."""
        self._held.update(names)

    def reject(self, *names: str) -> None:
        """Refuse these `action/op` for business reasons from now on."""
        self._rejected.update(names)

    def release(self) -> None:
        """Hold nothing any more."""
        self._held.clear()

    def answer(self, call: Call) -> tuple[int, Any]:
        """Note the call, and return status and body."""
        name = f"{call.action}/{call.op}"
        self.calls.append(call)
        if name in self._held:
            return 503, {}
        if name in self._rejected:
            return 409, {"type": "https://example.org/problems/rejected", "title": "no", "status": 409}
        return 200, {}

    def arrived(self, name: str, gid: str | None = None) -> list[Call]:
        """Return the calls of one `action/op`, of one transaction or of all."""
        return [call for call in list(self.calls) if f"{call.action}/{call.op}" == name and gid in (None, call.gid)]
