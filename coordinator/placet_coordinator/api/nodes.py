"""The coordinator's processes: their names, and the list of them."""

import time

from fastapi import Request

from placet_contract.nodes import NodePage, NodeView
from placet_coordinator.api.answers import Answer, encode
from placet_coordinator.api.calls import ApiCall, Reply
from placet_coordinator.api.queries import NoQuery, read_query
from placet_coordinator.api.views import instant
from placet_coordinator.ports.clock import Clock
from placet_coordinator.ports.owner import Owner
from placet_coordinator.ports.store import NodeStore

NAMES_KEPT_S = 1.0


class NodeNames:
    """From a row's owner, which is one life of a node, to the node's name, as begin's reply gives it."""

    def __init__(self, store: NodeStore, owner: Owner) -> None:
        self._store, self._owner = store, owner
        self._names: dict[str, str] = {}
        self._read_at = float("-inf")

    async def of(self, boot_ids: set[str]) -> dict[str, str]:
        """Return a name for each boot id; of a life that is over nothing but its own id is known."""
        known = {**self._names, self._owner.boot_id: self._owner.node_id}
        if not boot_ids <= known.keys() and time.monotonic() - self._read_at > NAMES_KEPT_S:
            self._names = {node.boot_id: node.node_id for node in await self._store.nodes()}
            self._read_at = time.monotonic()
            known = {**self._names, self._owner.boot_id: self._owner.node_id}
        return {boot_id: known.get(boot_id, boot_id) for boot_id in boot_ids}


class Nodes:
    """`GET /v1/nodes`."""

    def __init__(self, store: NodeStore, clock: Clock) -> None:
        self._store, self._clock = store, clock

    def calls(self) -> tuple[ApiCall, ...]:
        """Return the declared calls."""
        return (
            ApiCall(
                "GET",
                "/v1/nodes",
                "list_nodes",
                "List the coordinator's processes",
                self.page,
                (Reply(200, "Those that live, and those that have gone lately.", NodePage),),
                problems=(422, 503),
                query=NoQuery,
                tag="nodes",
            ),
        )

    async def page(self, request: Request) -> Answer:
        """Answer the list."""
        read_query(request.scope["query_string"], NoQuery)
        now_ms = self._clock.now_ms()
        items = [
            NodeView(
                node=node.node_id,
                base_url=node.base_url,
                lease_until=instant(node.lease_until_ms),
                is_live=node.lease_until_ms > now_ms,
            )
            for node in await self._store.nodes()
        ]
        return Answer(200, encode(NodePage(items=items)))
