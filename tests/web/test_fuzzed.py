"""REST does what its description says, whatever it is sent: schemathesis asks every operation, in sequences, too."""

from __future__ import annotations

import asyncio
import sys
from typing import Final

import pytest

from local.suite import Suite
from services.bff.api.openapi import SPECIFICATION_PATH

EXAMPLES_MAX: Final = "15"
SEED: Final = "20260301"
STREAMS: Final = "/events$"
"""They do not end."""

NOT_OURS: Final = "positive_data_acceptance,unsupported_method,allow_header_conformance"
"""A request that fits the schema may be refused all the same: by what a payment allows, or who it is of. Which methods
a path takes is tested with the routes: the old REST has two templates of one shape, and a GET that has a body is
refused for that before anything else."""

pytestmark = pytest.mark.web


async def test_no_request_gets_an_answer_that_is_not_described(suite: Suite) -> None:
    pytest.importorskip("schemathesis")
    url = f"{suite.front_url('bff')}{SPECIFICATION_PATH}"
    token = suite.token("service", sub="fuzzer")
    fuzzing = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "schemathesis.cli", "run", url,
        "--header", f"Authorization: Bearer {token}",
        "--checks", "all", "--exclude-checks", NOT_OURS,
        "--phases", "examples,coverage,fuzzing,stateful",
        "--max-examples", EXAMPLES_MAX, "--seed", SEED, "--exclude-path-regex", STREAMS, "--no-color",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await fuzzing.communicate()

    assert fuzzing.returncode == 0, said.decode()
