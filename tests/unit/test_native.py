"""When the compiled hot modules are taken, and when not: with stand-ins for them, each in a process of its own."""

import ast
import os
import shutil
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from placet_coordinator import native

PROJECT = Path(__file__).resolve().parent.parent.parent
REPORT = "; print(native.running(), native.described())"
ACTIVATE = "from placet_coordinator import native; native.activate()" + REPORT


def hot_modules() -> tuple[str, ...]:
    """The files that are compiled, as the build names them."""
    spec = spec_from_file_location("hatch_build", PROJECT / "hatch_build.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.HOT


def compiled_package(folder: Path, digest: str, *modules: str) -> Path:
    """Make a package of compiled modules, which are empty files: good to be found, not to be loaded."""
    package = folder / native.PACKAGE
    package.mkdir(parents=True)
    package.joinpath("__init__.py").touch()
    package.joinpath(native.DIGEST).write_text(digest)
    for module in modules:
        file = package.joinpath(*module.split(".")).with_suffix(EXTENSION_SUFFIXES[0])
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return folder


def run(*command: str, path: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run this Python with the folder first on its path."""
    kept = {name: value for name, value in os.environ.items() if name != "PLACET_NATIVE"}
    environment = kept | {"PYTHONPATH": str(path)} | variables
    return subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True, check=False)


def copied_sources(folder: Path) -> Path:
    """Copy the sources that the compiled modules are made of."""
    for package in native.SOURCES:
        spec = find_spec(package)
        (place,) = spec.submodule_search_locations
        shutil.copytree(place, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def test_compiled_modules_of_these_sources_are_taken(tmp_path):
    """With the digest of the sources that are there, imports find the compiled modules."""
    folder = compiled_package(tmp_path, native.digest(), "placet_coordinator.core.rule")
    done = run("-c", ACTIVATE, path=folder)
    assert done.stdout == "1 1 modules compiled\n", done.stderr
    loaded = run("-c", f"{ACTIVATE}; import placet_coordinator.core.rule", path=folder)
    assert f"{folder / native.PACKAGE}/placet_coordinator/core/rule" in loaded.stderr  # it is taken, and is no library


@pytest.mark.parametrize("change", ["edited", "added", "renamed"])
def test_compiled_modules_of_other_sources_are_left(tmp_path, change):
    """One byte of one module, a new one, or another name: the compiled modules are stale as a whole."""
    sources = copied_sources(tmp_path / "sources")
    compiled_package(sources, native.digest(), "placet_coordinator.core.rule")
    assert run("-c", ACTIVATE, path=sources).stdout.startswith("1 "), "a copy is the same sources"
    module = sources / "placet_coordinator" / "core" / "moves.py"
    match change:
        case "edited":
            module.write_bytes(module.read_bytes() + b"\n")
        case "added":
            module.with_name("added.py").touch()
        case "renamed":
            module.rename(module.with_name("moved.py"))
    done = run("-c", ACTIVATE, path=sources)
    assert done.stdout.startswith("None plain Python, for the compiled modules are of other sources"), done.stderr
    assert "make native" in done.stdout


def test_plain_is_run_where_it_is_asked_for(tmp_path):
    """`PLACET_NATIVE=0` leaves compiled modules that fit."""
    folder = compiled_package(tmp_path, native.digest(), "placet_coordinator.core.rule")
    done = run("-c", ACTIVATE, path=folder, PLACET_NATIVE="0")
    assert done.stdout == "None plain Python, as PLACET_NATIVE=0 asks for\n", done.stderr


def test_plain_is_run_where_nothing_is_compiled(tmp_path):
    """Without the package all runs as plain Python, and what would make it faster is said."""
    done = run("-c", f"import sys; sys.modules['{native.PACKAGE}'] = None; {ACTIVATE}", path=tmp_path)
    assert done.stdout.startswith("None plain Python, for there are no compiled modules"), done.stderr
    assert "make native" in done.stdout


def test_module_that_is_imported_already_stays_plain(tmp_path):
    """Compiled modules know each other's layouts, so one that is there as plain Python keeps all of them out."""
    folder = compiled_package(tmp_path, native.digest(), "placet_coordinator.core.rule")
    late = f"import placet_coordinator.core.rule; {ACTIVATE}"
    assert run("-c", late, path=folder).stdout.startswith("None ")
    refused = run("-c", late, path=folder, PLACET_NATIVE="1")
    assert "NativeRefused" in refused.stderr
    assert "placet_coordinator.core.rule is imported already" in refused.stderr


def test_command_line_refuses_to_run_plain_if_compiled_is_asked_for(tmp_path):
    """`PLACET_NATIVE=1` with stale modules: one line with the remedy, exit code 1."""
    folder = compiled_package(tmp_path, "of other sources", "placet_coordinator.core.rule")
    refused = run("-m", "placet_coordinator", "--help", path=folder, PLACET_NATIVE="1")
    assert refused.returncode == 1
    assert refused.stdout == ""
    (line,) = refused.stderr.splitlines()
    assert line.startswith("placet: PLACET_NATIVE is 1, but the compiled modules are of other sources")
    assert "make native" in line


def test_two_activations_are_one(tmp_path):
    """Whoever comes second finds it done."""
    folder = compiled_package(tmp_path, native.digest(), "placet_coordinator.core.rule")
    done = run("-c", f"{ACTIVATE}; native.activate(); import sys; print(sys.meta_path)", path=folder)
    assert done.stdout.count("_Compiled") == 1, done.stderr


@pytest.mark.parametrize("file", hot_modules())
def test_hot_module_never_waits_while_it_handles_an_exception(file):
    """A coroutine of mypyc that waits in a handler leaves its exception current for whatever runs meanwhile.

    Then errors of other tasks name it as their context, and an outage chains them without end.
    """
    tree = ast.parse((PROJECT / file).read_text())
    tries = [node for node in ast.walk(tree) if isinstance(node, ast.Try)]
    handlers = [part for node in tries for part in (*node.handlers, *node.finalbody)]
    waits = (ast.Await, ast.AsyncWith, ast.AsyncFor, ast.Yield)
    lines = [node.lineno for part in handlers for node in ast.walk(part) if isinstance(node, waits)]
    assert lines == []


@pytest.mark.parametrize(("option", "code"), [((), 1), (("--optional",), 0)])
def test_build_without_a_compiler_says_what_to_install(tmp_path, option, code):
    """`make native` fails, `make setup` goes on: all runs as plain Python."""
    done = run(str(PROJECT / "hatch_build.py"), *option, path=tmp_path, PATH=str(tmp_path))
    assert done.returncode == code
    assert "not compiled: there is no C compiler" in done.stderr
    assert "apt-get install gcc libc6-dev" in done.stderr
