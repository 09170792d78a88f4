"""What a server says of itself in its registry."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from placet_rpc.registry.endpoint import WEIGHT, Endpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Advertisement:
    """What a server says of itself, beyond what it knows without being told.

    Attributes:
        urls: where callers reach it, the preferred first; none: its TCP address. Name them where it listens on all
            addresses of a machine, or is mounted in a web server.
        weight: its share of the calls, to those of the others.
        zone: where it runs; callers in the same zone prefer it.
        tags: what routers ask for.
    """

    urls: tuple[str, ...] = ()
    weight: int = WEIGHT
    zone: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)

    def endpoint(self, instance_id: str, tcp: str, codecs: tuple[str, ...], up_since: float) -> Endpoint:
        """Returns the instance that callers will see.

        Args:
            instance_id: of the server.
            tcp: the URL of its TCP port; empty if it has none.
            codecs: that its TCP port takes.
            up_since: when it started, in monotonic seconds.

        Raises:
            ValueError: there is no URL that callers could use.
        """
        urls = self.urls or ((tcp,) if tcp else ())
        if not urls:
            raise ValueError("a server without a TCP port is announced by the URLs of its Advertisement: give it some")
        for url in urls:
            if _is_anywhere(url):
                raise ValueError(
                    f"{url} is where this server listens, not where callers reach it:"
                    " give it registry=…, advertisement=Advertisement(urls=('tcp://host:port',))"
                )
        return Endpoint(
            instance_id=instance_id,
            urls=urls,
            weight=self.weight,
            zone=self.zone,
            up_since=up_since,
            tags=self.tags,
            codecs=codecs,
        )


def _is_anywhere(url: str) -> bool:
    try:
        return ipaddress.ip_address(urlsplit(url).hostname or "").is_unspecified
    except ValueError:
        return not urlsplit(url).hostname
