"""How many extra requests there may be."""

import pytest

from placet_rpc.policies.budget import Budget


def taken(budget):
    """Withdraws until there is nothing left."""
    count = 0
    while budget.withdraw():
        count += 1
    return count


def test_a_quiet_client_may_repeat_ten_times_a_second(clock):
    """Without any call there is the reserve of ten seconds, and it comes back with time."""
    budget = Budget(clock)
    assert taken(budget) == 100
    assert budget.refused == 1
    clock.turn(10)
    assert taken(budget) == 100


def test_a_busy_client_may_repeat_a_fifth_of_its_calls(clock):
    """Beyond the reserve, each five calls allow one more."""
    budget = Budget(clock, reserve_per_second=0)
    for _ in range(500):
        budget.deposit()
    assert taken(budget) == 100


def test_calls_of_long_ago_allow_nothing(clock):
    """Deposits leave with the window."""
    budget = Budget(clock, reserve_per_second=0)
    for _ in range(500):
        budget.deposit()
    clock.turn(10)
    assert taken(budget) == 0


def test_a_dead_service_gets_at_most_a_fifth_more(clock):
    """While every call fails and wants two repeats, the load stays within share and reserve."""
    budget = Budget(clock)
    sent = 0
    for _ in range(60):  # seconds of 200 calls each
        for _ in range(200):
            budget.deposit()
            sent += 1 + budget.withdraw() + budget.withdraw()
        clock.turn(1)
    assert sent <= 60 * 200 * 1.2 + 60 * 10 + 100


@pytest.mark.parametrize("arguments", [{"share": -0.1}, {"reserve_per_second": -1}])
def test_a_negative_budget_is_refused(clock, arguments):
    """Neither part may be below zero."""
    with pytest.raises(ValueError, match="negative"):
        Budget(clock, **arguments)
