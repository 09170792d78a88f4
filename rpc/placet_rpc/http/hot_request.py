"""What a handler of the fast lanes sees of a request, over HTTP or TCP."""

from collections.abc import Callable, Iterable
from typing import Protocol

JSON = b"content-type: application/json\r\n"


class HotRequest(Protocol):
    """A request of a fast lane, and the way to answer it.

    Attributes:
        method: such as `b"POST"`.
        target: path and query as sent, not decoded.
        headers: names in lower case; shared by requests, so they must not be changed.
        body: the whole body.
    """

    method: bytes
    target: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes

    @property
    def disconnected(self) -> bool:
        """True if the client is gone; an answer would go nowhere."""

    def header(self, name: bytes) -> bytes | None:
        """Returns the first value of a field by its name in lower case, or None."""

    def respond(self, status: int, body: bytes, headers: bytes = JSON) -> None:
        """Answers, on the event loop's thread.

        Args:
            status: a final status that has a body.
            body: the whole body.
            headers: header lines, each with its CRLF, as `placet_rpc.header_block` makes them; the transport adds what
                is its own.

        Raises:
            KeyError: there is no such status.
            RuntimeError: it was answered before.
        """


def first_value(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> bytes | None:
    """Returns the first value of a field by its name in lower case, or None."""
    return next((value for candidate, value in headers if candidate == name), None)


HotHandler = Callable[[HotRequest], None]
"""Answers by calling `respond` once, before or after it returns; it must neither block nor await.

If it raises before it has answered, the error is logged, and the answer is a bare 500.
"""

HotRoutes = Callable[[bytes, bytes], HotHandler | None]
"""From a method and a request target (path and query, as sent) to the handler, or None for ASGI."""
