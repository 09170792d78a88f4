"""What is shipped: the wheel's packages, and a lock that agrees with the declared dependencies."""

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = Path(__file__).resolve().parent.parent.parent
PACKAGES = {"placet", "placet_contract", "placet_coordinator", "placet_migrations", "placet_rpc", "placet_samples"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> zipfile.ZipFile:
    """The wheel as hatchling builds it from this tree."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    plain = os.environ | {"PLACET_NATIVE": "0"}
    subprocess.run(command, cwd=PROJECT, env=plain, check=True, capture_output=True)
    (file,) = folder.iterdir()
    with zipfile.ZipFile(file) as opened:
        yield opened


def declared() -> list[Requirement]:
    """Every direct dependency of pyproject.toml: of the core, of each extra, of the development group."""
    metadata = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    groups = [
        metadata["project"]["dependencies"],
        *metadata["project"]["optional-dependencies"].values(),
        metadata["dependency-groups"]["dev"],  # `make lock` locks no other group; `bench` is installed by hand
    ]
    requirements = [Requirement(text) for group in groups for text in group]
    return [requirement for requirement in requirements if requirement.name != "placet"]


def locked() -> dict[str, str]:
    """The version of each package in requirements.lock."""
    lines = (PROJECT / "requirements.lock").read_text().splitlines()
    pins = (re.match(r"([A-Za-z0-9._-]+)==([^\s;]+)", line) for line in lines)
    return {canonicalize_name(pin[1]): pin[2] for pin in pins if pin}


def test_wheel_holds_exactly_our_packages(wheel):
    """An installation puts no other name than ours on the import path."""
    top_level = {name.split("/")[0] for name in wheel.namelist()}
    assert {name for name in top_level if not name.endswith(".dist-info")} == PACKAGES
    assert len(top_level) == len(PACKAGES) + 1


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_wheel_package_says_that_it_is_typed(wheel, package):
    """A user's type checker reads our annotations only where the marker file is shipped (PEP 561)."""
    assert f"{package}/py.typed" in wheel.namelist()


def test_wheel_ships_no_test_and_no_licence_is_missing(wheel):
    """The wheel carries its licence's text and nothing that only developers need."""
    names = wheel.namelist()
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    assert [name for name in names if Path(name).name.startswith(("test_", "conftest")) or name.endswith(".pyc")] == []


@pytest.mark.parametrize("requirement", declared(), ids=str)
def test_lock_satisfies_each_declared_dependency(requirement):
    """A dependency declared or raised without `make lock` is found here, not on a user's machine."""
    version = locked().get(canonicalize_name(requirement.name))
    assert version is not None, f"{requirement.name} is not locked: run make lock"
    assert requirement.specifier.contains(version, prereleases=True), f"locked {version}: run make lock"


def test_lock_is_hash_checked_and_names_no_host():
    """Each pin carries hashes, so that a changed file is refused, and no address ties the lock to one registry."""
    text = (PROJECT / "requirements.lock").read_text()
    entries = re.split(r"\n(?=[A-Za-z0-9])", text.strip())
    assert [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry] == []
    assert re.findall(r"https?://|--(?:extra-)?index-url|--find-links", text) == []
