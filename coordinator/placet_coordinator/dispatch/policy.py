"""Which hosts this coordinator may call: the operator's list, asked about URLs at the edge and addresses at connect.

The coordinator calls URLs that clients give it, so forged requests (SSRF) are its first risk. `is_global` is no filter:
it holds for 224.0.0.1, for ::127.0.0.1 and for 64:ff9b::10.0.0.1, and resolvers read 2130706433 and 127.1 as
loopback. So names are judged by their text at the edge and again by every address they resolve to, and an IPv4 address
inside an IPv6 one is judged as itself.
"""

import ipaddress
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Self
from urllib.parse import urlsplit

from placet_coordinator.core.rule import RuleBroken
from placet_coordinator.core.transaction import Branch

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

ACCEPTED_KEPT_MAX = 1_000
"""Authorities whose verdict is kept, so that the hot path asks a set."""

_LOOPBACK = tuple(map(ipaddress.ip_network, ("127.0.0.0/8", "::1/128")))

_NEVER_BY_NAME = tuple(
    map(
        ipaddress.ip_network,
        (
            "0.0.0.0/8",  # "this" network: reaches the own host on Linux
            "127.0.0.0/8",
            "169.254.0.0/16",  # link-local, the metadata service of most clouds
            "192.0.0.0/24",
            "198.18.0.0/15",
            "224.0.0.0/3",  # multicast and reserved, the broadcast address included
            "::/128",
            "::1/128",
            "fe80::/10",
            "fec0::/10",  # site-local, deprecated, still routed by some
            "ff00::/8",
            "fd00:ec2::/32",  # a cloud's metadata service over IPv6
        ),
    )
)
"""Networks where no listed *name* may lead: only an entry for the address itself opens them."""

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_NAT64_LOCAL = ipaddress.IPv6Network("64:ff9b:1::/48")
_COMPATIBLE = ipaddress.IPv6Network("::/96")
_ISATAP = 0x5EFE


class _Name(NamedTuple):
    """A listed name: exact, or a suffix with its leading dot; `port` None stands for any."""

    text: str
    port: int | None

    def matches(self, host: str, port: int | None) -> bool:
        if self.port is not None and port is not None and self.port != port:
            return False
        return host.endswith(self.text) if self.text.startswith(".") else host == self.text


class _Range(NamedTuple):
    """A listed address or network; `port` None stands for any."""

    network: Network
    port: int | None

    def matches(self, address: Address, port: int | None) -> bool:
        return address in self.network and (self.port is None or port is None or self.port == port)


class TargetPolicy:
    """The operator's list of hosts that may be called.

    Entries: `loopback`, `host`, `host:port`, `*.suffix`, an address, or a network such as `10.0.0.0/8`. A name may lead
    to any address but loopback, link-local and the like, which have to be listed as addresses. A port binds URLs at the
    edge; at connect only host and addresses are known, so an address with a port opens URLs that spell it, no names.
    """

    def __init__(self, names: Sequence[_Name], ranges: Sequence[_Range], *, loopback: bool, text: str) -> None:
        self._names, self._ranges, self._loopback, self.text = tuple(names), tuple(ranges), loopback, text
        self._accepted: set[str] = set()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the policy that a comma-separated list describes.

        Raises:
            ValueError: an entry is none of the forms; the message names it.
        """
        names: list[_Name] = []
        ranges: list[_Range] = []
        loopback = False
        for entry in [part.strip().lower() for part in text.split(",")]:
            if entry == "loopback":
                loopback = True
            elif entry:
                _parse_entry(entry, names, ranges)
        if loopback:
            ranges.extend(_Range(network, None) for network in _LOOPBACK)
        return cls(names, ranges, loopback=loopback, text=text)

    def check(self, url: str, field: str) -> None:
        """Check the host of an absolute URL by its text.

        Raises:
            RuleBroken: the host is not on the list; the rule says how to put it there.
        """
        parts = urlsplit(url)
        if parts.netloc in self._accepted:
            return
        host, port = (parts.hostname or "").rstrip("."), parts.port or (443 if parts.scheme == "https" else 80)
        if not self._accepts(host, port):
            raise RuleBroken(
                field,
                f"{host} port {port} is not among the hosts this coordinator may call ({self.text}); "
                f"the operator adds it to PLACET_ALLOWED_TARGETS",
            )
        if len(self._accepted) < ACCEPTED_KEPT_MAX and parts.port is not None:
            # Without a port the scheme decides it, so such an authority alone says too little.
            self._accepted.add(parts.netloc)

    def check_branches(self, branches: Iterable[Branch]) -> None:
        """Check the absolute URLs among the targets; a service's instances were checked when they were announced.

        Raises:
            RuleBroken: as `check`, with the branch's field.
        """
        for index, branch in enumerate(branches):
            target = branch.target
            if not isinstance(target, str):
                for operation, url in target.items():
                    self.check(url, f"branches[{index}].target.{operation}")
            elif "://" in target and target.split("/", 3)[2] not in self._accepted:
                self.check(target, f"branches[{index}].target")

    def allows(self, host: str, addresses: Sequence[Address]) -> bool:
        """Say whether a connection to a host may go to any of the addresses it resolved to: all have to pass."""
        host = host.lower().rstrip(".")
        is_listed = any(name.matches(host, None) for name in self._names)
        spelled = _literal(host)
        ranges = [listed for listed in self._ranges if listed.port is None or spelled is not None]
        return bool(addresses) and all(
            self._allows_address(face, ranges, is_listed=is_listed) for address in addresses for face in _faces(address)
        )

    @staticmethod
    def _allows_address(address: Address, ranges: Sequence[_Range], *, is_listed: bool) -> bool:
        if any(listed.matches(address, None) for listed in ranges):
            return True
        return is_listed and not any(address in network for network in _NEVER_BY_NAME)

    def _accepts(self, host: str, port: int) -> bool:
        if "%" in host:
            return False  # an IPv6 zone names an interface of this machine
        address = _literal(host)
        if address is not None:
            return all(any(listed.matches(face, port) for listed in self._ranges) for face in _faces(address))
        entries = [name for name in self._names if name.matches(host, None)]
        if entries:
            return any(name.matches(host, port) for name in entries)
        if self._loopback and f".{host}".endswith(".localhost"):
            return True
        # Any other name is judged by its addresses at connect, where networks beyond loopback are listed.
        return any(listed.port is None and not _is_loopback(listed.network) for listed in self._ranges)


def _parse_entry(entry: str, names: list[_Name], ranges: list[_Range]) -> None:
    try:
        ranges.append(_Range(ipaddress.ip_network(entry.strip("[]")), None))
    except ValueError:
        pass
    else:
        return
    try:
        parts = urlsplit(f"//{entry}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port = "", None
    if not host or parts.path or "@" in entry or "?" in entry or "#" in entry:
        raise ValueError(
            f"allowed targets: {entry!r} is not an entry; write loopback, a host, host:port, *.suffix or 10.0.0.0/8"
        )
    try:
        ranges.append(_Range(ipaddress.ip_network(host), port))
    except ValueError:
        text = host.removeprefix("*") if host.startswith("*.") else host
        if "*" in text:
            raise ValueError(f"allowed targets: {entry!r}: * stands only in front, as in *.example.com") from None
        names.append(_Name(text, port))


def _literal(host: str) -> Address | None:
    """Return the address that the text spells, None if it is a name; a resolver may read more as addresses."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_loopback(network: Network) -> bool:
    return network.network_address.is_loopback and network.broadcast_address.is_loopback


def _faces(address: Address) -> list[Address]:
    """Return the addresses that a packet to this one may end up at: itself, and an IPv4 address inside it."""
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    inside: Address | None = address.sixtofour
    if inside is None and address.teredo is not None:
        inside = address.teredo[1]
    bits = int(address)
    if inside is None and (
        address in _NAT64
        or address in _NAT64_LOCAL
        or (address in _COMPATIBLE and bits > 1)
        or (bits >> 32) & 0xFFFF == _ISATAP
    ):
        inside = ipaddress.IPv4Address(bits & 0xFFFFFFFF)
    return [address] if inside is None else [address, inside]
