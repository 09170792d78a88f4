"""What a try or action returns: checked and written as FastAPI would, and kept as it was first told."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field

from placet.fastapi import Participant
from unit.sdk_participant.conftest import calling


class Order(BaseModel):
    """A payload."""

    size: int = 0


class Parcel(BaseModel):
    """A result whose names on the wire are others than in Python."""

    model_config = ConfigDict(from_attributes=True, populate_by_name=True)

    tracking_number: str = Field(alias="trackingNumber")
    sent_at: datetime | None = None


class Row:
    """An object with a model's attributes, such as a mapped class."""

    trackingNumber = "T-1"  # noqa: N815 - as the alias has it
    sent_at = datetime(2026, 1, 2, tzinfo=UTC)
    secret = "not in the model"


@dataclass
class Weight:
    """A result without pydantic."""

    grams: int


async def told(database, returns: Any, value: Any) -> tuple[int, bytes]:
    """Return the answer to an action that returns `value` under the annotation `returns`, asked twice."""
    stock = Participant("stock", session=database.beginning)

    async def book(cmd: Order) -> Any:
        return value() if callable(value) else value

    if returns is ...:
        del book.__annotations__["return"]
    else:
        book.__annotations__["return"] = returns
    stock.saga("book")(book)
    app = FastAPI()
    app.include_router(stock.router)
    async with calling(app) as call:
        answers = [await call("book/action", {}) for _ in range(2)]
    assert {(answer.status_code, answer.content) for answer in answers} == {
        (answers[0].status_code, answers[0].content)
    }
    return answers[0].status_code, answers[0].content


@pytest.mark.parametrize(
    ("returns", "value", "body"),
    [
        (None, None, b"null"),
        (..., None, b"null"),
        (..., {"a": [1, 2.5, None]}, b'{"a":[1,2.5,null]}'),
        (..., Parcel(trackingNumber="T"), b'{"trackingNumber":"T","sent_at":null}'),
        (Parcel, Parcel(trackingNumber="T"), b'{"trackingNumber":"T","sent_at":null}'),
        (Parcel, Row(), b'{"trackingNumber":"T-1","sent_at":"2026-01-02T00:00:00Z"}'),
        (Parcel | None, None, b"null"),
        (list[Parcel], [Row()], b'[{"trackingNumber":"T-1","sent_at":"2026-01-02T00:00:00Z"}]'),
        (Weight, Weight(7), b'{"grams":7}'),
        (str, 'é \x00 " \U0001f600', 'é \\u0000 \\" \U0001f600'),
        (int, 0, b"0"),
        (bool, False, b"false"),
    ],
)
async def test_result_is_told_as_declared_and_told_again(database, returns, value, body):
    """Models, plain data and nothing at all; a repeat reads the very bytes from the row."""
    expected = f'"{body}"'.encode() if isinstance(body, str) else body
    assert await told(database, returns, value) == (200, expected)
    assert [result for *_, result in database.rows()] == [None if expected == b"null" else expected.decode()]


@pytest.mark.parametrize(
    ("returns", "value"),
    [
        (Parcel, {"something": "else"}),
        (None, "a value"),
        (..., object()),
        (str, "\ud800"),
        (str, lambda: "x" * 1_048_577),
    ],
    ids=["another type", "undeclared", "no JSON", "lone surrogate", "longer than a reply may be"],
)
async def test_result_that_can_not_travel_is_no_success(database, returns, value):
    """Nothing is committed: a result that its own repeat could not tell was never told."""
    status, _ = await told(database, returns, value)
    assert (status, database.rows()) == (500, [])


async def test_large_result_is_kept_whole(database):
    """As large as a reply may be."""
    status, body = await told(database, str, "x" * 1_048_574)
    assert (status, len(body)) == (200, 1_048_576)
