"""Any order of calls, failures and repeats, against a model of what may have happened."""

from hypothesis import HealthCheck, settings, strategies
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from sqlalchemy import StaticPool, create_engine

from placet import tables
from placet.barrier import Answer, Decision, met
from placet.barrier_rows import Claim, rows_in
from placet_contract.vocabulary import Operation

FORWARD = {"tcc": Operation.TRY, "saga": Operation.ACTION}
UNDO = {"tcc": Operation.CANCEL, "saga": Operation.COMPENSATE}
ENDINGS = strategies.sampled_from(["commits", "rejects", "fails"])


class Barrier(RuleBasedStateMachine):
    """One branch of each pattern; a call runs to its end before the next one comes."""

    def __init__(self) -> None:
        super().__init__()
        self.engine = create_engine("sqlite://", poolclass=StaticPool)
        tables.metadata.create_all(self.engine)
        self.effects: dict[str, list[Operation]] = {"tcc": [], "saga": []}
        self.told: dict[tuple[str, Operation], set[Decision]] = {}

    def teardown(self) -> None:
        self.engine.dispose()

    def call(self, pattern: str, operation: Operation, ending: str) -> Decision:
        """Call an operation whose handler ends so, as `BranchWork` does, and return what it is told."""
        decision = self._decided(pattern, operation, ending)
        self.told.setdefault((pattern, operation), set()).add(decision)
        return decision

    def _decided(self, pattern: str, operation: Operation, ending: str) -> Decision:
        claim = Claim("g", pattern, operation, 1, 1_000)
        with self.engine.connect() as connection:
            rows = rows_in(connection)
            taken = rows.take(connection, claim)
            if taken.marked:
                connection.commit()
                return Decision.DONE
            if not taken.ours:
                return met(operation, taken.row)
            if ending == "commits":
                self.effects[pattern].append(operation)
                connection.commit()
                return Decision.DONE
            connection.rollback()
            if ending == "fails" or operation not in FORWARD.values():
                return Decision.RUN  # unknown to the caller, who asks again
            if rows.insert(connection, claim.row(Answer.REJECTED, '"no"')):
                connection.commit()
                return Decision.REJECTED
            return met(operation, rows.read(connection, claim))

    @rule(pattern=strategies.sampled_from(["tcc", "saga"]), ending=ENDINGS)
    def forward(self, pattern: str, ending: str) -> None:
        """A try or action; once undone it is not done again."""
        was_undone = Decision.DONE in self.told.get((pattern, UNDO[pattern]), set())
        decision = self.call(pattern, FORWARD[pattern], ending)
        assert not (was_undone and decision in {Decision.DONE, Decision.RUN})

    @rule(ending=ENDINGS)
    def confirm(self, ending: str) -> None:
        """Only a successful try is confirmed."""
        decision = self.call("tcc", Operation.CONFIRM, ending)
        if decision in {Decision.DONE, Decision.RUN}:
            assert Operation.TRY in self.effects["tcc"]

    @rule(pattern=strategies.sampled_from(["tcc", "saga"]), ending=ENDINGS)
    def undo(self, pattern: str, ending: str) -> None:
        """After it is told done nothing is left of the branch."""
        if self.call(pattern, UNDO[pattern], ending) is Decision.DONE:
            assert self.effects[pattern] in ([], [FORWARD[pattern], UNDO[pattern]])

    @invariant()
    def each_effect_happens_once_and_in_order(self) -> None:
        """At most a forward operation, and after it at most one end."""
        assert self.effects["tcc"] in ([], [Operation.TRY], *([Operation.TRY, end] for end in ENDS))
        assert self.effects["saga"] in ([], [Operation.ACTION], [Operation.ACTION, Operation.COMPENSATE])

    @invariant()
    def nobody_is_told_both(self) -> None:
        """A forward operation is done or rejected, never one now and the other later."""
        for (_, operation), decisions in self.told.items():
            if operation in FORWARD.values():
                assert not {Decision.DONE, Decision.REJECTED} <= decisions


ENDS = (Operation.CONFIRM, Operation.CANCEL)
Barrier.TestCase.settings = settings(
    max_examples=100, stateful_step_count=20, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
test_any_order_of_calls_has_effects_once_and_in_order = Barrier.TestCase
