"""Replaceable parts chosen by a line of configuration: `name?key=value&key=value`."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qsl

from placet_rpc.extension import find_extension


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


class Parts:
    """The parts of one kind, built in or of installed packages.

    Args:
        group: of entry points.
        builtin: factories that come with this package, by name.
        spi_version: that a part must have been written for.
    """

    def __init__(self, group: str, builtin: Mapping[str, Any], spi_version: int) -> None:
        self._group, self._builtin, self._spi_version = group, builtin, spi_version
        self._found: dict[str, Callable[..., Any]] = {}

    def make(self, text: str, *arguments: Any) -> Any:
        """Makes a part.

        Args:
            text: its configuration.
            arguments: what its factory takes before the options.

        Raises:
            ValueError: nothing offers it, or it does not take these options; the message says which part.
        """
        choice = Choice.parse(text)
        factory = self._found.get(choice.name)
        if factory is None:
            # Each method has its own part, and a look through all installed packages takes milliseconds.
            factory = find_extension(self._group, choice.name, self._builtin, self._spi_version)
            self._found[choice.name] = factory
        try:
            return factory(*arguments, **choice.options)
        except TypeError as error:
            raise ValueError(f"{choice.name!r} does not take {choice.options}: {error}") from None
