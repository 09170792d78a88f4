"""Lets this process run the hot modules compiled (decision 0017), if that was done from the sources that are there.

The package `placet_native`, which a native wheel brings and `make native` makes, holds the compiled modules and a
digest of the sources. Nothing else of Placet is imported here: what is imported already stays as it is.
"""

import os
import sys
from collections.abc import Sequence
from hashlib import blake2b
from importlib.abc import MetaPathFinder
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, ModuleSpec
from importlib.util import find_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

PACKAGE = "placet_native"
DIGEST = "sources.blake2b"
SOURCES = ("placet_contract", "placet_rpc", "placet_coordinator")
"""Where the hot modules are and what they import: mypyc puts other modules' constants and layouts into its code."""

_VARIABLE = "PLACET_NATIVE"
_REMEDY = "in a source tree run: make native; elsewhere install a native wheel"


class NativeRefused(Exception):
    """`PLACET_NATIVE` is 1, and the hot modules can't run compiled."""


class _Compiled(MetaPathFinder):
    """Finds the compiled modules before their sources."""

    def __init__(self, files: dict[str, str]) -> None:
        self.files = files

    def find_spec(
        self, fullname: str, _path: Sequence[str] | None = None, _target: ModuleType | None = None, /
    ) -> ModuleSpec | None:
        """Return where the module is, if it is one of those compiled."""
        if file := self.files.get(fullname):
            return spec_from_file_location(fullname, file, loader=ExtensionFileLoader(fullname, file))
        return None


def activate() -> None:
    """Let what is imported from now on run compiled, unless `PLACET_NATIVE` is 0 or something speaks against it.

    Raises:
        NativeRefused: `PLACET_NATIVE` is 1 and something speaks against it. Nothing was changed.
    """
    wanted = os.environ.get(_VARIABLE, "")
    if wanted == "0" or running() is not None:
        return
    files = _files()
    obstacle = _obstacle(files)
    if not obstacle:
        sys.meta_path.insert(0, _Compiled(files))
    elif wanted == "1":
        raise NativeRefused(f"{_VARIABLE} is 1, but {obstacle}; {_REMEDY}")


def running() -> int | None:
    """Return how many modules run compiled in this process; None if it runs plain."""
    return next((len(finder.files) for finder in sys.meta_path if isinstance(finder, _Compiled)), None)


def described() -> str:
    """Say in a few words what runs, and what would make it faster: for logs and `placet doctor`."""
    if (count := running()) is not None:
        return f"{count} modules compiled"
    if os.environ.get(_VARIABLE) == "0":
        return f"plain Python, as {_VARIABLE}=0 asks for"
    return f"plain Python, for {_obstacle(_files())}; {_REMEDY}"


def digest() -> str:
    """Return the digest of all sources that the compiled modules are made of."""
    total = blake2b()
    for package in SOURCES:
        spec = find_spec(package)
        for place in (spec.submodule_search_locations or ()) if spec else ():
            for file in sorted(Path(place).rglob("*.py")):
                total.update(f"{package}/{file.relative_to(place).as_posix()}\0".encode() + file.read_bytes() + b"\0")
    return total.hexdigest()


def _folder() -> Path | None:
    found = find_spec(PACKAGE)
    return Path(found.origin).parent if found and found.origin else None


def _files() -> dict[str, str]:
    """Return the compiled modules for this very Python, by name."""
    folder, files = _folder(), {}
    if folder is None:
        return {}
    suffix = EXTENSION_SUFFIXES[0]
    for file in folder.rglob(f"*{suffix}"):
        files[".".join(file.relative_to(folder).with_name(file.name.removesuffix(suffix)).parts)] = str(file)
    return files


def _obstacle(files: dict[str, str]) -> str:
    """Say what speaks against the compiled modules; empty if nothing does."""
    folder = _folder()
    if folder is None or not files:
        return "there are no compiled modules for this Python"
    if folder.joinpath(DIGEST).read_text() != digest():
        return "the compiled modules are of other sources than those that are there"
    if imported := sorted(files.keys() & sys.modules.keys()):
        return f"{imported[0]} is imported already"
    return ""
