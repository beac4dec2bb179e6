"""Races around a charge that is due: retry, reschedule and cancel against the plan's own try. One truth after each."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from grpc import aio

from batzen.orchestrator.v1.orchestrator_pb2_grpc import OrchestratorServiceStub
from tests.orchestrator.conftest import Journeys, Orchestrator, World
from tests.orchestrator.samples import cancel, reschedule, retry, state_of
from tests.refusals import details_of

SEED = 41
QUICK_ROUNDS, SOAK_ROUNDS = 3, 200
PAUSES_MAX = 12
"""Reads of about a millisecond by which one side is late; a charge takes some tens of them."""
SOON = timedelta(minutes=10)
LATER = timedelta(days=1)

rounds_of = pytest.mark.parametrize("rounds", [QUICK_ROUNDS, pytest.param(SOAK_ROUNDS, marks=pytest.mark.soak)])


class Race:
    """A charge that is due, and a caller who wants something else at the same moment."""

    def __init__(self, replica: Orchestrator, other: Orchestrator, journeys: Journeys, name: str) -> None:
        self._replica = replica
        self._other = other
        self._journeys = journeys
        self._chance = random.Random(f"{SEED}/{name}")

    async def run(self, call: Callable[[str], Awaitable[Any]]) -> tuple[str, str, str]:
        """Run one round; return the payment, its state as the call answered or its reason, and its state then."""
        clock = self._replica.world.clock
        payment_id = await self._journeys.scheduled(clock.now() + SOON)
        clock.advance(SOON + timedelta(seconds=1))
        late = self._chance.randint(-PAUSES_MAX, PAUSES_MAX)
        outcomes = await asyncio.gather(
            self._late(payment_id, -late, self._replica.move()),
            self._late(payment_id, -late, self._other.move()),
            self._late(payment_id, late, _answered(call(payment_id))),
        )
        await self._replica.sweep()
        return payment_id, outcomes[2], state_of(await self._journeys.payment(payment_id))

    async def _late(self, payment_id: str, pauses: int, action: Awaitable[Any]) -> Any:
        for _ in range(pauses):
            await self._journeys.plan(payment_id)
        return await action


async def _answered(call: Awaitable[Any]) -> str:
    """Return the state that a call answered with, or why it was refused."""
    try:
        return state_of((await call).payment)
    except aio.AioRpcError as error:
        details = details_of(error)
        return f"{details.reason} {details.metadata.get('state', '')}".strip()


@rounds_of
async def test_a_retry_against_the_plans_own_try_is_one_charge(
    rounds: int, world: World, replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    async with world.orchestrator() as other:
        race = Race(replica, other, journeys, "retry")
        for _ in range(rounds):
            payment_id, answer, state = await race.run(lambda one: orchestrator.RetryPayment(retry(one)))
            assert answer in ("SUCCEEDED", "PAYMENT_STATE SUCCEEDED")
            assert state == "SUCCEEDED"
            assert len(await journeys.charges(payment_id)) == len(await journeys.intents(payment_id)) == 1
            assert (await journeys.plan(payment_id)).charge_tries == 1


@rounds_of
async def test_a_reschedule_against_the_charge_moves_it_or_comes_too_late(
    rounds: int, world: World, replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    async with world.orchestrator() as other:
        race = Race(replica, other, journeys, "reschedule")
        for _ in range(rounds):
            later = world.clock.now() + LATER
            payment_id, answer, state = await race.run(
                lambda one, later=later: orchestrator.ReschedulePayment(reschedule(one, later))
            )
            truth = ("SCHEDULED", "SCHEDULED", 0), ("PAYMENT_STATE SUCCEEDED", "SUCCEEDED", 1)
            assert (answer, state, len(await journeys.charges(payment_id))) in truth


@rounds_of
async def test_a_cancel_against_the_charge_calls_it_off_or_comes_too_late(
    rounds: int, world: World, replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    async with world.orchestrator() as other:
        race = Race(replica, other, journeys, "cancel")
        for _ in range(rounds):
            payment_id, answer, state = await race.run(lambda one: orchestrator.CancelPayment(cancel(one)))
            truth = ("CANCELED", "CANCELED", 0), ("PAYMENT_STATE SUCCEEDED", "SUCCEEDED", 1)
            assert (answer, state, len(await journeys.charges(payment_id))) in truth
