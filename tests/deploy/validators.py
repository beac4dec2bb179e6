"""The validators of others, over many files at once: each takes seconds to start."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.deploy.rendering import ROOT

TOOLS: Final = ROOT / ".batzen" / "tools" / "manifests" / "bin"
MISSING: Final = "checkov and kubernetes-validate are not here: `make deploy-check` installs them"
VERSIONS: Final = ("1.30.0", "1.37.0")
"""The oldest whose `preStop.sleep` works without a gate, and the newest there are schemas of."""
NO_SCHEMA: Final = re.compile(r"WARN (\S+) Couldn't find schema for kind (\S+) with api version (\S+)")
ERROR: Final = re.compile(r"ERROR (\S+\.yaml)(.*)")


@dataclass(frozen=True, slots=True)
class Validated:
    """What kubernetes-validate says."""

    faults: Mapping[str, list[str]]
    """By file name."""
    unknown: Mapping[str, set[tuple[str, str]]]
    """apiVersion and kind without a schema, which it passes over; by file name."""


def are_here() -> bool:
    return (TOOLS / "checkov").exists() and (TOOLS / "kubernetes-validate").exists()


def validate(files: Iterable[Path], *, version: str) -> Validated:
    """Hold files to the schemas of a version of Kubernetes."""
    command = [str(TOOLS / "kubernetes-validate"), "--strict", "-k", version, *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    faults: dict[str, list[str]] = defaultdict(list)
    unknown: dict[str, set[tuple[str, str]]] = defaultdict(set)
    lines = (done.stdout + done.stderr).splitlines()
    assert lines, "it says nothing"
    for line in lines:
        if found := NO_SCHEMA.match(line):
            unknown[Path(found[1]).name].add((found[3], found[2]))
        elif found := ERROR.match(line):
            faults[Path(found[1]).name].append(found[2].strip())
        elif not line.startswith("INFO"):
            faults[""].append(line)
    assert done.returncode == 0 or faults, done.stderr
    return Validated(faults, unknown)


def checked(folder: Path, *, framework: str, skip: Iterable[str] = ()) -> tuple[int, dict[str, list[str]]]:
    """Return how many of checkov's checks passed in a folder, and which failed, by file name."""
    command = [
        *(str(TOOLS / "checkov"), "-d", str(folder), "--framework", framework, "-o", "json", "--quiet", "--compact"),
        *(argument for check in skip for argument in ("--skip-check", check)),
    ]
    environment = {**os.environ, "BC_SKIP_MAPPING": "TRUE", "LOG_LEVEL": "ERROR"}
    done = subprocess.run(
        [*command, "--skip-download"], capture_output=True, text=True, check=False, env=environment, cwd=folder
    )
    assert done.stdout.strip(), done.stderr
    report = json.loads(done.stdout)
    parts = report if isinstance(report, list) else [report]
    failed: dict[str, list[str]] = defaultdict(list)
    passed = 0
    for part in parts:
        passed += part.get("summary", part).get("passed", 0)
        for check in part.get("results", {}).get("failed_checks", []):
            failed[Path(check["file_path"]).name].append(f"{check['check_id']} {check['resource']}")
    return passed, dict(failed)
