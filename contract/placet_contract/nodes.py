"""Replies about the coordinator's own processes."""

from msgspec import Struct


class NodeView(Struct, frozen=True):
    """One coordinator process; `is_live` says whether its lease has not ended."""

    node: str
    base_url: str
    lease_until: str
    is_live: bool


class NodePage(Struct, frozen=True):
    """`GET /v1/nodes`."""

    items: list[NodeView]


class HealthReply(Struct, frozen=True):
    """`GET /healthz` and `GET /readyz`.

    `tcp_url` is where this very process answers the same calls over the built-in RPC's TCP transport; null: nowhere.
    """

    status: str
    node: str
    version: str
    tcp_url: str | None = None
