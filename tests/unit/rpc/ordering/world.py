"""Servers, clients and what each of them knows of the others, in virtual time."""

import asyncio
from collections import defaultdict
from datetime import timedelta
from typing import Protocol

from placet_contract.service import method, service
from placet_rpc.client import Client
from placet_rpc.context import call_options, current_call
from placet_rpc.errors import ConnectFailed, ConnectionLost, NoInstance
from placet_rpc.filters import chained
from placet_rpc.inproc import InprocRoute
from placet_rpc.ordering.calling import OrderedCalls
from placet_rpc.ordering.ownership import Ownership
from placet_rpc.ordering.peers import Peers
from placet_rpc.ordering.serving import OrderedServing
from placet_rpc.registry.endpoint import Endpoint
from placet_rpc.registry.snapshot import Snapshot
from placet_rpc.server import Server

LEASE = timedelta(seconds=15)


@service("till")
class Till(Protocol):
    """A service with an ordered method."""

    @method(order_by="account")
    async def pay(self, account: str, number: int, seconds: float = 0.0) -> int: ...


class View:
    """What one participant knows; a `Directory`."""

    def __init__(self, world):
        self._world = world
        self._snapshot = Snapshot(service="till/1", revision=0, endpoints=())
        self.heard_at = world.clock.monotonic()
        self.is_cut_off = False

    def snapshot(self, _service):
        return self._snapshot

    def age(self, _service):
        return timedelta(seconds=self._world.clock.monotonic() - self.heard_at)

    def hear(self, snapshot):
        """The registry says something."""
        if not self.is_cut_off:
            self._snapshot = snapshot
            self.heard_at = self._world.clock.monotonic()


class Node:
    """A server that writes down what it runs.

    Attributes:
        is_alive: False: its process is gone.
        is_reachable: False: nothing gets through to it.
    """

    def __init__(self, world, name, **options):
        self.world, self.name = world, name
        self.view = View(world)
        self.is_alive = self.is_reachable = True
        self._begin = asyncio.get_running_loop().create_task  # what runs here ends with the process
        self._tasks = set()
        peers = Peers(world.connect)
        self.ownership = Ownership(
            self.view, name, peers, services=["till/1"], lease=LEASE, clock=world.clock, **options
        )
        self.server = Server(filters=[OrderedServing(self.ownership, clock=world.clock)], instance_id=name)
        self.server.expose(Till)(self)
        self._route = InprocRoute(self.server)

    async def pay(self, account: str, number: int, seconds: float = 0.0) -> int:
        with self.world.run(account, current_call().caller, number, self.name):
            await asyncio.sleep(seconds)
        return number

    async def invoke(self, call):
        """A request that comes over the network."""
        await asyncio.sleep(0.001)
        if not self.is_alive or not self.is_reachable:
            raise ConnectFailed("nobody there", endpoint=self.name)
        task = self._begin(self._route.invoke(call))
        self._tasks.add(task)
        try:
            await asyncio.wait((task,))
        finally:
            self._tasks.discard(task)
            task.cancel()
        if task.cancelled() or not self.is_alive:
            raise ConnectionLost("gone", endpoint=self.name)
        return task.result()

    def kill(self):
        """Its process ends, and all that it ran."""
        self.is_alive = False
        for task in tuple(self._tasks):
            task.cancel()


class World:
    """All of them.

    Attributes:
        ran: what was run, in order: (account, caller, number, node).
        running: per account, what is being run.
        last: per account and caller, the number that ran last.
        violations: runs at the same time, and runs after a later one.
    """

    def __init__(self, clock):
        self.clock = clock
        self.nodes = {}
        self.views = []
        self.ran = []
        self.running = defaultdict(list)
        self.last = {}
        self.violations = []
        self.revision = 0

    def node(self, name, **options):
        """A new server, not announced yet."""
        node = self.nodes[name] = Node(self, name, **options)
        self.views.append(node.view)
        return node

    def announce(self, *names, to=None):
        """The registry lists these instances, and tells all, or only some."""
        self.revision += 1
        endpoints = tuple(Endpoint(instance_id=name, urls=(f"tcp://{name}:1",)) for name in sorted(names))
        self.listed = Snapshot(service="till/1", revision=self.revision, endpoints=endpoints, epoch="e")
        for view in self.views if to is None else to:
            view.hear(self.listed)
        return self.listed

    def connect(self, endpoint):
        """The way to an instance."""
        return self.nodes[endpoint.instance_id]

    def client(self, app, **options):
        """A caller; its view is `.view`."""
        ordered = OrderedCalls(clock=self.clock, **options)
        view = View(self)
        self.views.append(view)
        ordered.attach(view)
        client = Client(_Invoker(chained([ordered], self._send)), app=app)
        till = client.reference(Till)
        return Caller(till, view, ordered)

    async def _send(self, call):
        if call.instance not in self.nodes:
            raise NoInstance(f"no instance {call.instance!r}")
        return await self.nodes[call.instance].invoke(call)

    def run(self, account, caller, number, node):
        """A run of a call, within which nothing else of the account may run, nor later anything that was before."""
        return _Run(self, account, (caller, number, node))

    async def aclose(self):
        for node in self.nodes.values():
            await node.server.aclose()


class Caller:
    """A client with its view."""

    def __init__(self, till, view, ordered):
        self.till, self.view, self.ordered = till, view, ordered

    async def pay(self, account, number, seconds=0.0, within=60.0):
        with call_options(timeout=timedelta(seconds=within)):
            return await self.till.pay(account, number, seconds)


class _Invoker:
    def __init__(self, invoke):
        self.invoke = invoke


class _Run:
    def __init__(self, world, account, what):
        self.world, self.account, self.what = world, account, what

    def __enter__(self):
        running = self.world.running[self.account]
        running.append(self.what)
        if running != [self.what]:
            self.world.violations.append(f"{running} at once for {self.account}")
        caller, number, _ = self.what
        last = self.world.last.get((self.account, caller), 0)
        if number <= last:
            self.world.violations.append(f"{self.what} after {last} of {self.account}")
        self.world.last[self.account, caller] = number
        self.world.ran.append((self.account, *self.what))

    def __exit__(self, *_exc):
        self.world.running[self.account].remove(self.what)
