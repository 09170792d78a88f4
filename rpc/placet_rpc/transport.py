"""What every transport gives its callers: a target to send to, a reply, and where the reply is put."""

import asyncio
from typing import Protocol

import msgspec

from placet_rpc.errors import RpcError


class Reply(msgspec.Struct, frozen=True, gc=False):
    """A whole reply, whatever its status.

    Attributes:
        status: the HTTP status, 200 to 599 (other transports carry the same numbers).
        headers: fields as they came, names in the sender's case; of a field sent twice the last. See `header`.
            Replies with the same fields share them: they must not be changed.
        body: the body without transfer coding, at most the client's `max_reply_bytes`.
    """

    status: int
    headers: dict[bytes, bytes]
    body: bytes

    def header(self, name: str) -> str | None:
        """Returns the value of a field by its name in lower case, or None."""
        wanted = name.encode("latin-1")
        value = self.headers.get(wanted)
        if value is None:
            for candidate, value in self.headers.items():  # noqa: B007 - the value is what we came for
                if candidate.lower() == wanted:
                    break
            else:
                return None
        return value.decode("latin-1")


class Completion(Protocol):
    """Where the outcome of a call is put: an `asyncio.Future`, or a hot caller's own object.

    Exactly one of the two setters is called, once, unless `done()` is true by then. Both run on the event loop's
    thread inside the transport, so they must be short; an exception from them goes to the loop's exception handler.
    """

    def done(self) -> bool:
        """True if nobody waits any more; the transport then gives the call up within a tick."""
        ...

    def set_result(self, reply: Reply, /) -> None:
        """Takes the reply."""
        ...

    def set_exception(self, error: RpcError, /) -> None:
        """Takes the failure."""
        ...


class Target(Protocol):
    """One operation at one endpoint, prepared once and called many times."""

    def send(self, body: bytes, headers: bytes, *, timeout_ms: int, completion: Completion) -> None:
        """Sends one request; every outcome but a caller's mistake arrives through the completion.

        Args:
            body: the request's body.
            headers: fields of this call, as the transport's own encoder made them.
            timeout_ms: the whole call's time, waiting for a connection included. Integer milliseconds as on the
                wire: a hot caller has that number at hand.
            completion: takes the outcome; may be called before `send` returns (a limit is reached).
        """
        ...

    def call(self, body: bytes, headers: bytes, *, timeout_ms: int) -> asyncio.Future[Reply]:
        """As `send`, with a future; cancelling it gives the call up. It raises `RpcError`."""
        ...
