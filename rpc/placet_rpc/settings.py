"""What may be said of calls, and at which level: call before method before service before client before default.

    client = Client(registry=…, settings={"attempts": 2})                 # all services
    stock = client.reference(Stock, cluster="failfast")                   # one service
    @method(cluster="failover", balancer="consistent_hash")               # one method, by the interface's author
    client.reference(Stock, methods={"peek": {"attempts": 5}})            # one method, by the caller
    with call_options(attempts=1): …                                      # one call
    client.override("stock/1", "peek", degrade=Value(0, always=True))     # on top of all, while running

A level says nothing of what it leaves out. None, where it is allowed, says: without.
"""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, TypedDict, cast

from placet_rpc.contract import MethodSpec
from placet_rpc.policies.breaker import BreakerLimits
from placet_rpc.policies.bulkhead import BulkheadLimits
from placet_rpc.policies.degradation import Substitute
from placet_rpc.policies.rate_limit import Limiter, Rate

MILLISECOND = timedelta(milliseconds=1)


class Settings(TypedDict, total=False):
    """What one level says.

    Attributes:
        timeout: of one call, all attempts and delays together.
        attempts: see `Retry`, as the next three.
        attempt_timeout: of each attempt.
        backoff_first: ceiling of the delay before the second attempt.
        backoff_cap: ceiling of all delays.
        balancer: `name?key=value`; without one methods with an ordering key use `consistent_hash`, others `p2c_ewma`.
        cluster: `name?key=value`.
        degrade: what is answered where a call fails, or always.
        breaker: of each method.
        bulkhead: of each service.
        rate: of each method; a `Limiter` counts elsewhere.
    """

    timeout: timedelta
    attempts: int
    attempt_timeout: timedelta | None
    backoff_first: timedelta
    backoff_cap: timedelta
    balancer: str
    cluster: str
    degrade: Substitute | None
    breaker: BreakerLimits | None
    bulkhead: BulkheadLimits | None
    rate: Rate | Limiter | None


DEFAULTS = Settings(
    timeout=timedelta(seconds=3),
    attempts=3,
    attempt_timeout=None,
    backoff_first=timedelta(milliseconds=50),
    backoff_cap=timedelta(seconds=1),
    cluster="failover",
    degrade=None,
    breaker=BreakerLimits(),
    bulkhead=BulkheadLimits(),
    rate=None,
)
_BALANCER, _BALANCER_BY_KEY = "p2c_ewma", "consistent_hash"


def checked(settings: Mapping[str, Any], where: str) -> Settings:
    """Returns settings that were given by whomever, if they are some.

    Raises:
        TypeError: a name is unknown.
        ValueError: a timeout is too short.
    """
    unknown = sorted(set(settings) - set(Settings.__annotations__))
    if unknown:
        known = ", ".join(Settings.__annotations__)
        raise TypeError(f"{where}: there is no setting {', '.join(unknown)}; there are {known}")
    for name in ("timeout", "attempt_timeout"):
        value = settings.get(name)
        if value is not None and value < MILLISECOND:
            raise ValueError(f"{where}: {name} must be at least a millisecond")
    degrade = settings.get("degrade")
    if degrade is not None and not hasattr(degrade, "answer"):
        raise TypeError(f"{where}: degrade={degrade!r} is none of Null(), Value(…), Raise(…), Call(…)")
    return cast("Settings", dict(settings))


def of_method(method: MethodSpec) -> Settings:
    """Returns what `@method` said."""
    options = method.options
    said: dict[str, Any] = {"balancer": options.balancer, "cluster": options.cluster, "degrade": options.degrade}
    if options.timeout_ms is not None:
        said["timeout"] = timedelta(milliseconds=options.timeout_ms)
    return checked({name: value for name, value in said.items() if value}, f"@method of {method.name}")


def merged(method: MethodSpec, levels: Iterable[Settings]) -> Settings:
    """Returns what holds for a method: the defaults, and over them each level in turn."""
    settings = DEFAULTS.copy()
    settings["balancer"] = _BALANCER_BY_KEY if method.options.order_by else _BALANCER
    for level in levels:
        settings.update(level)
    return settings
