"""Rolling updates of every service and front under load, as a cluster does them: no call fails, no watcher misses
anything, and neither does a browser.

make soak                                     20 of each, from a new seed
BATZEN_ROLLING_SEED=7 BATZEN_ROLLING_RESTARTS=3 make soak

What counts as a failed call: one that a `batzen.client.Client` raises to whoever made it, after the retries of its
channel (at most four tries of gRPC's own, of UNAVAILABLE and CANCELLED alone), unless the payment's state refuses it.
Of a browser: a request that is answered with an error, or not at all. A connection that is refused is tried again, as
the proxy in front of the pages does.
"""

from __future__ import annotations

import asyncio
import os
import random
from typing import Final

import pytest

from local.suite import Suite
from tests.suite.browsers import Told, unheard
from tests.suite.cluster import DEPLOYED, Cluster
from tests.suite.cluster_load import Say, unbroken, under_load
from tests.suite.cluster_payers import Load
from tests.suite.journeys import Traveller

SEED: Final = int(os.environ.get("BATZEN_ROLLING_SEED") or random.SystemRandom().randrange(1_000_000))
RESTARTS: Final = int(os.environ.get("BATZEN_ROLLING_RESTARTS") or 20)
"""Of each service and front."""
ALL_AT_ONCE_EVERY: Final = 5
"""Rounds in which all services are rolled at once, as a release does it; in the others one after the other."""


@pytest.mark.soak
async def test_rolling_restarts_fail_no_call_and_cost_no_watcher_anything(
    suite: Suite, traveller: Traveller, say: Say
) -> None:
    say(f"BATZEN_ROLLING_SEED={SEED} BATZEN_ROLLING_RESTARTS={RESTARTS}\n")
    load = Load(SEED)
    wrongs = await under_load(suite, traveller, load, lambda cluster: roll_all(cluster, RESTARTS), say)
    assert load.failures == []
    assert wrongs == []
    assert load.came_back > 0, "no browser's stream met the end of a pod: nothing was shown of streams"


@pytest.mark.soak
async def test_an_update_that_takes_all_pods_away_is_seen_by_callers_and_costs_no_payment(
    suite: Suite, traveller: Traveller, say: Say
) -> None:
    load = Load(SEED)
    wrongs = await under_load(suite, traveller, load, lambda cluster: cluster.take_away("status"), say)
    assert any("status.GetPayment" in failure for failure in load.failures)
    assert wrongs == []


def test_a_feed_that_left_something_out_is_seen() -> None:
    assert unbroken({"pay_1": [1, 2, 4], "pay_2": [3, 4], "pay_3": [2, 1]}) == [
        "the feed has [1, 2, 4] of pay_1",
        "the feed has [2, 1] of pay_3",
    ]


def test_a_browser_that_missed_a_revision_or_its_end_is_seen() -> None:
    def tab(*revisions: int, is_settled: bool = True, has_ended: bool = True) -> Told:
        return Told(payment_id="pay", revisions=list(revisions), is_settled=is_settled, has_ended=has_ended)

    assert unheard([tab(1, 2, 3), tab(3)]) == []
    assert unheard([tab(1, 2, 4), tab(1, 2, 2, 3), tab(2, 1), tab()]) == [
        "a browser was told [1, 2, 4] of pay",
        "a browser was told [1, 2, 2, 3] of pay",
        "a browser was told [2, 1] of pay",
        "a browser was told [] of pay",
    ]
    assert unheard([tab(1, 2, has_ended=False), tab(1, 2, is_settled=False)]) == [
        "a browser's stream of pay did not end, and it was settled at [2]",
        "a browser's stream of pay ended, and it was not settled at [2]",
    ]


async def roll_all(cluster: Cluster, rounds: int) -> None:
    """Roll each service and front once a round."""
    chance = random.Random(f"{SEED}/rounds")
    for number in range(rounds):
        order = chance.sample(DEPLOYED, len(DEPLOYED))
        if number % ALL_AT_ONCE_EVERY == ALL_AT_ONCE_EVERY - 1:
            await asyncio.gather(*(cluster.roll(service) for service in order))
        else:
            for service in order:
                await cluster.roll(service)
