"""The port: what a registry does, and what holds when it says that it has done it."""

from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import Protocol, runtime_checkable

from placet_rpc.registry.endpoint import Endpoint
from placet_rpc.registry.snapshot import Snapshot

REFRESH = timedelta(seconds=5)
"""A watch says something at least so often, be it that nothing has changed."""
ASK_TIMEOUT = timedelta(seconds=3)
"""A registry that does not answer within it counts as unavailable."""
LEASE = timedelta(seconds=15)
"""How long an announcement outlives its last renewal, unless the registry's URL says otherwise."""


class RegistryUnavailable(Exception):  # the name is the event, as for every error of the RPC
    """The registry did not answer. A change that was asked for may have been made or not; asking again is safe."""


class RegistryRefused(Exception):
    """The registry answered that it will not do it, and would answer the same again. Nothing was changed."""


class Registry(Protocol):
    """Knows which instances a service has. One object belongs to one event loop.

    Nothing here retries: whoever announces does so again and again (`Announcer`), whoever watches begins a new watch
    (`RegistryCache`). Both are what heals a registry that has lost its memory.

    Attributes:
        lease: how long an announcement outlives its last renewal.
    """

    lease: timedelta

    async def register(self, service: str, endpoint: Endpoint) -> None:
        """Announces an instance, or prolongs its announcement.

        When it returns, a watch begun later sees the instance; watches under way see it within `REFRESH`. It stays
        until it is withdrawn, or its lease ends without a further call. The same id with another content takes the
        place of what was announced, by whomever.

        Raises:
            RegistryUnavailable: it may be registered or not.
            RegistryRefused: it is not, and will not be.
            ValueError: this registry can't hold such an instance.
        """
        ...

    async def unregister(self, service: str, instance_id: str) -> None:
        """Withdraws what this object announced; no error if that is gone.

        When it returns, a watch begun later does not see the instance. If somebody else has announced the same id
        since, that stays, where the registry can tell the two apart (all but the coordinator).

        Raises:
            RegistryUnavailable: it may be there until its lease ends.
            RegistryRefused: it is still there.
        """
        ...

    def watch(self, service: str) -> AsyncGenerator[Snapshot, None]:
        """Yields the service's instances: as they are now, then after changes, in the order in which they came.

        Changes that come fast may be yielded as one. Revisions grow within an epoch; the same snapshot is yielded
        again at least every `REFRESH` while nothing changes. A service that nobody announced has no instances.

        Raises:
            RegistryUnavailable: from now on changes may be missed: begin another watch.
            RegistryRefused: it says nothing to this client.
        """
        ...

    async def aclose(self) -> None:
        """Closes the connections. What was announced stays until its lease ends, if the registry allows that."""
        ...


@runtime_checkable
class ListsServices(Protocol):
    """A registry that can say which services it knows; for operators, no call needs it."""

    async def services(self) -> list[str]:
        """Returns their keys, in order. Some may have no live instance; those announced meanwhile may be missing.

        Raises:
            RegistryUnavailable: there is no answer.
            RegistryRefused: it does not say.
        """
        ...
