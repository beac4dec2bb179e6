"""Payments on a page that Stripe hosts: what it is made of, how its payer comes back, how it gives way to another."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration

from batzen.orchestrator.v1 import booking_check_pb2
from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from batzen.orchestrator.v1.orchestrator_pb2_grpc import OrchestratorServiceStub
from batzen.pricing.v1 import price_book_pb2
from batzen.type.v1 import money_pb2
from sandbox.control import Refused
from services.orchestrator.domain.policies import ABANDONED_AFTER
from tests.orchestrator.conftest import Journeys, Orchestrator, World
from tests.orchestrator.crash_injection import ask, mortal_orchestrator
from tests.orchestrator.lives import Lives, each_life
from tests.orchestrator.samples import (
    CANCEL_URL,
    DECLINED,
    FEE_MINOR,
    OPENED,
    PAYER,
    RETURN_URL,
    SELLER,
    THREE_D_SECURE,
    TOTAL_MINOR,
    Clock,
    cancel,
    line,
    new_id,
    page,
    refused,
    resume,
    retry,
    start,
    state_of,
    submit,
)
from tests.orchestrator.test_bookings import Platform, checked

EXPIRE = "POST /v1/checkout/sessions/{session}/expire"
FORM, PAGE = pb.COLLECTION_ELEMENTS, pb.COLLECTION_CHECKOUT
SEPA_PAYS, SEPA_FAILS = "pm_sepaDebit_success_de", "pm_sepaDebit_failed_de"


async def opened(journeys: Journeys, **changes: Any) -> pb.PaymentSession:
    return (await journeys.orchestrator.StartPayment(page(**changes))).session


async def synced(journeys: Journeys, payment_id: str) -> str:
    """Return where a payment stands after its payer came back from a page."""
    return state_of((await journeys.orchestrator.SyncPayment(pb.SyncPaymentRequest(payment_id=payment_id))).payment)


async def test_a_payment_is_collected_on_a_page_unless_its_start_says_otherwise(
    as_payer: OrchestratorServiceStub, journeys: Journeys
) -> None:
    asked = page(collection=pb.COLLECTION_UNSPECIFIED, booking_ids=[new_id()])
    session = (await journeys.orchestrator.StartPayment(asked)).session
    payment_id = session.payment.payment_id
    [made] = await journeys.pages(payment_id)
    assert session.checkout_url == made["url"]
    assert not session.client_secret
    assert (made["success_url"], made["cancel_url"], made["mode"]) == (RETURN_URL, CANCEL_URL, "payment")
    assert (made["amount_total"], made["locale"], made["payment_intent"]) == (TOTAL_MINOR, "de", None)
    assert made["metadata"]["reservationIds"] == asked.booking_ids[0]
    assert await journeys.states(payment_id) == OPENED
    assert (await journeys.plan(payment_id)).collection == PAGE
    again = (await journeys.orchestrator.StartPayment(asked)).session  # the address is fetched anew
    assert again.checkout_url == made["url"]
    shown = (await as_payer.GetPaymentSession(pb.GetPaymentSessionRequest(payment_id=payment_id))).session
    assert shown.checkout_url == made["url"]


async def test_a_return_proves_nothing_and_the_reading_says_what_was_paid(journeys: Journeys) -> None:
    session = await opened(journeys)
    payment_id = session.payment.payment_id
    assert await synced(journeys, payment_id) == OPENED[-1]  # somebody typed the address
    await journeys.stripe.pay_session(session.checkout_url)
    assert await synced(journeys, payment_id) == "SUCCEEDED"
    [intent] = await journeys.intents(payment_id)
    assert (intent["amount_received"], intent["application_fee_amount"]) == (TOTAL_MINOR, FEE_MINOR)
    said = intent["metadata"]
    assert (said["coachId"], said["userId"], said["sessionType"]) == (SELLER, PAYER, "lesson")
    assert (said["platformFee"], said["originalAmount"]) == (str(FEE_MINOR), str(TOTAL_MINOR))
    assert "vatAmount" in said
    after = (await journeys.orchestrator.GetPaymentSession(pb.GetPaymentSessionRequest(payment_id=payment_id))).session
    assert not after.checkout_url


async def test_an_intent_of_the_sites_own_form_carries_the_same_keys(journeys: Journeys) -> None:
    booked = new_id()
    [intent] = await journeys.intents(await journeys.started(booking_ids=[booked]))
    assert intent["metadata"]["bookingId"] == booked
    assert intent["metadata"]["userId"] == PAYER


async def test_a_page_lists_what_is_paid_for(journeys: Journeys) -> None:
    beats = line(line_id="beat", kind=price_book_pb2.LINE_KIND_DIGITAL, quantity="2")
    options = pb.CheckoutOptions(cart_line_ids=["beat"], description="One day")
    session = await opened(journeys, lines=[line(), beats], checkout=options)
    [made] = await journeys.pages(session.payment.payment_id)
    assert made["amount_total"] == 3 * TOTAL_MINOR == session.quote.total.amount_minor
    said = made["metadata"]
    assert (said["type"], said["cartItemIds"], said["cartCount"]) == ("mixed_cart", "beat", "1")
    assert (said["servicesCount"], said["servicesTotal"]) == ("1", str(TOTAL_MINOR))
    assert (said["cartTotal"], said["orderTotal"], said["description"]) == ("20000", "30000", "One day")


@pytest.mark.parametrize(
    ("changes", "reason", "field"),
    [
        ({"cancel_url": ""}, "FIELD_MISSING", "cancel_url"),
        ({"checkout": pb.CheckoutOptions(cart_line_ids=["none"])}, "FIELD_INVALID", "checkout.cart_line_ids[0]"),
        ({"checkout": pb.CheckoutOptions(type="x" * 65)}, "FIELD_INVALID", "checkout.type"),
        ({"checkout": pb.CheckoutOptions(description="x" * 501)}, "FIELD_INVALID", "checkout.description"),
        (
            {"checkout": pb.CheckoutOptions(expire_after=Duration(seconds=1_799))},
            "FIELD_INVALID",
            "checkout.expire_after",
        ),
        (
            {"checkout": pb.CheckoutOptions(expire_after=Duration(seconds=86_401))},
            "FIELD_INVALID",
            "checkout.expire_after",
        ),
        ({"checkout": pb.CheckoutOptions(type="a"), "collection": FORM}, "FIELD_INVALID", "checkout"),
    ],
)
async def test_a_page_that_cannot_be_made_is_refused(
    changes: dict[str, Any], reason: str, field: str, orchestrator: OrchestratorServiceStub
) -> None:
    refusal = await refused(orchestrator.StartPayment(page(**changes)))
    assert (refusal.code, refusal.reason, refusal.field) == ("INVALID_ARGUMENT", reason, field)


async def test_more_ids_than_stripe_keeps_are_refused_before_it_is_asked(
    orchestrator: OrchestratorServiceStub,
) -> None:
    lines = [line(line_id=f"{place:0>64}") for place in range(500)]
    cart = pb.CheckoutOptions(cart_line_ids=[one.line_id for one in lines])
    asked = page(lines=lines, checkout=cart)
    for _ in range(2):
        refusal = await refused(orchestrator.StartPayment(asked))
        assert (refusal.code, refusal.reason) == ("INVALID_ARGUMENT", "METADATA_TOO_LARGE")
        assert int(refusal.metadata["keys"]) > 50


async def test_a_page_whose_bookings_have_grown_too_many_is_not_made_again(journeys: Journeys) -> None:
    lines = [line(line_id=f"{place:0>64}") for place in range(90)]
    cart = pb.CheckoutOptions(cart_line_ids=[one.line_id for one in lines])
    payment_id = (await opened(journeys, lines=lines, checkout=cart)).payment.payment_id
    ids = [f"{new_id():b>128}" for _ in range(100)]
    await journeys.orchestrator.AttachBooking(
        pb.AttachBookingRequest(request_id=new_id(), payment_id=payment_id, booking_ids=ids)
    )
    assert (await journeys.orchestrator.RetryPayment(retry(payment_id, collection=FORM))).session.client_secret
    refusal = await refused(journeys.orchestrator.RetryPayment(retry(payment_id, collection=PAGE)))
    assert (refusal.code, refusal.reason) == ("INVALID_ARGUMENT", "METADATA_TOO_LARGE")
    plan = await journeys.plan(payment_id)
    assert (plan.collection, plan.attempt) == (FORM, 2)  # the form stays


async def test_the_platform_is_asked_before_a_payer_goes_on(world: World) -> None:
    platform, booked = Platform(), new_id()
    async with checked(world, platform) as stub:
        payment_id = (await stub.StartPayment(start(booking_ids=[booked]))).session.payment.payment_id
        platform.answer = booking_check_pb2.CheckPayableResponse(booking_id=booked, detail="It was cancelled.")
        for call in (stub.ResumePayment(resume(payment_id)), stub.RetryPayment(retry(payment_id, collection=PAGE))):
            refusal = await refused(call)
            assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "BOOKING_NOT_PAYABLE")


async def test_what_waits_for_its_page_takes_no_submit(journeys: Journeys) -> None:
    session = await opened(journeys)
    payment_id = session.payment.payment_id
    refusal = await refused(journeys.orchestrator.SubmitPayment(submit(payment_id)))
    assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "PAYMENT_STATE")
    assert refusal.metadata == {"state": OPENED[-1], "collection": "CHECKOUT"}
    assert await journeys.states(payment_id) == OPENED


async def test_a_decline_on_the_page_leaves_it_to_its_payer(journeys: Journeys) -> None:
    session = await opened(journeys)
    with pytest.raises(Refused):
        await journeys.stripe.pay_session(session.checkout_url, payment_method=DECLINED)
    assert await synced(journeys, session.payment.payment_id) == OPENED[-1]
    await journeys.stripe.pay_session(session.checkout_url)
    assert await synced(journeys, session.payment.payment_id) == "SUCCEEDED"


async def test_a_page_that_ends_by_itself_gives_the_payment_back_and_a_fresh_one_is_made(
    replica: Orchestrator, as_payer: OrchestratorServiceStub, journeys: Journeys
) -> None:
    session = await opened(journeys)
    payment_id = session.payment.payment_id
    before = (await journeys.plan(payment_id)).expire_time
    [first] = await journeys.pages(payment_id)
    await journeys.stripe.expire_session(first["id"])
    await journeys.deliver(await journeys.synced(payment_id))
    await replica.sweep()
    payment = await journeys.payment(payment_id)
    assert (state_of(payment), payment.snapshot.reason) == (OPENED[-1], "SESSION_EXPIRED")
    assert (await journeys.plan(payment_id)).expire_time == before  # its payer did nothing
    refusal = await refused(journeys.orchestrator.SubmitPayment(submit(payment_id)))
    assert refusal.reason == "PAYMENT_STATE"
    resumed = (await as_payer.ResumePayment(resume(payment_id))).session
    assert resumed.payment.snapshot.recovered_from == "SESSION_EXPIRED"
    assert resumed.checkout_url not in ("", session.checkout_url)
    again = (await journeys.orchestrator.RetryPayment(retry(payment_id))).session  # that one is still open
    assert again.checkout_url == resumed.checkout_url
    await journeys.stripe.pay_session(again.checkout_url)
    assert await synced(journeys, payment_id) == "SUCCEEDED"
    assert [one["status"] for one in await journeys.pages(payment_id)] == ["expired", "complete"]
    assert len(await journeys.charges(payment_id)) == 1


async def test_a_payer_changes_from_the_form_to_a_page_and_back(journeys: Journeys) -> None:
    payment_id = await journeys.started()
    asked = retry(payment_id, collection=PAGE)
    to_page = (await journeys.orchestrator.RetryPayment(asked)).session
    assert to_page.checkout_url
    assert not to_page.client_secret
    assert (await journeys.orchestrator.RetryPayment(asked)).session.checkout_url == to_page.checkout_url
    assert [one["status"] for one in await journeys.intents(payment_id)] == ["canceled"]
    back = (await journeys.orchestrator.RetryPayment(retry(payment_id, collection=FORM))).session
    assert back.client_secret
    assert back.payment.snapshot.attempt == 3
    assert [one["status"] for one in await journeys.pages(payment_id)] == ["expired"]
    with pytest.raises(Refused):
        await journeys.stripe.pay_session(to_page.checkout_url)
    assert state_of((await journeys.orchestrator.SubmitPayment(submit(payment_id))).payment) == "SUCCEEDED"
    assert len(await journeys.charges(payment_id)) == 1
    assert (await journeys.plan(payment_id)).collection == FORM


async def test_a_payer_comes_back_to_a_page_of_their_payment_whose_id_nobody_knew_before(journeys: Journeys) -> None:
    home = "https://pay.example.com/return/{PAYMENT_ID}"
    session = await opened(journeys, return_url=f"{home}?session={{CHECKOUT_SESSION_ID}}", cancel_url=f"{home}/back")
    [made] = await journeys.pages(session.payment.payment_id)
    its = home.replace("{PAYMENT_ID}", session.payment.payment_id)
    assert (made["success_url"], made["cancel_url"]) == (f"{its}?session={{CHECKOUT_SESSION_ID}}", f"{its}/back")


async def test_the_payer_alone_changes_to_the_form_and_back_and_sees_what_was_agreed(
    as_payer: OrchestratorServiceStub, journeys: Journeys
) -> None:
    payment_id = (await opened(journeys, session_name="A lesson", keep_method=True)).payment.payment_id
    form = (await as_payer.ResumePayment(resume(payment_id, collection=FORM))).session
    assert form.client_secret
    assert not form.checkout_url
    asked = resume(payment_id, collection=PAGE)
    onto_page = (await as_payer.ResumePayment(asked)).session
    assert onto_page.checkout_url
    assert (await as_payer.ResumePayment(asked)).session.checkout_url == onto_page.checkout_url
    shown = (await as_payer.GetPaymentSession(pb.GetPaymentSessionRequest(payment_id=payment_id))).session
    assert (shown.timing, shown.collection, shown.session_name, shown.keep_method) == (
        pb.TIMING_IMMEDIATE,
        PAGE,
        "A lesson",
        True,
    )


async def test_the_form_gives_way_to_a_page_while_its_bank_asks_for_the_payer(journeys: Journeys) -> None:
    payment_id = await journeys.started()
    await journeys.orchestrator.SubmitPayment(submit(payment_id, THREE_D_SECURE))
    session = (await journeys.orchestrator.RetryPayment(retry(payment_id, collection=PAGE))).session
    assert (state_of(session.payment), session.payment.snapshot.attempt) == (OPENED[-1], 2)
    await journeys.stripe.pay_session(session.checkout_url)
    assert await synced(journeys, payment_id) == "SUCCEEDED"


async def test_a_page_that_was_paid_just_now_is_applied_and_not_replaced(journeys: Journeys) -> None:
    """Stripe does not expire it, since it is complete: it is read again, and what its intent says holds."""
    session = await opened(journeys)
    payment_id = session.payment.payment_id
    await journeys.stripe.pay_session(session.checkout_url)
    refusal = await refused(journeys.orchestrator.RetryPayment(retry(payment_id, collection=FORM)))
    assert (refusal.reason, refusal.metadata["state"]) == ("PAYMENT_STATE", "SUCCEEDED")
    assert await journeys.states(payment_id) == [*OPENED, "SUCCEEDED"]
    assert len(await journeys.intents(payment_id)) == 1


async def test_stripe_does_not_say_that_the_page_is_over(replica: Orchestrator, journeys: Journeys) -> None:
    session = await opened(journeys)
    payment_id = session.payment.payment_id
    await journeys.silence(EXPIRE)
    refusal = await refused(journeys.orchestrator.RetryPayment(retry(payment_id, collection=FORM)))
    assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "ATTEMPT_OPEN")
    assert await journeys.intents(payment_id) == []
    await journeys.stripe.clear_faults()
    await journeys.deliver(await journeys.synced(payment_id))
    await replica.sweep()
    assert (await journeys.payment(payment_id)).snapshot.reason == "ATTEMPT_REPLACED"
    after = (await journeys.orchestrator.RetryPayment(retry(payment_id))).session
    assert after.client_secret
    assert after.payment.snapshot.attempt == 2


async def test_an_expired_page_after_payment_by_another_way_changes_nothing(
    replica: Orchestrator, journeys: Journeys
) -> None:
    payment_id = (await opened(journeys)).payment.payment_id
    await journeys.orchestrator.RetryPayment(retry(payment_id, collection=FORM))
    await journeys.orchestrator.SubmitPayment(submit(payment_id))
    before = await journeys.payment(payment_id)
    await journeys.deliver(await journeys.synced(payment_id))
    await replica.sweep()
    assert await journeys.payment(payment_id) == before


@pytest.mark.parametrize("again", ["retry", "resume"])
async def test_a_page_that_ended_while_its_webhook_is_on_its_way_is_not_where_the_payer_is_sent(
    journeys: Journeys, again: str
) -> None:
    session = await opened(journeys)
    payment_id = session.payment.payment_id
    [first] = await journeys.pages(payment_id)
    await journeys.stripe.expire_session(first["id"])

    if again == "retry":
        answered = (await journeys.orchestrator.RetryPayment(retry(payment_id))).session
    else:
        answered = (await journeys.orchestrator.ResumePayment(resume(payment_id))).session

    assert [one["status"] for one in await journeys.pages(payment_id)] == ["expired", "open"]
    assert answered.checkout_url not in ("", session.checkout_url)


async def test_an_abandoned_page_is_expired_with_its_payment(
    replica: Orchestrator, journeys: Journeys, clock: Clock
) -> None:
    open_one, ended_one = [(await opened(journeys)).payment.payment_id for _ in range(2)]
    [ended] = await journeys.pages(ended_one)
    await journeys.stripe.expire_session(ended["id"])
    await journeys.deliver(await journeys.synced(ended_one))
    await replica.sweep()
    clock.advance(ABANDONED_AFTER)
    await replica.sweep()
    for payment_id in (open_one, ended_one):
        assert state_of(await journeys.payment(payment_id)) == "EXPIRED"
        assert [one["status"] for one in await journeys.pages(payment_id)] == ["expired"]
        assert (await journeys.plan(payment_id)).pending_steps == []


async def test_a_page_is_called_off_with_its_payment(journeys: Journeys) -> None:
    payment_id = (await opened(journeys)).payment.payment_id
    assert state_of((await journeys.orchestrator.CancelPayment(cancel(payment_id))).payment) == "CANCELED"
    assert [one["status"] for one in await journeys.pages(payment_id)] == ["expired"]


async def test_a_hold_on_a_page_is_authorized_not_processing(journeys: Journeys) -> None:
    session = await opened(journeys, timing=pb.TIMING_MANUAL_CAPTURE)
    await journeys.stripe.pay_session(session.checkout_url)
    assert await synced(journeys, session.payment.payment_id) == "AUTHORIZED"


@pytest.mark.parametrize(("method", "after"), [(SEPA_PAYS, "SUCCEEDED"), (SEPA_FAILS, OPENED[-1])])
async def test_a_complete_page_whose_money_processes_is_processing(
    method: str, after: str, replica: Orchestrator, journeys: Journeys, clock: Clock
) -> None:
    euros = money_pb2.Money(amount_minor=TOTAL_MINOR, currency_code="EUR")
    session = await opened(journeys, lines=[line(unit_amount=euros)])
    payment_id = session.payment.payment_id
    await journeys.stripe.pay_session(session.checkout_url, payment_method=method)
    assert await synced(journeys, payment_id) == "PROCESSING"
    clock.advance(ABANDONED_AFTER)  # no clock ends it
    await replica.sweep()
    assert state_of(await journeys.payment(payment_id)) == "PROCESSING"
    assert (await refused(journeys.orchestrator.RetryPayment(retry(payment_id)))).reason == "PAYMENT_STATE"
    [intent] = await journeys.intents(payment_id)
    await journeys.stripe.finish_debit(intent["id"])
    assert await synced(journeys, payment_id) == after
    if after == OPENED[-1]:
        assert (await journeys.payment(payment_id)).snapshot.reason == "SESSION_COMPLETE"
        fresh = (await journeys.orchestrator.RetryPayment(retry(payment_id))).session
        await journeys.stripe.pay_session(fresh.checkout_url)
        assert await synced(journeys, payment_id) == "SUCCEEDED"


async def test_a_start_of_a_page_that_died(
    replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys, lives: Lives
) -> None:
    for life in lives():
        asked = page(checkout=pb.CheckoutOptions(expire_after=Duration(seconds=3_600)))
        async with mortal_orchestrator(replica, life) as (parts, _):
            await ask(parts, asked)
        session = (await orchestrator.StartPayment(asked)).session
        assert session.checkout_url, life.place
        assert await journeys.states(session.payment.payment_id) == OPENED, life.place
        assert len(await journeys.pages(session.payment.payment_id)) == 1, life.place


@pytest.mark.parametrize("collection", [PAGE, pytest.param(FORM, marks=pytest.mark.soak)])
async def test_a_change_over_that_died(
    collection: Any, replica: Orchestrator, journeys: Journeys, lives: Lives
) -> None:
    for life in lives():
        first = start() if collection == PAGE else page()
        payment_id = (await journeys.orchestrator.StartPayment(first)).session.payment.payment_id
        asked = retry(payment_id, collection=collection)
        async with mortal_orchestrator(replica, life) as (parts, _):
            await ask(parts, asked)
        await replica.sweep()
        session = (await journeys.orchestrator.RetryPayment(asked)).session
        assert session.payment.snapshot.attempt == 2, life.place
        assert bool(session.checkout_url) is (collection == PAGE), life.place
        intents = [one["status"] for one in await journeys.intents(payment_id)]
        pages = [one["status"] for one in await journeys.pages(payment_id)]
        of_form, of_page = ("canceled", "open") if collection == PAGE else ("requires_payment_method", "expired")
        assert (intents, pages) == ([of_form], [of_page]), life.place
        assert set((await journeys.states(payment_id))[1:]) == {OPENED[-1]}, life.place


@pytest.mark.soak
async def test_who_changes_over_after_a_change_that_died_never_has_two_attempts_open(
    replica: Orchestrator, journeys: Journeys, clock: Clock
) -> None:
    for life in each_life():
        payment_id = await journeys.started()
        async with mortal_orchestrator(replica, life) as (parts, _):
            await ask(parts, retry(payment_id, collection=PAGE))
        await journeys.orchestrator.RetryPayment(retry(payment_id, collection=FORM))  # by another caller, and first
        intents = [one["status"] for one in await journeys.intents(payment_id)]
        pages = [one["status"] for one in await journeys.pages(payment_id)]
        assert (intents.count("requires_payment_method"), pages.count("open")) == (1, 0), life.place
        await replica.sweep()
        open_ones = [one for one in await journeys.intents(payment_id) if one["status"] != "canceled"]
        open_ones += [one for one in await journeys.pages(payment_id) if one["status"] == "open"]
        assert len(open_ones) == 1, life.place
    clock.advance(timedelta(seconds=1))
