"""Compiles the hot modules (decision 0017): for a wheel as hatch's build hook, for a source tree by `make native`.

mypyc compiles the very modules that run as plain Python otherwise. The results never stand beside their sources: they
go to a package of their own, `placet_native`, with what `placet_coordinator.native` needs to tell whether they are of
the sources that are there. So an edited source is never hidden, and a server can be told to run plain.
"""

import argparse
import os
import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import chdir
from importlib.util import find_spec
from pathlib import Path
from sysconfig import get_config_var, get_path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).parent
SOURCES = ("contract", "rpc", "coordinator", "participants", "migrations")
sys.path[:0] = [str(ROOT / folder) for folder in ("contract", "rpc", "coordinator")]
from placet_coordinator.native import DIGEST, PACKAGE, digest  # noqa: E402 - of this tree, whatever is installed

COORDINATOR = "coordinator/placet_coordinator"
HOT = (
    # What a transaction passes through. Not here: modules that declare structs, for msgspec makes their classes when
    # they are imported; classes that connections derive from; what is looked at once a call at most.
    *(f"{COORDINATOR}/core/{name}.py" for name in ("calling", "documents", "order", "plan", "registration")),
    *(f"{COORDINATOR}/core/{name}.py" for name in ("rule", "transitions")),
    *(f"{COORDINATOR}/core/patterns/{name}.py" for name in ("recorded_abort", "saga", "tcc")),
    *(f"{COORDINATOR}/engine/{name}.py" for name in ("admission", "chance", "commands", "driver", "flusher", "held")),
    *(f"{COORDINATOR}/engine/{name}.py" for name in ("journal", "ownership", "queue", "rows", "schedule", "waiting")),
    *(f"{COORDINATOR}/dispatch/{name}.py" for name in ("endpoint", "participants", "policy", "queue")),
    *(f"{COORDINATOR}/api/{name}.py" for name in ("access", "answers", "entrance", "lane", "requests")),
    *(f"{COORDINATOR}/store/{name}/batch.py" for name in ("postgres", "sqlite")),
    f"{COORDINATOR}/observability/metrics.py",
    "contract/placet_contract/headers.py",
    "rpc/placet_rpc/known_heads.py",
    *(f"rpc/placet_rpc/http/{name}.py" for name in ("connection", "counters", "headers", "hot_connection")),
    *(f"rpc/placet_rpc/http/{name}.py" for name in ("outbox", "pool", "target")),
)
OPTIMIZATION_LEVEL = "2"


class NativeHook(BuildHookInterface[Any]):
    """Puts the compiled modules into a wheel if `PLACET_NATIVE=1` asks for them; else the wheel is plain Python."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Return what the build needs beyond hatchling."""
        return ["mypy[mypyc]>=2.4"] if os.environ.get("PLACET_NATIVE") == "1" else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile; not for an editable install, which `make native` serves."""
        if version == "editable" or os.environ.get("PLACET_NATIVE") != "1":
            return
        folder = Path(tempfile.mkdtemp(prefix="placet-native-"))
        try:
            package = compiled_into(folder)
        except BaseException:
            shutil.rmtree(folder)
            raise
        build_data["force_include"][str(package)] = PACKAGE
        build_data["pure_python"], build_data["infer_tag"] = False, True

    def finalize(self, _version: str, build_data: dict[str, Any], _artifact_path: str) -> None:
        """Remove what was compiled, now that the wheel has it."""
        for source, target in build_data["force_include"].items():
            if target == PACKAGE:
                shutil.rmtree(Path(source).parent)


def compiled_into(folder: Path) -> Path:
    """Compile `HOT`, which takes a minute; return the package, a folder in `folder`."""
    from mypyc.build import mypycify  # noqa: PLC0415 - with setuptools, there only when asked for

    os.environ["MYPYPATH"] = os.pathsep.join(SOURCES)
    with chdir(ROOT):  # the modules' names are found from here
        options = ["--config-file", "pyproject.toml", "--cache-dir", str(folder / "cache")]
        extensions = mypycify(
            [*options, *HOT],
            opt_level=OPTIMIZATION_LEVEL,
            group_name="placet",
            target_dir=str(folder / "c"),
            multi_file=True,
        )
        package = folder / PACKAGE
        _build(extensions, package, folder / "objects")
    package.joinpath("__init__.py").write_text('"""Compiled modules of Placet; see `placet_coordinator.native`."""\n')
    package.joinpath(DIGEST).write_text(digest())
    return package


def _build(extensions: list[Any], library: Path, objects: Path) -> None:
    """Let setuptools build, but each extension's files at the same time: all of mypyc's C code is in one of them."""
    from setuptools import Distribution  # noqa: PLC0415
    from setuptools.command.build_ext import build_ext  # noqa: PLC0415

    command = build_ext(Distribution({"name": "placet", "ext_modules": extensions}))
    command.build_lib, command.build_temp = str(library), str(objects)
    command.ensure_finalized()
    one_by_one = command.build_extension
    with ThreadPoolExecutor(os.cpu_count()) as pool:

        def at_the_same_time(extension: Any) -> None:
            compiler = command.compiler
            compile_some = compiler.compile

            def compile_all(sources: list[str], **options: Any) -> list[str]:
                return [name for made in pool.map(lambda one: compile_some([one], **options), sources) for name in made]

            compiler.compile = compile_all
            try:
                one_by_one(extension)
            finally:
                compiler.compile = compile_some

        command.build_extension = at_the_same_time
        command.run()


def obstacle() -> str:
    """Say what is missing here to compile, and the remedy; empty if nothing is."""
    if os.environ.get("PLACET_NATIVE") == "0":
        return "PLACET_NATIVE is 0"
    compiler = (get_config_var("CC") or "cc").split()[0]
    if shutil.which(compiler) is None:
        return f"there is no C compiler ({compiler}); on Debian: apt-get install gcc libc6-dev"
    if not Path(get_path("include"), "Python.h").exists():
        return "Python's headers are missing; on Debian: apt-get install python3-dev"
    if missing := [name for name in ("mypyc", "setuptools") if find_spec(name) is None]:
        return f"{' and '.join(missing)} are missing; run: make setup"
    return ""


def compile_tree() -> str:
    """Compile for this source tree, into the environment that runs this; return what went wrong."""
    with tempfile.TemporaryDirectory(prefix="placet-native-") as folder:
        try:
            package = compiled_into(Path(folder))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the compilers' many ways to fail; plain Python serves too
            return f"{type(error).__name__}: {error}"
        home = Path(get_path("platlib")) / PACKAGE
        shutil.rmtree(home, ignore_errors=True)
        shutil.copytree(package, home)
    return ""


def main() -> int:
    """Compile for this source tree; return the exit code."""
    parser = argparse.ArgumentParser(description="Compile the hot modules into the environment that runs this.")
    parser.add_argument("--optional", action="store_true", help="succeed if it can't be done: all runs as plain Python")
    optional: bool = parser.parse_args().optional
    problem = obstacle()
    if not problem:
        print(f"native: compiling {len(HOT)} modules, which takes a minute", flush=True)
        problem = compile_tree()
    if problem:
        print(f"native: not compiled: {problem}", file=sys.stderr)
        if optional:
            print(
                "native: all runs as plain Python, up to a quarter slower; to try again: make native", file=sys.stderr
            )
        return 0 if optional else 1
    print("native: done; a coordinator that is started from now on runs compiled (placet doctor says so)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
