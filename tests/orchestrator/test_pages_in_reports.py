"""What public reports of other systems tell of hosted pages: each of them as a test."""

from __future__ import annotations

import secrets
from typing import Any

import pytest

from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from batzen.pricing.v1.pricing_pb2_grpc import PricingServiceStub
from batzen.type.v1 import money_pb2
from local.databases import ServiceDatabase
from sandbox.control import Refused
from tests.orchestrator.conftest import Journeys, World
from tests.orchestrator.samples import (
    CANCEL_URL,
    TOTAL_MINOR,
    VISA,
    chf,
    line,
    page,
    refused,
    resume,
    retry,
    state_of,
    update,
)
from tests.orchestrator.test_resume import EXPIRED_QUOTE, LEAST_MINOR, LESS_MINOR, Sale

EUROS = money_pb2.Money(amount_minor=TOTAL_MINOR, currency_code="EUR")
DEBIT = "pm_sepaDebit_success_de"


@pytest.mark.parametrize(
    ("method", "changes", "state"),
    [
        (VISA, {}, "SUCCEEDED"),
        (VISA, {"timing": pb.TIMING_MANUAL_CAPTURE}, "AUTHORIZED"),
        (DEBIT, {"lines": [line(unit_amount=EUROS)]}, "PROCESSING"),
    ],
)
async def test_a_page_that_cannot_be_expired_since_it_is_complete_is_read_again_and_never_called_off(
    method: str, changes: dict[str, Any], state: str, journeys: Journeys
) -> None:
    session = (await journeys.orchestrator.StartPayment(page(**changes))).session
    payment_id = session.payment.payment_id
    await journeys.stripe.pay_session(session.checkout_url, payment_method=method)
    refusal = await refused(journeys.orchestrator.RetryPayment(retry(payment_id, collection=pb.COLLECTION_ELEMENTS)))
    assert (refusal.reason, refusal.metadata["state"]) == ("PAYMENT_STATE", state)
    assert state_of(await journeys.payment(payment_id)) == state
    [intent] = await journeys.intents(payment_id)
    assert intent["status"] == {"AUTHORIZED": "requires_capture"}.get(state, state.lower())


@pytest.mark.parametrize("is_paid_first", [True, False])
async def test_the_page_of_an_old_price_is_paid_once_or_not_at_all(
    is_paid_first: bool, world: World, journeys: Journeys, database: ServiceDatabase
) -> None:
    """A page is open, the price changes, another page is opened, and the payer pays on the first."""
    code = f"C{secrets.token_hex(6)}".upper()
    async with world.channel(world.ports["pricing"], "clerk", roles=["operator"]) as channel:
        sale = Sale(journeys=journeys, pricing=PricingServiceStub(channel), database=database)
        await sale.put(code, percent="10")
        asked = page(coupon_codes=[code], cancel_url=CANCEL_URL)
        first = (await journeys.orchestrator.StartPayment(asked)).session
        await sale.put(code, percent="20")
    payment_id = first.payment.payment_id
    await update(database, payment_id, EXPIRED_QUOTE)
    if is_paid_first:
        await journeys.stripe.pay_session(first.checkout_url)
        refusal = await refused(journeys.orchestrator.ResumePayment(resume(payment_id)))
        assert (refusal.reason, refusal.metadata["state"]) == ("PAYMENT_STATE", "SUCCEEDED")
    else:
        second = await journeys.orchestrator.ResumePayment(resume(payment_id))
        assert (second.price_changed, second.total_now) == (True, chf(LEAST_MINOR))
        with pytest.raises(Refused):
            await journeys.stripe.pay_session(first.checkout_url)
        await journeys.stripe.pay_session(second.session.checkout_url)
        await journeys.orchestrator.SyncPayment(pb.SyncPaymentRequest(payment_id=payment_id))
    payment = await journeys.payment(payment_id)
    total_minor = LESS_MINOR if is_paid_first else LEAST_MINOR
    assert (state_of(payment), payment.total) == ("SUCCEEDED", chf(total_minor))
    assert (payment.snapshot.amounts.captured_minor, payment.snapshot.amounts.surplus_minor) == (total_minor, 0)
    assert [charge["amount"] for charge in await journeys.charges(payment_id)] == [total_minor]
