"""The built wheel in an empty environment, with what its metadata names and nothing else."""

import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel as hatchling builds it from this tree."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=PROJECT, check=True, capture_output=True)
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


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("PLACET_", "PYTHON"))}
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False, timeout=90)


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
