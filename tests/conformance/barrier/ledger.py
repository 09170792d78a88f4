"""A participant's business data in the tests: a ledger that only grows, so that each effect counts."""

from sqlalchemy import Engine, String, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """The participant's own tables."""


class Effect(Base):
    """What one run of a handler has done."""

    __tablename__ = "effect"

    number: Mapped[int] = mapped_column(primary_key=True)
    gid: Mapped[str] = mapped_column(String(128))
    branch_id: Mapped[str] = mapped_column(String(64))
    operation: Mapped[str] = mapped_column(String(12))
    said: Mapped[str] = mapped_column(String(100))


class Stock(Base):
    """Rows to be locked."""

    __tablename__ = "stock"

    sku: Mapped[str] = mapped_column(String(20), primary_key=True)
    quantity: Mapped[int]


class Ledger:
    """Reads what was committed, on a connection of its own."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def effects(self, *, branch_id: str | None = None) -> list[tuple[str, str]]:
        """Return operation and words of the effects, oldest first."""
        statement = select(Effect.operation, Effect.said).order_by(Effect.number)
        if branch_id is not None:
            statement = statement.where(Effect.branch_id == branch_id)
        with self._engine.connect() as connection:
            return [(operation, said) for operation, said in connection.execute(statement)]

    def quantities(self) -> dict[str, int]:
        """Return the stock."""
        with self._engine.connect() as connection:
            return dict(connection.execute(select(Stock.sku, Stock.quantity)).all())
