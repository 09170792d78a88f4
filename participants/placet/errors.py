"""Everything that the SDK raises on purpose, in one tree; each says what is known and what may be repeated.

    PlacetError
    ├── Reject                     raised by a participant's handler: a business no
    ├── Aborted                    the transaction is decided: nothing of it will stay
    ├── OutcomeUnknown             the decision was asked for and no answer came: committed or aborted, not known here
    ├── CommitRefused              the SDK itself did not commit: a planned branch has no successful try
    ├── BranchError                one call of a branch did not end as done
    │   ├── Rejected               the participant said no; final
    │   ├── BranchOutcomeUnknown   no usable answer: it may have run; never sent again, its transaction must abort
    │   └── ResultMismatch         the call is done, but its result is not of the type asked for
    ├── CoordinatorError           one call of the coordinator did not end in a success
    │   ├── CoordinatorOverloaded  nothing was written; repeat after `retry_after`
    │   ├── CoordinatorUnavailable no usable answer; every coordinator call may be repeated
    │   └── CoordinatorRefused     it answered, and will answer the same again: repeat only after a change
    │       ├── TransactionNotFound  no such gid (never begun, or past the retention)
    │       ├── Conflict             against the transaction's state, such as the other decision
    │       └── ContentDiffers       this gid or branch_id is already taken by other content
    ├── NestingForbidden           `propagation="forbid"` inside a branch
    └── TransactionClosed          a call on a transaction whose block was left

`OutcomeUnknown` is deliberately no kind of failure: whoever catches it must ask (`await placet.wait(gid)`), not undo.
Wrong arguments raise `ValueError` or `TypeError` before anything is sent.
"""

from datetime import timedelta

from placet_contract.problems import Problem


class PlacetError(Exception):
    """Root of the tree."""


class Reject(PlacetError):
    """Raise it in a try or action to refuse for business reasons: rolled back, answered 409, never retried.

    Args:
        reason: the business's words; they travel to the initiator and into the coordinator's attempts.
    """

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = reason


class Aborted(PlacetError):
    """The global transaction is durably decided as aborted: tried branches are cancelled, run steps compensated.

    Final for this gid: repeating with the same gid gives the same answer, a new attempt needs a new gid.

    Attributes:
        reason: the coordinator's code (`initiator`, `timeout`, `rejected`, `late`, `exhausted`, `unknown`, …), or None
            if it did not say.
        gid: the global transaction.
        detail: words on the cause, where known, such as a participant's rejection.
    """

    def __init__(self, reason: str | None, *, gid: str = "", detail: str = "") -> None:
        words = f"global transaction {gid} is aborted: {reason or 'no reason given'}"
        super().__init__(f"{words} ({detail})" if detail else words)
        self.reason = reason
        self.gid = gid
        self.detail = detail


class OutcomeUnknown(PlacetError):
    """The decision was asked for, and whether it was taken is not known here; the coordinator knows.

    Never treat it as a failure, and never begin the same work under a new gid before it is resolved: ask with
    `await placet.wait(gid)`. The coordinator decides in any case, at the latest at the transaction's timeout.

    Attributes:
        gid: the global transaction.
        status: the last status seen, if any was.
    """

    def __init__(self, gid: str, *, status: str | None = None) -> None:
        seen = f", last seen {status}" if status else ""
        super().__init__(f"the outcome of global transaction {gid} is not known here{seen}: ask with wait({gid!r})")
        self.gid = gid
        self.status = status


class CommitRefused(PlacetError):
    """The block was left cleanly although a planned branch has no successful try; it was aborted instead.

    This happens when a handler swallows the error of a `tx.call`, or leaves before a call has ended.

    Attributes:
        gid: the global transaction.
        branch_ids: the branches without a successful try.
    """

    def __init__(self, gid: str, branch_ids: tuple[str, ...]) -> None:
        names = ", ".join(branch_ids)
        super().__init__(
            f"global transaction {gid} was aborted, not committed: no successful try of branch {names}; let the error "
            "of tx.call leave the block, and await every call inside it"
        )
        self.gid = gid
        self.branch_ids = branch_ids


class BranchError(PlacetError):
    """One call of a branch did not end as done.

    Attributes:
        gid: the global transaction.
        branch_id: the branch.
        target: where it was sent.
        detail: words for people.
    """

    summary = "failed"

    def __init__(self, *, gid: str, branch_id: str, target: str, detail: str = "") -> None:
        words = f"{target} (branch {branch_id} of {gid}) {self.summary}"
        super().__init__(f"{words}: {detail}" if detail else words)
        self.gid = gid
        self.branch_id = branch_id
        self.target = target
        self.detail = detail


class Rejected(BranchError):
    """The participant refused the try for business reasons. Final: the transaction can only abort.

    Attributes:
        late: it refused because the transaction is over there (a cancel or a newer fence came first).
    """

    summary = "was rejected"

    def __init__(self, *, gid: str, branch_id: str, target: str, detail: str = "", late: bool = False) -> None:
        super().__init__(gid=gid, branch_id=branch_id, target=target, detail=detail)
        self.late = late


class BranchOutcomeUnknown(BranchError):
    """The try may have run: no answer, a cut connection, a server error. It is never sent again; the block aborts."""

    summary = "has an unknown outcome"


class ResultMismatch(BranchError):
    """The try is done, but its result is not what `returns=` asked for. The branch still counts as tried."""

    summary = "answered something else than was asked for"


class CoordinatorError(PlacetError):
    """One call of the coordinator did not end in a success.

    Attributes:
        maybe_written: whether the request may have been carried out.
    """

    def __init__(self, message: str, *, maybe_written: bool = False) -> None:
        super().__init__(message)
        self.maybe_written = maybe_written


class CoordinatorOverloaded(CoordinatorError):
    """The coordinator sheds load: nothing was written. Repeat after `retry_after`."""

    def __init__(self, message: str, *, retry_after: timedelta) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class CoordinatorUnavailable(CoordinatorError):
    """No usable answer came (not reached, cut, 5xx, a proxy's page). Repeat the call: all of them are repeatable."""


class CoordinatorRefused(CoordinatorError):
    """The coordinator answered with a problem that a repeat will not change: bad request, no access, wrong state.

    Attributes:
        problem: its words; `field`, `rule` and `limit` say what to change.
    """

    def __init__(self, problem: Problem) -> None:
        rule = f" [{problem.field}: {problem.rule}]" if problem.rule else ""
        words = ": ".join(part for part in (problem.title, problem.detail) if part)
        super().__init__(f"the coordinator answers {problem.status}: {words}{rule}")
        self.problem = problem


class TransactionNotFound(CoordinatorRefused):
    """The coordinator knows no such gid: never begun, or past its retention."""


class Conflict(CoordinatorRefused):
    """The request goes against the state: the other decision won, or the transaction is decided already."""


class ContentDiffers(CoordinatorRefused):
    """The gid (or branch_id) was used before for other content; nothing was changed. Use another gid."""


class NestingForbidden(PlacetError):
    """`propagation="forbid"`: this transaction may not be begun inside another's branch. Nothing was sent."""


class TransactionClosed(PlacetError):
    """A call on a transaction whose block was left already. Nothing was sent."""
