"""A request's body, read to the limit and no further."""

from starlette.types import Receive

from placet_contract.limits import BODY_BYTES_MAX
from placet_coordinator.api.access import Headers
from placet_coordinator.api.answers import TooLarge


class ClientGone(Exception):
    """The client closed the connection before its request was whole: nobody is left to answer."""


async def read_body(headers: Headers, receive: Receive) -> bytes:
    """Read a request's body, and no more of it than the limit.

    Raises:
        TooLarge: it is longer, or says so.
        ClientGone: it will never be whole.
    """
    for name, value in headers:
        if name == b"content-length" and int(value) > BODY_BYTES_MAX:
            raise TooLarge
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGone
    body: bytes = message.get("body", b"")
    if message.get("more_body"):
        parts, size = [body], len(body)
        while message.get("more_body"):
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > BODY_BYTES_MAX:
                raise TooLarge
        body = b"".join(parts)
    if len(body) > BODY_BYTES_MAX:
        raise TooLarge
    return body
