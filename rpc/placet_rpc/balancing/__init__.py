"""Which instance takes the next call: balancers by name, each replaceable by an installed package."""

from functools import lru_cache
from typing import Any

from placet_rpc.balancing.balancer import Balancer
from placet_rpc.balancing.candidates import Candidates, Weights
from placet_rpc.balancing.consistent_hash import ConsistentHash
from placet_rpc.balancing.least_active import LeastActive
from placet_rpc.balancing.member import Member, Route
from placet_rpc.balancing.p2c_ewma import P2cEwma
from placet_rpc.balancing.round_robin import RoundRobin
from placet_rpc.balancing.weighted_random import WeightedRandom
from placet_rpc.chance import Chance
from placet_rpc.choice import Choice
from placet_rpc.clock import Clock
from placet_rpc.extension import find_extension

BALANCERS = "placet.rpc.balancers"
"""Group of entry points: `factory(clock, chance, **options) -> Balancer`."""
BALANCER_SPI_VERSION = 1
BUILTIN_BALANCERS = {
    "weighted_random": WeightedRandom,
    "round_robin": RoundRobin,
    "least_active": LeastActive,
    "consistent_hash": ConsistentHash,
    "p2c_ewma": P2cEwma,
}


def make_balancer(text: str, clock: Clock, chance: Chance) -> Balancer:
    """Makes a balancer from its configuration, `name?key=value`.

    Raises:
        ValueError: nothing offers it, or it does not take these options.
    """
    choice = Choice.parse(text)
    factory = _factory(choice.name)
    balancer: Balancer = choice.make(factory, clock, chance)
    return balancer


@lru_cache(maxsize=64)
def _factory(name: str) -> Any:
    # Each method has its own, and a look through all installed packages takes milliseconds.
    return find_extension(BALANCERS, name, BUILTIN_BALANCERS, BALANCER_SPI_VERSION)


__all__ = [
    "BALANCERS",
    "BALANCER_SPI_VERSION",
    "BUILTIN_BALANCERS",
    "Balancer",
    "Candidates",
    "ConsistentHash",
    "LeastActive",
    "Member",
    "P2cEwma",
    "RoundRobin",
    "Route",
    "WeightedRandom",
    "Weights",
    "make_balancer",
]
