"""Where an operation of a branch is called: the prepared target, and the participant it belongs to."""

from collections import OrderedDict
from urllib.parse import urlsplit

from msgspec import Struct

from placet_contract.vocabulary import Operation
from placet_coordinator.core.transaction import Branch
from placet_coordinator.dispatch.directory import Directory
from placet_rpc import HttpClient, HttpTarget

ENDPOINTS_MAX = 10_000
"""Prepared targets that are kept; the least recently used makes room."""

_CONSTANT_HEADERS = (("content-type", "application/json"),)


class Endpoint(Struct, frozen=True):
    """One URL to call.

    Attributes:
        participant: the service's name, or host and port of the URL.
        must_echo: the participant is known to run the SDK: an answer without its echo is not its answer.
    """

    url: str
    participant: str
    target: HttpTarget
    must_echo: bool


class Unreachable(Exception):
    """The target can't be turned into a URL now; nothing was sent, and a later attempt may find it."""


class Endpoints:
    """Finds and keeps the prepared targets."""

    def __init__(self, client: HttpClient, directory: Directory) -> None:
        self._client, self._directory = client, directory
        self._kept: OrderedDict[tuple[str, str, bool], Endpoint] = OrderedDict()

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
            return self._kept.get((target, operation, False)) or self._first(target, operation)
        service, _, action = target.partition("/")
        instance = self._directory.pick(service, action)
        if instance is None:
            raise Unreachable(f"no live instance of {service} offers {action}; see GET /v1/services/{service}")
        return self._endpoint(f"{instance.base_url}/{action}/{operation}", service, must_echo=instance.is_sdk)

    def participant_of(self, branch: Branch, operation: Operation) -> str:
        """Return the participant's name, whether or not it can be reached now."""
        target = branch.target
        if isinstance(target, str):
            return _authority(target) if "://" in target else target.partition("/")[0]
        return _authority(target.get(operation, ""))

    def _first(self, target: str, operation: Operation) -> Endpoint:
        endpoint = self._endpoint(f"{target}/{operation}", _authority(target), must_echo=False)
        self._keep((target, operation, False), endpoint)
        return endpoint

    def _endpoint(self, url: str, participant: str, *, must_echo: bool) -> Endpoint:
        key = (url, participant, must_echo)
        endpoint = self._kept.get(key)
        if endpoint is None:
            try:
                target = self._client.target(url, headers=_CONSTANT_HEADERS)
            except ValueError as error:
                raise Unreachable(str(error)) from None
            endpoint = Endpoint(url, participant, target, must_echo)
            self._keep(key, endpoint)
        return endpoint

    def _keep(self, key: tuple[str, str, bool], endpoint: Endpoint) -> None:
        self._kept[key] = endpoint
        if len(self._kept) > ENDPOINTS_MAX:
            self._kept.popitem(last=False)


def _authority(url: str) -> str:
    return urlsplit(url).netloc
