"""What the tests of the runtime share."""

from __future__ import annotations

from pathlib import Path

import pytest

from local.issuer import Issuer
from tests.runtime.echo import NOW


@pytest.fixture(scope="session")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Issuer:
    """An issuer whose clock stands at NOW."""
    path: Path = tmp_path_factory.mktemp("issuer")
    return Issuer(path / "keys", now=lambda: NOW)
