"""The built wheel in an empty environment, with what its metadata names and nothing else."""

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from placet_services.debian import install

PROJECT = Path(__file__).resolve().parent.parent.parent


TESTS_OF_WHAT_IS_COMPILED = [
    *(f"tests/unit/{part}" for part in ("api", "core", "dispatch", "engine")),
    *(
        f"tests/unit/rpc/test_{part}.py"
        for part in ("http_fast_lane", "http_headers", "http_pool", "known_heads", "outbox")
    ),
    *("tests/scenarios", "tests/simulation", "tests/conformance/store", "tests/integration/engine"),
    # These read docstrings, or put another function into a class: compiled code has neither.
    "--deselect=tests/unit/core/test_patterns_page.py",
    "--deselect=tests/unit/api/test_doors.py::test_a_defect_is_an_unknown_outcome_and_shows_nothing_of_the_inside",
]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel as hatchling builds it from this tree."""
    return built(tmp_path_factory.mktemp("wheel"), PLACET_NATIVE="0")


def built(folder: Path, **variables: str) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(command, cwd=PROJECT, env=os.environ | variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (file,) = folder.iterdir()
    return file


def needed(requirements: Iterator[Requirement], seen: dict[tuple[str, str], Distribution]) -> None:
    """Collect what the requirements need, all the way down, as installed beside this test."""
    for requirement in requirements:
        for extra in requirement.extras or {""}:
            found = distribution(requirement.name)
            key = (canonicalize_name(requirement.name), extra)
            if key not in seen:
                seen[key] = found
                needed(wanted(found, extra), seen)
                if extra:
                    needed(iter([Requirement(requirement.name)]), seen)


def wanted(found: Distribution, extra: str) -> Iterator[Requirement]:
    for text in found.requires or []:
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            yield requirement


def environment(folder: Path, wheel: Path, extra: str) -> Path:
    """Make a virtual environment with the wheel and its declared dependencies; return its folder of commands.

    The dependencies are linked from this environment, so that the test needs no registry; what is not declared is not
    there.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "install", "--no-index", "--no-deps", str(wheel)], check=True)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    (metadata,) = site.glob("placet-*.dist-info")
    seen: dict[tuple[str, str], Distribution] = {}
    needed(wanted(Distribution.at(metadata), extra), seen)
    for found in seen.values():
        for top in {file.parts[0] for file in found.files or [] if file.parts[0] not in {"..", "__pycache__"}}:
            link = site / top
            if not link.exists():
                link.symlink_to(found.locate_file(top))
    return folder / "bin"


def run(command: list[str], folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PLACET_", "PYTHON"))}
    return subprocess.run(
        command, cwd=folder, env=kept | variables, capture_output=True, text=True, check=False, timeout=90
    )


def test_wheel_with_the_server_extra_gives_the_commands(wheel, tmp_path):
    """With `[server]` and nothing else, `placet` has its commands, and the demo runs to its good end."""
    commands = environment(tmp_path / "venv", wheel, "server")
    listed = run([str(commands / "placet"), "--help"], tmp_path)
    assert listed.returncode == 0, listed.stderr
    for command in ("server", "demo", "tx", "db", "doctor", "barrier"):
        assert command in listed.stdout
    played = run([str(commands / "placet"), "demo"], tmp_path)
    assert played.returncode == 0, played.stdout + played.stderr


def test_wheel_without_extra_names_the_extra_to_install(wheel, tmp_path):
    """The SDK alone imports, and `placet` says in one line what to install; no traceback."""
    commands = environment(tmp_path / "venv", wheel, "")
    imported = run([str(commands / "python"), "-c", "import placet, placet.fastapi"], tmp_path)
    assert imported.returncode == 0, imported.stderr
    refused = run([str(commands / "placet"), "server"], tmp_path)
    assert refused.returncode != 0
    assert "placet[server]" in refused.stderr
    assert "Traceback" not in refused.stderr


def install_compiler(log: Path) -> None:
    """Install a C compiler and Python's headers if they are missing, as compose/services installs servers."""
    if shutil.which("gcc") is None or not Path(sysconfig.get_path("include"), "Python.h").exists():
        install(["gcc", "libc6-dev", "python3-dev"], log)


@pytest.mark.timeout(1_200)
@pytest.mark.usefixtures("postgres_server", "mariadb_server")
def test_native_wheel_runs_compiled_and_does_all_that_plain_python_does(tmp_path):
    """`PLACET_NATIVE=1` makes a wheel for this machine; the demo runs on it, and the tests of what it compiled pass."""
    install_compiler(tmp_path / "compiler.log")
    file = built(tmp_path / "wheel", PLACET_NATIVE="1")
    assert not file.name.endswith("-none-any.whl")

    commands = environment(tmp_path / "venv", file, "server")
    for choice, runs in (("1", "modules compiled"), ("0", "as PLACET_NATIVE=0 asks for")):
        looked = run([str(commands / "placet"), "doctor"], tmp_path, PLACET_NATIVE=choice)
        assert runs in looked.stdout, looked.stdout + looked.stderr
    played = run([str(commands / "placet"), "demo"], tmp_path, PLACET_NATIVE="1")
    assert played.returncode == 0, played.stdout + played.stderr

    (package,) = (tmp_path / "venv").glob("lib/*/site-packages/placet_native")
    variables = os.environ | {"PLACET_NATIVE": "1", "PYTHONPATH": str(compiled_alone(tmp_path / "native", package))}
    tests = [sys.executable, "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider", *TESTS_OF_WHAT_IS_COMPILED]
    passed = subprocess.run(tests, cwd=PROJECT, env=variables, capture_output=True, text=True, check=False)
    assert passed.returncode == 0, passed.stdout[-10_000:]


def compiled_alone(folder: Path, package: Path) -> Path:
    """Return a folder with nothing but the compiled modules: what else the tests import is of this tree."""
    folder.mkdir()
    folder.joinpath(package.name).symlink_to(package)
    return folder
