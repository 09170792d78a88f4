"""The coordinator as a registry, by the service calls of its HTTP API (docs/reference/wire.md).

    coordinator+http://127.0.0.1:8470        coordinator+https://a:8470,b:8470?lease_ms=15000&poll_ms=2000

An instance is announced by one URL; what that API has no member for (weight, zone, tags, codecs, further URLs) is not
announced. Service `stock/1` is announced as `stock.v1`, for names there have no slash.
"""

from collections.abc import AsyncGenerator
from datetime import timedelta
from http import HTTPStatus
from urllib.parse import quote, urlsplit
from uuid import uuid4

import msgspec

from placet_contract.ids import matches_branch_id
from placet_contract.limits import INSTANCE_LEASE_MS
from placet_contract.problems import Problem
from placet_contract.services import InstanceRequest, InstanceView, ServicePage, ServiceView
from placet_contract.vocabulary import Operation
from placet_rpc.chance import Chance, new_chance
from placet_rpc.clock import SYSTEM_CLOCK, Clock
from placet_rpc.errors import RpcError
from placet_rpc.http import HttpClient, HttpLimits
from placet_rpc.registry.births import Births
from placet_rpc.registry.endpoint import Endpoint
from placet_rpc.registry.opening import RegistryContext
from placet_rpc.registry.record import Record
from placet_rpc.registry.registry import ASK_TIMEOUT, RegistryRefused, RegistryUnavailable
from placet_rpc.registry.snapshot import Snapshot
from placet_rpc.transport import Reply
from placet_rpc.url_options import take_options

POLL_MS = 2_000
_REPLY_BYTES_MAX = 16 * 1024 * 1024
_encode = msgspec.json.Encoder().encode
_decode_page = msgspec.json.Decoder(ServicePage).decode
_decode_view = msgspec.json.Decoder(ServiceView).decode
_decode_problem = msgspec.json.Decoder(Problem).decode


class CoordinatorRegistry:
    """Satisfies `Registry`.

    Args:
        urls: of the coordinator's nodes; one that does not answer gives way to the next.
        client: whose connections are used; the registry closes it.
        token: the bearer token, if the coordinator wants one.
        lease: how long an announcement outlives its last renewal.
        poll: how often a watch looks, give or take a fifth.
        clock: where time comes from.
        chance: where jitter comes from.
    """

    def __init__(
        self,
        urls: tuple[str, ...],
        *,
        client: HttpClient,
        token: str = "",
        lease: timedelta = timedelta(milliseconds=INSTANCE_LEASE_MS),
        poll: timedelta = timedelta(milliseconds=POLL_MS),
        clock: Clock = SYSTEM_CLOCK,
        chance: Chance | None = None,
    ) -> None:
        self.lease = lease
        self._urls = [url.rstrip("/") for url in urls]
        self._client = client
        self._fields = [("content-type", "application/json")]
        if token:
            self._fields.append(("authorization", f"Bearer {token}"))
        self._poll_seconds = poll.total_seconds()
        self._clock = clock
        self._chance = chance or new_chance()

    async def register(self, service: str, endpoint: Endpoint) -> None:
        """Announces an instance by its HTTP URL if it has one, else by its first."""
        request = InstanceRequest(
            base_url=endpoint.url("http", "https") or endpoint.urls[0],
            actions={name: [Operation(word) for word in words] for name, words in endpoint.actions.items()},
            lease_ms=self.lease // timedelta(milliseconds=1),
        )
        await self._ask("PUT", _instance_path(service, endpoint.instance_id), _encode(request))

    async def unregister(self, service: str, instance_id: str) -> None:
        """Withdraws an instance, whoever has announced it."""
        await self._ask("DELETE", _instance_path(service, instance_id))

    async def watch(self, service: str) -> AsyncGenerator[Snapshot, None]:
        """Yields the service's instances each time that it has looked."""
        path = f"/v1/services/{_name(service)}"
        epoch, births = uuid4().hex, Births()
        snapshot: Snapshot | None = None
        while True:
            reply = await self._ask("GET", path)
            try:
                instances = _decode_view(reply.body).instances
            except ValueError as error:
                raise RegistryUnavailable(f"the coordinator's answer is none: {error}") from None
            # Who was there at the first look may have been there for years; who came later has come just now.
            now = self._clock.monotonic() if snapshot is not None else None
            endpoints = tuple(
                _endpoint(instance, births.up_since(instance.instance_id, instance.base_url, now))
                for instance in sorted(instances, key=lambda instance: instance.instance_id)
            )
            births.keep_only({endpoint.instance_id for endpoint in endpoints})
            if snapshot is None or endpoints != snapshot.endpoints:
                revision = 1 if snapshot is None else snapshot.revision + 1
                snapshot = Snapshot(service=service, revision=revision, endpoints=endpoints, epoch=epoch)
            yield snapshot
            await self._clock.sleep(self._poll_seconds * self._chance.uniform(0.8, 1.2))

    async def services(self) -> list[str]:
        """Returns the services that have live instances."""
        reply = await self._ask("GET", "/v1/services")
        try:
            named = [_decode_name(summary.service) for summary in _decode_page(reply.body).items]
        except ValueError as error:
            raise RegistryUnavailable(f"the coordinator's answer is none: {error}") from None
        return sorted(named)

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._client.aclose()

    async def _ask(self, method: str, path: str, body: bytes = b"") -> Reply:
        """Asks the nodes in turn until one answers; every call here may be repeated."""
        failure = ""
        for _ in tuple(self._urls):
            url = self._urls[0]
            try:
                reply = await self._client.request(
                    method, url + path, headers=self._fields, body=body, timeout=ASK_TIMEOUT
                )
            except RpcError as error:
                failure = str(error)
            else:
                if reply.status < HTTPStatus.BAD_REQUEST:
                    return reply
                failure = f"{url} answers {reply.status}: {_words(reply)}"
                if reply.status < HTTPStatus.INTERNAL_SERVER_ERROR and reply.status != HTTPStatus.TOO_MANY_REQUESTS:
                    raise RegistryRefused(failure)
            self._urls.append(self._urls.pop(0))
        raise RegistryUnavailable(failure)


def _endpoint(instance: InstanceView, up_since: float | None) -> Endpoint:
    actions = {name: tuple(operations) for name, operations in instance.actions.items()}
    return Record(urls=(instance.base_url,), actions=actions).endpoint(instance.instance_id, up_since)


def _name(service: str) -> str:
    """Returns the name of a service in the coordinator; no two services have the same."""
    name, slash, version = service.partition("/")
    named = f"{name}.v{version}" if slash else name
    if not matches_branch_id(named) or ".v" in version:
        raise ValueError(f"the coordinator can't list {service!r} as {named!r}: 64 characters, no '.v' in a version")
    return named


def _decode_name(named: str) -> str:
    """Undoes `_name`."""
    name, separator, version = named.rpartition(".v")
    return f"{name}/{version}" if separator else named


def _instance_path(service: str, instance_id: str) -> str:
    return f"/v1/services/{_name(service)}/instances/{quote(instance_id, safe='')}"


def _words(reply: Reply) -> str:
    try:
        problem = _decode_problem(reply.body)
    except ValueError:
        return "and no reason"
    return problem.detail or problem.title


def open_coordinator(url: str, context: RegistryContext) -> CoordinatorRegistry:
    """Opens `coordinator+http://HOST:PORT,…`."""
    text, options = take_options(url.partition("+")[2], {"lease_ms": INSTANCE_LEASE_MS, "poll_ms": POLL_MS}, "registry")
    scheme, hosts = urlsplit(text).scheme, urlsplit(text).netloc.split(",")
    if scheme not in ("http", "https") or not all(hosts):
        raise ValueError("that is no coordinator: write coordinator+http://host:port, further nodes after a comma")
    client = HttpClient(limits=HttpLimits(max_reply_bytes=_REPLY_BYTES_MAX), tls=context.tls)
    path = urlsplit(text).path
    return CoordinatorRegistry(
        tuple(f"{scheme}://{host}{path}" for host in hosts),
        client=client,
        token=context.token,
        lease=timedelta(milliseconds=options["lease_ms"]),
        poll=timedelta(milliseconds=options["poll_ms"]),
        clock=context.clock,
        chance=context.chance,
    )
