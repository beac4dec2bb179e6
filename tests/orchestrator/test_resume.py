"""A payer who comes back: the payment waits for them, and they go on with a fresh secret, at a price that stands."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from batzen.orchestrator.v1.orchestrator_pb2_grpc import OrchestratorServiceStub
from batzen.pricing.v1 import price_book_pb2, pricing_pb2
from batzen.pricing.v1.pricing_pb2_grpc import PricingServiceStub
from batzen.type.v1.money_pb2 import Money
from local.databases import ServiceDatabase
from sandbox.control import Refused
from services.orchestrator.domain.policies import ABANDONED_AFTER, PRESERVE_MAX, PRESERVE_WINDOW
from services.wire import timestamp
from tests.eventually import eventually
from tests.orchestrator.conftest import Journeys, Orchestrator, World
from tests.orchestrator.crash_injection import ask, mortal_orchestrator, shop_key
from tests.orchestrator.lives import Life, Lives
from tests.orchestrator.samples import (
    CANCEL,
    DECLINED,
    OPENED,
    RETURN_URL,
    THREE_D_SECURE,
    TOTAL_MINOR,
    Clock,
    cancel,
    chf,
    new_id,
    page,
    preserve,
    refused,
    resume,
    retry,
    start,
    state_of,
    submit,
    update,
)

EXPIRED_QUOTE = 'course = course || \'{"quote_expire_time": "2020-01-01T00:00:00+00:00"}\''
LESS_MINOR, LEAST_MINOR = 9_000, 8_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Sale:
    """Takes ten percent off, then twenty."""

    journeys: Journeys
    pricing: PricingServiceStub
    database: ServiceDatabase

    async def put(self, code: str, *, percent: str, **changes: Any) -> None:
        discount = price_book_pb2.Discount(
            discount_id=code.lower(),
            code=code,
            direction="ADJUSTMENT_DIRECTION_DISCOUNT",
            percent=percent,
            funder="FUNDER_SELLER",
            valid_from=timestamp(datetime.now(UTC) - timedelta(days=1)),
            **changes,
        )
        request = pricing_pb2.PutDiscountRequest(request_id=new_id(), discount=discount, change_reason="A test")
        [*known] = (await self.pricing.ListDiscounts(pricing_pb2.ListDiscountsRequest(code=code))).discounts
        if known:
            request.expected_revision = known[0].revision.number
        await self.pricing.PutDiscount(request)

    async def uses(self, code: str) -> tuple[int, int]:
        [one] = (await self.pricing.ListDiscounts(pricing_pb2.ListDiscountsRequest(code=code))).discounts
        return one.held_count, one.redeemed_count

    async def outdated(self, *, start: Callable[..., pb.StartPaymentRequest] = start, **changes: Any) -> str:
        """Return a payment whose quote has expired, and of which another one says less."""
        code = f"C{secrets.token_hex(6)}".upper()
        await self.put(code, percent="10", **changes)
        session = (await self.journeys.orchestrator.StartPayment(start(coupon_codes=[code]))).session
        payment_id = session.payment.payment_id
        await self.put(code, percent="20", **changes)
        await update(self.database, payment_id, EXPIRED_QUOTE)
        return payment_id


@pytest.fixture
async def sale(world: World, journeys: Journeys, database: ServiceDatabase) -> AsyncIterator[Sale]:
    async with world.channel(world.ports["pricing"], "clerk", roles=["operator"]) as channel:
        yield Sale(journeys=journeys, pricing=PricingServiceStub(channel), database=database)


async def test_a_resumed_payment_goes_on_with_the_attempt_that_is_open(
    as_payer: OrchestratorServiceStub, journeys: Journeys
) -> None:
    session = (await journeys.orchestrator.StartPayment(start())).session
    payment_id = session.payment.payment_id
    asked = resume(payment_id)
    answer = await as_payer.ResumePayment(asked)
    assert answer.session.client_secret == session.client_secret
    assert (answer.price_changed, answer.total_before, answer.total_now) == (False, chf(TOTAL_MINOR), chf(TOTAL_MINOR))
    snapshot = answer.session.payment.snapshot
    assert (snapshot.recovery_count, snapshot.recovered_from, snapshot.attempt) == (1, "ABSENCE", 1)
    assert all(row.payer_facing for row in answer.session.quote.rows)
    assert (await as_payer.ResumePayment(asked)).session.client_secret == session.client_secret
    assert await journeys.states(payment_id) == [*OPENED, OPENED[-1]]
    assert len(await journeys.intents(payment_id)) == 1
    assert state_of((await as_payer.SubmitPayment(submit(payment_id))).payment) == "SUCCEEDED"


@pytest.mark.parametrize(
    ("card", "recovered_from"), [(DECLINED, "DECLINED"), (THREE_D_SECURE, "AUTHENTICATION"), ("", "PRESERVED")]
)
async def test_a_resumed_payment_says_what_it_was_picked_up_from(
    card: str, recovered_from: str, journeys: Journeys
) -> None:
    payment_id = await journeys.started()
    if card:
        await journeys.orchestrator.SubmitPayment(submit(payment_id, card))
    else:
        await journeys.orchestrator.PreservePayment(preserve(payment_id))
    snapshot = (await journeys.orchestrator.ResumePayment(resume(payment_id))).session.payment.snapshot
    assert (snapshot.recovery_count, snapshot.recovered_from) == (1, recovered_from)
    again = (await journeys.orchestrator.ResumePayment(resume(payment_id))).session.payment.snapshot
    assert again.recovery_count == 2
    assert not (await journeys.plan(payment_id)).HasField("preserve_time")


async def test_a_payment_whose_quote_has_expired_is_priced_anew_and_nothing_is_charged_before_its_payer_submits(
    sale: Sale, journeys: Journeys
) -> None:
    payment_id = await sale.outdated(uses_max=9)
    [old] = await journeys.intents(payment_id)
    quote_id = (await journeys.plan(payment_id)).quote_id
    asked = resume(payment_id)
    answer = await journeys.orchestrator.ResumePayment(asked)
    assert (answer.price_changed, answer.total_before, answer.total_now) == (True, chf(LESS_MINOR), chf(LEAST_MINOR))
    payment = answer.session.payment
    assert (state_of(payment), payment.total, payment.snapshot.attempt) == (OPENED[-1], chf(LEAST_MINOR), 2)
    assert (payment.snapshot.recovered_from, payment.snapshot.total_minor) == ("PRICE_CHANGED", LEAST_MINOR)
    assert payment.quote_id == answer.session.quote.quote_id == (await journeys.plan(payment_id)).quote_id != quote_id
    by_id = {one["id"]: one for one in await journeys.intents(payment_id)}
    assert by_id.pop(old["id"])["status"] == "canceled"
    [new] = by_id.values()
    assert (new["status"], new["amount"]) == ("requires_payment_method", LEAST_MINOR)
    assert await journeys.charges(payment_id) == []
    again = await journeys.orchestrator.ResumePayment(asked)
    assert (again.price_changed, again.session.client_secret) == (True, answer.session.client_secret)
    paid = (await journeys.orchestrator.SubmitPayment(submit(payment_id))).payment
    assert (state_of(paid), paid.snapshot.amounts.captured_minor, paid.total) == (
        "SUCCEEDED",
        LEAST_MINOR,
        chf(LEAST_MINOR),
    )
    assert not paid.snapshot.HasField("attention")


async def test_a_repeat_whose_answer_says_the_price_of_before_lets_nobody_pay(sale: Sale, journeys: Journeys) -> None:
    asked: list[pb.StartPaymentRequest] = []

    def asking(**changes: Any) -> pb.StartPaymentRequest:
        asked.append(start(**changes))
        return asked[0]

    payment_id = await sale.outdated(start=asking)
    assert (await journeys.orchestrator.StartPayment(asked[0])).session.client_secret
    answer = await journeys.orchestrator.ResumePayment(resume(payment_id))
    assert (answer.session.quote.total, answer.session.client_secret != "") == (chf(LEAST_MINOR), True)
    again = (await journeys.orchestrator.StartPayment(asked[0])).session
    assert (again.quote.total, again.client_secret) == (chf(LESS_MINOR), "")


async def test_the_price_changes_while_a_page_is_open_and_the_payer_pays_the_old_one(
    sale: Sale, journeys: Journeys
) -> None:
    """As other systems have reported it: session A is open, session B is opened at another price, and A is paid."""
    payment_id = await sale.outdated(start=page)
    [old] = await journeys.pages(payment_id)
    answer = await journeys.orchestrator.ResumePayment(resume(payment_id))
    assert (answer.price_changed, answer.session.payment.total) == (True, chf(LEAST_MINOR))
    with pytest.raises(Refused):
        await journeys.stripe.pay_session(old["url"])
    await journeys.stripe.pay_session(answer.session.checkout_url)
    paid = (await journeys.orchestrator.SyncPayment(pb.SyncPaymentRequest(payment_id=payment_id))).payment
    assert (state_of(paid), paid.snapshot.amounts.captured_minor) == ("SUCCEEDED", LEAST_MINOR)
    assert [one["amount_total"] for one in await journeys.pages(payment_id)] == [LESS_MINOR, LEAST_MINOR]


async def test_the_payer_pays_the_old_page_before_the_price_has_changed(sale: Sale, journeys: Journeys) -> None:
    payment_id = await sale.outdated(start=page)
    [old] = await journeys.pages(payment_id)
    await journeys.stripe.pay_session(old["url"])
    refusal = await refused(journeys.orchestrator.ResumePayment(resume(payment_id)))
    assert (refusal.reason, refusal.metadata["state"]) == ("PAYMENT_STATE", "SUCCEEDED")
    payment = await journeys.payment(payment_id)
    assert (payment.snapshot.amounts.captured_minor, payment.total) == (LESS_MINOR, chf(LESS_MINOR))
    assert len(await journeys.pages(payment_id)) == 1


async def test_a_new_quote_that_says_the_same_keeps_the_attempt(journeys: Journeys, database: ServiceDatabase) -> None:
    payment_id = await journeys.started()
    before = (await journeys.plan(payment_id)).quote_id
    await update(database, payment_id, EXPIRED_QUOTE)
    answer = await journeys.orchestrator.ResumePayment(resume(payment_id))
    assert (answer.price_changed, answer.session.payment.snapshot.attempt) == (False, 1)
    assert (await journeys.plan(payment_id)).quote_id == answer.session.payment.quote_id != before
    assert len(await journeys.intents(payment_id)) == 1


async def test_a_retry_prices_anew_too(sale: Sale, journeys: Journeys) -> None:
    payment_id = await sale.outdated()
    answer = await journeys.orchestrator.RetryPayment(retry(payment_id))
    assert (answer.payment.total, answer.payment.snapshot.attempt) == (chf(LEAST_MINOR), 2)
    again = await journeys.orchestrator.RetryPayment(retry(payment_id))
    assert (again.payment.snapshot.attempt, again.session.client_secret) == (2, answer.session.client_secret)


@pytest.mark.parametrize("is_swept", [True, pytest.param(False, marks=pytest.mark.soak)])
async def test_a_resume_that_died(
    is_swept: bool, replica: Orchestrator, sale: Sale, journeys: Journeys, lives: Lives
) -> None:
    for life in lives():
        payment_id = await sale.outdated(uses_max=9)
        asked = resume(payment_id)
        async with mortal_orchestrator(replica, life) as (parts, _):
            await ask(parts, asked)
        if is_swept:
            await replica.sweep()
        answer = await journeys.orchestrator.ResumePayment(asked)
        assert (answer.price_changed, answer.total_before.amount_minor) == (True, LESS_MINOR), life.place
        assert answer.session.client_secret, life.place
        snapshot = answer.session.payment.snapshot
        assert (snapshot.attempt, snapshot.recovery_count) == (2, 1), life.place
        statuses = sorted(one["status"] for one in await journeys.intents(payment_id))
        assert statuses == ["canceled", "requires_payment_method"], life.place
        assert set((await journeys.states(payment_id))[1:]) == {OPENED[-1]}, life.place
        assert (await journeys.plan(payment_id)).pending_steps == [], life.place


async def test_what_was_submitted_at_the_price_of_before_is_not_charged_at_the_new_one(
    replica: Orchestrator, sale: Sale, journeys: Journeys
) -> None:
    payment_id = await sale.outdated(uses_max=9)
    asked = submit(payment_id)
    await journeys.stripe.fault("pause", route=CANCEL)
    resuming = asyncio.ensure_future(journeys.orchestrator.ResumePayment(resume(payment_id)))
    await journeys.stripe.until_paused()
    submitting = asyncio.ensure_future(journeys.orchestrator.SubmitPayment(asked))
    await eventually(lambda: replica.parts.store.request(shop_key(asked)), what="the submit waits")
    await journeys.stripe.resume()
    assert (await resuming).price_changed
    refusal = await refused(submitting)
    assert (refusal.reason, refusal.metadata) == ("PAYMENT_STATE", {"state": OPENED[-1]})
    assert await journeys.charges(payment_id) == []
    paid = (await journeys.orchestrator.SubmitPayment(submit(payment_id))).payment
    assert (state_of(paid), paid.snapshot.amounts.captured_minor) == ("SUCCEEDED", LEAST_MINOR)


async def test_a_submit_at_a_price_that_its_payer_was_shown_is_charged_at_no_other(
    sale: Sale, journeys: Journeys, as_payer: OrchestratorServiceStub
) -> None:
    payment_id = await sale.outdated()
    await journeys.orchestrator.ResumePayment(resume(payment_id))
    asked = submit(payment_id, expected_total=chf(LESS_MINOR))
    first, repeated = [await refused(as_payer.SubmitPayment(asked)) for _ in range(2)]
    told = ("PRICE_CHANGED", {"total_minor": str(LEAST_MINOR), "currency_code": "CHF"})
    assert [(one.reason, one.metadata) for one in (first, repeated)] == [told, told]
    other = pb.SubmitPaymentRequest()
    other.CopyFrom(asked)
    other.expected_total.CopyFrom(chf(LEAST_MINOR))
    assert (await refused(as_payer.SubmitPayment(other))).reason == "REQUEST_ID_REUSED"
    foreign = submit(payment_id, expected_total=Money(amount_minor=LEAST_MINOR, currency_code="EUR"))
    assert (await refused(as_payer.SubmitPayment(foreign))).reason == "PRICE_CHANGED"
    nameless = submit(payment_id, expected_total=Money(amount_minor=LEAST_MINOR))
    assert (await refused(as_payer.SubmitPayment(nameless))).reason == "FIELD_MISSING"
    assert (await journeys.charges(payment_id), (await journeys.plan(payment_id)).pending_steps) == ([], [])
    agreed = submit(payment_id, expected_total=chf(LEAST_MINOR))
    paid = [(await as_payer.SubmitPayment(agreed)).payment for _ in range(2)]
    assert {(state_of(one), one.snapshot.amounts.captured_minor) for one in paid} == {("SUCCEEDED", LEAST_MINOR)}
    assert len(await journeys.charges(payment_id)) == 1


@pytest.mark.parametrize("starting", [{"timing": pb.TIMING_MANUAL_CAPTURE}, {"timing": pb.TIMING_SCHEDULED}])
async def test_what_is_held_or_charged_later_is_agreed_to_at_the_price_shown_as_well(
    starting: dict[str, Any], journeys: Journeys, clock: Clock
) -> None:
    asked = start(**starting)
    if asked.timing == pb.TIMING_SCHEDULED:  # after whatever another test made of the clock
        asked.charge_time.FromDatetime(max(clock.now(), datetime.now(UTC)) + timedelta(days=3))
    payment_id = (await journeys.orchestrator.StartPayment(asked)).session.payment.payment_id
    another = submit(payment_id, expected_total=chf(TOTAL_MINOR - 1))
    assert (await refused(journeys.orchestrator.SubmitPayment(another))).reason == "PRICE_CHANGED"
    agreed = submit(payment_id, expected_total=chf(TOTAL_MINOR))
    state = state_of((await journeys.orchestrator.SubmitPayment(agreed)).payment)
    assert state == ("SCHEDULED" if asked.timing == pb.TIMING_SCHEDULED else "AUTHORIZED")


@pytest.mark.parametrize("dies", ["after accept", "before save"])
async def test_a_submit_at_another_price_that_died_is_refused_by_whoever_carries_it_on(
    dies: str, replica: Orchestrator, sale: Sale, journeys: Journeys
) -> None:
    payment_id = await sale.outdated()
    await journeys.orchestrator.ResumePayment(resume(payment_id))
    asked = submit(payment_id, expected_total=chf(LESS_MINOR))
    async with mortal_orchestrator(replica, Life(ends_at=dies)) as (parts, _):
        await ask(parts, asked)
    kept = await replica.parts.store.request(shop_key(asked))
    assert kept is not None
    assert (kept.calling, kept.done) == (False, False)
    await replica.sweep()
    assert (await refused(journeys.orchestrator.SubmitPayment(asked))).reason == "PRICE_CHANGED"
    assert await journeys.charges(payment_id) == []
    assert (await journeys.plan(payment_id)).pending_steps == []


async def test_an_attempt_that_took_anothers_place_is_over_for_good_when_stripe_cancels_it(
    replica: Orchestrator, sale: Sale, journeys: Journeys
) -> None:
    """What the cancel of the one before it meant is not what its own means, also where that change died."""
    payment_id = await sale.outdated()
    asked = resume(payment_id)
    async with mortal_orchestrator(replica, Life(ends_at="after create_intent")) as (parts, _):
        await ask(parts, asked)
    await journeys.orchestrator.ResumePayment(asked)
    [new] = [one for one in await journeys.intents(payment_id) if one["status"] != "canceled"]
    await journeys.stripe.cancel(new["id"])
    await journeys.deliver(await journeys.synced(payment_id))
    await replica.sweep()
    assert state_of(await journeys.payment(payment_id)) == "CANCELED"


async def test_a_hold_that_kept_its_place_is_over_for_good_when_stripe_cancels_it(
    replica: Orchestrator, journeys: Journeys
) -> None:
    payment_id = await journeys.started(timing=pb.TIMING_MANUAL_CAPTURE)
    [intent] = await journeys.intents(payment_id)
    await journeys.stripe.fault("server_error", route=CANCEL, stored=True, should_retry=False)
    asked = retry(payment_id, collection=pb.COLLECTION_CHECKOUT)
    assert (await refused(journeys.orchestrator.RetryPayment(asked))).reason == "ATTEMPT_OPEN"
    await journeys.stripe.browser_confirm(intent["client_secret"], payment_method="pm_card_visa", return_url=RETURN_URL)
    await journeys.stripe.clear_faults()
    await journeys.deliver(await journeys.synced(payment_id))
    await replica.sweep()
    assert state_of(await journeys.payment(payment_id)) == "AUTHORIZED"
    await journeys.stripe.cancel(intent["id"])
    await journeys.deliver(await journeys.synced(payment_id))
    await replica.sweep()
    assert state_of(await journeys.payment(payment_id)) == "CANCELED"


async def test_stripe_does_not_say_that_the_old_attempt_is_over(
    replica: Orchestrator, sale: Sale, journeys: Journeys
) -> None:
    payment_id = await sale.outdated(uses_max=9)
    await journeys.silence(CANCEL)
    asked = resume(payment_id)
    refusal = await refused(journeys.orchestrator.ResumePayment(asked))
    assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "ATTEMPT_OPEN")
    assert (await refused(journeys.orchestrator.RetryPayment(retry(payment_id)))).reason == "ATTEMPT_OPEN"
    assert (await refused(journeys.orchestrator.SubmitPayment(submit(payment_id)))).reason == "PAYMENT_STATE"
    assert len(await journeys.intents(payment_id)) == 1
    await journeys.stripe.clear_faults()
    await journeys.deliver(await journeys.synced(payment_id))
    await replica.sweep()
    payment = await journeys.payment(payment_id)
    assert (state_of(payment), payment.snapshot.reason) == (OPENED[-1], "ATTEMPT_REPLACED")
    answer = await journeys.orchestrator.ResumePayment(resume(payment_id))
    assert (answer.session.payment.snapshot.attempt, answer.price_changed) == (2, True)
    assert (await refused(journeys.orchestrator.ResumePayment(asked))).reason == "ATTEMPT_OPEN"  # it is kept


async def test_an_old_attempt_that_turns_out_paid_is_applied_and_no_other_is_made(
    sale: Sale, journeys: Journeys
) -> None:
    payment_id = await sale.outdated(uses_max=9)
    [intent] = await journeys.intents(payment_id)
    await journeys.stripe.succeed(intent["id"])
    refusal = await refused(journeys.orchestrator.ResumePayment(resume(payment_id)))
    assert (refusal.reason, refusal.metadata["state"]) == ("PAYMENT_STATE", "SUCCEEDED")
    payment = await journeys.payment(payment_id)
    assert (state_of(payment), payment.snapshot.amounts.captured_minor) == ("SUCCEEDED", LESS_MINOR)
    assert payment.total == chf(LESS_MINOR)
    assert len(await journeys.intents(payment_id)) == 1


async def test_a_payment_that_has_no_attempt_expires_and_is_cancelled_all_the_same(
    replica: Orchestrator, sale: Sale, journeys: Journeys, clock: Clock
) -> None:
    abandoned, called_off = await sale.outdated(), await sale.outdated()
    await journeys.silence(CANCEL)
    for payment_id in (abandoned, called_off):
        assert (await refused(journeys.orchestrator.ResumePayment(resume(payment_id)))).reason == "ATTEMPT_OPEN"
    await journeys.stripe.clear_faults()
    for payment_id in (abandoned, called_off):
        await journeys.deliver(await journeys.synced(payment_id))
    await replica.sweep()
    assert state_of((await journeys.orchestrator.CancelPayment(cancel(called_off))).payment) == "CANCELED"
    clock.advance(ABANDONED_AFTER)
    await replica.sweep()
    assert state_of(await journeys.payment(abandoned)) == "EXPIRED"
    assert (await journeys.plan(abandoned)).pending_steps == []


@pytest.mark.parametrize("ask_for", [preserve, resume, retry])
async def test_what_is_over_is_neither_kept_nor_picked_up(ask_for: Any, journeys: Journeys) -> None:
    payment_id = await journeys.paid()
    method = type(ask_for(payment_id)).__name__.removesuffix("Request")
    refusal = await refused(getattr(journeys.orchestrator, method)(ask_for(payment_id)))
    assert (refusal.reason, refusal.metadata["state"]) == ("PAYMENT_STATE", "SUCCEEDED")
    missing = await refused(getattr(journeys.orchestrator, method)(ask_for("pay_" + "a" * 26)))
    assert (missing.code, missing.reason) == ("NOT_FOUND", "PAYMENT_NOT_FOUND")


async def test_a_preserved_payment_waits_for_its_payer(
    replica: Orchestrator,
    as_payer: OrchestratorServiceStub,
    journeys: Journeys,
    clock: Clock,
) -> None:
    payment_id = await journeys.started()
    clock.advance(ABANDONED_AFTER - timedelta(minutes=1))
    answer = await as_payer.PreservePayment(preserve(payment_id, reason="fetches a card"))
    plan = await journeys.plan(payment_id)
    assert plan.preserve_time == answer.preserve_time == plan.expire_time
    clock.advance(PRESERVE_WINDOW - timedelta(minutes=1))
    await replica.sweep()
    assert state_of(await journeys.payment(payment_id)) == OPENED[-1]
    clock.advance(timedelta(minutes=1))
    await replica.sweep()
    assert state_of(await journeys.payment(payment_id)) == "EXPIRED"


async def test_a_window_is_at_most_a_day_and_never_shorter_than_what_was_promised(journeys: Journeys) -> None:
    payment_id = await journeys.started()
    long = preserve(payment_id)
    long.window.FromTimedelta(PRESERVE_MAX)
    until = (await journeys.orchestrator.PreservePayment(long)).preserve_time
    assert (await journeys.orchestrator.PreservePayment(preserve(payment_id))).preserve_time == until
    for window in (timedelta(0), timedelta(seconds=-1), PRESERVE_MAX + timedelta(seconds=1)):
        asked = preserve(payment_id)
        asked.window.FromTimedelta(window)
        refusal = await refused(journeys.orchestrator.PreservePayment(asked))
        assert (refusal.reason, refusal.field) == ("FIELD_INVALID", "window")
