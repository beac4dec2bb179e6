"""Replicas that are processes, and a good report, for all tests of a test process."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.status.history.harness.cluster import REPLICAS, Cluster, running_cluster
from tests.status.history.model.playing import Played, play


@pytest.fixture(scope="session")
async def cluster() -> AsyncIterator[Cluster]:
    """Running replicas. Whoever makes trouble mends it."""
    folder = Path(tempfile.mkdtemp(prefix="batzen-history-"))
    folder.chmod(0o711)  # the database's own user enters it
    try:
        async with running_cluster(folder, replicas=REPLICAS) as running:
            yield running
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
async def good() -> Played:
    """What a model that keeps the contract stored, and what was reported of it."""
    return await play("good", bug=None, seconds=1.0, watches=120, caught_up_within_s=10)
