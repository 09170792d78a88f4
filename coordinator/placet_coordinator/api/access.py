"""Who may call: bearer tokens, and no page of another site through somebody's browser."""

import hmac
import re
from collections.abc import Sequence

from placet_coordinator.api.answers import Forbidden, Unauthorized

Headers = Sequence[tuple[bytes, bytes]]

_LOCAL = re.compile(rb"https?://(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d{1,5})?", re.IGNORECASE)
# https://www.w3.org/TR/trace-context/ 3.2: version 00, lower case, ids not all zero are left to the receiver.
_TRACEPARENT = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


class Access:
    """The tokens that open the API; without any, everybody who reaches the port may call.

    A browser names the page's site in `origin`; a page of another site must not begin transactions on the loopback
    of whoever looks at it, whether by a plain cross-site request or by rebinding its name to 127.0.0.1.
    """

    __slots__ = ("tokens",)

    def __init__(self, tokens: tuple[bytes, ...] = ()) -> None:
        self.tokens = tokens

    def admit(self, headers: Headers) -> str | None:
        """Admit a request by its headers; return its `traceparent`, if it has a well-formed one.

        Raises:
            Unauthorized: a token is needed.
            Forbidden: a browser sends it for another site.
        """
        token = origin = host = traceparent = None
        for name, value in headers:
            if name == b"traceparent":
                traceparent = value
            elif name == b"authorization":
                token = value
            elif name == b"origin":
                origin = value
            elif name == b"host":
                host = value
        if self.tokens and not self._knows(token):
            raise Unauthorized
        if origin is not None and not self._is_own(origin, host or b""):
            raise Forbidden
        if traceparent is not None and _TRACEPARENT.fullmatch(traceparent):
            return traceparent.decode()
        return None

    def _knows(self, authorization: bytes | None) -> bool:
        if authorization is None:
            return False
        scheme, _, token = authorization.partition(b" ")
        if scheme.lower() != b"bearer":
            return False
        # Every token is compared, so that the time tells nothing of which one came close.
        return sum(hmac.compare_digest(token.strip(), known) for known in self.tokens) > 0

    def _is_own(self, origin: bytes, host: bytes) -> bool:
        if origin.partition(b"://")[2].lower() != host.lower():
            return False
        return bool(self.tokens) or _LOCAL.fullmatch(origin) is not None
