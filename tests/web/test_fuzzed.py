"""REST does what its description says, whatever it is sent: schemathesis asks every operation, in sequences, too."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Final

import pytest

from local.suite import Suite
from services.bff.api.openapi import SPECIFICATION_PATH

EXAMPLES_MAX: Final = "15"
SEED: Final = "20260301"
ROOT: Final = Path(__file__).parents[2]
CONFIG: Final = Path(__file__).parent / "schemathesis.toml"
STREAMS: Final = "/events$"
"""They do not end."""

pytestmark = pytest.mark.web


async def fuzzed(suite: Suite, folder: Path, config: Path, *options: str) -> tuple[bool, str]:
    """Return whether every answer was as it has to be, and what was said."""
    pytest.importorskip("schemathesis")
    token = suite.token("service", sub="fuzzer")
    fuzzing = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "schemathesis.cli", "--config-file", config, "run",
        f"{suite.front_url('bff')}{SPECIFICATION_PATH}",
        # Requests carry cookies, as of a page: without the second header each that writes is refused for that alone.
        "--header", f"Authorization: Bearer {token}", "--header", "Sec-Fetch-Site: same-origin",
        "--max-examples", EXAMPLES_MAX, "--seed", SEED, "--no-color", *options,
        cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await fuzzing.communicate()
    return fuzzing.returncode == 0, said.decode()


async def test_no_request_gets_an_answer_that_is_not_described(suite: Suite, tmp_path: Path) -> None:
    phases = "examples,coverage,fuzzing,stateful"
    is_good, said = await fuzzed(suite, tmp_path, CONFIG, "--phases", phases, "--exclude-path-regex", STREAMS)

    assert is_good, said
    assert "only 401/403 responses" not in said  # operations that nothing was asked of


async def test_what_is_left_out_would_be_found(suite: Suite, tmp_path: Path) -> None:
    everything = tmp_path / "schemathesis.toml"
    everything.write_text('hooks = "tests.web.fuzzing"\nrequest-timeout = 60\n')
    is_good, said = await fuzzed(
        suite, tmp_path, everything, "--phases", "coverage", "--include-path", "/api/payments/methods/{userId}"
    )

    assert not is_good
    assert "Undocumented methods advertised: DELETE" in said
