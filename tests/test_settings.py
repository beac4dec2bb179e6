"""The settings page says what the code reads, and a start says by name what it was not given."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from local.environments import CALLED
from services.runtime.process.settings import FILE
from tests.settings import PROGRAMS, names

ROOT = Path(__file__).parents[1]
NAME = re.compile(r"(BATZEN|STRIPE_API)_[A-Z0-9_]*[A-Z0-9]")


def names_in_code() -> set[str]:
    """Every text in the services' code that is the name of a setting, found without asking the declarations."""
    return {
        node.value
        for path in (ROOT / "services").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and NAME.fullmatch(node.value)
    }


def names_on_page() -> set[str]:
    return set(re.findall(r"^\| `([A-Z_0-9]+)` \|", (ROOT / "docs/settings.md").read_text(), re.MULTILINE))


def test_the_page_has_what_the_code_reads_and_nothing_else() -> None:
    declared = {name for name in names() if not name.endswith(FILE) or name.removesuffix(FILE) not in names()}

    assert names_on_page() == names_in_code() == declared


def test_every_setting_has_one_sentence_that_says_what_it_means() -> None:
    for program in PROGRAMS:
        for declarations in program.declarations().values():
            for one in declarations:
                assert one.doc.endswith("."), one.name
                assert "|" not in one.doc + one.form, one.name


@pytest.mark.parametrize("service", sorted(CALLED))
def test_a_start_without_settings_names_them_in_one_line_and_ends_with_1(service: str) -> None:
    environ = {"PATH": os.environ["PATH"], "BATZEN_LISSEN": "hunter2", "BATZEN_ENVIRONMENT": "hunter3"}

    ended = subprocess.run(
        [sys.executable, "-m", f"services.{service}"],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )

    lines = [json.loads(line) for line in ended.stdout.splitlines()]
    lines = [line for line in lines if line["level"] != "INFO"]
    assert ended.returncode == 1
    assert "hunter" not in ended.stdout + ended.stderr
    assert ended.stderr == ""
    assert [line["level"] for line in lines] == ["WARNING", "ERROR"]
    assert "BATZEN_LISSEN is no setting" in lines[0]["message"]
    for name in ("BATZEN_RUNTIME_DATABASE_URL is not set", "BATZEN_JWKS is not set", "BATZEN_ENVIRONMENT is not one"):
        assert name in lines[1]["message"]
