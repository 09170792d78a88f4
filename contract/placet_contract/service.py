"""`@service` and `@method`: what an interface says about itself, and nothing else; the RPC reads it.

@service("stock", version="1", raises=(OutOfStock,))
class Stock(Protocol):
    @method(timeout=timedelta(milliseconds=800), idempotent=True)
    async def reserve(self, sku: str, count: int) -> Reservation: ...
"""

import re
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from msgspec import Struct

SERVICE_ATTRIBUTE = "__placet_service__"
METHOD_ATTRIBUTE = "__placet_method__"

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class Duration(Protocol):
    """A `datetime.timedelta`; this package imports no clock, so it asks only for what it needs."""

    def total_seconds(self) -> float:
        """Return the duration in seconds."""
        ...


class ServiceOptions(Struct, frozen=True):
    """What `@service` said.

    Attributes:
        name: of the service.
        version: callers reach only implementations of the same one.
        raises: exception types that are part of the contract; they cross the wire by class name and `args`.
    """

    name: str
    version: str = "1"
    raises: tuple[type[Exception], ...] = ()

    @property
    def key(self) -> str:
        """Name and version, as they stand on the wire."""
        return f"{self.name}/{self.version}"


class MethodOptions(Struct, frozen=True):
    """What `@method` said.

    Attributes:
        timeout_ms: of one call, all attempts together; None leaves it to the client.
        idempotent: may be sent again after an unknown outcome.
        detached: goes on when its caller leaves, as the second phase of a transaction must.
        order_by: parameter whose value is the ordering key.
        balancer: name of the load balancer; empty leaves it to the client.
        cluster: name of the cluster strategy; empty leaves it to the client.
        degrade: what to answer instead, for the policy of that name; None: nothing.
    """

    timeout_ms: int | None = None
    idempotent: bool = False
    detached: bool = False
    order_by: str = ""
    balancer: str = ""
    cluster: str = ""
    degrade: Any = None


_Interface = TypeVar("_Interface", bound=type)
_Method = TypeVar("_Method", bound=Callable[..., Any])


def service(
    name: str, *, version: str = "1", raises: tuple[type[Exception], ...] = ()
) -> Callable[[_Interface], _Interface]:
    """Declare that a Protocol or ABC is the interface of a service; returns the class unchanged.

    Args:
        name: 1-64 of `A-Z a-z 0-9 _ . -`.
        version: the same characters.
        raises: exception types that callers get as they were raised; their `args` must be encodable.

    Raises:
        ValueError: the name or the version has other characters.
    """
    for text in (name, version):
        if not _NAME.fullmatch(text):
            raise ValueError(f"{text!r} is no name of a service or version: 1-64 of A-Z a-z 0-9 _ . -")

    def mark(interface: _Interface) -> _Interface:
        setattr(interface, SERVICE_ATTRIBUTE, ServiceOptions(name, version, raises))
        return interface

    return mark


def method(
    *,
    timeout: Duration | None = None,
    idempotent: bool = False,
    detached: bool = False,
    order_by: str = "",
    balancer: str = "",
    cluster: str = "",
    degrade: Any = None,
) -> Callable[[_Method], _Method]:
    """Say more about a method of a service than its signature does; see `MethodOptions`.

    Raises:
        ValueError: the timeout is not longer than nothing.
    """
    timeout_ms = None if timeout is None else int(timeout.total_seconds() * 1000)
    if timeout_ms is not None and timeout_ms < 1:
        raise ValueError("a method's timeout must be at least a millisecond")
    options = MethodOptions(timeout_ms, idempotent, detached, order_by, balancer, cluster, degrade)

    def mark(function: _Method) -> _Method:
        setattr(function, METHOD_ATTRIBUTE, options)
        return function

    return mark
