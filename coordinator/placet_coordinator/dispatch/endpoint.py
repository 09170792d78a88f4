"""Where an operation of a branch is called: the prepared target, and the participant it belongs to."""

import asyncio
from datetime import timedelta
from functools import lru_cache
from typing import TypeVar
from urllib.parse import urlsplit

from placet_contract.vocabulary import Operation
from placet_coordinator.core.transaction import Branch
from placet_coordinator.dispatch.directory import Directory, Instance
from placet_rpc import HttpClient, Target
from placet_rpc.tcp import TcpClient

ENDPOINTS_MAX = 10_000
"""Prepared targets that are kept; the first kept makes room."""

AVOIDED_FOR = timedelta(seconds=5)
"""An instance that could not be reached over TCP is called over HTTP for so long."""
AVOIDED_MAX = 1_000

_Key = TypeVar("_Key")
_CONSTANT_HEADERS = (("content-type", "application/json"),)


class Endpoint:
    """One URL to call.

    Attributes:
        participant: the service's name, or host and port of the URL.
        must_echo: the participant is known to run the SDK: an answer without its echo is not its answer.
        tcp_url: the endpoint of the TCP transport, where the call goes over that.
    """

    __slots__ = ("must_echo", "participant", "target", "tcp_url", "url")

    def __init__(self, url: str, participant: str, target: Target, *, must_echo: bool, tcp_url: str | None) -> None:
        self.url, self.participant, self.target = url, participant, target
        self.must_echo, self.tcp_url = must_echo, tcp_url


class Unreachable(Exception):
    """The target can't be turned into a URL now; nothing was sent, and a later attempt may find it."""


class Endpoints:
    """Finds and keeps the prepared targets.

    Args:
        http: calls absolute URLs, and instances that offer no other way.
        tcp: calls instances that run the RPC's TCP transport: the same routes, the same answers.
        directory: the instances of services.
    """

    def __init__(self, http: HttpClient, tcp: TcpClient, directory: Directory) -> None:
        self._http, self._tcp, self._directory = http, tcp, directory
        self._avoided: dict[str, float] = {}
        self._loop = asyncio.get_running_loop()
        self._of_target: dict[tuple[str, Operation], Endpoint] = {}
        self._of_url: dict[tuple[str, str, bool], Endpoint] = {}

    def find(self, branch: Branch, operation: Operation) -> Endpoint:
        """Return where the operation is called now; a service's name is looked up at each call.

        Raises:
            Unreachable: the service has no live instance, or the branch does not name this operation.
        """
        target = branch.target
        if not isinstance(target, str):
            url = target.get(operation)
            if url is None:
                raise Unreachable(f"the target of branch {branch.branch_id} names no {operation}")
            return self._endpoint(url, _authority(url), must_echo=False)
        if "://" in target:
            return self._of_target.get((target, operation)) or self._first(target, operation)
        service, _, action = target.partition("/")
        instance = self._directory.pick(service, action)
        if instance is None:
            raise Unreachable(f"no live instance of {service} offers {action}; see GET /v1/services/{service}")
        tcp_url = self._tcp_url(instance)
        base_url = instance.base_url if tcp_url is None else f"{tcp_url}{urlsplit(instance.base_url).path}"
        return self._endpoint(f"{base_url}/{action}/{operation}", service, must_echo=instance.is_sdk, tcp_url=tcp_url)

    def avoid(self, endpoint: Endpoint) -> None:
        """Hear that an endpoint could not be reached: over TCP it is not tried again for some seconds."""
        if endpoint.tcp_url is None:
            return
        if len(self._avoided) >= AVOIDED_MAX:
            self._avoided.clear()
        self._avoided[endpoint.tcp_url] = self._loop.time() + AVOIDED_FOR.total_seconds()

    def _tcp_url(self, instance: Instance) -> str | None:
        tcp_url = instance.tcp_url
        if tcp_url is None or not self._avoided:
            return tcp_url
        avoided_until = self._avoided.get(tcp_url)
        if avoided_until is None:
            return tcp_url
        if avoided_until > self._loop.time():
            return None
        del self._avoided[tcp_url]
        return tcp_url

    def participant_of(self, branch: Branch, operation: Operation) -> str:
        """Return the participant's name, whether or not it can be reached now."""
        target = branch.target
        if isinstance(target, str):
            return _authority(target) if "://" in target else target.partition("/")[0]
        return _authority(target.get(operation, ""))

    def _first(self, target: str, operation: Operation) -> Endpoint:
        endpoint = self._endpoint(f"{target}/{operation}", _authority(target), must_echo=False)
        _keep(self._of_target, (target, operation), endpoint)
        return endpoint

    def _endpoint(self, url: str, participant: str, *, must_echo: bool, tcp_url: str | None = None) -> Endpoint:
        key = (url, participant, must_echo)
        endpoint = self._of_url.get(key)
        if endpoint is None:
            try:
                client = self._http if tcp_url is None else self._tcp
                target = client.target(url, headers=_CONSTANT_HEADERS)
            except ValueError as error:
                raise Unreachable(str(error)) from None
            endpoint = Endpoint(url, participant, target, must_echo=must_echo, tcp_url=tcp_url)
            _keep(self._of_url, key, endpoint)
        return endpoint


def _keep(kept: dict[_Key, Endpoint], key: _Key, endpoint: Endpoint) -> None:
    if len(kept) >= ENDPOINTS_MAX:
        del kept[next(iter(kept))]
    kept[key] = endpoint


@lru_cache(maxsize=ENDPOINTS_MAX)
def _authority(url: str) -> str:
    return urlsplit(url).netloc
