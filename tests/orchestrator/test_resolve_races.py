"""Operators decide about a payment while its payer, its shop, its bank and Stripe move it, on two replicas: one truth.

BATZEN_RACE_SEED=7 make soak     the rounds of that seed
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

import pytest
from google.protobuf.message import Message
from grpc import aio

from batzen.orchestrator.v1 import ops_pb2
from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from batzen.orchestrator.v1.ops_pb2_grpc import OrchestratorOpsServiceStub
from batzen.orchestrator.v1.orchestrator_pb2_grpc import OrchestratorServiceStub
from services.orchestrator.domain.resolution import Resolution
from tests.orchestrator.conftest import Journeys, Orchestrator, Say, World
from tests.orchestrator.resolutions import paid_late, resolve
from tests.orchestrator.samples import PAYER, new_id, refund, submit
from tests.orchestrator.stripe_truth import FAULTS_OF_OURS, Followed, at_stripe, check_history
from tests.orchestrator.test_hold_races import ROUNDS, SEED, SHORT_SEED, TURNS_MAX
from tests.orchestrator.test_refund_races import after
from tests.orchestrator.test_surplus import paid_twice

SHORT_ROUNDS: Final = 3
DECISIONS: Final = 3
"""Of operators in one round."""
MAY_BE_REFUSED: Final = frozenset({"FAILED_PRECONDITION", "UNAVAILABLE", "ABORTED", "RESOURCE_EXHAUSTED"})
KEPT: Final = frozenset({"RESOLUTION_DOES_NOT_FIT", "LEDGER_CONTRADICTED", "REFUNDABLE_CHANGED", "REFUND_REFUSED"})


class Race:
    """Lets contestants run, and looks at what became of the payment."""

    def __init__(
        self,
        journeys: Journeys,
        replica: Orchestrator,
        stubs: list[OrchestratorServiceStub],
        ops: list[OrchestratorOpsServiceStub],
    ) -> None:
        self._journeys = journeys
        self._replica = replica
        self._stubs = stubs
        self._ops = ops

    async def round(self, chance: random.Random) -> None:
        """Begin somewhere, let everybody act at once, and see that all who say something say the same."""
        payment_id = await chance.choice([self._fresh, self._twice, self._late])()
        asked = [self._decision(payment_id, chance) for _ in range(DECISIONS)]
        traffic: list[Callable[[], Awaitable[object]]] = [
            lambda: chance.choice(self._stubs).SubmitPayment(submit(payment_id)),
            lambda: chance.choice(self._stubs).CancelPayment(
                pb.CancelPaymentRequest(request_id=new_id(), payment_id=payment_id)
            ),
            lambda: chance.choice(self._stubs).RefundPayment(refund(payment_id, chance.randrange(1, 5_000))),
            lambda: chance.choice(self._stubs).SyncPayment(pb.SyncPaymentRequest(payment_id=payment_id)),
            lambda: self._news(payment_id),
            self._replica.move,
        ]
        acts = [_quietly(chance.choice(self._ops).ResolvePayment(one)) for one in asked]
        acts += [_quietly(act()) for act in chance.sample(traffic, 3)]
        chance.shuffle(acts)
        await asyncio.gather(*(after(chance.randrange(TURNS_MAX), act) for act in acts))
        for _ in range(2):  # a request that met a lease, or an answer that was lost, is carried on
            await self._news(payment_id)
            await self._replica.sweep()
        for one in asked:
            await _quietly(self._ops[0].ResolvePayment(one))
        await self._check(payment_id, asked)

    async def _fresh(self) -> str:
        return await self._journeys.started()

    async def _twice(self) -> str:
        payment_id, _ = await paid_twice(self._journeys)
        await self._news(payment_id)
        await self._replica.sweep()
        return payment_id

    async def _late(self) -> str:
        return await paid_late(self._replica, self._journeys)

    @staticmethod
    def _decision(payment_id: str, chance: random.Random) -> ops_pb2.ResolvePaymentRequest:
        way = chance.choice([one for one in Resolution if one is not Resolution.GIVE_UP_TRANSITIONS])
        return resolve(payment_id, way, clear_attention=chance.random() < 0.2)

    async def _news(self, payment_id: str) -> None:
        await self._journeys.deliver(await self._journeys.synced(payment_id))

    async def _check(self, payment_id: str, asked: list[ops_pb2.ResolvePaymentRequest]) -> None:
        payment, seen = await self._journeys.payment(payment_id), await at_stripe(self._journeys.stripe, payment_id)
        check_history(
            Followed(payment_id=payment_id, payer_id=PAYER, timing=pb.TIMING_UNSPECIFIED),
            await self._journeys.transitions(payment_id),
        )
        amounts = payment.snapshot.amounts
        ours = amounts.captured_minor - amounts.refunded_minor - amounts.refund_pending_minor + amounts.surplus_minor
        gone = seen.refunded("succeeded") + seen.refunded("pending")
        assert ours == sum(seen.received) - gone, "what is left is what Stripe has left"
        assert amounts.captured_minor in (0, *seen.received)
        assert not {one.reason for one in payment.snapshot.attentions} & FAULTS_OF_OURS
        plan = await self._journeys.plan(payment_id)
        assert (plan.revision, list(plan.pending_steps)) == (payment.revision, [])
        kept = (
            await self._ops[0].ListOperatorActions(ops_pb2.ListOperatorActionsRequest(payment_id=payment_id))
        ).actions
        assert sorted(one.request_id for one in kept) == sorted(one.request_id for one in asked), "each once"
        assert {one.refusal for one in kept} <= {"", *KEPT}


async def _quietly(act: Awaitable[Message | object]) -> None:
    """Do something that may be refused by how the payment stands, or meet one that is held."""
    try:
        await act
    except aio.AioRpcError as error:
        if error.code().name not in MAY_BE_REFUSED:
            raise


@pytest.fixture
async def race(world: World, replica: Orchestrator, journeys: Journeys) -> AsyncIterator[Race]:
    async with (
        world.orchestrator() as other,
        replica.connect() as stub,
        other.connect() as other_stub,
        replica.connect_ops() as ops,
        other.connect_ops() as other_ops,
    ):
        yield Race(journeys, replica, [stub, other_stub], [ops, other_ops])


async def test_decisions_and_traffic_have_one_truth(race: Race) -> None:
    chance = random.Random(f"{SHORT_SEED}/resolve")
    for _ in range(SHORT_ROUNDS):
        await race.round(chance)


@pytest.mark.soak
async def test_many_decisions_and_traffic_have_one_truth_each(race: Race, say: Say) -> None:
    say(f"BATZEN_RACE_SEED={SEED} resolve\n")
    chance = random.Random(f"{SEED}/resolve")
    for _ in range(ROUNDS):
        await race.round(chance)
