"""What cannot run against Stripe's test mode is marked, with why; and the rest runs where there is a key."""

from __future__ import annotations

import ast
import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Final

import pytest

from sandbox.serving import running
from tests.suite import at_stripe

HERE: Final = Path(__file__).parent
CONTROLS: Final = re.compile(r"\b(?:traveller|suite)\.sandbox\.(\w+)")
OF_STRIPE: Final = {name for name in vars(at_stripe.AtStripe) if not name.startswith("_")}
"""What Stripe lets one do as well."""


def sources_of(file: Path) -> dict[str, str]:
    """Return the tests of a file, each with its source."""
    source = file.read_text()
    found = [one for one in ast.parse(source).body if isinstance(one, ast.AsyncFunctionDef | ast.FunctionDef)]
    return {one.name: ast.get_source_segment(source, one) or "" for one in found if one.name.startswith("test_")}


def test_what_is_marked_is_there_and_what_uses_the_stand_in_alone_is_marked() -> None:
    files = {file.name: sources_of(file) for file in HERE.glob("test_*.py")}
    for name in at_stripe.NEEDS_STAND_IN:
        file, _, test = name.partition("::")
        assert file in files, name
        assert not test or test.partition("[")[0] in files[file], name
    for file, tests in files.items():
        for test, source in tests.items():
            used = set(CONTROLS.findall(source)) - OF_STRIPE
            assert not used or at_stripe.why_stand_in(test, file), f"{file}::{test} uses {used}"


def test_an_exported_key_alone_leads_no_other_run_to_stripe() -> None:
    assert not at_stripe.is_asked_for({at_stripe.KEY: "sk_test_1"})
    assert not at_stripe.is_asked_for({at_stripe.SWITCH: "1"})
    assert at_stripe.is_asked_for({at_stripe.SWITCH: "1", at_stripe.KEY: "sk_test_1"})


def test_what_a_run_has_shown_is_told() -> None:
    crash = SimpleNamespace(reprcrash=SimpleNamespace(message="AssertionError: the intent\nis canceled"))
    stats = {
        "passed": [SimpleNamespace()] * 3,
        "failed": [SimpleNamespace(nodeid="tests/suite/test_a.py::test_b", longrepr=crash)],
        "skipped": [SimpleNamespace(longrepr=("", 1, "Skipped: needs the stand-in: it orders faults"))] * 2,
    }

    assert list(at_stripe.told(stats)) == [
        "",
        "At Stripe as at the stand-in: 3 tests.",
        "Differs from the stand-in: 1.",
        "  test_a.py::test_b",
        "    AssertionError: the intent is canceled",
        "Not tried: 2.",
        "     2  needs the stand-in: it orders faults",
    ]


@pytest.mark.soak
async def test_the_command_works_against_a_stripe_of_which_only_the_address_is_known() -> None:
    """The stand-in as if it were Stripe: started elsewhere, with none of its controls used."""
    async with running() as sandbox:
        environ = os.environ | {
            at_stripe.SWITCH: "1",
            at_stripe.KEY: "sk_test_elsewhere",
            at_stripe.BASE: sandbox.base_url,
        }
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", str(HERE / "test_states.py")]
        run = await _run(command, environ)

    assert run.returncode == 0, run.stdout[-4_000:]
    assert "Differs from the stand-in: nothing." in run.stdout
    assert f"needs the stand-in: {at_stripe.NEEDS_STAND_IN['test_disputes.py']}" in run.stdout


async def _run(command: list[str], environ: dict[str, str]) -> subprocess.CompletedProcess[str]:

    return await asyncio.to_thread(subprocess.run, command, env=environ, capture_output=True, text=True, check=False)
