"""What the client's chain costs: microseconds of CPU per call, without any transport, and per pick of each balancer.

    .venv/bin/python bench/rpc_chain.py [--calls 50000] [--instances 3,10,100] [--repeats 5]

The routes answer at once, so all that is measured is this package: proxy, filters, strategy, balancer, bookkeeping.
`proxy alone` is a client whose calls go straight to one route. The best of some runs is printed: other work on the
machine only adds. Promised: a full chain of at most 30 us, a look into the ring of at most 1 us.
"""

import argparse
import asyncio
import gc
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from placet_contract.service import method, service
from placet_rpc.balancing import BUILTIN_BALANCERS, Candidates, Member, make_balancer
from placet_rpc.client import Client
from placet_rpc.clock import SYSTEM_CLOCK
from placet_rpc.cluster.fixed_directory import FixedDirectory
from placet_rpc.filters import Seams
from placet_rpc.governance.counting import CallStatistics
from placet_rpc.governance.statistics import Statistics
from placet_rpc.invocation import Invocation
from placet_rpc.policies.rate_limit import Rate
from placet_rpc.registry import Endpoint


@service("debit")
class Debit(Protocol):
    """What is called."""

    @method(idempotent=True)
    async def confirm(self, gid: str, amount: int) -> str:
        """Answers."""


class AtOnce:
    """A route that answers at once; an invoker too."""

    endpoint = "at-once:"
    is_available = True

    async def invoke(self, _call: Invocation) -> Any:
        """Answers."""
        return "done"


def client_of(instances: int, **options: Any) -> Client:
    """A client of so many instances."""
    client = Client("tcp://127.0.0.1:1", **options)
    endpoints = [Endpoint(instance_id=f"i-{n}", urls=("at-once:",)) for n in range(instances)]
    client.chains._directory = FixedDirectory(tuple(endpoints))  # noqa: SLF001 - no transport is to be measured
    client.chains._connect = lambda _endpoint: AtOnce()  # noqa: SLF001
    return client


async def micros(call: Callable[[], Awaitable[Any]], calls: int, repeats: int) -> float:
    """Returns the best CPU time of one call, in microseconds."""
    best = float("inf")
    for _ in range(repeats):
        gc.collect()
        gc.disable()
        began = time.process_time()
        for _ in range(calls):
            await call()
        best = min(best, time.process_time() - began)
        gc.enable()
    return best / calls * 1e6


def micros_of_pick(balancer: str, instances: int, calls: int, repeats: int) -> float:
    """Returns the best CPU time of one pick, in microseconds."""
    made = make_balancer(balancer, SYSTEM_CLOCK, random.Random(1))
    members = [Member(Endpoint(instance_id=f"i-{n}", urls=("at-once:",)), AtOnce()) for n in range(instances)]
    for member in members:
        member.latency.observe(0.01, time.monotonic())
    candidates = Candidates(members)
    made.prepare(candidates)
    call: Any = type("Call", (), {"key": "order-4711"})()
    best = float("inf")
    for _ in range(repeats):
        began = time.process_time()
        for _ in range(calls):
            made.pick(candidates, call, ())
        best = min(best, time.process_time() - began)
    return best / calls * 1e6


def micros_to_prepare(instances: int) -> float:
    """Returns the time to build a ring of instances that were never seen before."""
    made = make_balancer("consistent_hash", SYSTEM_CLOCK, random.Random(1))
    name = random.random()
    members = [Member(Endpoint(instance_id=f"{name}-{n}", urls=("at-once:",)), AtOnce()) for n in range(instances)]
    began = time.process_time()
    made.prepare(Candidates(members))
    return (time.process_time() - began) * 1e6


async def chains(arguments: argparse.Namespace) -> float:
    """Prints what calls cost; returns the overhead of the full chain, in microseconds."""

    async def measure(name: str, client: Client, **settings: Any) -> float:
        debit = client.reference(Debit, **settings)
        cost = await micros(lambda: debit.confirm("t-0123456789", 5), arguments.calls, arguments.repeats)
        print(f"{name:<58}{cost:8.2f} us")
        await client.aclose()
        return cost

    alone = await measure("proxy alone", Client(AtOnce()))
    off: Any = {"breaker": None, "bulkhead": None, "cluster": "failfast"}
    await measure("3 instances, failfast, all policies off", client_of(3), **off)
    usual = await measure("3 instances, the usual chain", client_of(3))
    statistics = Statistics()
    counted = Seams(statistics=(CallStatistics(statistics),), attempts=(CallStatistics(statistics),))
    rate = Rate(per_second=1e9)
    full = await measure(
        "  … with statistics of calls and attempts, rate limit", client_of(3, seams=counted), rate=rate
    )
    for cluster in ("available", "hedging?delay_ms=1000", "forking", "broadcast"):
        await measure(f"  … the usual chain with {cluster}", client_of(3), cluster=cluster)
    for balancer in BUILTIN_BALANCERS:
        await measure(f"  … the usual chain with {balancer}", client_of(3), balancer=balancer)
    print(f"{'overhead of the usual chain':<58}{usual - alone:8.2f} us")
    print(f"{'overhead of the full chain':<58}{full - alone:8.2f} us")
    return full - alone


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=50_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--instances", default="3,10,100")
    arguments = parser.parse_args()
    sizes = [int(each) for each in arguments.instances.split(",")]
    asyncio.run(chains(arguments))
    print()
    print(f"{'pick, us':<24}" + "".join(f"{f'n={size}':>10}" for size in sizes))
    for balancer in BUILTIN_BALANCERS:
        costs = [micros_of_pick(balancer, size, arguments.calls, arguments.repeats) for size in sizes]
        print(f"{balancer:<24}" + "".join(f"{cost:10.2f}" for cost in costs))
    print(f"{'new ring, us':<24}" + "".join(f"{micros_to_prepare(size):10.0f}" for size in sizes))


if __name__ == "__main__":
    main()
