"""Scheduled payments: the payer is there once, and the charge is made without them at its time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import asyncpg
import pytest

from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from batzen.orchestrator.v1.orchestrator_pb2_grpc import OrchestratorServiceStub
from batzen.type.v1 import money_pb2
from local.databases import ServiceDatabase
from services.orchestrator.domain.charge_plan import AHEAD_MAX, RETRY_DAYS
from services.orchestrator.domain.policies import ABANDONED_AFTER, RETRY_MAX
from services.runtime.database.connections import plain_dsn
from tests.eventually import eventually
from tests.orchestrator.conftest import Journeys, Orchestrator, World
from tests.orchestrator.samples import (
    CANCEL_URL,
    CHARGED,
    CONFIRM,
    CREATE,
    KEPT,
    OPENED,
    PAYER,
    RETURN_URL,
    TOTAL_MINOR,
    VISA,
    Clock,
    cancel,
    line,
    new_id,
    refused,
    reschedule,
    retry,
    scheduled,
    state_of,
    submit,
    update,
)
from tests.orchestrator.shops import Shop

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)
ZURICH = ZoneInfo("Europe/Zurich")
ASKS_ALWAYS = "pm_card_authenticationRequired"
ASKS_ON_SETUP = "pm_card_authenticationRequiredOnSetup"
NOBODYS = "pay_00000000000000000000000000"


@pytest.fixture
def at(clock: Clock) -> datetime:
    """When the payment of a test is charged: tomorrow, at no hour that a clock change may leave out later."""
    tomorrow = (clock.now() + DAY).replace(microsecond=0)
    return tomorrow.replace(hour=max(tomorrow.hour, 3))


async def sweep_at(replica: Orchestrator, time: datetime) -> None:
    """Let time pass until right after `time`, and do what is due: the database's clock is another one."""
    replica.world.clock.advance(max(time + SECOND - replica.world.clock.now(), timedelta()))
    await replica.sweep()


async def planned(journeys: Journeys, payment_id: str) -> datetime:
    return (await journeys.payment(payment_id)).snapshot.charge_time.ToDatetime(UTC)


async def intent_of(journeys: Journeys, payment_id: str) -> dict[str, object]:
    """Return the intent of the charge, of which there is one."""
    [intent] = await journeys.intents(payment_id)
    return intent


async def test_a_method_is_kept_and_charged_once_at_its_time(
    replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys, at: datetime
) -> None:
    session = (await orchestrator.StartPayment(scheduled(at))).session
    payment_id = session.payment.payment_id
    assert session.client_secret.startswith("seti_")
    assert session.quote.expire_time.ToDatetime(UTC) - at > timedelta(days=366)  # it may be moved that far
    assert not session.payment.snapshot.HasField("charge_time")
    kept = (await orchestrator.SubmitPayment(submit(payment_id, VISA))).payment
    assert (state_of(kept), kept.snapshot.charge_time.ToDatetime(UTC)) == ("SCHEDULED", at)
    plan = await journeys.plan(payment_id)
    assert (plan.next_step, plan.next_time.ToDatetime(UTC), plan.charge_tries) == ("CHARGE", at, 0)

    await sweep_at(replica, at - MINUTE)
    assert await journeys.states(payment_id) == KEPT
    assert await journeys.intents(payment_id) == []
    await sweep_at(replica, at)
    await sweep_at(replica, at + 10 * DAY)
    payment = await journeys.payment(payment_id)
    assert await journeys.states(payment_id) == CHARGED
    assert (payment.snapshot.amounts.captured_minor, payment.snapshot.attempt) == (TOTAL_MINOR, 2)
    assert not payment.snapshot.HasField("charge_time")
    [charge] = await journeys.charges(payment_id)
    assert charge["payment_method"] == kept.snapshot.method.payment_method_id


async def test_a_bank_that_asks_as_the_method_is_kept_does_not_ask_again(
    replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys, at: datetime
) -> None:
    payment_id = (await orchestrator.StartPayment(scheduled(at))).session.payment.payment_id
    answer = await orchestrator.SubmitPayment(submit(payment_id, ASKS_ON_SETUP))
    assert state_of(answer.payment) == "REQUIRES_ACTION"
    await journeys.stripe.answer_3ds(answer.next_action.redirect_url, succeed=True)
    synced = await orchestrator.SyncPayment(pb.SyncPaymentRequest(payment_id=payment_id))
    assert state_of(synced.payment) == "SCHEDULED"
    await sweep_at(replica, at)
    assert state_of(await journeys.payment(payment_id)) == "SUCCEEDED"


async def test_a_method_that_was_kept_on_a_hosted_page_is_charged_at_its_time(
    replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys, at: datetime
) -> None:
    asked = scheduled(at, collection=pb.COLLECTION_CHECKOUT, cancel_url=CANCEL_URL)
    session = (await orchestrator.StartPayment(asked)).session
    payment_id = session.payment.payment_id
    await journeys.stripe.pay_session(session.checkout_url)
    synced = await orchestrator.SyncPayment(pb.SyncPaymentRequest(payment_id=payment_id))
    assert (state_of(synced.payment), synced.payment.snapshot.charge_time.ToDatetime(UTC)) == ("SCHEDULED", at)
    await sweep_at(replica, at)
    assert await journeys.states(payment_id) == [*OPENED, "SCHEDULED", "PROCESSING", "SUCCEEDED"]
    assert len(await journeys.charges(payment_id)) == 1


async def test_a_payer_of_a_hosted_page_gets_another_page_once_it_is_their_turn(
    replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys, at: datetime
) -> None:
    asked = scheduled(at, collection=pb.COLLECTION_CHECKOUT, cancel_url=CANCEL_URL)
    session = (await orchestrator.StartPayment(asked)).session
    payment_id = session.payment.payment_id
    await journeys.stripe.pay_session(session.checkout_url)
    await orchestrator.SyncPayment(pb.SyncPaymentRequest(payment_id=payment_id))
    await journeys.stripe.decline_charges(await journeys.kept_method(payment_id), "lost_card", times=None)
    await sweep_at(replica, at)
    assert state_of(await journeys.payment(payment_id)) == "REQUIRES_PAYMENT_METHOD"
    page = (await orchestrator.RetryPayment(retry(payment_id))).session.checkout_url
    assert page not in ("", session.checkout_url)
    await journeys.stripe.pay_session(page)
    synced = await orchestrator.SyncPayment(pb.SyncPaymentRequest(payment_id=payment_id))
    assert state_of(synced.payment) == "SUCCEEDED"
    assert sorted(one["status"] for one in await journeys.intents(payment_id)) == ["canceled", "succeeded"]


@pytest.mark.parametrize(("debit", "state"), [("success_de", "SUCCEEDED"), ("failed_de", "SCHEDULED")])
async def test_a_debit_is_processed_for_days_and_nothing_is_tried_meanwhile(
    debit: str, state: str, replica: Orchestrator, journeys: Journeys, at: datetime
) -> None:
    euros = money_pb2.Money(amount_minor=TOTAL_MINOR, currency_code="EUR")
    session = (await journeys.orchestrator.StartPayment(scheduled(at, lines=[line(unit_amount=euros)]))).session
    payment_id = session.payment.payment_id
    await journeys.stripe.browser_confirm(
        session.client_secret, payment_method=f"pm_sepaDebit_{debit}", return_url=RETURN_URL
    )
    sync = pb.SyncPaymentRequest(payment_id=payment_id)
    assert state_of((await journeys.orchestrator.SyncPayment(sync)).payment) == "SCHEDULED"
    for days in range(4):
        await sweep_at(replica, at + days * DAY)
        assert state_of(await journeys.payment(payment_id)) == "PROCESSING"
    assert ((await journeys.plan(payment_id)).next_step, (await journeys.plan(payment_id)).charge_tries) == ("LOOK", 1)
    await journeys.stripe.finish_debit(str((await intent_of(journeys, payment_id))["id"]))
    await sweep_at(replica, at + 3 * DAY + 2 * HOUR)  # it is read, though nobody delivers anything
    payment = await journeys.payment(payment_id)
    assert state_of(payment) == state
    if state == "SCHEDULED":  # on the next day of the plan that is still to come
        again = payment.snapshot.charge_time.ToDatetime(UTC).astimezone(ZURICH)
        assert again.date() - at.astimezone(ZURICH).date() == 5 * DAY


async def test_a_coupon_is_held_until_the_charge_and_redeemed_with_it(
    shop: Shop, replica: Orchestrator, journeys: Journeys, at: datetime
) -> None:
    coupon = await shop.coupon()
    charged = await journeys.scheduled(at, coupon_codes=[coupon.code])
    assert await coupon.uses() == (1, 0)
    refusal = await refused(journeys.orchestrator.StartPayment(scheduled(at, coupon_codes=[coupon.code])))
    assert refusal.reason == "COUPON_EXHAUSTED"
    await sweep_at(replica, at)
    assert state_of(await journeys.payment(charged)) == "SUCCEEDED"
    assert await coupon.uses() == (0, 1)
    again = await shop.coupon()
    called_off = await journeys.scheduled(at + DAY, coupon_codes=[again.code])
    await journeys.orchestrator.CancelPayment(cancel(called_off))
    await replica.sweep()
    assert await again.uses() == (0, 0)


async def asked_by_the_bank(journeys: Journeys, replica: Orchestrator, at: datetime) -> str:
    """Return a payment whose charge the bank does not let pass without its payer."""
    payment_id = await journeys.scheduled(at)
    await journeys.stripe.decline_charges(await journeys.kept_method(payment_id), "authentication_required")
    await sweep_at(replica, at)
    return payment_id


async def test_a_charge_that_needs_its_payer_waits_for_them_once_and_they_confirm_the_same_intent(
    replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys, at: datetime
) -> None:
    payment_id = await asked_by_the_bank(journeys, replica, at)
    payment = await journeys.payment(payment_id)
    assert (state_of(payment), payment.snapshot.last_error.code) == ("REQUIRES_ACTION", "authentication_required")
    states = [*KEPT, "PROCESSING", "REQUIRES_ACTION"]
    for hours in (1, 2):  # nothing new however often it is looked at
        await orchestrator.SyncPayment(pb.SyncPaymentRequest(payment_id=payment_id))
        await sweep_at(replica, at + hours * HOUR)
        assert await journeys.states(payment_id) == states
    assert len(await journeys.intents(payment_id)) == 1

    answer = await orchestrator.SubmitPayment(submit(payment_id, payment.snapshot.method.payment_method_id))
    assert state_of(answer.payment) == "REQUIRES_ACTION"
    await journeys.stripe.answer_3ds(answer.next_action.redirect_url, succeed=True)
    synced = await orchestrator.SyncPayment(pb.SyncPaymentRequest(payment_id=payment_id))
    assert state_of(synced.payment) == "SUCCEEDED"
    assert len(await journeys.intents(payment_id)) == len(await journeys.charges(payment_id)) == 1


async def test_a_payer_who_does_not_pass_or_does_not_come_ends_as_any(
    replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys, at: datetime
) -> None:
    payment_id = await asked_by_the_bank(journeys, replica, at)
    method_id = await journeys.kept_method(payment_id)
    answer = await orchestrator.SubmitPayment(submit(payment_id, method_id))
    await journeys.stripe.answer_3ds(answer.next_action.redirect_url, succeed=False)
    synced = await orchestrator.SyncPayment(pb.SyncPaymentRequest(payment_id=payment_id))
    assert state_of(synced.payment) == "REQUIRES_PAYMENT_METHOD"
    await sweep_at(replica, at + ABANDONED_AFTER + HOUR)
    assert state_of(await journeys.payment(payment_id)) == "EXPIRED"
    assert (await intent_of(journeys, payment_id))["status"] == "canceled"


async def test_a_soft_decline_is_tried_again_on_the_plans_days_at_the_same_local_time(
    replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys, at: datetime
) -> None:
    payment_id = await journeys.scheduled(at)
    await journeys.stripe.decline_charges(await journeys.kept_method(payment_id), "insufficient_funds", times=None)
    local = at.astimezone(ZURICH)
    for tries, days in enumerate(RETRY_DAYS, start=1):
        await sweep_at(replica, await planned(journeys, payment_id))
        payment = await journeys.payment(payment_id)
        assert (state_of(payment), payment.snapshot.last_error.decline_code) == ("SCHEDULED", "insufficient_funds")
        assert (await journeys.plan(payment_id)).charge_tries == payment.snapshot.decline_count == tries
        again = (await planned(journeys, payment_id)).astimezone(ZURICH)
        assert (again.date() - local.date(), again.time()) == (days * DAY, local.time())
    last = await planned(journeys, payment_id)
    await sweep_at(replica, last)
    payment = await journeys.payment(payment_id)
    assert (state_of(payment), payment.snapshot.HasField("charge_time")) == ("REQUIRES_PAYMENT_METHOD", False)
    assert await journeys.states(payment_id) == [*KEPT, *["PROCESSING", "SCHEDULED"] * 4, "PROCESSING", OPENED[-1]]
    expires = (await journeys.plan(payment_id)).expire_time.ToDatetime(UTC)
    assert last + ABANDONED_AFTER <= expires < last + ABANDONED_AFTER + MINUTE
    await sweep_at(replica, last + ABANDONED_AFTER - MINUTE)
    assert state_of(await journeys.payment(payment_id)) == "REQUIRES_PAYMENT_METHOD"
    paid = await orchestrator.SubmitPayment(submit(payment_id, VISA))  # on the same intent, with another card
    assert state_of(paid.payment) == "SUCCEEDED"
    assert (await intent_of(journeys, payment_id))["status"] == "succeeded"


async def test_nobody_who_comes_after_the_last_try_is_the_end(
    replica: Orchestrator, journeys: Journeys, at: datetime
) -> None:
    payment_id = await journeys.scheduled(at)
    await journeys.stripe.decline_charges(await journeys.kept_method(payment_id), "generic_decline", times=None)
    for _ in range(1 + len(RETRY_DAYS)):
        await sweep_at(replica, await planned(journeys, payment_id))
    await sweep_at(replica, replica.world.clock.now() + ABANDONED_AFTER)
    assert (await journeys.states(payment_id))[-2:] == ["REQUIRES_PAYMENT_METHOD", "EXPIRED"]


async def test_money_that_comes_on_a_later_try_is_the_payment(
    replica: Orchestrator, journeys: Journeys, at: datetime
) -> None:
    payment_id = await journeys.scheduled(at)
    await journeys.stripe.decline_charges(await journeys.kept_method(payment_id), "insufficient_funds", times=2)
    for _ in range(3):
        await sweep_at(replica, await planned(journeys, payment_id))
    payment = await journeys.payment(payment_id)
    assert (state_of(payment), payment.snapshot.HasField("last_error")) == ("SUCCEEDED", False)
    assert len(await journeys.charges(payment_id)) == 1


@pytest.mark.parametrize(
    ("reason", "advice", "state"),
    [
        ("lost_card", "do_not_try_again", "REQUIRES_PAYMENT_METHOD"),
        ("lost_card", None, "REQUIRES_PAYMENT_METHOD"),
        ("insufficient_funds", "do_not_try_again", "REQUIRES_PAYMENT_METHOD"),
        ("expired_card", "confirm_card_data", "REQUIRES_PAYMENT_METHOD"),
        ("lost_card", "try_again_later", "SCHEDULED"),
        ("fraudulent", None, "FAILED"),
    ],
)
async def test_each_class_of_declines(  # noqa: PLR0917
    reason: str, advice: str | None, state: str, replica: Orchestrator, journeys: Journeys, at: datetime
) -> None:
    payment_id = await journeys.scheduled(at)
    method_id = await journeys.kept_method(payment_id)
    await journeys.stripe.decline_charges(method_id, reason, times=None, advice_code=advice)
    await sweep_at(replica, at)
    assert state_of(await journeys.payment(payment_id)) == state
    if state == "REQUIRES_PAYMENT_METHOD":
        assert (await journeys.plan(payment_id)).next_step == "EXPIRE"
        paid = await journeys.orchestrator.SubmitPayment(submit(payment_id, VISA))
        assert state_of(paid.payment) == "SUCCEEDED"


async def test_a_charge_is_moved_until_it_has_begun(
    replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys, at: datetime
) -> None:
    payment_id = await journeys.scheduled(at)
    asked = reschedule(payment_id, at + 2 * DAY)
    moved = (await orchestrator.ReschedulePayment(asked)).payment
    assert (state_of(moved), moved.snapshot.charge_time.ToDatetime(UTC)) == ("SCHEDULED", at + 2 * DAY)
    await sweep_at(replica, at)
    assert await journeys.states(payment_id) == [*KEPT, "SCHEDULED"]
    await orchestrator.ReschedulePayment(reschedule(payment_id, at + DAY))
    assert (await orchestrator.ReschedulePayment(asked)).payment.revision == moved.revision  # a repeat moves nothing
    assert await planned(journeys, payment_id) == at + DAY
    await journeys.stripe.decline_charges(await journeys.kept_method(payment_id), "insufficient_funds")
    await sweep_at(replica, at + DAY)
    refusal = await refused(orchestrator.ReschedulePayment(reschedule(payment_id, at + 9 * DAY)))
    assert (refusal.reason, refusal.metadata["state"]) == ("PAYMENT_STATE", "SCHEDULED")
    await sweep_at(replica, await planned(journeys, payment_id))
    assert len(await journeys.charges(payment_id)) == 1
    refusal = await refused(orchestrator.ReschedulePayment(reschedule(payment_id, at + 9 * DAY)))
    assert (refusal.reason, refusal.metadata["state"]) == ("PAYMENT_STATE", "SUCCEEDED")


async def test_a_charge_is_moved_to_a_local_time_of_its_zone(
    orchestrator: OrchestratorServiceStub, journeys: Journeys, at: datetime
) -> None:
    payment_id = await journeys.scheduled(at, time_zone="America/New_York")
    day = (at + 5 * DAY).date().isoformat()
    asked = reschedule(payment_id, charge_local_time=f"{day}T12:00")
    moved = (await orchestrator.ReschedulePayment(asked)).payment.snapshot.charge_time.ToDatetime(UTC)
    assert moved.astimezone(ZoneInfo("America/New_York")).isoformat()[:16] == f"{day}T12:00"


async def test_a_retry_charges_now_and_takes_the_place_of_the_plans_next_try(
    replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys, at: datetime
) -> None:
    payment_id = await journeys.scheduled(at)
    await journeys.stripe.decline_charges(await journeys.kept_method(payment_id), "insufficient_funds")
    first = await orchestrator.RetryPayment(retry(payment_id))
    assert (state_of(first.payment), first.HasField("session")) == ("SCHEDULED", False)
    assert (await journeys.plan(payment_id)).charge_tries == 1
    asked = retry(payment_id, collection=pb.COLLECTION_ELEMENTS)
    assert state_of((await orchestrator.RetryPayment(asked)).payment) == "SUCCEEDED"
    assert state_of((await orchestrator.RetryPayment(asked)).payment) == "SUCCEEDED"
    await sweep_at(replica, at + 8 * DAY)
    assert len(await journeys.charges(payment_id)) == 1
    refusal = await refused(orchestrator.RetryPayment(retry(payment_id)))
    assert (refusal.reason, refusal.metadata["state"]) == ("PAYMENT_STATE", "SUCCEEDED")


async def test_a_retry_that_comes_to_the_payers_turn_brings_what_the_payer_needs(
    orchestrator: OrchestratorServiceStub, journeys: Journeys, at: datetime
) -> None:
    payment_id = await journeys.scheduled(at)
    await journeys.stripe.decline_charges(await journeys.kept_method(payment_id), "authentication_required")
    asked = retry(payment_id)
    for answer in (await orchestrator.RetryPayment(asked), await orchestrator.RetryPayment(asked)):
        assert state_of(answer.payment) == "REQUIRES_ACTION"
        assert answer.session.client_secret.startswith("pi_")


@pytest.mark.parametrize("declines", [0, 1])
async def test_a_payment_is_called_off_until_its_money_is_taken(
    declines: int, replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys, at: datetime
) -> None:
    payment_id = await journeys.scheduled(at)
    if declines:
        await journeys.stripe.decline_charges(await journeys.kept_method(payment_id), "insufficient_funds")
        await sweep_at(replica, at)
    called_off = (await orchestrator.CancelPayment(cancel(payment_id))).payment
    assert (state_of(called_off), called_off.snapshot.HasField("charge_time")) == ("CANCELED", False)
    await sweep_at(replica, at + 8 * DAY)
    assert await journeys.charges(payment_id) == []
    assert [one["status"] for one in await journeys.intents(payment_id)] == ["canceled"] * declines
    assert (await journeys.seen(payment_id)).intent_state == 6


@pytest.fixture
async def disabled(journeys: Journeys) -> AsyncIterator[str]:
    """The seller's account, which Stripe enables again after the test."""
    account = await journeys.account()
    yield account
    await journeys.stripe.set_capability(account, "transfers", active=True)


async def test_a_seller_who_was_disabled_meanwhile_is_seen_by_an_operator_and_tried_again(
    disabled: str, replica: Orchestrator, journeys: Journeys, at: datetime
) -> None:
    payment_id = await journeys.scheduled(at)
    await journeys.stripe.set_capability(disabled, "transfers", active=False)
    await sweep_at(replica, at)
    payment = await journeys.payment(payment_id)
    assert (state_of(payment), payment.snapshot.attention.reason) == ("SCHEDULED", "CHARGE_REFUSED")
    assert payment.snapshot.last_error.code == "seller_not_payable"
    await journeys.stripe.set_capability(disabled, "transfers", active=True)
    await sweep_at(replica, await planned(journeys, payment_id))
    payment = await journeys.payment(payment_id)
    assert (state_of(payment), payment.snapshot.HasField("attention")) == ("SUCCEEDED", False)


async def test_a_seller_who_stays_disabled_is_a_payment_that_failed(
    disabled: str, replica: Orchestrator, journeys: Journeys, at: datetime
) -> None:
    payment_id = await journeys.scheduled(at)
    await journeys.stripe.set_capability(disabled, "transfers", active=False)
    for _ in range(1 + len(RETRY_DAYS)):
        await sweep_at(replica, await planned(journeys, payment_id))
    payment = await journeys.payment(payment_id)
    assert (state_of(payment), payment.snapshot.attention.reason) == ("FAILED", "CHARGE_REFUSED")
    assert (payment.snapshot.last_error.code, payment.snapshot.last_error.recoverable) == ("seller_not_payable", False)
    assert await journeys.intents(payment_id) == []


async def test_a_method_that_its_payer_took_away_at_stripe_is_not_charged(
    replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys, at: datetime
) -> None:
    payer = pb.Payer(payer_id=new_id())
    payment_id = await journeys.scheduled(at, payer=payer)
    setup = (await journeys.stripe.objects("setup_intent", **{"metadata.payment_id": payment_id}))[0]
    await journeys.stripe.delete_customer(setup["customer"])
    await sweep_at(replica, at)
    assert state_of(await journeys.payment(payment_id)) == "REQUIRES_PAYMENT_METHOD"
    assert (await journeys.states(payment_id)) == [*KEPT, "PROCESSING", "REQUIRES_PAYMENT_METHOD"]
    assert state_of((await orchestrator.SubmitPayment(submit(payment_id, VISA))).payment) == "SUCCEEDED"


async def test_an_outcome_that_stripe_does_not_say_is_waited_for_and_not_tried_again(
    replica: Orchestrator, journeys: Journeys, at: datetime
) -> None:
    payment_id = await journeys.scheduled(at)
    await journeys.silence(CONFIRM)
    await sweep_at(replica, at)
    payment = await journeys.payment(payment_id)
    assert (state_of(payment), payment.snapshot.reason) == ("PROCESSING", "OUTCOME_UNKNOWN")
    await replica.sweep()
    assert (await journeys.plan(payment_id)).charge_tries == 1
    await journeys.stripe.clear_faults()
    replica.world.clock.advance(RETRY_MAX)

    async def is_paid() -> bool:
        await replica.move()
        return state_of(await journeys.payment(payment_id)) == "SUCCEEDED"

    await eventually(is_paid)
    assert len(await journeys.charges(payment_id)) == 1


@pytest.mark.parametrize("is_called_off", [False, True])
async def test_a_charge_whose_intent_stripe_refused_is_tried_again_or_called_off(
    is_called_off: bool, replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys, at: datetime
) -> None:
    """What was refused for good is that one call; the next day may be another."""
    payment_id = await journeys.scheduled(at)
    await journeys.stripe.fault("invalid", route=CREATE, code="odd")
    await sweep_at(replica, at)
    payment = await journeys.payment(payment_id)
    assert (state_of(payment), payment.snapshot.attention.reason) == ("SCHEDULED", "CHARGE_REFUSED")
    if is_called_off:
        assert state_of((await orchestrator.CancelPayment(cancel(payment_id))).payment) == "CANCELED"
        return
    await sweep_at(replica, at + DAY)
    assert state_of(await journeys.payment(payment_id)) == "SUCCEEDED"
    assert len(await journeys.intents(payment_id)) == len(await journeys.charges(payment_id)) == 1


async def test_a_charge_whose_gateway_is_away_is_made_once_it_is_back(
    world: World, replica: Orchestrator, journeys: Journeys, at: datetime
) -> None:
    payment_id = await journeys.scheduled(at)
    replica.world.clock.advance(at + SECOND - replica.world.clock.now())
    async with world.orchestrator(away=frozenset({"gateway"})) as cut_off:
        await cut_off.move()
    assert await journeys.states(payment_id) == KEPT
    await sweep_at(replica, at + RETRY_MAX)
    assert await journeys.states(payment_id) == CHARGED


async def test_of_two_replicas_at_one_charge_time_one_charges(
    world: World, replica: Orchestrator, journeys: Journeys, at: datetime
) -> None:
    payment_ids = [await journeys.scheduled(at) for _ in range(4)]
    replica.world.clock.advance(at + SECOND - replica.world.clock.now())
    async with world.orchestrator() as other:
        await asyncio.gather(*(one.move() for one in (replica, other) * 3))
    await replica.sweep()
    for payment_id in payment_ids:
        assert await journeys.states(payment_id) == CHARGED
        assert len(await journeys.charges(payment_id)) == 1


async def test_a_clock_that_jumps_back_an_hour_charges_nothing_twice(
    replica: Orchestrator, journeys: Journeys, clock: Clock, at: datetime
) -> None:
    payment_id, other_id = await journeys.scheduled(at), await journeys.scheduled(at + MINUTE)
    await journeys.stripe.decline_charges(await journeys.kept_method(payment_id), "insufficient_funds")
    await sweep_at(replica, at)
    clock.shift -= HOUR
    try:
        await replica.sweep()
        assert await journeys.states(other_id) == KEPT
    finally:
        clock.shift += HOUR  # the hour is over, also for the clocks that did not jump
    await sweep_at(replica, at + MINUTE)
    assert await journeys.states(payment_id) == [*KEPT, "PROCESSING", "SCHEDULED"]
    assert await journeys.states(other_id) == CHARGED
    await sweep_at(replica, await planned(journeys, payment_id))
    assert [len(await journeys.charges(one)) for one in (payment_id, other_id)] == [1, 1]


async def test_a_zone_that_changes_between_planning_and_charging_is_one_charge(
    replica: Orchestrator, journeys: Journeys, database: ServiceDatabase, at: datetime
) -> None:
    day = at.date().isoformat()
    payment_id = await journeys.scheduled(None, charge_local_time=f"{day}T23:00", time_zone="Europe/Zurich")
    promised = await planned(journeys, payment_id)
    moved = """terms = jsonb_set(terms, '{time_zone}', '"Asia/Tokyo"')"""  # as if the rules of the zone had changed
    await update(database, payment_id, moved)
    for hours in range(-12, 13, 4):  # at the time that was promised, and at no other
        await sweep_at(replica, promised + hours * HOUR)
        assert await journeys.states(payment_id) == (CHARGED if hours >= 0 else KEPT)
    assert len(await journeys.charges(payment_id)) == 1


async def test_a_charge_at_half_past_two_in_the_night_of_the_clock_change(
    journeys: Journeys, clock: Clock, replica: Orchestrator
) -> None:
    spring = _next_change(clock.now(), month=3)
    if spring - clock.now() > AHEAD_MAX:
        pytest.skip("another test has just passed it")
    payment_id = await journeys.scheduled(None, charge_local_time=f"{spring:%Y-%m-%d}T02:30")
    promised = await planned(journeys, payment_id)
    assert promised == replace_hour(spring, 1)  # 03:30 by the clock that there is then
    await sweep_at(replica, promised - MINUTE)
    assert await journeys.states(payment_id) == KEPT
    await sweep_at(replica, promised)
    await sweep_at(replica, promised + 2 * HOUR)
    assert await journeys.states(payment_id) == CHARGED
    assert len(await journeys.charges(payment_id)) == 1


def replace_hour(day: datetime, hour: int) -> datetime:
    return day.replace(hour=hour, minute=30, second=0, microsecond=0, tzinfo=UTC)


def _next_change(now: datetime, *, month: int) -> datetime:
    """Return the next last Sunday of a month, on which clocks change in Zurich."""
    for year in (now.year, now.year + 1):
        last = datetime(year, month, 31, tzinfo=UTC)
        day = last - ((last.weekday() + 1) % 7) * DAY
        if day > now:
            return day
    raise AssertionError


WRONG_TIMES = [
    ({}, "FIELD_MISSING", "charge_time"),
    ({"charge_time": -6 * MINUTE}, "FIELD_INVALID", "charge_time"),
    ({"charge_time": AHEAD_MAX + MINUTE}, "FIELD_INVALID", "charge_time"),
    ({"charge_time": DAY, "charge_local_time": "2027-01-01T09:00"}, "FIELD_INVALID", "charge_local_time"),
    ({"charge_local_time": "2027-02-29T09:00"}, "FIELD_INVALID", "charge_local_time"),
    ({"charge_local_time": "0001-01-01T00:00"}, "FIELD_INVALID", "charge_local_time"),
    ({"charge_local_time": "2020-01-01T09:00"}, "FIELD_INVALID", "charge_local_time"),
    ({"charge_local_time": "9999-12-31T23:59"}, "FIELD_INVALID", "charge_local_time"),
]


@pytest.mark.parametrize(("said", "reason", "field"), WRONG_TIMES)
async def test_times_that_are_refused(  # noqa: PLR0917
    said: dict[str, object],
    reason: str,
    field: str,
    orchestrator: OrchestratorServiceStub,
    journeys: Journeys,
    clock: Clock,
) -> None:
    ahead, local = said.get("charge_time"), str(said.get("charge_local_time", ""))
    time = clock.now() + ahead if isinstance(ahead, timedelta) else None
    refusal = await refused(orchestrator.StartPayment(scheduled(time, charge_local_time=local)))
    assert (refusal.code, refusal.reason, refusal.field) == ("INVALID_ARGUMENT", reason, field)
    payment_id = await journeys.scheduled(clock.now() + DAY)
    before = await planned(journeys, payment_id)
    refusal = await refused(orchestrator.ReschedulePayment(reschedule(payment_id, time, charge_local_time=local)))
    assert (refusal.code, refusal.reason, refusal.field) == ("INVALID_ARGUMENT", reason, field)
    assert await planned(journeys, payment_id) == before


async def test_what_only_a_scheduled_payment_has_is_refused_of_others(
    orchestrator: OrchestratorServiceStub, at: datetime
) -> None:
    for said in ({"charge_local_time": "2027-01-01T09:00"}, {}):
        request = scheduled(None if said else at, **said)
        request.timing = pb.TIMING_IMMEDIATE
        field = "charge_local_time" if said else "charge_time"
        refusal = await refused(orchestrator.StartPayment(request))
        assert (refusal.reason, refusal.field) == ("FIELD_INVALID", field)
    refusal = await refused(orchestrator.StartPayment(scheduled(at, time_zone="Europe/Atlantis")))
    assert (refusal.reason, refusal.field) == ("FIELD_INVALID", "time_zone")


async def test_a_repeat_of_a_start_is_answered_also_after_its_charge(
    replica: Orchestrator, orchestrator: OrchestratorServiceStub, at: datetime
) -> None:
    asked = scheduled(at)
    first = await orchestrator.StartPayment(asked)
    replica.world.clock.advance(2 * DAY)
    assert (await orchestrator.StartPayment(asked)).session.payment.payment_id == first.session.payment.payment_id


async def test_a_method_that_was_kept_too_late_is_charged_at_once(
    replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys, clock: Clock
) -> None:
    payment_id = (await orchestrator.StartPayment(scheduled(clock.now() - MINUTE))).session.payment.payment_id
    assert state_of((await orchestrator.SubmitPayment(submit(payment_id, VISA))).payment) == "SCHEDULED"
    await replica.sweep()
    assert await journeys.states(payment_id) == CHARGED


async def test_what_is_refused_of_payments_that_wait_for_their_payer_or_are_nobodys(
    orchestrator: OrchestratorServiceStub, as_payer: OrchestratorServiceStub, journeys: Journeys, at: datetime
) -> None:
    waiting = (await orchestrator.StartPayment(scheduled(at))).session.payment.payment_id
    refusal = await refused(orchestrator.ReschedulePayment(reschedule(waiting, at + DAY)))
    assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "PAYMENT_STATE")
    for call in (
        orchestrator.ReschedulePayment(reschedule(NOBODYS, at)),
        orchestrator.RetryPayment(retry(NOBODYS)),
    ):
        refusal = await refused(call)
        assert (refusal.code, refusal.reason) == ("NOT_FOUND", "PAYMENT_NOT_FOUND")
    refusal = await refused(as_payer.ReschedulePayment(reschedule(waiting, at)))
    assert refusal.reason == "PERMISSION_DENIED"
    payment_id = await journeys.scheduled(at)
    refusal = await refused(orchestrator.SubmitPayment(submit(payment_id, VISA)))
    assert (refusal.reason, refusal.metadata["state"]) == ("PAYMENT_STATE", "SCHEDULED")
    assert (await journeys.payment(payment_id)).payer_id == PAYER


async def test_who_agreed_that_a_method_is_kept_is_kept_with_it(
    world: World, orchestrator: OrchestratorServiceStub, journeys: Journeys, at: datetime
) -> None:
    for actor_id, agreed in (("clerk_7", "clerk_7"), ("", PAYER)):
        payment_id = (await orchestrator.StartPayment(scheduled(at))).session.payment.payment_id
        await orchestrator.SubmitPayment(submit(payment_id, VISA, consent_actor_id=actor_id))
        assert await consent_of(world, await journeys.kept_method(payment_id)) == agreed
    refusal = await refused(orchestrator.SubmitPayment(submit(payment_id, VISA, consent_actor_id="no id")))
    assert (refusal.reason, refusal.field) == ("FIELD_INVALID", "consent_actor_id")


async def consent_of(world: World, method_id: str) -> str:
    """Return who agreed, as the gateway keeps it."""
    connection = await asyncpg.connect(plain_dsn(world.gateway_database.owner_url))
    try:
        actor_id: str = await connection.fetchval(
            "SELECT actor_id FROM method_consents WHERE payment_method_id = $1", method_id
        )
    finally:
        await connection.close()
    return actor_id
