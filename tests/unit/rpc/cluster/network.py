"""A service whose instances do what a test says, in virtual time and without sockets."""

import asyncio
import random
from copy import copy
from typing import Protocol

from placet_contract.service import method, service
from placet_rpc import CallTimeout, Safety
from placet_rpc.balancing import make_balancer
from placet_rpc.cluster import ClusterContext, FailbackQueue, Instances, MemoryFailbackStore, Targets, make_cluster
from placet_rpc.contract import service_of
from placet_rpc.invocation import Invocation
from placet_rpc.policies.budget import Budget
from placet_rpc.policies.ejection import EjectionLimits
from placet_rpc.policies.retry import Retry
from placet_rpc.registry import Endpoint, Snapshot


class SoldOut(Exception):
    """Part of the contract."""


@service("stock", raises=(SoldOut,))
class Stock(Protocol):
    """A service to be called."""

    @method(idempotent=True)
    async def peek(self, sku: str) -> str | None: ...

    async def reserve(self, sku: str) -> str: ...

    @method(idempotent=True)
    async def count(self) -> int: ...


STOCK = service_of(Stock)


class Instance:
    """The way to one instance, and what it does: answers with its id, unless a test puts in something else."""

    def __init__(self, endpoint, loop_time):
        self.endpoint = endpoint.instance_id
        self.is_available = True
        self.calls = []
        self.cancelled = 0
        self.under_way = 0
        self.does = []  # for the next calls, one each; then `always`
        self.always = None
        self._now = loop_time

    async def invoke(self, call):
        self.calls.append(call)
        self.under_way += 1
        does = self.does.pop(0) if self.does else self.always
        try:
            async with asyncio.timeout(call.timeout_ms / 1000):
                return await self._do(does, call)
        except TimeoutError:
            raise CallTimeout("no reply in time", safety=Safety.UNKNOWN, endpoint=self.endpoint) from None
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.under_way -= 1

    async def _do(self, does, call):
        if isinstance(does, Exception):
            raise copy(does)  # one that is raised twice would drag its first traceback along
        if isinstance(does, int | float):
            await asyncio.sleep(does)
        elif does is not None:
            return await does(call)
        return self.endpoint


class Network:
    """Instances of one service, and their registry."""

    def __init__(self, clock, count=3, *, seed=7):
        self.clock = clock
        self.chance = random.Random(seed)
        self.routes = {}
        self.snapshots = 0
        self.store = MemoryFailbackStore()
        self.queue = FailbackQueue(self.store, clock, self.chance)
        self.is_known = True
        self.offer(*(f"m{place}" for place in range(count)))

    def offer(self, *ids, **fields):
        """Registers these instances, and no others."""
        self.snapshots += 1
        endpoints = tuple(
            Endpoint(**{"instance_id": each, "urls": (f"test://{each}",), **fields.get(each, {})}) for each in ids
        )
        self._snapshot = Snapshot(service="stock/1", revision=self.snapshots, endpoints=endpoints)

    def snapshot(self, service):
        """As a directory."""
        return self._snapshot if self.is_known else Snapshot(service=service, revision=0, endpoints=())

    async def ready(self, service, seconds):
        """As a directory that needs a tenth of a second for its first word."""
        await asyncio.sleep(min(seconds, 0.1))
        self.is_known = seconds >= 0.1
        return self.snapshot(service)

    def connect(self, endpoint):
        """Returns the way to an instance."""
        if not endpoint.urls[0].startswith("test:"):
            return None
        route = self.routes[endpoint.instance_id] = Instance(endpoint, self.clock.monotonic)
        return route

    def targets(self, *, retry=None, balancer="round_robin", zone="", ejection=None, **seams):
        """Returns what a strategy works with."""
        self.instances = Instances(
            "stock/1", self, self.connect, self.clock, zone=zone, ejection=ejection or EjectionLimits()
        )
        self.budget = Budget(self.clock)
        targets = Targets(
            self.instances,
            make_balancer(balancer, self.clock, self.chance),
            clock=self.clock,
            chance=self.chance,
            retry=retry or Retry(),
            budget=self.budget,
            **seams,
        )
        self.instances.current()
        return targets

    def strategy(self, text):
        """Makes a strategy."""
        return make_cluster(text, ClusterContext(self.clock, self.chance, self.queue))

    @property
    def called(self):
        """The instance of each call so far, in order of their start is not known: by instance."""
        return {name: len(route.calls) for name, route in self.routes.items() if route.calls}


def make_call(name="peek", *, timeout_ms=1000, **fields):
    """Makes a call of the service."""
    method = STOCK.methods[name]
    arguments = method.bind(("A1",) if method.names else (), {})
    fields.setdefault("idempotent", method.options.idempotent)
    return Invocation(service=STOCK, method=method, arguments=arguments, timeout_ms=timeout_ms, **fields)
