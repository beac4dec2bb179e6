"""Money that comes on an attempt that was given up all the same: booked, seen, and given back as the setting says."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from sandbox.control import Refused
from services.orchestrator.domain.surplus import SurplusRefund
from tests.eventually import eventually
from tests.orchestrator.conftest import Journeys, Orchestrator, World
from tests.orchestrator.crash_injection import mortal_orchestrator
from tests.orchestrator.lives import Lives
from tests.orchestrator.samples import FEE_MINOR, REFUND, TOTAL_MINOR, retry, state_of

PAGE, FORM = pb.COLLECTION_CHECKOUT, pb.COLLECTION_ELEMENTS


@pytest.fixture
async def generous(world: World) -> AsyncIterator[Orchestrator]:
    """An orchestrator that gives surplus back by itself."""
    async with world.orchestrator(surplus_refund=SurplusRefund.AT_ONCE) as running:
        yield running


async def changed_over(journeys: Journeys) -> tuple[str, str, str]:
    """Return a payment that went from the form to a page: its id, the intent of the form, and the page."""
    payment_id = await journeys.started()
    [intent] = await journeys.intents(payment_id)
    session = (await journeys.orchestrator.RetryPayment(retry(payment_id, collection=PAGE))).session
    return payment_id, intent["id"], session.checkout_url


async def paid_twice(journeys: Journeys) -> tuple[str, str]:
    """Return a payment whose page was paid, and then its form, too."""
    payment_id, intent_id, url = await changed_over(journeys)
    await journeys.stripe.pay_session(url)
    await journeys.deliver(await journeys.synced(payment_id))
    await journeys.stripe.force(intent_id, "succeeded")
    return payment_id, intent_id


async def refunds_of(journeys: Journeys, intent_id: str) -> list[int]:
    return [one["amount"] for one in await journeys.stripe.objects("refund", payment_intent=intent_id)]


async def test_the_page_is_closed_when_the_form_before_it_was_paid_all_the_same(
    replica: Orchestrator, journeys: Journeys
) -> None:
    payment_id, intent_id, url = await changed_over(journeys)
    await journeys.stripe.force(intent_id, "succeeded")
    await journeys.deliver(await journeys.synced(payment_id))
    await replica.sweep()
    payment = await journeys.payment(payment_id)
    assert (state_of(payment), payment.snapshot.attempt) == ("SUCCEEDED", 1)
    assert [one["status"] for one in await journeys.pages(payment_id)] == ["expired"]
    with pytest.raises(Refused):
        await journeys.stripe.pay_session(url)
    await replica.sweep()
    assert await journeys.payment(payment_id) == payment


async def test_what_came_twice_waits_for_a_person(replica: Orchestrator, journeys: Journeys) -> None:
    payment_id, intent_id = await paid_twice(journeys)
    await replica.sweep()
    await journeys.deliver(await journeys.synced(payment_id))
    await replica.sweep()
    payment = await journeys.payment(payment_id)
    assert (state_of(payment), payment.snapshot.attempt) == ("SUCCEEDED", 2)
    assert (payment.snapshot.amounts.captured_minor, payment.snapshot.amounts.surplus_minor) == (
        TOTAL_MINOR,
        TOTAL_MINOR,
    )
    assert payment.snapshot.attention.reason == "SURPLUS"
    assert await refunds_of(journeys, intent_id) == []


async def test_what_came_twice_goes_back_at_once(generous: Orchestrator, journeys: Journeys) -> None:
    payment_id, intent_id = await paid_twice(journeys)
    await journeys.deliver(await journeys.synced(payment_id))
    await generous.sweep()
    assert await refunds_of(journeys, intent_id) == [TOTAL_MINOR]
    payment = await journeys.payment(payment_id)
    assert (state_of(payment), payment.snapshot.amounts.surplus_minor) == ("SUCCEEDED", 0)
    assert payment.snapshot.amounts.refunded_minor == 0  # the payer keeps what they paid for
    assert not payment.snapshot.HasField("attention")
    [charge] = await journeys.stripe.objects("charge", payment_intent=intent_id, status="succeeded")

    async def fee_is_back() -> bool:
        [fee] = await journeys.stripe.objects("application_fee", charge=charge["id"])
        return bool(fee["amount_refunded"] == FEE_MINOR)

    await eventually(fee_is_back)


async def test_as_much_that_comes_once_more_goes_back_too(generous: Orchestrator, journeys: Journeys) -> None:
    payment_id = await journeys.started()
    for collection in (PAGE, FORM, PAGE):
        url = (await journeys.orchestrator.RetryPayment(retry(payment_id, collection=collection))).session.checkout_url
    forms = await journeys.intents(payment_id)
    assert len(forms) == 2
    await journeys.stripe.pay_session(url)
    await journeys.deliver(await journeys.synced(payment_id))
    for form in forms:
        await journeys.stripe.force(form["id"], "succeeded")
        await journeys.deliver(await journeys.synced(payment_id))
        await generous.sweep()
        assert await refunds_of(journeys, form["id"]) == [TOTAL_MINOR]
        assert (await journeys.payment(payment_id)).snapshot.amounts.surplus_minor == 0


async def test_a_surplus_that_died_goes_back_once(generous: Orchestrator, journeys: Journeys, lives: Lives) -> None:
    for life in lives():
        payment_id, intent_id = await paid_twice(journeys)
        await journeys.deliver(await journeys.synced(payment_id))
        async with mortal_orchestrator(generous, life) as (_, engine):
            await engine.once()
        await generous.sweep()
        assert await refunds_of(journeys, intent_id) == [TOTAL_MINOR], life.place
        assert (await journeys.payment(payment_id)).snapshot.amounts.surplus_minor == 0, life.place


async def test_a_refund_of_surplus_that_stripe_refuses_is_left_to_a_person(
    generous: Orchestrator, journeys: Journeys
) -> None:
    payment_id, intent_id = await paid_twice(journeys)
    await journeys.stripe.fault("invalid", route=REFUND, times=None, code="charge_already_refunded")
    await journeys.deliver(await journeys.synced(payment_id))
    await generous.sweep()
    assert await refunds_of(journeys, intent_id) == []
    assert (await journeys.payment(payment_id)).snapshot.attention.reason == "SURPLUS"
