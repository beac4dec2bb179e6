"""Random histories of webhooks by seed: receivers fail and recover, processes die, and each is told all, in order.

BATZEN_HOOKS_SEED=7 make soak     the histories of that seed
"""

from __future__ import annotations

import asyncio
import os
import random
from contextlib import AsyncExitStack
from datetime import timedelta

import pytest

from local.databases import ServiceDatabase
from services.orchestrator.webhooks_out.domain import DeliveryState
from services.runtime.database.lease import LEASE
from tests.orchestrator.conftest import Say
from tests.orchestrator.hooks import Room, new_name, of, room
from tests.orchestrator.lives import Life
from tests.orchestrator.receivers import Received, closes, receiver, resets, says
from tests.orchestrator.test_webhook_crashes import living

HISTORIES = 12
ROUNDS = 30
RECEIVERS = 3
PAYMENTS = 6
ANSWERS = (says("200 OK"), says("500 Internal Server Error"), closes, resets)
RECOVERED = timedelta(hours=1.5)
LAST = "SELECT coalesce(max(revision), 0) AS n FROM webhook_deliveries WHERE tenant_id = $1 AND payment_id = $2"


class Moody:
    """Answers well, or not, or says nothing of what it took, as the dice say."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self.mood = 0.0
        """How often it does not answer well."""

    async def __call__(self, received: Received, writer: asyncio.StreamWriter) -> None:
        bad = self._dice.random() < self.mood
        await (self._dice.choice(ANSWERS[1:]) if bad else ANSWERS[0])(received, writer)


@pytest.mark.soak
@pytest.mark.filterwarnings("ignore:coroutine 'Sender.send' was never awaited")
async def test_each_receiver_is_told_all_in_order_whatever_happens(
    database: ServiceDatabase, monkeypatch: pytest.MonkeyPatch, say: Say
) -> None:
    seed = int(os.environ.get("BATZEN_HOOKS_SEED") or random.SystemRandom().randrange(1_000_000))
    say(f"webhooks: BATZEN_HOOKS_SEED={seed}")
    deaths = sent = 0
    for number in range(HISTORIES):
        dice = random.Random(f"{seed} {number}")
        async with AsyncExitStack() as stack:
            hooks = await stack.enter_async_context(room(database.runtime_url))
            moods = [Moody(dice) for _ in range(RECEIVERS)]
            receivers = [await stack.enter_async_context(receiver(mood)) for mood in moods]
            for place, one in enumerate(receivers):
                await hooks.subscribe(f"system-{place}", one.url())
            revisions = dict.fromkeys((new_name("pay_") for _ in range(PAYMENTS)), 0)
            for _ in range(ROUNDS):
                dice.choice(moods).mood = dice.choice((0.0, 0.0, 0.3, 1.0))
                life = Life(ends_at=dice.randrange(1, 120))
                with living(monkeypatch, life):
                    await _moved(hooks, dice, revisions)
                deaths += bool(life.place)
                hooks.later(LEASE + timedelta(seconds=dice.choice((0, 8, 60, 700))))
            for mood in moods:
                mood.mood = 0.0
            hooks.later(RECOVERED)
            await hooks.send()
            assert await hooks.states(state=DeliveryState.WAITING) == []
            for payment_id, least in revisions.items():
                last = (await hooks.row(LAST, payment_id))["n"]
                assert last >= least
                for one in receivers:
                    arrived = of(payment_id, one.requests)
                    assert arrived == sorted(arrived), f"BATZEN_HOOKS_SEED={seed}, history {number}"
                    assert set(arrived) == set(range(1, last + 1)), f"BATZEN_HOOKS_SEED={seed}, history {number}"
            sent += sum(len(one.requests) for one in receivers)
    say(f"webhooks: {HISTORIES} histories, {deaths} deaths, {sent} tries")


async def _moved(hooks: Room, dice: random.Random, revisions: dict[str, int]) -> None:
    """Move some payments, and send what is due; what was kept by a process that died is kept again by the next one."""
    for payment_id in dice.sample(list(revisions), k=dice.randrange(1, PAYMENTS)):
        last = revisions[payment_id] + dice.randrange(1, 3)
        await hooks.happen(payment_id, *range(revisions[payment_id] + 1, last + 1))
        revisions[payment_id] = last
    await hooks.send()
