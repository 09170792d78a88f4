"""What stands between the proxies of one client and its instances; `filters` says in which order, `settings` what.

Each method of each reference has a chain of its own, built once and again when a setting changes, so that what is not
set costs nothing. What counts or holds calls back is shared: all references to a method have one breaker, all to a
service one bulkhead, one budget and one view of its instances.
"""

from collections import OrderedDict
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar
from weakref import WeakSet

from placet_rpc.balancing import make_balancer
from placet_rpc.chance import Chance
from placet_rpc.clock import Clock
from placet_rpc.cluster import (
    ClusterContext,
    ClusterStrategy,
    Directory,
    Failback,
    FailbackQueue,
    Instances,
    Targets,
    make_cluster,
)
from placet_rpc.cluster.instances import Connect
from placet_rpc.contract import MethodSpec, ServiceSpec
from placet_rpc.filters import ChoosesInstances, ClientFilter, Proceed, Seams, chained
from placet_rpc.invocation import Invocation
from placet_rpc.policies.breaker import Breaker
from placet_rpc.policies.budget import Budget
from placet_rpc.policies.bulkhead import Bulkhead
from placet_rpc.policies.degradation import Degradation, Degraded, DegradedCounts
from placet_rpc.policies.ejection import EjectionLimits
from placet_rpc.policies.rate_limit import Rate, RateLimit, TokenBuckets
from placet_rpc.policies.retry import Retry
from placet_rpc.reference import Reference
from placet_rpc.settings import MILLISECOND, Settings, merged

STATES_MAX = 4_096
"""Breakers, bulkheads, balancers … of one client; beyond it those longest unused begin anew."""

_State = TypeVar("_State")


class Chains:
    """The chains of one client.

    Args:
        directory: where instances are found.
        connect: makes the ways to them.
        clock: where time comes from.
        chance: where jitter comes from.
        failback: keeps calls that are made again later.
        seams: what is put into the named places.
        settings: of all services.
        zone: where this client runs.
        ejection: which instances are left out for misbehaving; None: none.
        degraded: told of each call that was answered by a substitute.

    Attributes:
        instances: by service.
        degradations: how often each method was answered by a substitute, such as `stock/1.peek`.
    """

    def __init__(
        self,
        directory: Directory,
        connect: Connect,
        *,
        clock: Clock,
        chance: Chance,
        failback: FailbackQueue,
        seams: Seams,
        settings: Settings,
        zone: str = "",
        ejection: EjectionLimits | None = None,
        degraded: Degraded | None = None,
    ) -> None:
        self.instances: dict[str, Instances] = {}
        self.degradations: dict[str, DegradedCounts] = {}
        self.clock, self.chance, self.failback, self.seams = clock, chance, failback, seams
        self._directory, self._connect = directory, connect
        self._settings = settings
        self._zone, self._ejection, self._degraded = zone, ejection, degraded
        self._states: OrderedDict[tuple[Any, ...], Any] = OrderedDict()
        self._overrides: dict[tuple[str, str], Settings] = {}
        self._references: WeakSet[Reference] = WeakSet()
        for each in seams.ordering:
            if isinstance(each, ChoosesInstances):
                each.attach(directory)

    def reference(self, service: ServiceSpec, settings: Settings, methods: Mapping[str, Settings]) -> Reference:
        """Returns the chains of a service, one per method.

        Raises:
            TypeError: a method is not there, or not suited to what is set for it.
            ValueError: nothing offers a balancer or cluster strategy of that name.
        """
        for name in methods:
            if name not in service.methods:
                raise TypeError(f"{service.key} has no method {name}; it has {', '.join(service.methods)}")
        reference = Reference(self, service, settings, methods)
        self._references.add(reference)
        return reference

    def override(self, service: str, method: str, settings: Settings) -> None:
        """Sets something on top of all levels, from the next call on; nothing at all takes it back.

        Raises:
            TypeError: a method is not suited to it. Nothing was changed.
            ValueError: nothing offers a part of that name. Nothing was changed.
        """
        references = [reference for reference in self._references if reference.service.key == service]
        if method and references and all(method not in reference.service.methods for reference in references):
            raise TypeError(f"{service} has no method {method}; it has {', '.join(references[0].service.methods)}")
        before = self._overrides.get((service, method), Settings())
        self._overrides[service, method] = settings
        try:
            plans = [reference.plan_all() for reference in references]
        except (TypeError, ValueError):
            self._overrides[service, method] = before
            raise
        for reference, plan in zip(references, plans, strict=True):
            reference.put_in(plan)

    def overrides(self, service: str, method: str) -> tuple[Settings, Settings]:
        """Returns what stands on top of all levels, for the service and for the method."""
        return self._overrides.get((service, ""), Settings()), self._overrides.get((service, method), Settings())

    def settings_of(self, method: MethodSpec, service: ServiceSpec, *levels: Settings) -> Settings:
        """Returns what holds for a method, the levels of its reference from the lowest to the highest."""
        on_top = self.overrides(service.key, method.name)
        return merged(method, (self._settings, *levels, *on_top))

    def instances_of(self, service: str) -> Instances:
        """Returns the instances of a service."""
        instances = self.instances.get(service)
        if instances is None:
            instances = self.instances[service] = Instances(
                service, self._directory, self._connect, self.clock, zone=self._zone, ejection=self._ejection
            )
        return instances

    def kept(self, kind: str) -> list[tuple[str, Any]]:
        """Returns what calls share, by the name of their method or service; of those with one name the latest last.

        Args:
            kind: `breaker` or `rate`, of each method, or `bulkhead`, of each service.
        """
        return [(str(key[1]), state) for key, state in self._states.items() if key[0] == kind]

    # -- building ----------------------------------------------------------------------------------------------

    def build(self, service: ServiceSpec, method: MethodSpec, settings: Settings) -> Proceed:
        """Returns the chain of one method."""
        name = f"{service.key}.{method.name}"
        seams = self.seams
        cluster = self._cluster(name, settings["cluster"])
        cluster.check(method)
        targets = self._targets(service, name, settings)

        def last(call: Invocation) -> Coroutine[Any, Any, Any]:
            return cluster.invoke(call, targets)

        inner: list[ClientFilter] = [*seams.statistics]
        inner += self._limits(service, name, settings)
        inner += seams.ordering
        if (breaker := settings["breaker"]) is not None:
            inner.append(self._keep(("breaker", name, breaker), lambda: self._breaker(name, settings)))
        degradation = self._degradation(method, name, settings)
        if isinstance(cluster, Failback):
            # What is made again must fail where it fails: a substitute's answer would end it.
            again = chained([*seams.auth, *inner], last)
            self.failback.know(service, method, settings["timeout"] // MILLISECOND, again)
        return chained([*seams.auth, *degradation, *inner], last)

    def _cluster(self, name: str, text: str) -> ClusterStrategy:
        context = ClusterContext(self.clock, self.chance, self.failback)
        return self._keep(("cluster", name, text), lambda: make_cluster(text, context))

    def _targets(self, service: ServiceSpec, name: str, settings: Settings) -> Targets:
        text = settings["balancer"]
        return Targets(
            self.instances_of(service.key),
            self._keep(("balancer", name, text), lambda: make_balancer(text, self.clock, self.chance)),
            clock=self.clock,
            chance=self.chance,
            retry=Retry(
                attempts=settings["attempts"],
                backoff_first=settings["backoff_first"],
                backoff_cap=max(settings["backoff_cap"], settings["backoff_first"]),
                attempt_timeout=settings["attempt_timeout"],
            ),
            budget=self._keep(("budget", service.key), lambda: Budget(self.clock)),
            routers=self.seams.routers,
            attempts=self.seams.attempts,
        )

    def _limits(self, service: ServiceSpec, name: str, settings: Settings) -> list[ClientFilter]:
        limits: list[ClientFilter] = []
        rate, bulkhead = settings["rate"], settings["bulkhead"]
        if isinstance(rate, Rate):
            limits.append(self._keep(("rate", name, rate), lambda: RateLimit(TokenBuckets(self.clock, rate))))
        elif rate is not None:
            limits.append(RateLimit(rate))
        if bulkhead is not None:
            key = ("bulkhead", service.key, bulkhead)
            limits.append(self._keep(key, lambda: Bulkhead(self.clock, bulkhead, name=service.key)))
        return limits

    def _degradation(self, method: MethodSpec, name: str, settings: Settings) -> list[ClientFilter]:
        substitute = settings["degrade"]
        if substitute is None:
            return []
        substitute.check(method)
        counts = self.degradations.setdefault(name, DegradedCounts())
        return [Degradation(substitute, counts, self._degraded)]

    def _breaker(self, name: str, settings: Settings) -> Breaker:
        return Breaker(self.clock, self.chance, settings["breaker"], name=name)

    def _keep(self, key: tuple[Any, ...], make: Callable[[], _State]) -> _State:
        state: _State | None = self._states.get(key)
        if state is None:
            state = self._states[key] = make()
            if len(self._states) > STATES_MAX:
                self._states.popitem(last=False)
        else:
            self._states.move_to_end(key)
        return state
