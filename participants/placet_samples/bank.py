"""A bank: accounts with balance, frozen and incoming amounts; moved by TCC, or step by step by a saga."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import CheckConstraint, ColumnElement, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from placet import tables
from placet.fastapi import Participant, Reject
from placet_samples.database import Database
from placet_samples.settings import Settings

settings = Settings()
database = Database(settings.database)
Session = Annotated[AsyncSession, Depends(database.session)]
bank = Participant(settings.name, session=database.session)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Announce the bank to the coordinator for as long as it runs."""
    await database.create(Base.metadata, tables.metadata)
    async with bank.running(app):
        yield
    await database.close()


app = FastAPI(title="Sample bank", lifespan=lifespan)


class Base(DeclarativeBase):
    """The bank's own tables; the SDK's barrier table lies beside them."""


class Account(Base):
    """One account. What is frozen is still in the balance; what is incoming is not yet."""

    __tablename__ = "account"
    __table_args__ = (
        CheckConstraint("frozen_cents BETWEEN 0 AND balance_cents"),
        CheckConstraint("incoming_cents >= 0"),
    )

    account: Mapped[str] = mapped_column(primary_key=True)
    balance_cents: Mapped[int]
    frozen_cents: Mapped[int] = mapped_column(default=0)
    incoming_cents: Mapped[int] = mapped_column(default=0)


class Move(BaseModel):
    """Money that is to leave an account, or to arrive there."""

    account: str
    amount_cents: int = Field(gt=0)


class Opening(BaseModel):
    """What an account is opened with."""

    balance_cents: int = Field(ge=0)


class Books(BaseModel):
    """Whether the bank settles what was promised to it."""

    is_open: bool


class AccountView(BaseModel):
    """An account as the bank shows it."""

    model_config = ConfigDict(from_attributes=True)

    account: str
    balance_cents: int
    frozen_cents: int
    incoming_cents: int


# TCC, money out: freeze it; then take it, or free it.
@bank.tcc("debit")
async def debit(move: Move, db: Session) -> None:
    """Freeze the amount, if it is there to be spent."""
    enough = Account.balance_cents - Account.frozen_cents >= move.amount_cents
    if not await _change(db, move, enough, frozen_cents=Account.frozen_cents + move.amount_cents):
        raise Reject(f"{move.account} has less than {move.amount_cents} cents to spend")


@debit.confirm
async def _(move: Move, db: Session) -> None:
    _check_books()
    await _change(
        db,
        move,
        balance_cents=Account.balance_cents - move.amount_cents,
        frozen_cents=Account.frozen_cents - move.amount_cents,
    )


@debit.cancel
async def _(move: Move, db: Session) -> None:
    await _change(db, move, frozen_cents=Account.frozen_cents - move.amount_cents)


# TCC, money in: announce it; then book it, or strike it out.
@bank.tcc("credit")
async def credit(move: Move, db: Session) -> None:
    """Note the amount as incoming, if there is such an account."""
    if not await _change(db, move, incoming_cents=Account.incoming_cents + move.amount_cents):
        raise Reject(f"no account {move.account} at this bank")


@credit.confirm
async def _(move: Move, db: Session) -> None:
    _check_books()
    await _change(
        db,
        move,
        balance_cents=Account.balance_cents + move.amount_cents,
        incoming_cents=Account.incoming_cents - move.amount_cents,
    )


@credit.cancel
async def _(move: Move, db: Session) -> None:
    await _change(db, move, incoming_cents=Account.incoming_cents - move.amount_cents)


# Saga: each action takes effect at once, and has a compensation that takes it back.
@bank.saga("withdraw")
async def withdraw(move: Move, db: Session) -> None:
    """Take the amount, if it is there to be spent."""
    enough = Account.balance_cents - Account.frozen_cents >= move.amount_cents
    if not await _change(db, move, enough, balance_cents=Account.balance_cents - move.amount_cents):
        raise Reject(f"{move.account} has less than {move.amount_cents} cents to spend")


@withdraw.compensate
async def _(move: Move, db: Session) -> None:
    await _change(db, move, balance_cents=Account.balance_cents + move.amount_cents)


@bank.saga("deposit")
async def deposit(move: Move, db: Session) -> None:
    """Add the amount, if there is such an account."""
    if not await _change(db, move, balance_cents=Account.balance_cents + move.amount_cents):
        raise Reject(f"no account {move.account} at this bank")


@deposit.compensate
async def _(move: Move, db: Session) -> None:
    await _change(db, move, balance_cents=Account.balance_cents - move.amount_cents)


# The bank's own API, beside the actions above.
@app.put("/accounts/{account}")
async def open_account(account: str, opening: Opening, db: Session) -> AccountView:
    """Open an account, or set its balance anew."""
    row = await db.merge(
        Account(account=account, balance_cents=opening.balance_cents, frozen_cents=0, incoming_cents=0)
    )
    return AccountView.model_validate(row)


@app.get("/accounts")
async def list_accounts(db: Session) -> list[AccountView]:
    """Show all accounts."""
    return [AccountView.model_validate(row) for row in await db.scalars(select(Account).order_by(Account.account))]


@app.put("/books")
async def set_books(books: Books) -> Books:
    """Close the books, so that nothing is confirmed, or open them again: a breakdown to try things with."""
    app.state.books_are_open = books.is_open
    return books


app.state.books_are_open = True
app.include_router(bank.router)


async def _change(db: AsyncSession, move: Move, *conditions: ColumnElement[bool], **values: Any) -> bool:
    """Change the account in one statement, if the conditions hold; say whether they did."""
    change = update(Account).where(Account.account == move.account, *conditions).values(**values)
    return await db.scalar(change.returning(Account.account)) is not None


def _check_books() -> None:
    if not app.state.books_are_open:
        # No Reject: after the decision nobody may say no. A 503 makes the coordinator ask again later.
        raise HTTPException(503, "the books are closed")
