"""Which of the coordinator's nodes answers where, so that a transaction's calls go to the node that began it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from placet.errors import CoordinatorError
from placet_contract.nodes import HealthReply, NodePage, NodeView

REFRESH_SECONDS = 30.0
"""The nodes are looked up again about this often, in the background, while transactions are under way."""

NODES_MAX = 64
"""So many nodes are remembered; calls of the others go to the coordinator's URL."""

ListNodes = Callable[[], Awaitable[NodePage]]
AskHealth = Callable[[str], Awaitable[HealthReply]]

_log = logging.getLogger("placet.nodes")


class NodeAddresses:
    """Any node serves any call, but the one that began a transaction holds it in memory and answers without a read.

    An address is used only after the node itself has answered there under its own name, for what a node announces
    need not be reachable from here. One that fails is forgotten until it has answered again.

    Args:
        url: the coordinator's base URL as configured, which is right for every call.
        list_nodes: asks the coordinator for its nodes.
        ask_health: asks at a base URL who answers there.
    """

    def __init__(self, url: str, list_nodes: ListNodes, ask_health: AskHealth) -> None:
        self._url = url
        self._list_nodes = list_nodes
        self._ask_health = ask_health
        self._urls: dict[str, str] = {}
        self._look_at = 0.0
        self._look: asyncio.Task[None] | None = None

    def url_of(self, node: str | None) -> str:
        """Returns the base URL for calls of a transaction that this node began; never waits for it."""
        if node is None:
            return self._url
        now = asyncio.get_running_loop().time()
        if now >= self._look_at:
            self._look_at = now + REFRESH_SECONDS
            self._start_look()
        return self._urls.get(node, self._url)

    def failed(self, url: str) -> None:
        """Hears that a base URL gave no answer: what is repeated goes to the coordinator's URL."""
        self._urls = {node: known for node, known in self._urls.items() if known != url}

    async def aclose(self) -> None:
        """Ends a look-up under way."""
        look, self._look, self._look_at = self._look, None, 0.0
        self._urls = {}
        if look is not None and look.get_loop() is asyncio.get_running_loop():
            look.cancel()
            await asyncio.gather(look, return_exceptions=True)

    def _start_look(self) -> None:
        if self._look is None or self._look.done() or self._look.get_loop().is_closed():
            self._look = asyncio.create_task(self._refresh())

    async def _refresh(self) -> None:
        try:
            nodes = [node for node in (await self._list_nodes()).items if node.is_live]
        except CoordinatorError as error:
            _log.info("nodes not looked up, what is known of them is kept: %s", error)
            return
        if len(nodes) == 1:
            nodes = []  # whatever stands between, it leads there
        others = [node for node in nodes[:NODES_MAX] if self._is_eligible(node.base_url)]
        answering = await asyncio.gather(*map(self._answers, others))
        self._urls = {
            node.node: node.base_url.rstrip("/") for node, is_there in zip(others, answering, strict=True) if is_there
        }

    def _is_eligible(self, base_url: str) -> bool:
        # Not where the token would travel less protected than it was configured to.
        return urlsplit(base_url).scheme == urlsplit(self._url).scheme and base_url.rstrip("/") != self._url

    async def _answers(self, node: NodeView) -> bool:
        try:
            return (await self._ask_health(node.base_url.rstrip("/"))).node == node.node
        except (CoordinatorError, ValueError) as error:
            _log.info("node %s is not asked directly: %s", node.node, error)
            return False
