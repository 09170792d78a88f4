"""Announced instances of services, by which targets of the form `service/action` are found."""

from collections.abc import Callable
from datetime import timedelta

import msgspec
from fastapi import Request

from placet_contract import limits
from placet_contract.services import InstanceRequest, InstanceView, ServicePage, ServiceSummary, ServiceView
from placet_coordinator.api.answers import Answer, encode
from placet_coordinator.api.calls import ApiCall, Reply, body_of
from placet_coordinator.api.queries import NoQuery, read_query
from placet_coordinator.api.requests import BodyDecoder, check_name, check_text
from placet_coordinator.api.views import instant
from placet_coordinator.core.plan import check_tcp_url, check_url
from placet_coordinator.core.rule import RuleBroken
from placet_coordinator.dispatch.policy import TargetPolicy
from placet_coordinator.ports.clock import Clock
from placet_coordinator.ports.rows import InstanceRow
from placet_coordinator.ports.store import ServiceStore

_INSTANCE = BodyDecoder(InstanceRequest)
_decode_actions = msgspec.json.Decoder(dict[str, list[str]]).decode

_EXAMPLE = {
    "base_url": "http://127.0.0.1:7001/placet",
    "actions": {"debit": ["try", "confirm", "cancel"]},
    "lease_ms": 15_000,
}
_INSTANCE_PATH = "/v1/services/{service}/instances/{instance_id}"


class Services:
    """The service calls.

    Args:
        retention: how long this coordinator remembers; a participant's barrier must not forget sooner.
        changed: called when an instance was announced or withdrawn here, so that the next call knows.
    """

    def __init__(
        self,
        *,
        store: ServiceStore,
        clock: Clock,
        policy: TargetPolicy,
        retention: timedelta,
        changed: Callable[[], None],
    ) -> None:
        self._store, self._clock, self._policy, self._changed = store, clock, policy, changed
        self._retention_ms = retention // timedelta(milliseconds=1)

    def calls(self) -> tuple[ApiCall, ...]:
        """Return the declared calls."""
        return (
            ApiCall(
                "PUT",
                _INSTANCE_PATH,
                "announce_instance",
                "Announce an instance of a service, or prolong its lease",
                self.announce,
                (Reply(200, "Announced, durably, until the lease ends.", InstanceView),),
                problems=(400, 413, 422, 503),
                query=NoQuery,
                body=_INSTANCE,
                body_example=_EXAMPLE,
                tag="services",
            ),
            ApiCall(
                "DELETE",
                _INSTANCE_PATH,
                "withdraw_instance",
                "Take an instance away",
                self.withdraw,
                (Reply(204, "It is gone; repeatable."),),
                problems=(422, 503),
                query=NoQuery,
                tag="services",
            ),
            ApiCall(
                "GET",
                "/v1/services/{service}",
                "show_service",
                "Show the live instances of a service",
                self.show,
                (Reply(200, "Those whose lease has not ended, none included.", ServiceView),),
                problems=(422, 503),
                query=NoQuery,
                tag="services",
            ),
            ApiCall(
                "GET",
                "/v1/services",
                "list_services",
                "List the services that have live instances",
                self.page,
                (Reply(200, "By name.", ServicePage, {"items": [{"service": "bank", "instances": 2}]}),),
                problems=(422, 503),
                query=NoQuery,
                tag="services",
            ),
        )

    async def announce(self, request: Request) -> Answer:
        """Answer an announcement."""
        service, instance_id = _names(request)
        asked: InstanceRequest = _INSTANCE.read(await body_of(request))
        check_text(sdk=asked.sdk)
        check_url(asked.base_url, "base_url")
        self._policy.check(asked.base_url, "base_url")
        if asked.barrier_retention_ms is not None and asked.barrier_retention_ms < self._retention_ms:
            raise RuleBroken(
                "barrier_retention_ms",
                "the barrier must not forget sooner than the coordinator: "
                f"raise the participant's retention to at least {self._retention_ms} ms",
                self._retention_ms,
            )
        if asked.tcp_url is not None:
            check_tcp_url(asked.tcp_url, "tcp_url")
            self._policy.check(asked.tcp_url, "tcp_url")
        lease_ms = limits.INSTANCE_LEASE_MS if asked.lease_ms is None else asked.lease_ms
        row = InstanceRow(
            service=service,
            instance_id=instance_id,
            base_url=asked.base_url.rstrip("/"),
            actions=encode(asked.actions).decode(),
            sdk=asked.sdk,
            lease_until_ms=self._clock.now_ms() + lease_ms,
            tcp_url=asked.tcp_url,
        )
        await self._store.announce(row)
        self._changed()
        return Answer(200, encode(_view(row)))

    async def withdraw(self, request: Request) -> Answer:
        """Answer a withdrawal."""
        service, instance_id = _names(request)
        await self._store.withdraw(service, instance_id)
        self._changed()
        return Answer(204, b"", ())

    async def show(self, request: Request) -> Answer:
        """Answer one service."""
        read_query(request.scope["query_string"], NoQuery)
        service = str(request.path_params["service"])
        check_name("service", service)
        rows = await self._store.instances(service, self._clock.now_ms())
        return Answer(200, encode(ServiceView(service=service, instances=[_view(row) for row in rows])))

    async def page(self, request: Request) -> Answer:
        """Answer the list."""
        read_query(request.scope["query_string"], NoQuery)
        counts: dict[str, int] = {}
        for row in await self._store.live_instances(self._clock.now_ms()):
            counts[row.service] = counts.get(row.service, 0) + 1
        items = [ServiceSummary(service=service, instances=count) for service, count in sorted(counts.items())]
        return Answer(200, encode(ServicePage(items=items)))


def _names(request: Request) -> tuple[str, str]:
    read_query(request.scope["query_string"], NoQuery)
    service, instance_id = str(request.path_params["service"]), str(request.path_params["instance_id"])
    check_name("service", service)
    check_name("instance_id", instance_id)
    return service, instance_id


def _view(row: InstanceRow) -> InstanceView:
    return InstanceView(
        instance_id=row.instance_id,
        base_url=row.base_url,
        actions=_decode_actions(row.actions),
        lease_until=instant(row.lease_until_ms),
        tcp_url=row.tcp_url,
    )
