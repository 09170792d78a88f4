"""The five scenes of the demo; each starts a transaction at the shop, shows it, and checks the books."""

from dataclasses import dataclass, field
from typing import Any

from placet_coordinator.demo.stage import LAMPS, OPENING_CENTS, Stage
from placet_coordinator.demo.story import Story

OK = 200
CONFLICT = 409


@dataclass
class Books:
    """What every account and the stock have to hold; a scene changes it by what it moves."""

    cents: dict[str, int] = field(default_factory=lambda: {name: cents for (_, name), cents in OPENING_CENTS.items()})
    lamps: int = LAMPS

    def move(self, from_account: str, to_account: str, amount_cents: int) -> None:
        """Move money, as a transaction that commits has to."""
        self.cents[from_account] -= amount_cents
        self.cents[to_account] += amount_cents


class Scenes:
    """Plays the scenes one after the other on the same services.

    Args:
        stage: the services.
        story: prints and counts.
    """

    def __init__(self, stage: Stage, story: Story) -> None:
        self._stage = stage
        self._story = story
        self._books = Books()

    def play(self) -> None:
        """Play all scenes.

        Raises:
            StageFailed: a service behaves otherwise than it should.
            ChildFailed: the coordinator did not come up again.
        """
        self._transfer_commits()
        self._transfer_is_refused()
        self._order_commits()
        self._order_is_undone()
        self._coordinator_is_killed()

    def _transfer_commits(self) -> None:
        self._story.title("1 · TCC: alice at bank-a pays bob at bank-b 30.00")
        gid = self._transfer("bob", 30_00, OK)
        self._books.move("alice", "bob", 30_00)
        self._show(gid, "committed", ["confirmed", "confirmed"])

    def _transfer_is_refused(self) -> None:
        self._story.title("2 · TCC: alice pays carol 20.00, whom bank-b does not know; both tries are cancelled")
        gid = self._transfer("carol", 20_00, CONFLICT)
        self._show(gid, "aborted", ["cancelled", "cancelled"])

    def _order_commits(self) -> None:
        self._story.title("3 · Saga: alice orders two lamps for 25.00")
        gid = self._order("two-lamps", 2, 25_00, "Lisbon", OK)
        self._books.move("alice", "shop", 25_00)
        self._books.lamps -= 2
        self._show(gid, "committed", ["done"] * 4)

    def _order_is_undone(self) -> None:
        self._story.title("4 · Saga: alice orders a lamp to Atlantis; the third step is refused, the first two undone")
        gid = self._order("to-atlantis", 1, 10_00, "Atlantis", CONFLICT)
        self._show(gid, "aborted", ["compensated", "compensated", "rejected", "skipped"])

    def _coordinator_is_killed(self) -> None:
        stage, story = self._stage, self._story
        story.title("5 · The coordinator is killed between decision and confirm; alice pays bob 15.00")
        stage.call("PUT", "bank-b", "/books", {"is_open": False})
        story.say("bank-b has closed its books: it answers 503 to every confirm.")
        gid = self._transfer("bob", 15_00, OK)
        view = stage.until("bank-b was asked to confirm", lambda: self._asked_to_confirm(gid))
        story.timeline(view)
        story.check("decided, and not finished", view["status"], "committing")
        story.check("the coordinator was ended by SIGKILL", stage.coordinator.kill(), expected=True)
        incoming = {row["account"]: row["incoming_cents"] for row in stage.accounts()}
        story.check("bob's money is promised, not booked", _money(incoming["bob"]), _money(15_00))
        with story.working("starting a coordinator on the same database"):
            stage.start_coordinator_again()
        story.check("it knows the decision", stage.transaction(gid)["status"], "committing")
        stage.call("PUT", "bank-b", "/books", {"is_open": True})
        story.say("bank-b has opened its books again.")
        self._books.move("alice", "bob", 15_00)
        self._show(gid, "committed", ["confirmed", "confirmed"])

    def _asked_to_confirm(self, gid: str) -> dict[str, Any] | None:
        view = self._stage.transaction(gid)
        return view if view["attempts"] else None

    def _transfer(self, to_account: str, amount_cents: int, expected: int) -> str:
        answer = self._stage.ask(
            "POST",
            "shop",
            "/transfers",
            {
                "from_bank": "bank-a",
                "from_account": "alice",
                "to_bank": "bank-b",
                "to_account": to_account,
                "amount_cents": amount_cents,
            },
        )
        return self._gid(answer, expected)

    def _order(self, order_id: str, quantity: int, price_cents: int, city: str, expected: int) -> str:
        answer = self._stage.ask(
            "POST",
            "shop",
            "/orders",
            {
                "order_id": order_id,
                "sku": "lamp",
                "quantity": quantity,
                "price_cents": price_cents,
                "customer_bank": "bank-a",
                "customer_account": "alice",
                "shop_bank": "bank-b",
                "shop_account": "shop",
                "city": city,
            },
        )
        return self._gid(answer, expected)

    def _gid(self, answer: Any, expected: int) -> str:
        said = f", “{answer.json()['detail']}”" if answer.status_code == CONFLICT else ""
        self._story.check(f"the shop answers{said}", answer.status_code, expected)
        return str(answer.json()["gid"])

    def _show(self, gid: str, status: str, branches: list[str]) -> None:
        """Wait for the transaction's end, print it, and check it and all books."""
        stage, story = self._stage, self._story
        with story.working(f"waiting for {gid}"):
            view = stage.settled(gid, status)
        story.timeline(view)
        story.check("branches", ", ".join(branch["status"] for branch in view["branches"]), ", ".join(branches))
        rows = stage.accounts()
        story.check(
            "balances",
            _balances({row["account"]: row["balance_cents"] for row in rows}),
            _balances(self._books.cents),
        )
        story.check("all money together", _money(sum(row["balance_cents"] for row in rows)), _OPENING_TOTAL)
        story.check("frozen or still incoming", _money(sum(_pending(row) for row in rows)), _money(0))
        story.check("lamps in stock", stage.stock(), self._books.lamps)


def _pending(row: dict[str, Any]) -> int:
    return int(row["frozen_cents"]) + int(row["incoming_cents"])


def _balances(cents: dict[str, int]) -> str:
    return ", ".join(f"{account} {_money(amount)}" for account, amount in sorted(cents.items()))


def _money(cents: int) -> str:
    return f"{cents / 100:.2f}"


_OPENING_TOTAL = _money(sum(OPENING_CENTS.values()))
