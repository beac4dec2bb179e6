"""Hundreds of watchers on several replicas while things go wrong: each is sent exactly what is stored.

make soak                                             rounds for three minutes, from a new seed
BATZEN_HISTORY_SEED=7 BATZEN_HISTORY_SECONDS=600 make soak
BATZEN_HISTORY_SEED=7/3 BATZEN_HISTORY_SECONDS=1 …    one round alone, whose seed a failure told
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections import Counter
from typing import Final

import pytest

from tests.status.history.harness.cluster import Cluster
from tests.status.history.harness.round import Outcome, Size, play_round

# Read now: no setting of the person who runs the tests reaches a test.
SEED: Final = os.environ.get("BATZEN_HISTORY_SEED") or str(random.SystemRandom().randrange(1_000_000))
SECONDS: Final = float(os.environ.get("BATZEN_HISTORY_SECONDS") or 180)

SHORT_SEED: Final = "13"
SHORT: Final = Size(seconds=8, trouble_every_s=0.6, watchers=500, payments=40, writes_per_s=200)
LONG: Final = Size(seconds=25, trouble_every_s=1.0, watchers=500, payments=60, writes_per_s=200)


async def test_a_short_history_under_trouble_is_seen_as_it_is_stored(cluster: Cluster) -> None:
    outcome = await play_round(cluster, SHORT_SEED, SHORT)

    assert_all_is_well(outcome, SHORT)


@pytest.mark.soak
async def test_long_histories_under_trouble_are_seen_as_they_are_stored(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    def say(text: str) -> None:
        with capsys.disabled():
            sys.stderr.write(f"\n{text}")

    say(f"BATZEN_HISTORY_SEED={SEED} BATZEN_HISTORY_SECONDS={SECONDS:.0f}\n")
    until, number, told = time.monotonic() + SECONDS, 0, Counter[str]()
    while time.monotonic() < until:
        outcome = await play_round(cluster, f"{SEED}/{number}" if number else SEED, LONG)
        assert_all_is_well(outcome, LONG)
        told.update(outcome.told)
        number += 1
    say("\n".join([f"{number} rounds", *(f"{count:8} {what}" for what, count in sorted(told.items()))]) + "\n")


def assert_all_is_well(outcome: Outcome, size: Size) -> None:
    """Nothing was found, and that says something: a round in which little was written or seen would prove little."""
    told = outcome.told
    ends = sum(count for what, count in told.items() if what.startswith("ends of"))
    little = [
        what
        for what, is_little in {
            "written": told["transitions stored"] < size.writes_per_s * size.seconds / 20,
            "seen": told["transitions seen"] < 5 * told["transitions stored"],
            "resumed": ends < size.watchers,
            "made of the plan": not {f"trouble: {trouble.kind}" for trouble in outcome.plan} <= told.keys(),
        }.items()
        if is_little
    ]
    if outcome.findings or little:
        pytest.fail("\n".join([str(outcome), *(f"little was {what}" for what in little)]), pytrace=False)
