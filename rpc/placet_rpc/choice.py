"""A replaceable part and its options in one line of configuration: `name?key=value&key=value`."""

from collections.abc import Callable
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qsl


class Choice(NamedTuple):
    """A part by name, with options as text."""

    name: str
    options: dict[str, str]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads a choice.

        Raises:
            ValueError: it is not of this form, or an option stands there twice.
        """
        name, _, query = text.partition("?")
        try:
            pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True) if query else []
        except ValueError:
            raise ValueError(f"{text!r} is no choice of a part: write name?key=value&key=value") from None
        options = dict(pairs)
        if not name or len(options) < len(pairs):
            raise ValueError(f"{text!r} is no choice of a part: a name, and each option once")
        return cls(name, options)

    def make(self, factory: Callable[..., Any], *arguments: Any) -> Any:
        """Calls the part's factory with its options.

        Raises:
            ValueError: it does not take them; the message says which part.
        """
        try:
            return factory(*arguments, **self.options)
        except TypeError as error:
            raise ValueError(f"{self.name!r} does not take {self.options}: {error}") from None
