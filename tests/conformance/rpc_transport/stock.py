"""The service that every transport must carry, in both declarations, and an implementation of it."""

import asyncio
import dataclasses
import threading
from datetime import timedelta
from typing import Protocol

import msgspec
from pydantic import BaseModel

from conformance.rpc_transport.messages import Quote
from placet_contract.service import method, service
from placet_rpc.context import current_call


class OutOfStock(Exception):
    """Part of the contract."""


class Unlisted(Exception):
    """Not part of the contract."""


@dataclasses.dataclass
class Reservation:
    """A dataclass that travels."""

    sku: str
    count: int
    tags: list[str] = dataclasses.field(default_factory=list)


class Price(msgspec.Struct):
    """A Struct that travels."""

    cents: int


class Label(BaseModel):
    """A pydantic model that travels."""

    text: str


@service("stock", raises=(OutOfStock,))
class Stock(Protocol):
    """The asynchronous declaration."""

    @method(idempotent=True, order_by="sku")
    async def reserve(self, sku: str, count: int = 1, *, tags: list[str] = []) -> Reservation: ...  # noqa: B006

    async def price(self, sku: str) -> Price | None: ...

    async def label(self, label: Label) -> Label: ...

    async def quote(self, quote: Quote) -> Quote: ...

    async def cheapest(self, quotes: list[Quote], at_most: float) -> Quote | None: ...

    async def echo(self, data: bytes) -> bytes: ...

    async def lose(self, *, listed: bool) -> None: ...

    @method(timeout=timedelta(milliseconds=80))
    async def stall(self) -> None: ...

    @method(detached=True)
    async def finish(self) -> None: ...

    async def circumstances(self) -> dict[str, str | int | None]: ...

    async def nested(self) -> int | None: ...

    async def relay(self) -> dict[str, str | int | None]: ...

    @method(detached=True)
    async def nested_detached(self) -> int | None: ...

    async def where(self) -> str: ...


@service("stock", raises=(OutOfStock,))
class BlockingStock(Protocol):
    """The declaration for callers without a loop."""

    def reserve(self, sku: str, count: int = 1) -> Reservation: ...

    def lose(self, *, listed: bool) -> None: ...


@service("stock", raises=(OutOfStock,))
class OtherStock(Protocol):
    """What a caller of another version believes."""

    async def reserve(self, sku: str, count: int = 1, warehouse: str = "main") -> Reservation: ...

    async def price(self) -> Price | None: ...

    async def echo(self, data: bytes) -> int: ...

    async def gone(self) -> None: ...


class StockInMemory:
    """The implementation; some methods plain, so that they run in threads."""

    def __init__(self):
        self.calls = []
        self.stalled = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.may_finish = asyncio.Event()
        self.finished = asyncio.Event()
        self.inner = None

    async def reserve(self, sku: str, count: int = 1, *, tags: list[str] = []) -> Reservation:  # noqa: B006
        self.calls.append((sku, count))
        return Reservation(sku, count, tags)

    def price(self, sku: str) -> Price | None:
        return Price(len(sku)) if sku else None

    async def label(self, label: Label) -> Label:
        return Label(text=label.text.upper())

    async def quote(self, quote: Quote) -> Quote:
        return Quote(sku=quote.sku, count=quote.count + 1, parts=[quote])

    async def cheapest(self, quotes: list[Quote], at_most: float) -> Quote | None:
        return min((quote for quote in quotes if quote.price <= at_most), key=lambda quote: quote.price, default=None)

    async def echo(self, data: bytes) -> bytes:
        return data

    async def lose(self, *, listed: bool) -> None:
        if listed:
            raise OutOfStock("A1", 2)
        raise Unlisted("a secret")

    async def stall(self) -> None:
        self.stalled.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()

    async def finish(self) -> None:
        self.stalled.set()
        await self.may_finish.wait()
        self.finished.set()

    async def circumstances(self) -> dict[str, str | int | None]:
        call = current_call()
        return {"caller": call.caller, "key": call.key, "id": call.idempotency_key, "left_ms": call.left_ms}

    async def nested(self) -> int | None:
        return (await self.inner.circumstances())["left_ms"]

    async def nested_detached(self) -> int | None:
        return await self.nested()

    async def relay(self) -> dict[str, str | int | None]:
        return await self.inner.circumstances()

    def where(self) -> str:
        assert current_call() is not None  # the context follows into the thread
        return threading.current_thread().name
