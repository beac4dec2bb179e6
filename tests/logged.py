"""What a module logged in a test. A worker's suite logs in the background: no test is about the log as a whole."""

from __future__ import annotations

import logging
from types import ModuleType

import pytest


def said_by(module: ModuleType, caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """Return what a module, or one inside of a package, logged so far."""
    name = module.__name__
    return [record for record in caplog.records if record.name == name or record.name.startswith(f"{name}.")]
