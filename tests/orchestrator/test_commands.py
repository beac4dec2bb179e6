"""A command that only this test has: written in one file, it is served, carried out once, swept and repeated.

It takes the place of the service's own of that name, of which it has nothing."""

from __future__ import annotations

import uuid
from functools import partial

from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from batzen.orchestrator.v1.orchestrator_pb2_grpc import (
    OrchestratorServiceStub,
    add_OrchestratorServiceServicer_to_server,
)
from local.ports import free_ports
from services.orchestrator.__main__ import LIMITS
from services.orchestrator.commands.command import Command
from services.orchestrator.commands.registry import Registry
from services.orchestrator.domain.errors import PaymentState
from services.orchestrator.domain.plan import Request, RequestKey
from services.orchestrator.queries import Queries
from services.orchestrator.request_runner import RequestRunner
from services.orchestrator.servicers.payments import OrchestratorServicer
from services.orchestrator.sessions import PaymentSessions
from services.orchestrator.sweep import Sweep
from services.orchestrator.transition_outbox import TransitionOutbox
from services.orchestrator.unit_of_work import UnitOfWork
from services.runtime.database.idempotency import request_hash
from services.runtime.database.lease import LEASE
from services.shared import fields
from services.shared.states import State
from tests.orchestrator.conftest import HOST, Journeys, Orchestrator, World
from tests.orchestrator.samples import PAYER, Clock, cancel, new_id, refused


class PreservePayment(Command[pb.PreservePaymentRequest, pb.PreservePaymentResponse]):
    """Counts how often it was carried out, and keeps that from what is stored."""

    request_type = pb.PreservePaymentRequest
    response_type = pb.PreservePaymentResponse

    def __init__(self, outbox: TransitionOutbox) -> None:
        self._outbox = outbox
        self.times = 0

    def validate(self, message: pb.PreservePaymentRequest) -> None:
        fields.payment_id(message.payment_id)

    def payment_id(self, message: pb.PreservePaymentRequest, key: RequestKey) -> str:
        return message.payment_id

    async def perform(
        self, work: UnitOfWork, request: Request, message: pb.PreservePaymentRequest
    ) -> pb.PreservePaymentResponse:
        if work.plan.latest_snapshot.collection is State.CANCELED:
            raise PaymentState(state=work.plan.latest_snapshot.collection)
        self.times += 1
        answer = pb.PreservePaymentResponse(payment=await self._outbox.payment(work))
        answer.preserve_time.FromSeconds(self.times)
        return answer

    def redact(self, answer: pb.PreservePaymentResponse) -> None:
        answer.ClearField("preserve_time")

    async def refresh(
        self, request: Request, message: pb.PreservePaymentRequest, answer: pb.PreservePaymentResponse
    ) -> None:
        answer.preserve_time.FromSeconds(1_000 + self.times)


async def test_a_command_needs_no_more_than_its_file_its_rpc_and_its_callers(
    world: World, replica: Orchestrator, journeys: Journeys, clock: Clock
) -> None:
    parts = replica.parts
    command = PreservePayment(parts.outbox)
    registry = Registry(*parts.commands, command)
    runner = RequestRunner(parts.store, parts.payments, parts.steps, parts.outbox, registry, now=clock.now)
    queries = Queries(
        parts.store,
        parts.payments,
        PaymentSessions(parts.store, parts.outbox, parts.peers),
        parts.peers,
        parts.claim_store,
        now=clock.now,
    )
    servicer = OrchestratorServicer(registry, runner, queries, parts.syncs, parts.receipts)  # type: ignore[abstract]
    sweep = Sweep(
        parts.store,
        parts.payments,
        parts.steps,
        parts.outbox,
        runner,
        due_steps=parts.due_steps,
        surplus=parts.surplus,
        fraud_refunds=parts.fraud_refunds,
    )
    async with (
        world.serving(
            partial(add_OrchestratorServiceServicer_to_server, servicer),
            address=f"{HOST}:{free_ports()['orchestrator']}",
            limits=LIMITS,
        ) as server,
        world.channel(server.port, PAYER, roles=("payer",)) as channel,
    ):
        stub = OrchestratorServiceStub(channel)
        payment_id = await journeys.started()
        asked = pb.PreservePaymentRequest(request_id=new_id(), payment_id=payment_id)
        first = await stub.PreservePayment(asked)
        assert (first.payment.payment_id, first.preserve_time.seconds) == (payment_id, 1)
        again = await stub.PreservePayment(asked)
        assert (again.payment, again.preserve_time.seconds) == (first.payment, 1_001)

        # Whoever accepted the next one dies over it, and the sweep carries it on.
        late = pb.PreservePaymentRequest(request_id=new_id(), payment_id=payment_id)
        request = Request(
            key=RequestKey(tenant_id="main", caller=PAYER, method=command.name, request_id=uuid.UUID(late.request_id)),
            request_hash=request_hash(late),
            payment_id=payment_id,
            command=command.stored(late),
        )
        accepted = await parts.store.accept(request, payer_id=PAYER, point="test.accept", now=clock.now())
        assert accepted.plan is not None
        clock.advance(LEASE)
        await replica.engine(*sweep.kinds).once()
        assert command.times == 2
        assert (await stub.PreservePayment(late)).preserve_time.seconds == 1_002

        assert (await refused(stub.PreservePayment(pb.PreservePaymentRequest()))).field == "payment_id"
        await stub.CancelPayment(cancel(payment_id))
        last = pb.PreservePaymentRequest(request_id=new_id(), payment_id=payment_id)
        for _ in range(2):  # a refusal is kept like an answer
            assert (await refused(stub.PreservePayment(last))).reason == "PAYMENT_STATE"
    assert command.times == 2
