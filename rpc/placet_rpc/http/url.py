"""Where a request goes: the origin that has a pool, and the path written into the request line."""

import ipaddress
import re
from collections.abc import Collection
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import urlsplit

ORIGINS_KEPT_MAX = 1_024

DEFAULT_PORTS = {"http": 80, "https": 443}

_NOT_VISIBLE = re.compile(r"[^\x21-\x7e]")
_NAME = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_.])?")


class Origin(NamedTuple):
    """Scheme, host and port: what a pool of connections belongs to. An IPv6 host is without its brackets."""

    scheme: str
    host: str
    port: int

    @property
    def authority(self) -> str:
        """The host header's value: the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS.get(self.scheme) else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}"


def _host(text: str) -> str:
    if ":" in text:
        if "%" in text:
            raise ValueError("its IPv6 host has a zone: name the host instead")
        return str(ipaddress.IPv6Address(text))
    if not _NAME.fullmatch(text):
        raise ValueError("its host is neither a name nor an address")
    return text


def _port(number: int) -> int:
    if not number:
        raise ValueError("nobody can be reached at port 0")
    return number


def split_url(url: str, schemes: Collection[str] = ("http", "https")) -> tuple[Origin, str]:
    """Splits an absolute URL into its origin and the path with query as it is written into the request line.

    Args:
        url: the absolute URL.
        schemes: those allowed; all but http and https need a port.

    Raises:
        ValueError: not an absolute URL of one of the schemes, or it has userinfo, a fragment, or a character that must
            be percent-encoded. The message does not repeat the URL's query.
    """
    # urlsplit drops CR, LF and tab silently, so they are refused before it sees them.
    if _NOT_VISIBLE.search(url):
        raise ValueError("a URL may hold visible ASCII only: percent-encode the rest, write the host in punycode")
    # Callers make URLs with an id in the path for each call; the origins they go to are few.
    end_of_origin = url.find("/", url.find("://") + len("://"))
    front = url[:end_of_origin]
    if end_of_origin > 0 and "?" not in front and "#" not in url and not url.endswith("?"):
        return _origin(front, tuple(schemes)), url[end_of_origin:]
    return _split(url, schemes)


@lru_cache(maxsize=ORIGINS_KEPT_MAX)
def _origin(front: str, schemes: tuple[str, ...]) -> Origin:
    return _split(front, schemes)[0]


def _split(url: str, schemes: Collection[str]) -> tuple[Origin, str]:
    parts = urlsplit(url)
    shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    if parts.scheme not in schemes or not parts.hostname:
        raise ValueError(f"{shown!r} is not an absolute {' or '.join(schemes)} URL")
    if "@" in parts.netloc:
        raise ValueError(f"{shown!r} has user information: send credentials as an authorization header")
    if "#" in url:
        raise ValueError(f"{shown!r} has a fragment, which is never sent: leave it out")
    try:
        port = DEFAULT_PORTS.get(parts.scheme, 0) if parts.port is None else parts.port
        origin = Origin(parts.scheme, _host(parts.hostname), _port(port))
    except ValueError as error:
        raise ValueError(f"{shown!r} is not usable: {error}") from None
    path = parts.path or "/"
    return origin, f"{path}?{parts.query}" if parts.query else path
