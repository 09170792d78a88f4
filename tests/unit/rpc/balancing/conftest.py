"""Balancers in virtual time: members with routes that are only looked at."""

import random
from typing import Protocol

import pytest

from placet_contract.service import service
from placet_rpc.balancing import Candidates, Member
from placet_rpc.contract import service_of
from placet_rpc.invocation import Invocation
from placet_rpc.registry import Endpoint
from virtual_time import VirtualClock


@service("stock")
class Stock(Protocol):
    """A service to be called."""

    async def peek(self, sku: str) -> int: ...

    async def ping(self) -> None: ...


class Nowhere:
    """A route that nothing is sent on."""

    endpoint = "nowhere:"

    def __init__(self):
        self.is_available = True


def make_member(instance_id, **fields):
    """Makes a member."""
    return Member(Endpoint(instance_id=instance_id, urls=("tcp://127.0.0.1:1",), **fields), Nowhere())


def make_candidates(*weights, **fields):
    """Makes candidates a, b, c … with these weights."""
    return Candidates([make_member(f"m{place:03}", weight=weight, **fields) for place, weight in enumerate(weights)])


def make_call(key="", sku="A1"):
    """Makes a call; with `sku=None` one without arguments."""
    spec = service_of(Stock)
    method = spec.methods["ping" if sku is None else "peek"]
    arguments = method.bind(() if sku is None else (sku,), {})
    return Invocation(service=spec, method=method, arguments=arguments, timeout_ms=1000, key=key)


@pytest.fixture
def clock() -> VirtualClock:
    """Time, turned by hand."""
    return VirtualClock()


@pytest.fixture
def chance() -> random.Random:
    """The same draws in every run."""
    return random.Random(7)
