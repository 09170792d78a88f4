"""The sample bank's handlers, called as the plain functions that they are."""

import pytest
from sqlalchemy import select

from placet.fastapi import Reject
from placet_samples import bank
from placet_samples.bank import Account, Move, credit, debit, deposit, withdraw
from placet_samples.database import Database


@pytest.fixture
async def accounts(tmp_path):
    """A bank's database where alice has 100 cents."""
    database = Database(tmp_path / "bank.db")
    await database.create(bank.Base.metadata)
    async for session in database.session():
        session.add(Account(account="alice", balance_cents=100, frozen_cents=0, incoming_cents=0))
        await session.flush()
        yield session
    await database.close()


async def figures(session) -> tuple[int, int, int]:
    columns = (Account.balance_cents, Account.frozen_cents, Account.incoming_cents)
    return tuple((await session.execute(select(*columns).where(Account.account == "alice"))).one())


async def test_try_of_a_debit_freezes_and_leaves_the_balance(accounts):
    """Money that is promised is still there, and can't be promised twice."""
    await debit(Move(account="alice", amount_cents=70), accounts)
    assert await figures(accounts) == (100, 70, 0)
    with pytest.raises(Reject, match="less than 40 cents"):
        await debit(Move(account="alice", amount_cents=40), accounts)
    assert await figures(accounts) == (100, 70, 0)


async def test_withdrawal_does_not_touch_what_is_frozen(accounts):
    """A saga can't take money that a TCC has been promised."""
    await debit(Move(account="alice", amount_cents=70), accounts)
    with pytest.raises(Reject):
        await withdraw(Move(account="alice", amount_cents=31), accounts)
    await withdraw(Move(account="alice", amount_cents=30), accounts)
    assert await figures(accounts) == (70, 70, 0)


async def test_incoming_money_is_not_spendable_before_it_is_booked(accounts):
    """A credit that is only tried changes neither balance nor what can be spent."""
    await credit(Move(account="alice", amount_cents=50), accounts)
    assert await figures(accounts) == (100, 0, 50)
    with pytest.raises(Reject):
        await debit(Move(account="alice", amount_cents=101), accounts)


async def test_deposit_takes_effect_at_once(accounts):
    """A saga's step is visible as soon as it is done."""
    await deposit(Move(account="alice", amount_cents=5), accounts)
    assert await figures(accounts) == (105, 0, 0)


@pytest.mark.parametrize("handler", [debit, credit, withdraw, deposit])
async def test_unknown_account_is_refused(accounts, handler):
    """Nobody's account is a business no, not an error that is retried."""
    with pytest.raises(Reject):
        await handler(Move(account="nobody", amount_cents=1), accounts)
