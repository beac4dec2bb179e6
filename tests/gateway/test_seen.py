"""What Stripe moves by itself, and what somebody moves at its dashboard, is seen once, without needless readings."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from batzen.gateway.v1 import split_pb2
from sandbox.control import SandboxControl
from services.gateway.settlement.domain import Movement, MovementKind, MovementOrigin, MovementState
from services.runtime.rpc import call_context
from services.shared.codec import Json
from services.wire import timestamp
from tests.clock import Clock
from tests.eventually import eventually
from tests.gateway.conftest import Gateway
from tests.gateway.receiving import Sender, event_of, receiving
from tests.gateway.samples import AMOUNT_MINOR, FEE_MINOR, Payments
from tests.gateway.settling import Carts, part

TENANT = "main"
OUT = (MovementKind.TRANSFER, MovementKind.FEE)
BACK = (MovementKind.REVERSAL, MovementKind.FEE_REFUND)
READ = "GET /v1/payment_intents/{intent}"


class Seeing:
    """Sends a gateway Stripe's events of a payment, and looks at what it made of them."""

    def __init__(self, replica: Gateway, payments: Payments, stripe: SandboxControl, sender: Sender) -> None:
        self.replica, self.payments, self.stripe, self.sender = replica, payments, stripe, sender

    async def send(self, shown: dict[str, Any], event_type: str) -> str:
        return await self.sender.send(event_of(shown, event_type, at=self.replica.parts.clock.now()))

    async def charge(self, payment_id: str) -> dict[str, Any]:
        [charge] = await self.payments.charges(payment_id)
        return charge

    async def one(self, kind: str, **filters: str) -> dict[str, Any]:
        [found] = await self.stripe.objects(kind, **filters)
        return found

    async def movements(self, payment_id: str, kinds: tuple[MovementKind, ...] = OUT + BACK) -> list[Movement]:
        known = await self.replica.parts.store.require(TENANT, payment_id)
        return [one for one in known.movements.values() if one.kind in kinds]

    async def amounts(self, payment_id: str, kinds: tuple[MovementKind, ...] = OUT + BACK) -> list[tuple[str, int]]:
        return sorted((str(one.kind), one.charge_minor) for one in await self.movements(payment_id, kinds))

    async def sees(self, payment_id: str, amounts: list[tuple[str, int]]) -> None:
        async def is_so() -> bool:
            return await self.amounts(payment_id) == sorted(amounts)

        await eventually(is_so)

    async def readings(self, payment_id: str) -> set[str]:
        """Return what was read at Stripe of a payment, of its charge and of what moved with that."""
        charge = await self.charge(payment_id)
        names = [charge["payment_intent"], charge["id"], charge["transfer"], charge["application_fee"]]
        routes = {route for name in names for route in await self.stripe.calls(name)}
        return {route for route in routes if route.startswith("GET /v1/")}

    async def reverse(self, transfer_id: str, amount_minor: int, **metadata: str) -> Json:
        """Take money back as somebody at the dashboard does."""
        with call_context.acting_for(TENANT):
            params = {"amount": amount_minor, "metadata": metadata}
            return await self.replica.parts.provider.transfers.reverse(transfer_id, params, key=str(uuid.uuid4()))


@pytest.fixture
async def seeing(replica: Gateway, payments: Payments, stripe: SandboxControl, clock: Clock) -> AsyncIterator[Seeing]:
    async with receiving(replica.parts.inbox, clock=clock) as sender:
        yield Seeing(replica, payments, stripe, sender)


async def test_a_charge_that_stripe_has_booked_says_what_moved_with_it_and_nothing_is_read(seeing: Seeing) -> None:
    payment_id = await seeing.payments.paid()
    assert await seeing.movements(payment_id) == []
    await seeing.stripe.settle()
    charge = await seeing.charge(payment_id)
    await seeing.stripe.clear_metrics()

    assert await seeing.send(charge, "charge.updated") == "ACCEPTED"

    await seeing.sees(payment_id, [("TRANSFER", AMOUNT_MINOR), ("FEE", FEE_MINOR)])
    known = await seeing.replica.parts.store.require(TENANT, payment_id)
    assert known.intents[1].balance_transaction_id == charge["balance_transaction"]
    for one in known.movements.values():
        assert (one.origin, one.state) == (MovementOrigin.STRIPE, MovementState.MADE)
        assert (one.seller_id, one.attempt, one.currency_code) == (seeing.payments.seller_id, 1, "CHF")
    assert {one.stripe_id for one in known.movements.values()} == {charge["transfer"], charge["application_fee"]}
    assert await seeing.send(charge, "charge.updated") == "ALREADY_APPLIED"
    transfer = await seeing.one("transfer", id=charge["transfer"])
    assert await seeing.send(transfer, "transfer.created") == "ALREADY_APPLIED"
    assert await seeing.readings(payment_id) == set()


async def test_a_transfer_that_is_told_of_before_its_charge_is_booked_waits_for_that(seeing: Seeing) -> None:
    payment_id = await seeing.payments.paid()
    await seeing.stripe.settle()
    charge = await seeing.charge(payment_id)
    transfer = await seeing.one("transfer", id=charge["transfer"])

    assert await seeing.send(transfer, "transfer.created") == "ALREADY_APPLIED"
    assert await seeing.movements(payment_id) == []


async def test_a_transfer_that_came_with_its_charge_is_done_at_once_whoever_holds_the_payment(seeing: Seeing) -> None:
    payment_id = await seeing.payments.paid()
    await seeing.stripe.settle()
    transfer = await seeing.one("transfer", id=(await seeing.charge(payment_id))["transfer"])
    store = seeing.replica.parts.store
    held = await store.take(TENANT, payment_id)
    assert held is not None

    assert await seeing.send(transfer, "transfer.created") == "ALREADY_APPLIED"

    await store.release(held)


async def test_a_reading_shows_what_moved_and_costs_no_call_more(seeing: Seeing) -> None:
    payment_id = await seeing.payments.paid()
    await seeing.stripe.settle()
    await seeing.stripe.clear_metrics()

    await seeing.payments.synced(payment_id)

    await seeing.sees(payment_id, [("TRANSFER", AMOUNT_MINOR), ("FEE", FEE_MINOR)])
    assert await seeing.readings(payment_id) == {READ}


async def test_a_hold_that_is_captured_in_parts_has_a_transfer_and_a_fee_of_each(seeing: Seeing) -> None:
    payment_id = await seeing.payments.held()
    captures = seeing.payments.gateway.CaptureIntent
    await captures(seeing.payments.capture_request(payment_id, 6_000, final_capture=False))
    await captures(seeing.payments.capture_request(payment_id, 4_000))
    await seeing.stripe.settle()

    await seeing.send(await seeing.charge(payment_id), "charge.updated")

    parts = [("TRANSFER", 6_000), ("TRANSFER", 4_000), ("FEE", 900), ("FEE", 600)]
    await seeing.sees(payment_id, parts)
    await seeing.stripe.clear_metrics()
    await seeing.payments.synced(payment_id)
    assert await seeing.readings(payment_id) == {READ}
    assert await seeing.amounts(payment_id) == sorted(parts)


async def test_what_goes_back_at_the_dashboard_is_seen_once(seeing: Seeing) -> None:
    payment_id = await seeing.payments.paid()
    await seeing.stripe.settle()
    charge = await seeing.charge(payment_id)
    await seeing.send(charge, "charge.updated")
    out = [("TRANSFER", AMOUNT_MINOR), ("FEE", FEE_MINOR)]
    await seeing.sees(payment_id, out)

    await seeing.reverse(charge["transfer"], 2_500)
    with call_context.acting_for(TENANT):
        given = {"amount": 300}
        await seeing.replica.parts.provider.fees.refund(charge["application_fee"], given, key=str(uuid.uuid4()))
    await seeing.stripe.clear_metrics()
    transfer = await seeing.one("transfer", id=charge["transfer"])
    fee = await seeing.one("application_fee", id=charge["application_fee"])
    assert await seeing.send(transfer, "transfer.reversed") == "ACCEPTED"
    assert await seeing.send(fee, "application_fee.refunded") == "ACCEPTED"

    await seeing.sees(payment_id, [*out, ("REVERSAL", 2_500), ("FEE_REFUND", 300)])
    assert {one.origin for one in await seeing.movements(payment_id, BACK)} == {MovementOrigin.STRIPE}
    assert await seeing.send(transfer, "transfer.reversed") == "ALREADY_APPLIED"
    assert await seeing.send(fee, "application_fee.refunded") == "ALREADY_APPLIED"
    assert await seeing.readings(payment_id) == set()


@pytest.mark.parametrize("event_type", ["refund.created", "charge.refunded"])
async def test_what_a_refund_of_the_dashboard_took_back_is_not_taken_back_again(
    seeing: Seeing, event_type: str
) -> None:
    payment_id = await seeing.payments.paid()
    await seeing.stripe.settle()
    charge = await seeing.charge(payment_id)
    await seeing.send(charge, "charge.updated")
    out = [("TRANSFER", AMOUNT_MINOR), ("FEE", FEE_MINOR)]
    await seeing.sees(payment_id, out)
    await seeing.stripe.refund(
        charge["payment_intent"], amount=2_000, reverse_transfer=True, refund_application_fee=True
    )

    refund = await seeing.one("refund", charge=charge["id"])
    charge = await seeing.charge(payment_id)
    await seeing.send(refund if event_type == "refund.created" else charge, event_type)

    await seeing.sees(payment_id, [*out, ("REVERSAL", 2_000), ("FEE_REFUND", 300)])
    assert {one.origin for one in await seeing.movements(payment_id, BACK)} == {MovementOrigin.STRIPE}
    transfer = await seeing.one("transfer", id=charge["transfer"])
    assert transfer["amount_reversed"] == 2_000
    [reversal] = await seeing.movements(payment_id, (MovementKind.REVERSAL,))
    assert reversal.stripe_refund_id == refund["id"]


async def test_more_reversals_than_an_event_shows_are_read(seeing: Seeing) -> None:
    payment_id = await seeing.payments.paid()
    await seeing.stripe.settle()
    charge = await seeing.charge(payment_id)
    for _ in range(11):
        await seeing.reverse(charge["transfer"], 100)

    await seeing.send(await seeing.one("transfer", id=charge["transfer"]), "transfer.reversed")

    await seeing.sees(payment_id, [("TRANSFER", AMOUNT_MINOR), ("FEE", FEE_MINOR), *[("REVERSAL", 100)] * 11])


async def test_a_transfer_that_is_made_at_the_dashboard_in_a_payments_group_is_its_sellers(seeing: Seeing) -> None:
    carts = Carts(seeing.replica, seeing.payments, seeing.stripe)
    first, second = await carts.sellers(2)
    later = timestamp(seeing.replica.parts.clock.now() + timedelta(days=1))
    payment_id = await carts.paid(
        part(first, 5_000), part(second, 5_000), settlement_terms=split_pb2.SettlementTerms(pay_time=later)
    )
    await seeing.stripe.settle()
    charge = await seeing.charge(payment_id)
    with call_context.acting_for(TENANT):
        made = await seeing.replica.parts.provider.transfers.create(
            {
                "amount": 700,
                "currency": "chf",
                "destination": carts.accounts[second],
                "source_transaction": charge["id"],
                "transfer_group": payment_id,
            },
            key=str(uuid.uuid4()),
        )

    assert await seeing.send(dict(made), "transfer.created") == "ACCEPTED"

    async def is_seen() -> bool:
        return any(
            (one.seller_id, one.charge_minor, one.origin) == (second, 700, MovementOrigin.STRIPE)
            for one in await seeing.movements(payment_id, (MovementKind.TRANSFER,))
        )

    await eventually(is_seen)
