"""Which instance takes the next call: balancers by name, each replaceable by an installed package."""

from placet_rpc.balancing.balancer import Balancer
from placet_rpc.balancing.candidates import Candidates, Weights
from placet_rpc.balancing.consistent_hash import ConsistentHash
from placet_rpc.balancing.least_active import LeastActive
from placet_rpc.balancing.member import Member, Route
from placet_rpc.balancing.p2c_ewma import P2cEwma
from placet_rpc.balancing.round_robin import RoundRobin
from placet_rpc.balancing.weighted_random import WeightedRandom
from placet_rpc.chance import Chance
from placet_rpc.choice import Parts
from placet_rpc.clock import Clock

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

_PARTS = Parts(BALANCERS, BUILTIN_BALANCERS, BALANCER_SPI_VERSION)


def make_balancer(text: str, clock: Clock, chance: Chance) -> Balancer:
    """Makes a balancer from its configuration, `name?key=value`.

    Raises:
        ValueError: nothing offers it, or it does not take these options.
    """
    balancer: Balancer = _PARTS.make(text, clock, chance)
    return balancer


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
