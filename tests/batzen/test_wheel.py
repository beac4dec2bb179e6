"""The package that callers install: what is in it, and that it works with what it says it needs and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from batzen.version import VERSION, checked_out
from tests.batzen.repository import commit_all

ROOT = Path(__file__).parents[2]
SOURCES = ("batzen", "pyproject.toml", "setup.py", "LICENSE")
IMPORT_ALL = "import importlib, sys; [importlib.import_module(name) for name in sys.argv[1:]]"


def _run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as `make wheel` does, from a copy that is a repository of its own."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
    commit_all(folder)
    pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation")
    built = _run(*pip, "--wheel-dir", "dist", ".", cwd=folder)
    assert built.returncode == 0, built.stderr
    [wheel] = (folder / "dist").glob("*.whl")
    return wheel


def _modules(wheel: Path) -> list[str]:
    names = [name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("batzen/") and name.endswith(".py")]
    return [name.removesuffix(".py").replace("/", ".").removesuffix(".__init__") for name in names]


def _needed(requirements: list[str] | None) -> dict[str, Distribution]:
    """Return what is needed, and what that needs, without extras, each in a version that is allowed."""
    needed: dict[str, Distribution] = {}
    for requirement in map(Requirement, requirements or []):
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        found = distribution(requirement.name)
        assert requirement.specifier.contains(found.version), (
            f"{requirement} is not met by what the suite is tested with"
        )
        needed |= {requirement.name: found} | _needed(found.requires)
    return needed


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel, what it says it needs, and nothing else."""
    folder = tmp_path_factory.mktemp("environment")
    made = _run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder)
    assert made.returncode == 0, made.stderr
    [packages] = folder.glob("lib/python*/site-packages")
    metadata = Distribution.at(_unpacked_metadata(wheel, folder))
    for needed in _needed(metadata.requires).values():
        for file in needed.files or []:
            if ".." not in file.parts and file.suffix != ".pyc":
                (packages / file).parent.mkdir(parents=True, exist_ok=True)
                os.symlink(needed.locate_file(file), packages / file)
    pip = (sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install", "--quiet")
    installed = _run(*pip, "--no-deps", "--no-index", "--no-compile", wheel, cwd=folder)
    assert installed.returncode == 0, installed.stderr
    return folder


def _unpacked_metadata(wheel: Path, folder: Path) -> Path:
    [name] = [name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".dist-info/METADATA")]
    return Path(zipfile.ZipFile(wheel).extract(name, folder)).parent


def test_it_holds_the_package_with_its_stubs_and_types_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()

    assert {name.split("/")[0].partition("-")[0] for name in names} == {"batzen"}
    assert {
        "batzen/py.typed",
        "batzen/status/v1/status_pb2.py",
        "batzen/status/v1/status_pb2.pyi",
        "batzen/status/v1/status_pb2_grpc.pyi",
        "batzen/watching/watcher.py",
        "batzen/cli/app.py",
    } <= set(names)
    assert not [name for name in names if name.endswith((".pyc", ".proto"))]


def test_every_module_but_the_command_line_works_with_its_own_dependencies_alone(
    wheel: Path, environment: Path
) -> None:
    modules = [name for name in _modules(wheel) if not name.startswith("batzen.cli")]
    assert len(modules) > 50

    imported = _run(environment / "bin" / "python", "-I", "-W", "error", "-c", IMPORT_ALL, *modules, cwd=environment)

    assert imported.returncode == 0, imported.stderr


def test_the_command_line_says_that_it_is_an_extra(environment: Path) -> None:
    said = _run(environment / "bin" / "batzen", "--help", cwd=environment)

    assert said.returncode == 1
    assert "batzen[cli]" in said.stderr


def test_the_extra_is_what_the_command_line_imports(wheel: Path, tmp_path: Path) -> None:
    metadata = Distribution.at(_unpacked_metadata(wheel, tmp_path))
    extra = [Requirement(text) for text in metadata.requires or [] if "extra ==" in text]

    assert {requirement.name for requirement in extra} == {"typer", "rich"}
    assert all(requirement.specifier.contains(distribution(requirement.name).version) for requirement in extra)


def test_it_says_its_version_and_the_commit_that_it_was_built_from(wheel: Path, environment: Path) -> None:
    commit = checked_out(wheel.parents[1])
    said = _run(
        environment / "bin" / "python", "-I", "-c", "from batzen.version import build; print(build())", cwd=environment
    )

    assert wheel.name.startswith(f"batzen-{VERSION}-")
    assert len(commit) == len("0" * 40)
    assert said.stdout.strip() == f"{VERSION} (commit {commit})"
