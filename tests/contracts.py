"""What the contracts say, read from the `.proto` files and from their compiled descriptors."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from types import ModuleType
from typing import Final

ROOT: Final = Path(__file__).parents[1]
PREFIX: Final = "ERROR_REASON_"
COMMON_BELOW: Final = 20
"""Values below are common to the suite; the runtime answers with them for every service."""


def reasons_of(package: str) -> dict[str, int]:
    """Return the reasons of a package without their prefix, and their numbers."""
    enum = _errors(package).ErrorReason
    return {name.removeprefix(PREFIX): number for name, number in enum.items() if number != 0}


def comments_of_reasons(package: str) -> dict[str, str]:
    """Return the reasons of a package with what their comments say."""
    text = (ROOT / f"protos/batzen/{package}/v1/errors.proto").read_text()
    found = re.findall(rf"((?:  // .*\n)+)  {PREFIX}(\w+) = (\d+)(?: \[deprecated = true\])?;", text)
    return {
        reason: " ".join(line.strip().removeprefix("//").strip() for line in comment.splitlines())
        for comment, reason, number in found
        if number != "0"
    }


def _errors(package: str) -> ModuleType:
    return importlib.import_module(f"batzen.{package}.v1.errors_pb2")
