"""A shop: keeps stock and ships parcels; starts transfers between banks (TCC) and orders (saga)."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import CheckConstraint, ColumnElement, delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from placet import Aborted, OutcomeUnknown, Rejected, tables
from placet.fastapi import Participant, Placet, Reject
from placet_samples.database import Database
from placet_samples.settings import Settings

database = Database(Settings().database)
Session = Annotated[AsyncSession, Depends(database.session)]
shop = Participant("shop", session=database.session)

NO_COURIER = frozenset({"Atlantis"})


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Announce the shop to the coordinator for as long as it runs."""
    await database.create(Base.metadata, tables.metadata)
    async with shop.running(app):
        yield
    await database.close()


app = FastAPI(title="Sample shop", lifespan=lifespan)


class Base(DeclarativeBase):
    """The shop's own tables; the SDK's barrier table lies beside them."""


class Stock(Base):
    """How many of one article are free to be sold."""

    __tablename__ = "stock"
    __table_args__ = (CheckConstraint("quantity >= 0"),)

    sku: Mapped[str] = mapped_column(primary_key=True)
    quantity: Mapped[int]


class Parcel(Base):
    """A parcel that was handed to the courier."""

    __tablename__ = "parcel"

    order_id: Mapped[str] = mapped_column(primary_key=True)
    city: Mapped[str]


class Reservation(BaseModel):
    """Articles put aside for an order."""

    sku: str
    quantity: int = Field(gt=0)


class Shipment(BaseModel):
    """Where an order goes."""

    order_id: str
    city: str


class Shipped(BaseModel):
    """What the courier said."""

    tracking: str


class Transfer(BaseModel):
    """Money from an account at one bank to an account at another; the banks are names of services."""

    from_bank: str
    from_account: str
    to_bank: str
    to_account: str
    amount_cents: int = Field(gt=0)


class Order(BaseModel):
    """Articles, who pays whom for them, and where they go."""

    order_id: str = Field(pattern=r"^[A-Za-z0-9-]{1,40}$")
    sku: str
    quantity: int = Field(gt=0)
    price_cents: int = Field(gt=0)
    customer_bank: str
    customer_account: str
    shop_bank: str
    shop_account: str
    city: str


class Transferred(BaseModel):
    """A transfer that will not be taken back."""

    gid: str


class Ordered(BaseModel):
    """A finished order."""

    gid: str
    tracking: str


class Supply(BaseModel):
    """How many there are of an article."""

    quantity: int = Field(ge=0)


class StockView(BaseModel):
    """An article as the shop shows it."""

    model_config = ConfigDict(from_attributes=True)

    sku: str
    quantity: int


# What the shop does as a participant: two steps of the order.
@shop.saga("reserve")
async def reserve(wanted: Reservation, db: Session) -> None:
    """Take articles from the stock, if there are enough."""
    if not await _change(db, wanted, Stock.quantity >= wanted.quantity, quantity=Stock.quantity - wanted.quantity):
        raise Reject(f"fewer than {wanted.quantity} of {wanted.sku} in stock")


@reserve.compensate
async def _(wanted: Reservation, db: Session) -> None:
    await _change(db, wanted, quantity=Stock.quantity + wanted.quantity)


@shop.saga("ship")
async def ship(shipment: Shipment, db: Session) -> Shipped:
    """Hand the parcel to the courier, if one goes there."""
    if shipment.city in NO_COURIER:
        raise Reject(f"no courier goes to {shipment.city}")
    db.add(Parcel(order_id=shipment.order_id, city=shipment.city))
    return Shipped(tracking=f"T-{shipment.order_id}")


@ship.compensate
async def _(shipment: Shipment, _done: Shipped | None, db: Session) -> None:
    await db.execute(delete(Parcel).where(Parcel.order_id == shipment.order_id))


# What the shop does as an initiator.
@app.post("/transfers")
async def transfer(order: Transfer, placet: Placet) -> Transferred:
    """Move money between two banks: both freeze it, then both settle, or neither does."""
    async with placet.tcc("transfer", timeout=30) as tx:
        await tx.call(f"{order.from_bank}/debit", {"account": order.from_account, "amount_cents": order.amount_cents})
        await tx.call(f"{order.to_bank}/credit", {"account": order.to_account, "amount_cents": order.amount_cents})
    return Transferred(gid=tx.gid)


@app.post("/orders")
async def place_order(order: Order, placet: Placet) -> Ordered:
    """Reserve, take the money, ship, pay the shop; if a step is refused, undo those before it."""
    saga = placet.saga("order", gid=f"order-{order.order_id}", key=order.order_id)
    saga.step("shop/reserve", Reservation(sku=order.sku, quantity=order.quantity))
    saga.step(f"{order.customer_bank}/withdraw", {"account": order.customer_account, "amount_cents": order.price_cents})
    saga.step("shop/ship", Shipment(order_id=order.order_id, city=order.city))
    saga.step(f"{order.shop_bank}/deposit", {"account": order.shop_account, "amount_cents": order.price_cents})
    run = await saga.submit()
    result = await run.result(timeout=20)
    return Ordered(gid=run.gid, tracking=result.of("shop/ship", Shipped).tracking)


# What the shop tells its own clients when a transaction does not end well.
@app.exception_handler(Rejected)
@app.exception_handler(Aborted)
async def _(_request: Request, error: Rejected | Aborted) -> JSONResponse:
    """Nothing of it will stay: the coordinator undoes what was done."""
    return JSONResponse({"gid": error.gid, "detail": error.detail or str(error)}, status_code=409)


@app.exception_handler(OutcomeUnknown)
async def _(_request: Request, error: OutcomeUnknown) -> JSONResponse:
    """Neither done nor failed: the client may ask the coordinator later by the gid."""
    return JSONResponse({"gid": error.gid, "detail": str(error)}, status_code=202)


# The shop's own API.
@app.put("/stock/{sku}")
async def set_stock(sku: str, supply: Supply, db: Session) -> StockView:
    """Say how many there are of an article."""
    return StockView.model_validate(await db.merge(Stock(sku=sku, quantity=supply.quantity)))


@app.get("/stock")
async def list_stock(db: Session) -> list[StockView]:
    """Show all articles."""
    return [StockView.model_validate(row) for row in await db.scalars(select(Stock).order_by(Stock.sku))]


app.include_router(shop.router)


async def _change(db: AsyncSession, wanted: Reservation, *conditions: ColumnElement[bool], **values: Any) -> bool:
    """Change the article in one statement, if the conditions hold; say whether they did."""
    change = update(Stock).where(Stock.sku == wanted.sku, *conditions).values(**values)
    return await db.scalar(change.returning(Stock.sku)) is not None
