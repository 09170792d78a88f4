"""Requests and replies of the service calls: participants announce their instances, callers look names up."""

from typing import Annotated

from msgspec import Meta, Struct

from placet_contract.ids import BRANCH_ID_PATTERN
from placet_contract.limits import ACTIONS_PER_INSTANCE_MAX, TARGET_LENGTH_MAX, TIME_MS_MAX
from placet_contract.vocabulary import Operation

ActionName = Annotated[str, Meta(pattern=BRANCH_ID_PATTERN)]


class InstanceRequest(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """`PUT /v1/services/{service}/instances/{instance_id}`: repeated before the lease ends.

    `tcp_url` (`tcp://host:port` or `tcps://host:port`) is where the same process answers the same requests over the
    built-in RPC's multiplexed TCP transport.
    """

    base_url: Annotated[str, Meta(min_length=1, max_length=TARGET_LENGTH_MAX)]
    actions: Annotated[dict[ActionName, list[Operation]], Meta(max_length=ACTIONS_PER_INSTANCE_MAX)]
    lease_ms: Annotated[int, Meta(ge=1_000, le=3_600_000)] | None = None
    sdk: Annotated[str, Meta(max_length=100)] | None = None
    tcp_url: Annotated[str, Meta(min_length=1, max_length=TARGET_LENGTH_MAX)] | None = None
    barrier_retention_ms: Annotated[int, Meta(ge=1, le=TIME_MS_MAX)] | None = None


class InstanceView(Struct, frozen=True):
    """One live instance of a service."""

    instance_id: str
    base_url: str
    actions: dict[str, list[str]]
    lease_until: str
    tcp_url: str | None = None


class ServiceView(Struct, frozen=True):
    """`GET /v1/services/{service}`."""

    service: str
    instances: list[InstanceView]


class ServiceSummary(Struct, frozen=True):
    """One line of `GET /v1/services`."""

    service: str
    instances: int


class ServicePage(Struct, frozen=True):
    """`GET /v1/services`."""

    items: list[ServiceSummary]
