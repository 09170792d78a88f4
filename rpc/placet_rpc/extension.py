"""Replaceable parts by name: the built-in ones, and those that installed packages offer as entry points."""

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Any


def import_optional(module: str, extra: str) -> ModuleType:
    """Imports a module of ours that needs a library which only an extra brings.

    Raises:
        ImportError: the library is missing; the message names the extra.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("placet"):
            raise
        raise ImportError(
            f"{module} needs {error.name}, which is not installed: pip install 'placet[{extra}]'", name=error.name
        ) from error


class Lazy:
    """A built-in factory whose module is imported when it is first called.

    Args:
        target: `module:name` of the factory.
        spi_version: that it is written for.
        extra: which brings the library that the module needs; empty if it needs none.
    """

    def __init__(self, target: str, spi_version: int, *, extra: str = "") -> None:
        self._module, _, self._name = target.partition(":")
        self.spi_version = spi_version
        self._extra = extra

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the factory."""
        return getattr(import_optional(self._module, self._extra), self._name)(*args, **kwargs)


def _package(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else entry.value


def find_extension(group: str, name: str, builtin: Mapping[str, Any], spi_version: int) -> Any:
    """Returns the factory of a part; nothing is imported but the part asked for.

    Args:
        group: of entry points, such as `placet.rpc.codecs`.
        name: of the part.
        builtin: factories that come with this package.
        spi_version: that the part must have been written for; its factory has an attribute of that name.

    Raises:
        ValueError: there is no such part, two packages offer it, or it is for another version.
    """
    entries = [entry for entry in entry_points(group=group) if entry.name == name]
    owners = [*(["placet"] if name in builtin else []), *(_package(entry) for entry in entries)]
    if len(owners) > 1:
        raise ValueError(f"{name!r} of {group} is offered by {' and by '.join(owners)}: uninstall all but one")
    if not owners:
        offered = sorted({*builtin, *(entry.name for entry in entry_points(group=group))})
        raise ValueError(f"nothing offers {name!r} of {group}; there are {', '.join(offered)}")
    factory = entries[0].load() if entries else builtin[name]
    found = getattr(factory, "spi_version", None)
    if found != spi_version:
        raise ValueError(f"{name!r} of {group} by {owners[0]} is for SPI version {found}, this is {spi_version}")
    return factory
