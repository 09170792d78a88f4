"""How servers ask each other for keys: a service of Placet's own that every server with `OrderedServing` offers."""

import logging
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Protocol

from placet_contract.service import method, service
from placet_rpc.balancing.member import Route
from placet_rpc.contract import service_of
from placet_rpc.errors import RpcError
from placet_rpc.filters import ClientFilter, chained
from placet_rpc.invocation import Invocation
from placet_rpc.ordering.service_view import Claim, Release
from placet_rpc.registry.endpoint import Endpoint

_log = logging.getLogger("placet_rpc.ordering")

ASK_TIMEOUT = timedelta(seconds=5)
LEAVE_TIMEOUT = timedelta(seconds=1)

Connect = Callable[[Endpoint], Route | None]
"""Returns the way to an instance; `Transports.connect` is one."""


@service("placet.ordering")
class KeyOwner(Protocol):
    """For other instances of the same services; an access list should name their applications."""

    @method(idempotent=True, detached=True)
    async def release(self, service: str, key: str, to: str, epoch: str, revision: int) -> Release:
        """Lets go of an ordering key, once nothing of it runs here; see `Ownership.release`."""
        ...

    @method(idempotent=True)
    async def left(self, service: str, instance_id: str) -> None:
        """Takes an instance's word that it runs nothing any more."""
        ...


_KEY_OWNER = service_of(KeyOwner)


class Peers:
    """Talks over the transports; satisfies `OtherInstances`.

    Args:
        connect: makes the ways to instances.
        app: this application.
        filters: around each request, such as `Signing`.
        timeout: of one question; an instance whose call runs on for longer is asked again.
    """

    def __init__(
        self,
        connect: Connect,
        *,
        app: str = "",
        filters: Sequence[ClientFilter] = (),
        timeout: timedelta = ASK_TIMEOUT,
    ) -> None:
        self._connect, self._app, self._filters = connect, app, tuple(filters)
        self._timeout_seconds = timeout.total_seconds()

    async def ask(self, endpoint: Endpoint, claim: Claim, seconds: float) -> Release | None:
        """Asks an instance to let go of a key."""
        answer: Release | None = await self._call(endpoint, "release", tuple(claim), seconds)
        return answer

    async def say_left(self, endpoint: Endpoint, service: str, instance_id: str) -> None:
        """Tells an instance that this one runs nothing any more."""
        await self._call(endpoint, "left", (service, instance_id), LEAVE_TIMEOUT.total_seconds())

    async def _call(self, endpoint: Endpoint, name: str, arguments: tuple[Any, ...], seconds: float) -> Any:
        called = _KEY_OWNER.methods[name]
        call = Invocation(
            service=_KEY_OWNER,
            method=called,
            arguments=called.bind(arguments, {}),
            timeout_ms=max(int(min(seconds, self._timeout_seconds) * 1000), 1),
            caller=self._app,
            instance=endpoint.instance_id,
        )
        try:
            route = self._connect(endpoint)
            return None if route is None else await chained(self._filters, route.invoke)(call)
        except (RpcError, ValueError) as error:
            _log.info("%s was asked about ordering keys: %s", endpoint.instance_id, error)
            return None
