"""The one error of this program: what went wrong and what to do about it."""


class ServicesError(Exception):
    """A rule that was broken, with its remedy; printed without a traceback."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}\n  remedy: {remedy}")
