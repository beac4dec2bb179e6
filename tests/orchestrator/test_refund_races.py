"""Those who want money back at once, on two replicas, and a bank that takes it meanwhile: one truth after each round.

BATZEN_RACE_SEED=7 make soak     the rounds of that seed
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable
from typing import Final

import pytest
from grpc import aio

from batzen.orchestrator.v1.orchestrator_pb2_grpc import OrchestratorServiceStub
from tests.orchestrator.carts import GROSSES, cart
from tests.orchestrator.conftest import Journeys, Orchestrator, Say, World
from tests.orchestrator.samples import TOTAL_MINOR, chf, refund
from tests.orchestrator.test_hold_races import ROUNDS, SEED, SHORT_SEED, TURNS_MAX
from tests.orchestrator.test_several_sellers import preview

SHORT_ROUNDS: Final = (2, pytest.param(10, marks=pytest.mark.faults))
CALLERS: Final = 20
TRIES: Final = 3
"""Of one caller, each with the balance as it is then."""


async def after(turns: int, contestant: Awaitable[None]) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)
    await contestant


class Race:
    """Lets contestants run, and looks at what became of the payment."""

    def __init__(
        self, world: World, journeys: Journeys, replica: Orchestrator, stubs: list[OrchestratorServiceStub]
    ) -> None:
        self._world = world
        self._journeys = journeys
        self._replica = replica
        self._stubs = stubs

    async def dispute(self, chance: random.Random) -> None:
        """Two refunds, of which one fits beside the dispute at most at times, and the dispute."""
        payment_id = await self._journeys.paid()
        [intent] = await self._journeys.intents(payment_id)
        given: list[int] = []
        disputing = self._dispute(intent["id"], chance.randrange(1, TOTAL_MINOR + 1))
        refunding = [self._refund(payment_id, chance.randrange(1, TOTAL_MINOR), given, chance) for _ in range(2)]
        contestants = [disputing, *refunding]
        chance.shuffle(contestants)
        await asyncio.gather(*(after(chance.randrange(TURNS_MAX), one) for one in contestants))
        await self._journeys.deliver(await self._journeys.synced(payment_id))
        await self._replica.sweep()

        amounts = (await self._journeys.payment(payment_id)).snapshot.amounts
        made = [one["amount"] for one in await self._journeys.refunds(payment_id) if one["status"] == "succeeded"]
        assert sum(made) == amounts.refunded_minor <= amounts.captured_minor == TOTAL_MINOR
        assert sorted(made) == sorted(given), "who was answered got it, and nobody else"
        assert amounts.refund_pending_minor == 0
        assert amounts.disputed_open_minor > 0

    async def sellers(self, chance: random.Random) -> None:
        """Many refunds of a cart's sellers."""
        lines = await cart(self._world)
        parts = dict(zip((one.seller_id for one in lines), GROSSES, strict=True))
        payment_id = await self._journeys.paid(lines=lines)
        given: dict[str, list[int]] = {seller_id: [] for seller_id in parts}
        contestants = []
        for _ in range(CALLERS):
            seller_id = chance.choice(list(parts))
            minor = chance.randrange(1, parts[seller_id])
            contestants.append(self._refund(payment_id, minor, given[seller_id], chance, seller_id=seller_id))
        await asyncio.gather(*(after(chance.randrange(TURNS_MAX), one) for one in contestants))

        made = sum(one["amount"] for one in await self._journeys.refunds(payment_id))
        assert made == sum(map(sum, given.values()))
        assert all(sum(given[seller_id]) <= gross for seller_id, gross in parts.items())
        seen = await self._stubs[0].PreviewRefund(preview(payment_id))
        left = {one.seller_id: one.gross.amount_minor for one in seen.seller_parts}
        assert left == {
            seller_id: rest for seller_id, gross in parts.items() if (rest := gross - sum(given[seller_id]))
        }

    async def _dispute(self, intent_id: str, minor: int) -> None:
        await self._journeys.stripe.dispute(intent_id, amount=minor)

    async def _refund(
        self, payment_id: str, minor: int, given: list[int], chance: random.Random, *, seller_id: str = ""
    ) -> None:
        stub = chance.choice(self._stubs)
        for _ in range(TRIES):
            try:
                seen = await stub.PreviewRefund(preview(payment_id))
                left = chf(seen.refundable.amount_minor)
                asked = refund(payment_id, minor, expected_refundable=left, seller_id=seller_id)
                given.append((await stub.RefundPayment(asked)).amount.amount_minor)
            except aio.AioRpcError:
                continue  # the balance changed, is less, or is frozen
            return


@pytest.fixture
async def race(world: World, replica: Orchestrator, journeys: Journeys) -> AsyncIterator[Race]:
    async with world.orchestrator() as other, replica.connect() as stub, other.connect() as other_stub:
        yield Race(world, journeys, replica, [stub, other_stub])


@pytest.mark.parametrize("rounds", SHORT_ROUNDS)
async def test_a_dispute_and_refunds_have_one_truth(race: Race, rounds: int) -> None:
    chance = random.Random(f"{SHORT_SEED}/dispute")
    for _ in range(rounds):
        await race.dispute(chance)


async def test_no_seller_gives_back_more_than_it_has(race: Race) -> None:
    await race.sellers(random.Random(f"{SHORT_SEED}/sellers"))


@pytest.mark.soak
async def test_many_disputes_and_refunds_have_one_truth_each(race: Race, say: Say) -> None:
    say(f"BATZEN_RACE_SEED={SEED} dispute\n")
    chance = random.Random(f"{SEED}/dispute")
    for _ in range(ROUNDS):
        await race.dispute(chance)


@pytest.mark.soak
async def test_in_many_rounds_no_seller_gives_back_more_than_it_has(race: Race, say: Say) -> None:
    say(f"BATZEN_RACE_SEED={SEED} sellers\n")
    chance = random.Random(f"{SEED}/sellers")
    for _ in range(ROUNDS // 10):
        await race.sellers(chance)
