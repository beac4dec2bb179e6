"""The same request more than once: at once, later, elsewhere, with another body, by another caller."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import grpc
import pytest
from grpc import aio

from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from batzen.orchestrator.v1.orchestrator_pb2_grpc import OrchestratorServiceStub
from services.runtime.database.connections import plain_dsn
from services.runtime.database.lease import LEASE
from services.runtime.rpc import call_context
from tests.orchestrator.conftest import Journeys, Orchestrator, World
from tests.orchestrator.crash_injection import shop_key
from tests.orchestrator.samples import (
    CANCEL,
    CONFIRM,
    CREATE,
    DECLINED,
    REFUND,
    THREE_D_SECURE,
    TOTAL_MINOR,
    Clock,
    cancel,
    chf,
    line,
    refund,
    refused,
    refused_before_its_end,
    start,
    state_of,
    submit,
)

AT_ONCE = 20


@pytest.fixture(params=[1, 2], ids=["one_replica", "two_replicas"])
async def replicas(request: pytest.FixtureRequest, world: World, orchestrator: OrchestratorServiceStub) -> Any:
    """The orchestrators that the same request arrives at."""
    if request.param == 1:
        yield [orchestrator]
        return
    async with world.orchestrator() as second, second.connect() as stub:
        yield [orchestrator, stub]


async def all_at_once(replicas: list[OrchestratorServiceStub], method: str, request: Any) -> Any:
    """Send the same request `AT_ONCE` times, and return the answer, which must be the same each time."""
    answers = await asyncio.gather(
        *(getattr(replicas[number % len(replicas)], method)(request) for number in range(AT_ONCE))
    )
    assert all(answer == answers[0] for answer in answers)
    return answers[0]


async def test_twenty_starts_are_one_payment(replicas: list[OrchestratorServiceStub], journeys: Journeys) -> None:
    session = (await all_at_once(replicas, "StartPayment", start())).session
    assert session.client_secret
    payment_id = session.payment.payment_id
    assert len(await journeys.intents(payment_id)) == 1
    assert await journeys.states(payment_id) == ["INITIALIZED", "REQUIRES_PAYMENT_METHOD"]


async def test_twenty_submits_are_one_charge(replicas: list[OrchestratorServiceStub], journeys: Journeys) -> None:
    payment_id = await journeys.started()
    answer = await all_at_once(replicas, "SubmitPayment", submit(payment_id))
    assert state_of(answer.payment) == "SUCCEEDED"
    assert len(await journeys.charges(payment_id)) == 1


async def test_twenty_declined_submits_are_one_decline(
    replicas: list[OrchestratorServiceStub], journeys: Journeys
) -> None:
    payment_id = await journeys.started()
    answer = await all_at_once(replicas, "SubmitPayment", submit(payment_id, DECLINED))
    assert answer.payment.snapshot.decline_count == 1


async def test_twenty_submits_that_need_3d_secure_all_say_where_to_go(
    replicas: list[OrchestratorServiceStub], journeys: Journeys
) -> None:
    payment_id = await journeys.started()
    answer = await all_at_once(replicas, "SubmitPayment", submit(payment_id, THREE_D_SECURE))
    assert answer.next_action.redirect_url


async def test_twenty_refunds_are_one_refund(replicas: list[OrchestratorServiceStub], journeys: Journeys) -> None:
    payment_id = await journeys.paid()
    answer = await all_at_once(replicas, "RefundPayment", refund(payment_id, 2_500))
    assert answer.amount == chf(2_500)
    assert [one["amount"] for one in await journeys.refunds(payment_id)] == [2_500]


async def test_twenty_cancels_are_one_cancel(replicas: list[OrchestratorServiceStub], journeys: Journeys) -> None:
    payment_id = await journeys.started()
    answer = await all_at_once(replicas, "CancelPayment", cancel(payment_id))
    assert state_of(answer.payment) == "CANCELED"
    assert (await journeys.states(payment_id)).count("CANCELED") == 1


async def test_twenty_different_submits_charge_once(
    replicas: list[OrchestratorServiceStub], journeys: Journeys
) -> None:
    payment_id = await journeys.started()
    answers = await asyncio.gather(
        *(replicas[number % len(replicas)].SubmitPayment(submit(payment_id)) for number in range(AT_ONCE)),
        return_exceptions=True,
    )
    paid = [answer for answer in answers if not isinstance(answer, BaseException)]
    assert [state_of(answer.payment) for answer in paid] == ["SUCCEEDED"]
    assert {error.code() for error in answers if isinstance(error, aio.AioRpcError)} == {
        grpc.StatusCode.FAILED_PRECONDITION
    }
    assert len(await journeys.charges(payment_id)) == 1


async def test_different_refunds_on_the_same_balance_are_one_refund(
    replicas: list[OrchestratorServiceStub], journeys: Journeys
) -> None:
    payment_id = await journeys.paid()
    answers = await asyncio.gather(
        *(replicas[number % len(replicas)].RefundPayment(refund(payment_id, 6_000)) for number in range(5)),
        return_exceptions=True,
    )
    assert len([answer for answer in answers if not isinstance(answer, BaseException)]) == 1
    assert [one["amount"] for one in await journeys.refunds(payment_id)] == [6_000]


async def test_a_refused_request_is_refused_again_whatever_has_happened_since(
    orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    payment_id = await journeys.started()
    early = refund(payment_id)
    first = await refused(orchestrator.RefundPayment(early))
    await orchestrator.SubmitPayment(submit(payment_id))
    assert await refused(orchestrator.RefundPayment(early)) == first
    assert await journeys.refunds(payment_id) == []


async def test_a_refused_start_is_refused_again(orchestrator: OrchestratorServiceStub) -> None:
    asked = start(lines=[line(country="XX")])
    first = await refused(orchestrator.StartPayment(asked))
    assert first.code == "INVALID_ARGUMENT"
    assert await refused(orchestrator.StartPayment(asked)) == first


@pytest.mark.parametrize("is_running", [False, True])
async def test_another_body_under_the_same_id_is_refused(
    is_running: bool, orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    first_id, second_id = await journeys.paid(), await journeys.started()
    unpaid_id = await journeys.started()
    pairs = [
        ("StartPayment", start(), {"session_name": "Another"}, CREATE),
        ("SubmitPayment", submit(unpaid_id), {"payment_id": second_id}, CONFIRM),
        ("RefundPayment", refund(first_id, 1_000), {"keep_platform_fee": True}, REFUND),
        ("CancelPayment", cancel(second_id), {"reason": "another"}, CANCEL),
    ]
    for method, request, changes, route in pairs:
        call = getattr(orchestrator, method)
        other = type(request)()
        other.CopyFrom(request)
        for name, value in changes.items():
            setattr(other, name, value)
        if is_running:
            await journeys.stripe.fault("pause", route=route)
        running = asyncio.ensure_future(call(request))
        await (journeys.stripe.until_paused() if is_running else running)
        refusal = await refused(call(other))
        assert (refusal.code, refusal.reason, refusal.field) == ("ALREADY_EXISTS", "REQUEST_ID_REUSED", "request_id")
        await journeys.stripe.resume()
        await running


async def test_the_same_id_of_another_caller_is_another_request(
    as_payer: OrchestratorServiceStub, orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    payment_id = await journeys.started()
    asked = submit(payment_id, DECLINED)
    await orchestrator.SubmitPayment(asked)
    answer = await as_payer.SubmitPayment(asked)
    assert answer.payment.snapshot.decline_count == 2
    assert await journeys.states(payment_id) == [
        "INITIALIZED", *["REQUIRES_PAYMENT_METHOD", "PROCESSING"] * 2, "REQUIRES_PAYMENT_METHOD",
    ]  # fmt: skip


async def test_the_answer_of_a_start_is_kept_without_the_secret(
    orchestrator: OrchestratorServiceStub, replica: Orchestrator
) -> None:
    asked = start()
    session = (await orchestrator.StartPayment(asked)).session
    payment_id = session.payment.payment_id
    kept = await replica.parts.store.request(shop_key(asked))
    assert kept is not None
    assert kept.answer is not None
    assert session.client_secret.encode() not in kept.answer
    await orchestrator.SubmitPayment(submit(payment_id))
    again = (await orchestrator.StartPayment(asked)).session
    assert again.client_secret == ""  # nobody needs it any more
    assert again.payment == session.payment


async def test_who_gives_up_stops_nothing(orchestrator: OrchestratorServiceStub, journeys: Journeys) -> None:
    payment_id = await journeys.started()
    asked = submit(payment_id)
    await journeys.stripe.fault("pause", route=CONFIRM)
    call = orchestrator.SubmitPayment(asked)
    waiting = asyncio.ensure_future(call)
    while not await journeys.is_faulty():
        pass
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await journeys.stripe.resume()
    assert state_of((await orchestrator.SubmitPayment(asked)).payment) == "SUCCEEDED"
    assert len(await journeys.charges(payment_id)) == 1


async def test_who_has_little_time_hears_that_it_still_runs(
    orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    payment_id = await journeys.started()
    asked = submit(payment_id)
    await journeys.stripe.fault("pause", route=CONFIRM, times=None)
    refusal = await refused_before_its_end(lambda time_s: orchestrator.SubmitPayment(asked, timeout=time_s))
    assert (refusal.code, refusal.reason) == ("ABORTED", "REQUEST_IN_PROGRESS")
    await journeys.stripe.clear_faults()
    await journeys.stripe.resume()
    assert state_of((await orchestrator.SubmitPayment(asked)).payment) == "SUCCEEDED"
    assert len(await journeys.charges(payment_id)) == 1


async def test_the_only_call_does_not_hear_that_another_still_runs(
    orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    """With less time left than an answer takes it waits for its own end, and its work goes on."""
    payment_id = await journeys.started()
    asked = submit(payment_id)
    await journeys.stripe.fault("pause", route=CONFIRM)
    assert (await refused(orchestrator.SubmitPayment(asked, timeout=0.02))).code == "DEADLINE_EXCEEDED"
    await journeys.stripe.clear_faults()  # on a busy machine nothing was sent to Stripe yet
    await journeys.stripe.resume()
    assert state_of((await orchestrator.SubmitPayment(asked)).payment) == "SUCCEEDED"
    assert len(await journeys.charges(payment_id)) == 1


async def test_a_request_that_waited_is_answered_by_whoever_carried_it_out(
    orchestrator: OrchestratorServiceStub, replica: Orchestrator, journeys: Journeys, clock: Clock
) -> None:
    """The payment is held elsewhere; the sweep gets it first, and does what the waiting caller asked for."""
    payment_id = await journeys.started()
    with call_context.acting_for("main"):
        elsewhere = await replica.parts.store.take("main", payment_id)
        assert elsewhere is not None
        waiting = asyncio.ensure_future(orchestrator.SubmitPayment(submit(payment_id)))
        while not await replica.parts.store.open_requests("main", payment_id):
            pass
        elsewhere.due_time = clock.now()
        await replica.parts.store.release(elsewhere, now=clock.now())
        await replica.sweep()
    assert state_of((await waiting).payment) == "SUCCEEDED"
    assert await journeys.states(payment_id) == ["INITIALIZED", "REQUIRES_PAYMENT_METHOD", "PROCESSING", "SUCCEEDED"]


async def test_a_payment_held_by_the_dead_is_waited_for(
    orchestrator: OrchestratorServiceStub, replica: Orchestrator, journeys: Journeys, clock: Clock
) -> None:
    payment_id = await journeys.started()
    assert await replica.parts.store.take("main", payment_id) is not None
    asked, sync = cancel(payment_id), pb.SyncPaymentRequest(payment_id=payment_id)
    refusal = await refused_before_its_end(lambda time_s: orchestrator.CancelPayment(asked, timeout=time_s))
    assert refusal.reason == "REQUEST_IN_PROGRESS"
    refusal = await refused_before_its_end(lambda time_s: orchestrator.SyncPayment(sync, timeout=time_s))
    assert refusal.reason == "REQUEST_IN_PROGRESS"
    clock.advance(LEASE)
    await replica.sweep()
    assert state_of(await journeys.payment(payment_id)) == "CANCELED"


async def test_refunds_of_what_is_left_add_up(orchestrator: OrchestratorServiceStub, journeys: Journeys) -> None:
    payment_id = await journeys.paid()
    left_minor = TOTAL_MINOR
    for amount_minor in (3_333, 3_333, 3_334):
        await orchestrator.RefundPayment(refund(payment_id, amount_minor, expected_refundable=chf(left_minor)))
        left_minor -= amount_minor
    assert state_of(await journeys.payment(payment_id)) == "REFUNDED"
    assert sum(one["amount"] for one in await journeys.refunds(payment_id)) == TOTAL_MINOR


async def test_a_start_that_is_older_than_its_answer_starts_nothing_again(
    orchestrator: OrchestratorServiceStub, journeys: Journeys, world: World
) -> None:
    request = start()
    payment_id = (await orchestrator.StartPayment(request)).session.payment.payment_id
    connection = await asyncpg.connect(plain_dsn(world.database_url))
    try:  # as is done to what is older than 90 days
        await connection.execute("DELETE FROM requests WHERE payment_id = $1", payment_id)
    finally:
        await connection.close()

    refusal = await refused(orchestrator.StartPayment(request))
    assert (refusal.code, refusal.reason) == ("ALREADY_EXISTS", "REQUEST_ID_REUSED")
    assert len(await journeys.intents(payment_id)) == 1
