"""Participants that play a script: what a call of `branch/operation` is answered, and when."""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from typing import Any, NamedTuple

from msgspec import Raw

from placet_contract.outcomes import Verdict
from placet_contract.transactions import NULL
from placet_contract.vocabulary import Outcome
from placet_coordinator.ports.participants import BranchCall, CallEnd

DONE = Verdict(Outcome.DONE, answered=True)
REJECTED = Verdict(Outcome.REJECTED, answered=True, detail="no money")
UNKNOWN = Verdict(Outcome.UNKNOWN, detail="HTTP 503")
ONGOING = Verdict(Outcome.ONGOING, answered=True, detail="425: still running")


class Made(NamedTuple):
    """A call as it was made."""

    gid: str
    name: str
    attempt: int


class Script:
    """What participants answer; shared by all nodes of a test. Without a word it is `done`."""

    def __init__(self) -> None:
        self.calls: list[Made] = []
        self.result: Raw | None = None
        """The result of every call that is done; by itself it names the branch."""
        self._answers: dict[str, list[Verdict]] = {}
        self._held: set[str] = set()
        self._waiting: dict[str, list[Callable[[], None]]] = defaultdict(list)
        self._forgotten: set[int] = set()

    def answer(self, name: str, *verdicts: Verdict) -> None:
        """Answer the next calls of `branch/operation` so, one after the other; the last word stays."""
        self._answers[name] = list(verdicts)

    def hold(self, *names: str) -> None:
        """Answer no call of these until `release`."""
        self._held.update(names)

    def release(self, name: str) -> None:
        """Answer what is held of `branch/operation`, and hold no more."""
        self._held.discard(name)
        for answer in self._waiting.pop(name, []):
            answer()

    def made(self, name: str, gid: str | None = None) -> list[Made]:
        """Return the calls of `branch/operation`, of one transaction or of all."""
        return [call for call in self.calls if call.name == name and gid in (None, call.gid)]

    def participants(self, clock: Any) -> "ScriptedParticipants":
        """Return the port's other side for one node."""
        return ScriptedParticipants(self, clock)

    def forget(self, participants: Any) -> None:
        """Answer nothing more to a node: it is dead."""
        self._forgotten.add(id(participants))

    def called(self, participants: "ScriptedParticipants", call: BranchCall, end: Callable[[Verdict], None]) -> None:
        if id(participants) in self._forgotten:
            return
        name = f"{call.branch.branch_id}/{call.operation}"
        self.calls.append(Made(call.transaction.gid, name, call.attempt))

        def answer() -> None:
            if id(participants) not in self._forgotten:
                end(self._next(name))

        if name in self._held:
            self._waiting[name].append(answer)
        else:
            asyncio.get_running_loop().call_soon(answer)

    def _next(self, name: str) -> Verdict:
        answers = self._answers.get(name, [DONE])
        return answers.pop(0) if len(answers) > 1 else answers[0]


class ScriptedParticipants:
    """Satisfies the port `Participants`."""

    def __init__(self, script: Script, clock: Any) -> None:
        self._script, self._clock = script, clock

    def call(self, call: BranchCall, ended: Callable[[CallEnd], None]) -> None:
        started_at_ms = self._clock.now_ms()

        def end(verdict: Verdict) -> None:
            result = NULL
            if verdict is DONE:
                result = self._script.result or Raw(b'{"from":"%b"}' % call.branch.branch_id.encode())
            now_ms = self._clock.now_ms()
            ended(
                CallEnd(
                    participant=call.branch.branch_id,
                    verdict=verdict,
                    result=result,
                    sent=True,
                    started_at_ms=started_at_ms,
                    duration_ms=now_ms - started_at_ms,
                    deadline_at_ms=started_at_ms + call.branch.timeout_ms,
                )
            )

        self._script.called(self, call, end)
