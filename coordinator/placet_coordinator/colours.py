"""The colours of statuses and outcomes in a terminal, the same in the demo and in the commands."""

from rich.markup import escape

_COLOURS = {
    "committed": "green",
    "confirmed": "green",
    "done": "green",
    "committing": "cyan",
    "aborted": "yellow",
    "aborting": "yellow",
    "cancelled": "yellow",
    "compensated": "yellow",
    "rejected": "red",
    "unknown": "red",
}


def coloured(word: str) -> str:
    """Return a word as rich's markup: a status or outcome in its colour, anything else as it is."""
    colour = _COLOURS.get(word)
    return f"[{colour}]{escape(word)}[/{colour}]" if colour else escape(word)
