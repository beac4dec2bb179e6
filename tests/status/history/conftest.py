"""Replicas that are processes, and a good report, for all tests of a test process."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest

from tests.status.history.harness.cluster import REPLICAS, Cluster, running_cluster
from tests.status.history.model.playing import Played, play
from tests.status.history.reports import AfterMessage, Came, Stretch

ENOUGH: Final = 3


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
    """What a model that keeps the contract stored, and what was reported of it: a longer round on a busier machine."""
    for seconds in (1.0, 2.0, 4.0):
        played = await _play_good(seconds)
        if _is_rich(played):
            return played
    return await _play_good(8.0)


async def _play_good(seconds: float) -> Played:
    return await play("good", bug=None, seconds=seconds, watches=120, caught_up_within_s=10)


def _is_rich(played: Played) -> bool:
    """Whether there is enough of what rarely comes about, so that each change that tests make has a place."""
    stretches = [stretch for watcher in played.report.ones for stretch in watcher.streams]
    feeds = [stream for feed in played.report.feeds for stream in feed.streams]
    rare = (
        sum(stretch.ended is not None and stretch.ended.code == "OK" and _received(stretch) for stretch in stretches),
        sum(played.lines[stretch.asked.payment_id].known_by(stretch.asked.at_us) > 1 for stretch in stretches),
        sum(isinstance(feed.origin, AfterMessage) and feed.ended is None and feed.origin.index > 0 for feed in feeds),
    )
    return min(rare) >= ENOUGH


def _received(stretch: Stretch) -> bool:
    return any(isinstance(event, Came) for event in stretch.events)
