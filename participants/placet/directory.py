"""Where services live: names looked up at the coordinator, remembered, and spread round robin over live instances."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Sequence
from datetime import timedelta
from itertools import chain
from urllib.parse import urlsplit

from placet.coordinator import Coordinator
from placet.errors import CoordinatorError
from placet_contract.ids import matches_branch_id
from placet_contract.services import InstanceView

REFRESH_SECONDS = 1.0
"""A name in use is looked up again about this often, in the background."""

STALE_SECONDS = 10.0
"""A name unused for so long is looked up before it is used; if that fails, the last good answer still serves."""

LOOKUP_TIMEOUT = timedelta(seconds=2)
SERVICES_MAX = 1_024

_log = logging.getLogger("placet.directory")


class NoInstance(LookupError):
    """No live instance is known that offers the action. Nothing was sent."""


class _Service:
    """What is known of one service."""

    def __init__(self) -> None:
        self.instances: Sequence[InstanceView] = ()
        self.known = False
        self.asked_at = 0.0
        self.answered_at = 0.0
        self.turn = 0
        self.lookup: asyncio.Task[None] | None = None


class Directory:
    """Resolves `service/action` to URLs, and passes absolute URLs through.

    Args:
        coordinator: asked for the instances.
        use_tcp: name the RPC's TCP transport first where an instance offers it.
    """

    def __init__(self, coordinator: Coordinator, *, use_tcp: bool = True) -> None:
        self._coordinator = coordinator
        self._use_tcp = use_tcp
        self._services: OrderedDict[str, _Service] = OrderedDict()

    async def urls(self, target: str) -> list[str]:
        """Returns the URLs of a target, the one whose turn it is first; `tcp://` ones stand before their HTTP twins.

        Args:
            target: `service/action`, or an absolute http or https URL.

        Raises:
            NoInstance: no live instance offers the action, and none was known before.
            ValueError: the target is neither form.
        """
        if target.startswith(("http://", "https://")):
            return [target]
        name, action = split_target(target)
        service = await self._service(name)
        bases = [
            self._bases_of(instance)
            for instance in service.instances
            if not instance.actions or action in instance.actions
        ]
        if not bases:
            raise NoInstance(
                f"no live instance of service {name!r} offers {action!r}: is it running, and announced to "
                f"{self._coordinator.url}?"
            )
        service.turn += 1
        first = service.turn % len(bases)
        return [f"{base}/{action}" for base in chain.from_iterable(bases[first:] + bases[:first])]

    def _bases_of(self, instance: InstanceView) -> list[str]:
        """The same routes answer at the same paths, whichever way they are reached."""
        base_url = instance.base_url.rstrip("/")
        if instance.tcp_url is None or not self._use_tcp:
            return [base_url]
        return [instance.tcp_url + urlsplit(base_url).path, base_url]

    async def aclose(self) -> None:
        """Ends lookups under way."""
        loop = asyncio.get_running_loop()
        lookups = [entry.lookup for entry in self._services.values() if entry.lookup is not None]
        lookups = [lookup for lookup in lookups if lookup.get_loop() is loop]
        for lookup in lookups:
            lookup.cancel()
        await asyncio.gather(*lookups, return_exceptions=True)
        self._services.clear()

    async def _service(self, name: str) -> _Service:
        service = self._services.get(name)
        if service is None:
            service = self._services[name] = _Service()
            if len(self._services) > SERVICES_MAX:
                self._services.popitem(last=False)
        else:
            self._services.move_to_end(name)
        now = asyncio.get_running_loop().time()
        if not service.known or not service.instances or now - service.answered_at > STALE_SECONDS:
            # Shielded: others may wait for the same lookup when this caller is cancelled.
            await asyncio.shield(self._look_up(name, service))
        elif now - service.asked_at > REFRESH_SECONDS:
            self._look_up(name, service)
        return service

    def _look_up(self, name: str, service: _Service) -> asyncio.Task[None]:
        lookup = service.lookup
        if lookup is None or lookup.done() or lookup.get_loop().is_closed():
            service.asked_at = asyncio.get_running_loop().time()
            lookup = service.lookup = asyncio.create_task(self._refresh(name, service))
        return lookup

    async def _refresh(self, name: str, service: _Service) -> None:
        try:
            view = await self._coordinator.service(name, timeout=LOOKUP_TIMEOUT)
        except CoordinatorError as error:
            # The last good answer is kept: a coordinator that is down says nothing about the participants.
            _log.warning("service %s not looked up, its %d instances are kept: %s", name, len(service.instances), error)
            return
        service.instances = view.instances
        service.known = True
        service.answered_at = asyncio.get_running_loop().time()


def split_target(target: str) -> tuple[str, str]:
    """Returns service and action of a `service/action` target.

    Raises:
        ValueError: it is not of that form.
    """
    name, slash, action = target.partition("/")
    if not slash or not matches_branch_id(name) or not matches_branch_id(action):
        raise ValueError(
            f"target {target!r}: write 'service/action', each 1-64 characters of A-Z a-z 0-9 _ - ., or an absolute URL"
        )
    return name, action
