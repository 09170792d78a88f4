"""Policies in virtual time: a clock, seeded chance, and a call to let pass."""

import random
from typing import Protocol

import pytest

from placet_contract.service import method, service
from placet_rpc.contract import service_of
from placet_rpc.invocation import Invocation
from virtual_time import VirtualClock, VirtualLoop


def pytest_asyncio_loop_factories(config, item):
    """No test here waits for real."""
    return {"virtual": VirtualLoop}


@service("stock")
class Stock(Protocol):
    """A service to be called."""

    @method(idempotent=True)
    async def peek(self, sku: str) -> int | None: ...

    async def reserve(self, sku: str, count: int = 1) -> int: ...


@pytest.fixture
def clock() -> VirtualClock:
    """Time, turned by hand or by the virtual loop."""
    return VirtualClock()


@pytest.fixture
def chance() -> random.Random:
    """The same draws in every run."""
    return random.Random(7)


@pytest.fixture
def make_call():
    """Makes calls of the service."""
    spec = service_of(Stock)

    def make(name="peek", *, timeout_ms=1000, **fields):
        method = spec.methods[name]
        return Invocation(
            service=spec,
            method=method,
            arguments=method.bind(("A1",), {}),
            timeout_ms=timeout_ms,
            idempotent=method.options.idempotent,
            **fields,
        )

    return make
