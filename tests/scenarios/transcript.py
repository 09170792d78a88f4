"""Golden runs as text: a scenario is what happens (`>` lines), its transcript what the core makes of it (below each).

    > begin saga timeout_ms=60000: a; b after=a; c after=a; d after=b,c
    > answer a done
    > answer b lost open_for_ms=4000
    > wait 4000            or: > wait until due
    > crash                the owner dies; a second later another node takes the transaction up from its row
    > commit | abort why | register e; f | retry

A line beginning with `#` is a comment. Everything else is output, and is written again by `rewrite`.
"""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from unit.core.life import Life

COMMAND = "PYTHONPATH=tests .venv/bin/python -m scenarios.rewrite"
CRASH_MS = 1_000


def rewritten(text: str) -> str:
    """Return a scenario with its transcript drawn anew."""
    run = Run()
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith("#") or (not line.strip() and not lines):
            lines.append(line)
        elif line.startswith("> "):
            lines += ["", line, *(f"  {told}" for told in run.happen(line[2:]))]
    return "\n".join(lines) + "\n"


class Seen(NamedTuple):
    """What was told of a transaction before an event."""

    branches: dict[str, str]
    reason: str | None
    attention: str | None


class Run:
    """One scenario under way."""

    def __init__(self) -> None:
        self._life: Life | None = None

    def happen(self, event: str) -> list[str]:
        """Let the event happen, and return what is to be told of it."""
        word, _, rest = event.partition(" ")
        if self._life is None:
            assert word == "begin", "a scenario opens with begin"
            self._life = _begun(rest)
            return list(_told(self._life, Seen({}, None, None)))
        life = self._life
        before = Seen(life.branch_statuses, life.transaction.reason, life.transaction.attention)
        _happen(life, word, rest)
        return list(_told(life, before))


def _told(life: Life, before: Seen) -> Iterator[str]:
    """Tell the last step: where the transaction stands, what changed, and what is called."""
    taken = life.last
    if taken.refusal is not None:
        yield f"refused ({taken.refusal.kind}): {taken.refusal.rule}"
        return
    transaction = taken.transaction
    due = "" if life.due_in_ms is None else f", due in {life.due_in_ms} ms"
    yield f"{life.status}{due}"
    if transaction.reason is not before.reason:
        text = "" if transaction.reason_text is None else f": {transaction.reason_text}"
        yield f"reason: {transaction.reason}{text}"
    if transaction.attention != before.attention:
        yield f"attention: {transaction.attention or 'none any more'}"
    statuses = life.branch_statuses
    changed = [f"{name} {status}" for name, status in statuses.items() if before.branches.get(name) != status]
    if changed:
        yield f"branches: {', '.join(changed)}"
    if taken.calls:
        when = "calls, once this is durable" if taken.awaited else "calls"
        numbered = zip(life.calls, taken.calls, strict=True)
        yield f"{when}: {', '.join(f'{name} ({call.attempt})' for name, call in numbered)}"


def _happen(life: Life, word: str, rest: str) -> None:
    if word == "answer":
        branch_id, answer, *options = rest.split()
        life.answer(branch_id, answer, **_options(options))
    elif word == "crash":
        life.now_ms += CRASH_MS
        life.adopt()
    elif word == "wait" and rest == "until due":
        life.wait_until_due()
    else:
        ways = {
            "wait": lambda: life.wait(int(rest)),
            "register": lambda: life.register(*_branches(rest)),
            "abort": lambda: life.abort(rest or None),
            "commit": life.commit,
            "retry": life.retry,
        }
        ways[word]()


def _begun(text: str) -> Life:
    head, _, branches = text.partition(":")
    pattern, *options = head.split()
    return Life.of(pattern, *_branches(branches), **_options(options))


def _branches(text: str) -> list[dict[str, Any]]:
    return [
        {"branch_id": name, **_options(options)}
        for name, *options in (each.split() for each in text.split(";") if each.strip())
    ]


def _options(words: list[str]) -> dict[str, Any]:
    """Return `key=value` words; a word alone is true, `after` is a list, other values are JSON."""
    options: dict[str, Any] = {}
    for word in words:
        key, _, value = word.partition("=")
        if key == "after":
            options[key] = value.split(",") if value else []
        else:
            options[key] = json.loads(value) if value else True
    return options
