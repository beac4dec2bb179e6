"""An operator decides about a payment: what fits is done once, all else refused, and money is what Stripe says."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any

import pytest

from batzen.orchestrator.v1 import ops_pb2 as pb
from batzen.orchestrator.v1 import orchestrator_pb2
from batzen.orchestrator.v1.ops_pb2_grpc import OrchestratorOpsServiceStub
from batzen.status.v1 import status_pb2
from batzen.type.v1 import money_pb2
from local.databases import ServiceDatabase
from services.orchestrator.domain.policies import PARKED_AFTER_TRIES
from services.orchestrator.domain.resolution import Resolution
from services.wire import timestamp
from tests.eventually import eventually
from tests.orchestrator.conftest import Journeys, Orchestrator
from tests.orchestrator.crash_injection import ask, mortal_orchestrator
from tests.orchestrator.lives import Life, Lives
from tests.orchestrator.resolutions import paid_late, resolve
from tests.orchestrator.samples import CANCEL as CANCEL_INTENT
from tests.orchestrator.samples import (
    REFUND,
    TOTAL_MINOR,
    cancel,
    chf,
    new_id,
    new_payment_id,
    refused,
    retry,
    state_of,
    submit,
    update,
)
from tests.orchestrator.test_conflicts import told_to_be_paid
from tests.orchestrator.test_surplus import FORM, PAGE, changed_over, paid_twice, refunds_of

SETTLE, CANCEL, SURPLUS = Resolution.SETTLE_AS_SEEN, Resolution.CANCEL, Resolution.REFUND_SURPLUS
GIVE_UP, CLEAR, TRY = Resolution.GIVE_UP_TRANSITIONS, Resolution.CLEAR_ATTENTION, Resolution.TRY_NOW


@pytest.fixture
async def ops(replica: Orchestrator) -> AsyncIterator[OrchestratorOpsServiceStub]:
    async with replica.connect_ops() as stub:
        yield stub


def attention_of(payment: status_pb2.Payment) -> list[str]:
    return [one.reason for one in payment.snapshot.attentions]


async def actions(ops: OrchestratorOpsServiceStub, payment_id: str) -> Sequence[pb.OperatorAction]:
    return (await ops.ListOperatorActions(pb.ListOperatorActionsRequest(payment_id=payment_id))).actions


async def surplus_of(replica: Orchestrator, journeys: Journeys) -> tuple[str, str]:
    """Return a payment that was paid twice, as everybody knows, and the intent that does not count."""
    payment_id, intent_id = await paid_twice(journeys)
    await journeys.deliver(await journeys.synced(payment_id))
    await replica.sweep()
    return payment_id, intent_id


async def test_what_stripe_says_is_read_and_taken(ops: OrchestratorOpsServiceStub, journeys: Journeys) -> None:
    payment_id = await journeys.started()
    [intent] = await journeys.intents(payment_id)
    await journeys.stripe.force(intent["id"], "succeeded")  # and no webhook ever comes
    asked = resolve(payment_id, SETTLE)
    settled = (await ops.ResolvePayment(asked)).payment
    assert (state_of(settled), settled.snapshot.amounts.captured_minor) == ("SUCCEEDED", TOTAL_MINOR)
    assert (await ops.ResolvePayment(asked)).payment == settled
    again = (await ops.ResolvePayment(resolve(payment_id, SETTLE))).payment
    assert again == settled  # nothing is new, so there is no revision
    assert [one.refusal for one in await actions(ops, payment_id)] == ["", ""]


async def test_what_is_expected_is_not_made_true_against_stripe(
    ops: OrchestratorOpsServiceStub, journeys: Journeys
) -> None:
    payment_id = await journeys.started()
    [intent] = await journeys.intents(payment_id)
    await journeys.stripe.force(intent["id"], "succeeded")
    for decided in (
        resolve(payment_id, SETTLE, collection="PAYMENT_STATE_FAILED"),
        resolve(payment_id, TRY, collection="PAYMENT_STATE_FAILED"),
    ):
        refusal = await refused(ops.ResolvePayment(decided))
        assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "LEDGER_CONTRADICTED")
        assert refusal.metadata == {"state": "SUCCEEDED"}
    assert await journeys.states(payment_id) == ["INITIALIZED", "REQUIRES_PAYMENT_METHOD", "SUCCEEDED"]
    taken = resolve(payment_id, SETTLE, collection="PAYMENT_STATE_SUCCEEDED")
    assert state_of((await ops.ResolvePayment(taken)).payment) == "SUCCEEDED"


async def test_a_payment_is_cancelled_unless_its_money_came(
    ops: OrchestratorOpsServiceStub, journeys: Journeys
) -> None:
    payment_id = await journeys.started()
    assert state_of((await ops.ResolvePayment(resolve(payment_id, CANCEL))).payment) == "CANCELED"
    assert [one["status"] for one in await journeys.intents(payment_id)] == ["canceled"]

    taken_id = await journeys.started()
    [intent] = await journeys.intents(taken_id)
    await journeys.stripe.force(intent["id"], "succeeded")
    refusal = await refused(ops.ResolvePayment(resolve(taken_id, CANCEL)))
    assert (refusal.reason, refusal.metadata) == ("LEDGER_CONTRADICTED", {"state": "SUCCEEDED"})
    assert state_of(await journeys.payment(taken_id)) == "SUCCEEDED"
    [kept] = await actions(ops, taken_id)
    assert (kept.refusal, json.loads(kept.after_json)["snapshot"]["collection"]) == ("LEDGER_CONTRADICTED", "SUCCEEDED")


async def test_a_late_hold_that_is_to_be_let_go_of_is_not_planned_to_be_captured(
    ops: OrchestratorOpsServiceStub, journeys: Journeys, replica: Orchestrator
) -> None:
    capture_time = timestamp(replica.world.clock.now() + timedelta(hours=1))
    payment_id = await journeys.started(timing=orchestrator_pb2.TIMING_MANUAL_CAPTURE, capture_time=capture_time)
    [intent] = await journeys.intents(payment_id)
    await journeys.orchestrator.CancelPayment(cancel(payment_id))
    await journeys.stripe.succeed(intent["id"])
    await journeys.deliver(await journeys.synced(payment_id))
    await replica.sweep()
    await journeys.stripe.fault("invalid", route=CANCEL_INTENT, times=None)
    asked = resolve(payment_id, CANCEL, clear_attention=True)
    assert (await refused(ops.ResolvePayment(asked))).code == "UNAVAILABLE"
    assert (await journeys.plan(payment_id)).next_step != "CAPTURE"
    await journeys.stripe.clear_faults()
    cancelled = (await ops.ResolvePayment(asked)).payment
    assert (state_of(cancelled), attention_of(cancelled)) == ("CANCELED", [])


@pytest.mark.parametrize("by_operator", [False, True])
async def test_what_is_tried_at_once_comes_after_what_was_asked_for_before(
    ops: OrchestratorOpsServiceStub, journeys: Journeys, replica: Orchestrator, by_operator: bool
) -> None:
    """A cancel is open, and the hold is to be captured by now: as for the sweep, the cancel is first."""
    clock = replica.world.clock
    payment_id = await journeys.held(capture_time=timestamp(clock.now() + timedelta(hours=1)))
    await journeys.stripe.fault("invalid", route=CANCEL_INTENT, times=None)
    if by_operator:
        canceling = refused(ops.ResolvePayment(resolve(payment_id, CANCEL)))
    else:
        canceling = refused(journeys.orchestrator.CancelPayment(cancel(payment_id)))
    assert (await canceling).code == "UNAVAILABLE"
    clock.advance(timedelta(hours=2))
    tried = (await ops.ResolvePayment(resolve(payment_id, TRY))).payment
    assert state_of(tried) == "AUTHORIZED", "it was not captured"
    await journeys.stripe.clear_faults()
    for _ in range(2):  # the first hears once more what Stripe said
        clock.advance(timedelta(minutes=2))
        await replica.sweep()
    assert state_of(await journeys.payment(payment_id)) == "CANCELED"


async def test_what_does_not_fit_is_refused_with_what_does(ops: OrchestratorOpsServiceStub, journeys: Journeys) -> None:
    payment_id = await journeys.paid()
    for decided in (
        resolve(payment_id, CANCEL),
        resolve(payment_id, SURPLUS),
        resolve(payment_id, GIVE_UP),
        resolve(payment_id, CLEAR),
    ):
        refusal = await refused(ops.ResolvePayment(decided))
        assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "RESOLUTION_DOES_NOT_FIT")
        assert refusal.metadata == {"resolutions": "SETTLE_AS_SEEN,TRY_NOW"}
    assert len(await actions(ops, payment_id)) == 4


async def test_surplus_goes_back_once_and_only_as_much_as_was_seen(
    replica: Orchestrator, ops: OrchestratorOpsServiceStub, journeys: Journeys
) -> None:
    payment_id, intent_id = await surplus_of(replica, journeys)
    seen = await refused(ops.ResolvePayment(resolve(payment_id, SURPLUS, expected_surplus=chf(1))))
    assert (seen.reason, seen.metadata) == ("REFUNDABLE_CHANGED", {"refundable_minor": str(TOTAL_MINOR)})
    elsewhere = money_pb2.Money(currency_code="EUR", amount_minor=TOTAL_MINOR)
    foreign = await refused(ops.ResolvePayment(resolve(payment_id, SURPLUS, expected_surplus=elsewhere)))
    assert (foreign.reason, foreign.field) == ("FIELD_INVALID", "expected_surplus.currency_code")
    assert await refunds_of(journeys, intent_id) == []

    asked = resolve(payment_id, SURPLUS)
    payment = (await ops.ResolvePayment(asked)).payment
    assert (payment.snapshot.amounts.surplus_minor, payment.snapshot.amounts.refunded_minor) == (0, 0)
    assert (state_of(payment), attention_of(payment)) == ("SUCCEEDED", [])
    assert (await ops.ResolvePayment(asked)).payment == payment
    assert (await refused(ops.ResolvePayment(resolve(payment_id, SURPLUS)))).reason == "RESOLUTION_DOES_NOT_FIT"
    assert await refunds_of(journeys, intent_id) == [TOTAL_MINOR]
    assert (await ops.ResolvePayment(resolve(payment_id, TRY))).payment == payment


@pytest.mark.parametrize("way", [SURPLUS, CANCEL, CLEAR, pytest.param(SETTLE, marks=pytest.mark.soak)])
async def test_whatever_line_the_process_dies_at_it_is_done_once(
    replica: Orchestrator, ops: OrchestratorOpsServiceStub, journeys: Journeys, way: Resolution, lives: Lives
) -> None:
    for life in lives():
        intent_id = ""
        if way is SURPLUS:
            payment_id, intent_id = await surplus_of(replica, journeys)
        elif way is CLEAR:
            payment_id = await paid_late(replica, journeys)
        else:
            payment_id = await journeys.started()
        asked = resolve(payment_id, way)
        async with mortal_orchestrator(replica, life) as (parts, _):
            await ask(parts, asked, role="operator")
        await replica.sweep()
        if life.place == "before accept":
            assert await actions(ops, payment_id) == [], "it was never written down"
            continue
        assert [one.refusal for one in await actions(ops, payment_id)] == [""], life.place
        payment = await journeys.payment(payment_id)
        if way is SURPLUS:
            assert await refunds_of(journeys, intent_id) == [TOTAL_MINOR], life.place
            assert payment.snapshot.amounts.surplus_minor == 0, life.place
        if way is CANCEL:
            assert state_of(payment) == "CANCELED", life.place
        assert attention_of(payment) == [], life.place
        before, after = await journeys.states(payment_id), (await ops.ResolvePayment(resolve(payment_id, TRY))).payment
        assert (after, await journeys.states(payment_id)) == (payment, before), life.place  # nothing was left to do


async def test_no_more_surplus_goes_back_than_was_seen_also_where_more_came_after_it_was_begun(
    replica: Orchestrator, ops: OrchestratorOpsServiceStub, journeys: Journeys
) -> None:
    payment_id, first_id, _ = await changed_over(journeys)
    await journeys.orchestrator.RetryPayment(retry(payment_id, collection=FORM))
    session = (await journeys.orchestrator.RetryPayment(retry(payment_id, collection=PAGE))).session
    await journeys.stripe.pay_session(session.checkout_url)
    intents = await journeys.intents(payment_id)
    await journeys.stripe.force(first_id, "succeeded")
    await journeys.deliver(await journeys.synced(payment_id))
    await replica.sweep()
    asked = resolve(payment_id, SURPLUS)
    life = Life(ends_at="before create_refund")
    async with mortal_orchestrator(replica, life) as (parts, _):
        await ask(parts, asked, role="operator")
    assert life.place, "it was begun"
    [third_id] = [one["id"] for one in intents if one["status"] == "canceled" and one["id"] != first_id]
    await journeys.stripe.force(third_id, "succeeded")
    await journeys.deliver(await journeys.synced(payment_id))
    await replica.sweep()
    [kept] = await actions(ops, payment_id)
    assert kept.refusal == "REFUNDABLE_CHANGED"
    assert [await refunds_of(journeys, one) for one in (first_id, third_id)] == [[], []]


async def test_a_refund_whose_answer_never_came_is_made_once_and_not_decided_again_meanwhile(
    replica: Orchestrator, ops: OrchestratorOpsServiceStub, journeys: Journeys
) -> None:
    payment_id, intent_id = await surplus_of(replica, journeys)
    await journeys.silence(REFUND)
    asked = resolve(payment_id, SURPLUS)
    unknown = (await ops.ResolvePayment(asked)).payment
    assert unknown.snapshot.amounts.surplus_minor == TOTAL_MINOR
    on_its_way = await refused(ops.ResolvePayment(resolve(payment_id, SURPLUS)))
    assert on_its_way.reason == "RESOLUTION_DOES_NOT_FIT"
    await journeys.stripe.clear_faults()

    async def is_known() -> bool:
        await journeys.deliver(await journeys.synced(payment_id))
        await replica.sweep()
        return (await journeys.payment(payment_id)).snapshot.amounts.surplus_minor == 0

    await eventually(is_known)
    assert await refunds_of(journeys, intent_id) == [TOTAL_MINOR]


async def test_a_refund_of_surplus_that_stripe_refuses_is_said_to_who_decided(
    replica: Orchestrator, ops: OrchestratorOpsServiceStub, journeys: Journeys
) -> None:
    payment_id, intent_id = await surplus_of(replica, journeys)
    await journeys.stripe.fault("invalid", route=REFUND, times=None, code="charge_already_refunded")
    refusal = await refused(ops.ResolvePayment(resolve(payment_id, SURPLUS)))
    assert (refusal.reason, refusal.metadata) == ("REFUND_REFUSED", {"code": "charge_already_refunded"})
    await journeys.stripe.clear_faults()
    assert attention_of((await ops.ResolvePayment(resolve(payment_id, SURPLUS))).payment) == []  # another decision
    assert await refunds_of(journeys, intent_id) == [TOTAL_MINOR]


async def test_attention_that_waits_for_an_operator_is_taken_off_and_no_other(
    replica: Orchestrator, ops: OrchestratorOpsServiceStub, journeys: Journeys
) -> None:
    payment_id = await paid_late(replica, journeys)
    assert attention_of(await journeys.payment(payment_id)) == ["LATE_MONEY"]
    unlike = await refused(ops.ResolvePayment(resolve(payment_id, CLEAR, attention_reasons=["STUCK"])))
    assert (unlike.reason, "CLEAR_ATTENTION" in unlike.metadata["resolutions"]) == ("RESOLUTION_DOES_NOT_FIT", True)
    elsewhere = resolve(payment_id, CLEAR, collection="PAYMENT_STATE_CANCELED")
    assert (await refused(ops.ResolvePayment(elsewhere))).reason == "LEDGER_CONTRADICTED"
    assert attention_of(await journeys.payment(payment_id)) == ["LATE_MONEY"]

    cleared = (await ops.ResolvePayment(resolve(payment_id, CLEAR, attention_reasons=["LATE_MONEY"]))).payment
    assert (attention_of(cleared), state_of(cleared)) == ([], "SUCCEEDED")
    [*_, last] = await journeys.transitions(payment_id)
    assert last.snapshot.cause == last.snapshot.CAUSE_OPERATOR

    beside = await paid_late(replica, journeys)
    plain = pb.ResolvePaymentRequest(clear_attention=True, request_id=resolve("", TRY).request_id, payment_id=beside)
    plain.actor_id, plain.reason = "anna", "It is theirs."
    assert attention_of((await ops.ResolvePayment(plain)).payment) == []


async def test_what_status_refused_is_given_up_once_it_says_of_the_money_what_the_books_say(
    replica: Orchestrator, ops: OrchestratorOpsServiceStub, journeys: Journeys
) -> None:
    payment_id = await journeys.started()
    await told_to_be_paid(journeys, payment_id)
    await journeys.orchestrator.SubmitPayment(submit(payment_id))
    await replica.sweep()
    assert attention_of(await journeys.payment(payment_id)) == ["TRANSITION_REFUSED"]
    given_up = (await ops.ResolvePayment(resolve(payment_id, GIVE_UP))).payment
    assert (attention_of(given_up), given_up.snapshot.amounts.captured_minor) == ([], TOTAL_MINOR)
    assert (await refused(ops.ResolvePayment(resolve(payment_id, GIVE_UP)))).reason == "RESOLUTION_DOES_NOT_FIT"


async def test_what_contradicts_the_books_is_not_given_up(
    ops: OrchestratorOpsServiceStub, journeys: Journeys, database: ServiceDatabase
) -> None:
    payment_id = await journeys.started()
    await told_to_be_paid(journeys, payment_id)  # of more than was ever taken
    parked = '[{"reason": "TRANSITION_REFUSED", "detail": "Status refused something."}]'
    await update(database, payment_id, f"latest_snapshot = jsonb_set(latest_snapshot, '{{attentions}}', '{parked}')")
    refusal = await refused(ops.ResolvePayment(resolve(payment_id, GIVE_UP)))
    assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "LEDGER_CONTRADICTED")


async def test_nothing_is_given_up_where_the_collection_stands_elsewhere_than_was_expected(
    ops: OrchestratorOpsServiceStub, journeys: Journeys, database: ServiceDatabase
) -> None:
    payment_id = await journeys.started()
    parked = '[{"reason": "TRANSITION_REFUSED", "detail": "Status refused something."}]'
    await update(database, payment_id, f"latest_snapshot = jsonb_set(latest_snapshot, '{{attentions}}', '{parked}')")
    [intent] = await journeys.intents(payment_id)
    await journeys.stripe.force(intent["id"], "succeeded")
    await journeys.synced(payment_id)  # the gateway knows, and did not deliver it yet
    decided = resolve(payment_id, GIVE_UP, collection="PAYMENT_STATE_REQUIRES_PAYMENT_METHOD")
    refusal = await refused(ops.ResolvePayment(decided))
    assert (refusal.reason, refusal.metadata) == ("LEDGER_CONTRADICTED", {"state": "SUCCEEDED"})
    assert attention_of(await journeys.payment(payment_id)) == ["TRANSITION_REFUSED"]


async def test_what_is_stuck_is_tried_at_once(
    ops: OrchestratorOpsServiceStub, journeys: Journeys, database: ServiceDatabase
) -> None:
    payment_id = await journeys.started()
    [intent] = await journeys.intents(payment_id)
    await journeys.stripe.force(intent["id"], "succeeded")
    await journeys.deliver(await journeys.synced(payment_id))
    await update(database, payment_id, f"failures = {PARKED_AFTER_TRIES}, due_time = due_time + interval '1 day'")
    payment = (await ops.ResolvePayment(resolve(payment_id, TRY))).payment
    assert (state_of(payment), attention_of(payment)) == ("SUCCEEDED", [])


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"request_id": ""}, "request_id"),
        ({"payment_id": ""}, "payment_id"),
        ({"actor_id": ""}, "actor_id"),
        ({"reason": ""}, "reason"),
        ({"reason": "x" * 501}, "reason"),
        ({"resolution": 0}, "resolution"),
        ({"resolution": 99}, "resolution"),
        ({"collection": "PAYMENT_STATE_REFUNDED"}, "collection"),
        ({"attention_reasons": ["LATE_MONEY"]}, "attention_reasons"),
        ({"expected_surplus": chf(1)}, "expected_surplus"),
        ({"resolution": "RESOLUTION_REFUND_SURPLUS"}, "expected_surplus"),
    ],
)
async def test_what_decides_nothing_is_refused_by_its_field(
    ops: OrchestratorOpsServiceStub, changes: dict[str, Any], field: str
) -> None:
    asked = {"request_id": new_id(), "payment_id": new_payment_id(), "actor_id": "anna", "reason": "Rain."} | changes
    assert (await refused(ops.ResolvePayment(pb.ResolvePaymentRequest(**({"resolution": 6} | asked))))).field == field


async def test_a_payment_of_nobody_is_not_resolved(ops: OrchestratorOpsServiceStub) -> None:
    assert (await refused(ops.ResolvePayment(resolve(new_payment_id(), TRY)))).reason == "PAYMENT_NOT_FOUND"
