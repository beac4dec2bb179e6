"""What becomes of a payment's quote: redeemed once money is there, released once none comes, whatever goes wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from batzen.pricing.v1 import pricing_pb2
from batzen.status.v1 import status_pb2
from services.orchestrator.domain.policies import ABANDONED_AFTER, RETRY_MAX
from services.orchestrator.quote_outbox import QuoteOutbox
from services.orchestrator.wire.requests import derived_payment_id
from services.orchestrator.wiring import Parts
from services.shared.refusals import Refusal
from tests.eventually import WITHIN_S
from tests.orchestrator.conftest import Orchestrator, World
from tests.orchestrator.crash_injection import ask, mortal_peers, parts_of, shop_key
from tests.orchestrator.lives import Life, Lives, Mortal
from tests.orchestrator.samples import (
    BLOCKED,
    CREATE,
    OPENED,
    PAID,
    TOTAL_MINOR,
    VISA,
    cancel,
    chf,
    line,
    new_id,
    refund,
    refused,
    start,
    state_of,
    submit,
)
from tests.orchestrator.shops import Shop, connected

OFF_MINOR = 1_000
NET_MINOR = TOTAL_MINOR - OFF_MINOR


async def test_the_quote_of_a_paid_payment_is_redeemed(shop: Shop) -> None:
    coupon = await shop.coupon()
    payment_id = await shop.started(coupon)
    assert (await shop.quote_state(payment_id), await coupon.uses()) == ("OPEN", (1, 0))

    payment = (await shop.orchestrator.SubmitPayment(submit(payment_id))).payment
    assert (state_of(payment), payment.snapshot.amounts.captured_minor) == ("SUCCEEDED", NET_MINOR)
    assert (await shop.journeys.plan(payment_id)).pending_steps == ["redeem quote"]

    await shop.replica.sweep()
    assert (await shop.quote_state(payment_id), await coupon.uses()) == ("REDEEMED", (0, 1))
    assert (await shop.journeys.plan(payment_id)).pending_steps == []
    assert not (await shop.journeys.payment(payment_id)).snapshot.HasField("attention")


async def test_the_quote_of_a_payment_of_nothing_is_redeemed(shop: Shop) -> None:
    coupon = await shop.coupon()
    nothing = line()
    nothing.unit_amount.amount_minor = 0
    payment_id = await shop.started(coupon, lines=[nothing])
    await shop.replica.sweep()
    assert await shop.journeys.states(payment_id) == ["INITIALIZED", "SUCCEEDED"]
    assert await shop.quote_state(payment_id) == "REDEEMED"


@pytest.mark.parametrize("end", ["SUCCEEDED", "CANCELED"])
async def test_a_quote_that_holds_no_uses_stays_open_whatever_becomes_of_its_payment(end: str, shop: Shop) -> None:
    """With a coupon that may be used without limit as well as with none: there is nothing to keep or give back."""
    unlimited = await shop.coupon(uses_max=None)
    for payment_id in (await shop.journeys.started(), await shop.started(unlimited)):
        if end == "SUCCEEDED":
            await shop.orchestrator.SubmitPayment(submit(payment_id))
        else:
            await shop.orchestrator.CancelPayment(cancel(payment_id))
        assert state_of(await shop.journeys.payment(payment_id)) == end
        assert (await shop.journeys.plan(payment_id)).pending_steps == []
        assert await shop.outbox(payment_id) == []
        assert await shop.quote_state(payment_id) == "OPEN"


@pytest.mark.parametrize("end", ["CANCELED", "EXPIRED", "FAILED"])
async def test_the_quote_of_a_payment_that_ends_without_money_is_released(end: str, shop: Shop) -> None:
    coupon = await shop.coupon()
    payment_id = await shop.started(coupon)
    if end == "CANCELED":
        await shop.orchestrator.CancelPayment(cancel(payment_id))
    elif end == "EXPIRED":
        shop.clock.advance(ABANDONED_AFTER)
    else:
        await shop.orchestrator.SubmitPayment(submit(payment_id, BLOCKED))
    await shop.replica.sweep()
    assert state_of(await shop.journeys.payment(payment_id)) == end
    assert (await shop.quote_state(payment_id), await coupon.uses()) == ("RELEASED", (0, 0))
    assert (await shop.journeys.plan(payment_id)).pending_steps == []
    await shop.started(coupon)  # somebody else has it now


async def test_the_quote_of_a_payment_that_stripe_does_not_take_is_released(shop: Shop) -> None:
    coupon = await shop.coupon()
    await shop.journeys.stripe.fault("invalid", route=CREATE)
    payment_id = await shop.started(coupon)
    assert await shop.journeys.states(payment_id) == ["INITIALIZED", "FAILED"]
    await shop.replica.sweep()
    assert (await shop.quote_state(payment_id), await coupon.uses()) == ("RELEASED", (0, 0))


@pytest.mark.parametrize("is_refused", [False, True], ids=["", "unless pricing refuses"])
async def test_the_quote_of_a_payment_that_status_refuses_is_released(is_refused: bool, shop: Shop) -> None:
    """As when there is another payment of that id. It was never opened, so nobody looks at what pricing answers."""
    coupon = await shop.coupon()
    asked = start(coupon_codes=[coupon.code])
    payment_id = derived_payment_id(shop_key(asked))
    await shop.journeys.status.OpenPayment(
        status_pb2.OpenPaymentRequest(
            request_id=new_id(), payment_id=payment_id, payer_id="payer_2", quote_id="quote_2", total=chf(1)
        )
    )
    with pytest.raises(Refusal):
        await ask(shop.replica.parts, asked)
    assert await coupon.uses() == (1, 0)

    if is_refused:
        await shop.change_outbox(payment_id, "quote_id = 'quote_unknown'")
    await shop.replica.sweep()
    assert await shop.outbox(payment_id) == []
    assert await coupon.uses() == ((1, 0) if is_refused else (0, 0))


async def test_a_payment_that_would_not_bring_the_seller_its_share_is_not_started(shop: Shop) -> None:
    """Of a total of zero there is no charge by which the platform could pay the seller."""
    coupon = await shop.coupon(percent="100", funder="FUNDER_PLATFORM")
    refusal = await refused(shop.orchestrator.StartPayment(start(coupon_codes=[coupon.code])))
    assert (refusal.code, refusal.reason) == ("UNIMPLEMENTED", "NOT_OFFERED")
    assert int(refusal.metadata["seller_share_minor"]) > 0
    await shop.replica.sweep()
    assert await coupon.uses() == (0, 0)


async def test_what_the_platform_funds_comes_off_its_fee(shop: Shop) -> None:
    coupon = await shop.coupon(percent="10", funder="FUNDER_PLATFORM")
    payment_id = await shop.started(coupon)
    [intent] = await shop.journeys.intents(payment_id)
    [seller] = (await shop.orchestrator.StartPayment(start())).session.quote.sellers
    less_vat = 75  # of CHF 10.00, which the seller neither gets nor owes
    assert intent["amount"] - intent["application_fee_amount"] == seller.seller_share_minor - less_vat


async def test_a_quote_stands_for_longer_than_its_payer_may_take(shop: Shop) -> None:
    quote = (await shop.orchestrator.StartPayment(start())).session.quote
    assert quote.expire_time.ToDatetime() - quote.create_time.ToDatetime() > ABANDONED_AFTER


async def test_late_money_is_redeemed_over_the_limit_and_a_person_asked(shop: Shop) -> None:
    coupon = await shop.coupon()
    late_id = await shop.started(coupon)
    await shop.orchestrator.CancelPayment(cancel(late_id))
    await shop.replica.sweep()
    other_id = await shop.started(coupon)
    await shop.orchestrator.SubmitPayment(submit(other_id))
    await shop.replica.sweep()
    assert await coupon.uses() == (0, 1)

    await shop.pay_late(late_id)
    await shop.replica.sweep()
    payment = await shop.journeys.payment(late_id)
    assert (state_of(payment), payment.snapshot.amounts.captured_minor) == ("SUCCEEDED", NET_MINOR)
    assert payment.snapshot.attention.reason == "LATE_MONEY"
    assert payment.snapshot.attention.detail == (
        "Money came after the payment was CANCELED. The payment used a coupon beyond its limit."
    )
    assert (await shop.quote_state(late_id), await coupon.uses()) == ("REDEEMED", (0, 2))
    assert await shop.journeys.states(late_id) == [*OPENED, "CANCELED", "SUCCEEDED", "SUCCEEDED"]
    assert (await shop.journeys.plan(late_id)).pending_steps == []
    refunded = (
        await shop.orchestrator.RefundPayment(refund(late_id, NET_MINOR, expected_refundable=chf(NET_MINOR)))
    ).payment
    assert (state_of(refunded), await coupon.uses()) == ("REFUNDED", (0, 2))  # spent, although given back


async def test_a_payment_that_outlived_its_quote_asks_for_a_person_when_its_coupon_is_gone(
    world: World, shop: Shop
) -> None:
    """As after days in which a bank did not say what became of the money."""
    coupon = await shop.coupon()
    slow_id = await shop.started(coupon)
    await expire_uses(world)
    await shop.orchestrator.SubmitPayment(submit(await shop.started(coupon)))
    await shop.replica.sweep()

    await shop.orchestrator.SubmitPayment(submit(slow_id))
    await shop.replica.sweep()
    payment = await shop.journeys.payment(slow_id)
    assert (state_of(payment), payment.snapshot.attention.reason) == ("SUCCEEDED", "COUPON_OVER_LIMIT")
    assert await shop.journeys.states(slow_id) == [*PAID, "SUCCEEDED"]
    assert await coupon.uses() == (0, 2)


async def test_a_repeat_that_only_fetches_its_answer_leaves_word_of_an_exceeded_limit_to_be_told(
    world: World, shop: Shop
) -> None:
    """It looked before the first was answered, and took the payment after pricing was, before the sweep."""
    coupon = await shop.coupon()
    slow_id = await shop.started(coupon)
    await expire_uses(world)
    await shop.orchestrator.SubmitPayment(submit(await shop.started(coupon)))
    await shop.replica.sweep()
    asked = submit(slow_id)
    await shop.orchestrator.SubmitPayment(asked)
    assert await shop.replica.tell() == 1

    await ask(looking_too_early(shop.replica), asked)
    await shop.replica.sweep()
    assert (await shop.journeys.payment(slow_id)).snapshot.attention.reason == "COUPON_OVER_LIMIT"
    assert await shop.outbox(slow_id) == []


def looking_too_early(replica: Orchestrator) -> Parts:
    """Give an orchestrator whose first look at a request finds it not answered yet."""

    class Early:
        looks = 0

        def __getattr__(self, name: str) -> Any:
            return getattr(replica.parts.store, name)

        async def request(self, key: Any) -> Any:
            self.looks += 1
            found = await replica.parts.store.request(key)
            return replace(found, answer=None) if found is not None and self.looks == 1 else found

    store: Any = Early()
    return parts_of(replica, store=store)


async def expire_uses(world: World) -> None:
    async with connected(world.pricing_database) as connection:
        await connection.execute("UPDATE discount_uses SET expire_time = now() - interval '1 s' WHERE state = 'HELD'")


async def test_money_that_comes_before_the_release_was_told_is_within_the_limit(world: World, shop: Shop) -> None:
    coupon = await shop.coupon()
    payment_id = await shop.started(coupon)
    async with world.orchestrator(away=frozenset({"pricing"})) as cut_off, cut_off.connect() as stub:
        await stub.CancelPayment(cancel(payment_id))
        assert await cut_off.tell() == 1
    [told] = await shop.outbox(payment_id)
    assert (told["quote_state"], told["failures"]) == ("RELEASED", 1)

    await shop.pay_late(payment_id)
    await shop.replica.sweep()
    assert (await shop.quote_state(payment_id), await coupon.uses()) == ("REDEEMED", (0, 1))
    payment = await shop.journeys.payment(payment_id)
    assert payment.snapshot.attention.detail == "Money came after the payment was CANCELED."


# Pricing away, slow, or hearing things twice.


async def test_a_success_does_not_wait_for_pricing_which_hears_of_it_later(world: World, shop: Shop) -> None:
    coupon = await shop.coupon()
    payment_id = await shop.started(coupon)
    async with world.orchestrator(away=frozenset({"pricing"})) as cut_off, cut_off.connect() as stub:
        assert state_of((await stub.SubmitPayment(submit(payment_id))).payment) == "SUCCEEDED"
        for tries in (1, 2):
            assert await cut_off.tell() == 1
            assert await cut_off.tell() == 0  # it rests
            [told] = await shop.outbox(payment_id)
            assert (told["failures"], told["attention"]) == (tries, None)
            shop.clock.advance(RETRY_MAX)
        assert (await shop.journeys.plan(payment_id)).pending_steps == ["redeem quote"]
        shop.clock.advance(RETRY_MAX)
    await shop.replica.sweep()
    assert (await shop.quote_state(payment_id), await coupon.uses()) == ("REDEEMED", (0, 1))
    assert await shop.outbox(payment_id) == []
    assert await shop.journeys.states(payment_id) == PAID


async def test_pricing_that_does_not_answer_keeps_no_payment_still(world: World, shop: Shop) -> None:
    payment_id = await shop.paid()
    async with pricing_stuck(world):
        telling = asyncio.create_task(shop.replica.tell())
        asked = refund(payment_id, NET_MINOR, expected_refundable=chf(NET_MINOR))
        refunded = (await shop.orchestrator.RefundPayment(asked)).payment
        assert state_of(refunded) == "REFUNDED"
        assert not telling.done()
    assert await telling == 1
    assert await shop.quote_state(payment_id) == "REDEEMED"


@asynccontextmanager
async def pricing_stuck(world: World) -> AsyncIterator[None]:
    """While inside, pricing gets no answer of its database when a quote is to be redeemed or released."""
    async with connected(world.pricing_database) as connection, connection.transaction():
        await connection.execute("LOCK TABLE quote_outcomes IN ACCESS EXCLUSIVE MODE")
        yield


@pytest.mark.parametrize("end", ["REDEEMED", "RELEASED"])
async def test_telling_that_died_at_any_place_comes_to_one_use(end: str, shop: Shop, lives: Lives) -> None:
    """Pricing answers and nobody is there to hear it, or hears it twice, or the outbox is not cleared."""
    for life in lives():
        coupon = await shop.coupon()
        payment_id = await shop.started(coupon)
        if end == "REDEEMED":
            await shop.orchestrator.SubmitPayment(submit(payment_id, VISA))
        else:
            await shop.orchestrator.CancelPayment(cancel(payment_id))
        await tell(shop.replica, life)
        shop.clock.advance(RETRY_MAX)
        await shop.replica.sweep()
        assert await shop.quote_state(payment_id) == end, life.place
        assert await coupon.uses() == ((0, 1) if end == "REDEEMED" else (0, 0)), life.place
        assert await shop.outbox(payment_id) == [], life.place


async def test_word_of_an_exceeded_limit_that_died_at_any_place_reaches_a_person_once(shop: Shop, lives: Lives) -> None:
    for life in lives():
        coupon = await shop.coupon()
        payment_id = await shop.started(coupon)
        await shop.orchestrator.CancelPayment(cancel(payment_id))
        await shop.replica.sweep()
        await shop.started(coupon)
        await shop.pay_late(payment_id)
        await shop.replica.move()
        await tell(shop.replica, life)
        shop.clock.advance(RETRY_MAX)
        await shop.replica.sweep()
        payment = await shop.journeys.payment(payment_id)
        assert payment.snapshot.attention.detail.count("beyond its limit") == 1, life.place
        assert await shop.journeys.states(payment_id) == [*OPENED, "CANCELED", "SUCCEEDED", "SUCCEEDED"], life.place
        assert await coupon.uses() == (1, 1), life.place


async def tell(replica: Orchestrator, life: Life) -> None:
    """Tell what is due by one with a `life`."""
    store: Any = Mortal(replica.parts.store, life)
    await replica.engine(QuoteOutbox(store, mortal_peers(replica, life).pricing).kind).once()


async def test_two_who_tell_at_once_tell_each_quote_once(world: World, shop: Shop) -> None:
    paid = [await shop.paid() for _ in range(3)]
    async with world.orchestrator() as other:
        told = await asyncio.gather(shop.replica.tell(), other.tell())
    assert sum(told) == len(paid)
    assert [await shop.quote_state(payment_id) for payment_id in paid] == ["REDEEMED"] * len(paid)


async def test_a_release_that_comes_after_the_redemption_changes_nothing(shop: Shop) -> None:
    """It was under way for long, and the word of late money was quicker."""
    coupon = await shop.coupon()
    payment_id = await shop.started(coupon)
    quote_id = (await shop.journeys.plan(payment_id)).quote_id
    await shop.pricing.RedeemQuote(pricing_pb2.RedeemQuoteRequest(request_id=new_id(), quote_id=quote_id))
    await shop.orchestrator.CancelPayment(cancel(payment_id))
    await shop.replica.sweep()
    assert await coupon.uses() == (0, 1)
    assert await shop.outbox(payment_id) == []
    assert not (await shop.journeys.payment(payment_id)).snapshot.HasField("attention")


async def test_what_pricing_refuses_for_good_is_told_to_a_person(shop: Shop) -> None:
    payment_id = await shop.paid()
    await shop.change_outbox(payment_id, "quote_id = 'quote_unknown'")
    await shop.replica.sweep()
    payment = await shop.journeys.payment(payment_id)
    assert (state_of(payment), payment.snapshot.attention.reason) == ("SUCCEEDED", "QUOTE_REFUSED")
    assert payment.snapshot.attention.detail == "Pricing does not take the end of the quote: QUOTE_NOT_FOUND."
    assert await shop.outbox(payment_id) == []


async def test_telling_goes_on_by_itself(shop: Shop) -> None:
    payment_id = await shop.paid()
    async with shop.replica.parts.work.running(), asyncio.timeout(WITHIN_S):
        while (await shop.journeys.plan(payment_id)).pending_steps:
            pass
    assert await shop.quote_state(payment_id) == "REDEEMED"
