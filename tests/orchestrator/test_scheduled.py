"""Scheduled payments: the payer is there once, and the charge is made without them at its time."""

from __future__ import annotations

from datetime import UTC, timedelta

from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from batzen.orchestrator.v1.orchestrator_pb2_grpc import OrchestratorServiceStub
from tests.orchestrator.conftest import Journeys, Orchestrator
from tests.orchestrator.samples import VISA, Clock, start, state_of, submit

DAY = timedelta(days=1)


async def test_a_method_is_kept_and_charged_once_at_its_time(
    replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys, clock: Clock
) -> None:
    charge_time = (clock.now() + 3 * DAY).replace(microsecond=0)
    request = start(timing=pb.TIMING_SCHEDULED)
    request.charge_time.FromDatetime(charge_time)
    started = await orchestrator.StartPayment(request)
    payment_id = started.session.payment.payment_id
    assert started.session.client_secret.startswith("seti_")
    answer = await orchestrator.SubmitPayment(submit(payment_id, VISA))
    assert state_of(answer.payment) == "SCHEDULED"
    assert answer.payment.snapshot.charge_time.ToDatetime(UTC) == charge_time
    clock.advance(3 * DAY - timedelta(minutes=1))
    await replica.sweep()
    assert state_of(await journeys.payment(payment_id)) == "SCHEDULED"
    clock.advance(timedelta(minutes=1))
    await replica.sweep()
    assert state_of(await journeys.payment(payment_id)) == "SUCCEEDED"
