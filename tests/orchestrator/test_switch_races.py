"""A payer who pays while their payment goes to another attempt, is resumed, or ends: one truth after each round.

BATZEN_RACE_SEED=7 make soak     the rounds of that seed
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import pytest
from grpc import aio

from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from batzen.orchestrator.v1.orchestrator_pb2_grpc import OrchestratorServiceStub
from sandbox.control import Refused
from services.orchestrator.domain.policies import ABANDONED_AFTER
from tests.orchestrator.conftest import Journeys, Orchestrator, World
from tests.orchestrator.samples import TOTAL_MINOR, page, resume, retry, start, state_of, submit
from tests.refusals import details_of

# Read now: no setting of the person who runs the tests reaches a test.
SEED: Final = int(os.environ.get("BATZEN_RACE_SEED") or random.SystemRandom().randrange(1_000_000))
ROUNDS: Final = 200
SHORT_SEED: Final = 11
SHORT_ROUNDS: Final = 2
TURNS_MAX: Final = 40
"""Of the event loop, by which one may begin later than another."""
KINDS: Final = ("page, form", "form, page", "page, page", "expiry, resume", "expiry, retry")
"""What is open and what is asked for while the payer pays on it; or who wants to go on while the payment ends."""

Say = Callable[[str], None]


class Race:
    """Lets contestants run, and looks at what became of the payment."""

    def __init__(self, world: World, journeys: Journeys, replicas: list[Orchestrator], stubs: list[Any]) -> None:
        self._world = world
        self._journeys = journeys
        self._replicas = replicas
        self._stubs: list[OrchestratorServiceStub] = stubs

    async def run(self, kind: str, chance: random.Random) -> None:
        """Run one round of a kind."""
        before, wanted = kind.split(", ")
        session = (await self._journeys.orchestrator.StartPayment(page() if before == "page" else start())).session
        payment_id = session.payment.payment_id
        if before == "expiry":
            self._world.clock.advance(ABANDONED_AFTER)
            asked: Any = resume(payment_id) if wanted == "resume" else retry(payment_id)
            contestants = [self._ask(chance, asked), self._replicas[0].move()]
        else:
            form = pb.COLLECTION_ELEMENTS if wanted == "form" else pb.COLLECTION_CHECKOUT
            contestants = [
                self._ask(chance, retry(payment_id, collection=form)),
                self._ask(chance, retry(payment_id, collection=form)),
                self._pay(chance, session),
            ]
        chance.shuffle(contestants)
        await asyncio.gather(*(self._after(chance.randrange(TURNS_MAX), contestant) for contestant in contestants))
        await self._journeys.deliver(await self._journeys.synced(payment_id))
        await self._replicas[0].sweep()
        await self._check(payment_id)

    async def _after(self, turns: int, contestant: Awaitable[object]) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        await contestant

    async def _ask(self, chance: random.Random, asked: Any) -> None:
        """Ask for another attempt, or to go on; whoever is late is told so."""
        method = type(asked).__name__.removesuffix("Request")
        try:
            await getattr(chance.choice(self._stubs), method)(asked)
        except aio.AioRpcError as error:
            if details_of(error).reason not in {"PAYMENT_STATE", "ATTEMPT_OPEN"}:
                raise

    async def _pay(self, chance: random.Random, session: pb.PaymentSession) -> None:
        """Pay on what was open."""
        if session.checkout_url:
            try:
                await self._journeys.stripe.pay_session(session.checkout_url)
            except Refused:  # the page is over
                return
            return
        try:
            await chance.choice(self._stubs).SubmitPayment(submit(session.payment.payment_id))
        except aio.AioRpcError as error:
            if details_of(error).reason != "PAYMENT_STATE":
                raise

    async def _check(self, payment_id: str) -> None:
        """What status says and what Stripe has are one truth: one charge, or one open attempt, or an end."""
        journeys = self._journeys
        payment = await journeys.payment(payment_id)
        charges = await journeys.charges(payment_id)
        intents = [one for one in await journeys.intents(payment_id) if one["status"] not in ("canceled", "succeeded")]
        still_open = len(intents) + sum(one["status"] == "open" for one in await journeys.pages(payment_id))
        state, amounts = state_of(payment), payment.snapshot.amounts
        found = (state, len(charges), still_open)
        assert found in {("SUCCEEDED", 1, 0), ("EXPIRED", 0, 0), ("REQUIRES_PAYMENT_METHOD", 0, 1)}, found
        assert amounts.captured_minor == (TOTAL_MINOR if state == "SUCCEEDED" else 0)
        assert not payment.snapshot.HasField("attention")
        assert (await journeys.plan(payment_id)).pending_steps == []


@pytest.fixture
async def race(world: World, replica: Orchestrator, journeys: Journeys) -> AsyncIterator[Race]:
    async with world.orchestrator() as other, replica.connect() as one, other.connect() as two:
        yield Race(world, journeys, [replica, other], [one, two])


@pytest.mark.parametrize("kind", KINDS)
async def test_who_pays_and_who_changes_over_at_once_have_one_truth(kind: str, race: Race) -> None:
    chance = random.Random(SHORT_SEED)
    for _ in range(SHORT_ROUNDS):
        await race.run(kind, chance)


@pytest.mark.soak
@pytest.mark.parametrize("kind", KINDS)
async def test_many_who_pay_and_change_over_at_once_have_one_truth(kind: str, race: Race, tell: Say) -> None:
    chance = random.Random(SEED)
    for number in range(ROUNDS):
        tell(f"BATZEN_RACE_SEED={SEED}, {kind}: round {number + 1} of {ROUNDS}")
        await race.run(kind, chance)


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str]) -> Say:
    def say(line: str) -> None:
        with capsys.disabled():
            sys.stderr.write(f"{line}\n")

    return say
