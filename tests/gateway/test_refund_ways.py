"""A refund goes back by one road: the payer at once, sellers and fee after it; what a seller lacks is a receivable."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from grpc import StatusCode, aio

from batzen.gateway.v1 import ops_pb2, refunds_pb2, split_pb2
from batzen.gateway.v1.ops_pb2_grpc import GatewayOpsServiceStub
from sandbox.control import SandboxControl
from services.gateway.receivables.metrics import ReceivableMetrics
from services.gateway.wiring import look_at_receivables
from services.runtime.observability.metrics import Meter
from tests.clock import Clock
from tests.eventually import eventually
from tests.gateway.conftest import Gateway, Sink
from tests.gateway.samples import AMOUNT_MINOR, Payments, chf, new_request_id, refusal, refused
from tests.gateway.settling import TENANT, Carts, part
from tests.metrics import Figures
from tests.refusals import details_of

CART_MINOR = 18_000


class Refunding(Carts):
    """Refunds carts and destination charges, and looks at what their sellers have at Stripe then."""

    async def cart(self, **fields: Any) -> tuple[str, list[str]]:
        """Return a settled cart of 180.00 of three sellers, whose lines are called after their place."""
        sellers = await self.sellers(3)
        parts = [
            part(seller_id, gross, line_id=name)
            for seller_id, gross, name in zip(sellers, (10_000, 5_000, 3_000), ("a", "b", "c"), strict=True)
        ]
        payment_id = await self.paid(*parts, **fields)
        await self.settled(payment_id)
        return payment_id, sellers

    async def refund(self, payment_id: str, amount_minor: int, **fields: Any) -> refunds_pb2.CreateRefundResponse:
        seen = await self.payments.seen(payment_id)
        return await self.payments.gateway.CreateRefund(
            self.payments.refund_request(payment_id, amount_minor, expected_minor=seen.refundable_minor, **fields)
        )

    async def destination(self, payment_id: str) -> tuple[int, int, int]:
        """Return what of a destination charge's transfer and fee went back once it is at rest, and what came beside."""
        await self.settled_of_one(payment_id)
        [charge] = await self.payments.charges(payment_id)
        transfers = await self.stripe.objects("transfer", transfer_group=charge["transfer_group"])
        beside = await self.stripe.objects("transfer", transfer_group=payment_id)
        [fee] = await self.stripe.objects("application_fee", charge=charge["id"])
        reversed_minor = sum(one["amount_reversed"] for one in transfers)
        return reversed_minor, fee["amount_refunded"], sum(one["amount"] for one in beside)

    async def destination_in_parts(self, payment_id: str) -> tuple[int, int]:
        """Return what of a hold's transfers and fees went back."""
        await self.settled_of_one(payment_id)
        [charge] = await self.payments.charges(payment_id)
        transfers = await self.stripe.objects("transfer", transfer_group=charge["transfer_group"])
        fees = await self.stripe.objects("application_fee", charge=charge["id"])
        return sum(one["amount_reversed"] for one in transfers), sum(one["amount_refunded"] for one in fees)

    async def settled_of_one(self, payment_id: str) -> None:
        async def rests() -> bool:
            return await self.is_at_rest(payment_id)

        await eventually(rests, what=f"{payment_id} comes to rest")


def lines(**amounts: int) -> list[split_pb2.LineAmount]:
    return [split_pb2.LineAmount(line_id=name, amount_minor=minor) for name, minor in amounts.items()]


@pytest.fixture
def refunding(replica: Gateway, payments: Payments, stripe: SandboxControl) -> Refunding:
    return Refunding(replica, payments, stripe)


@pytest.fixture
async def operators(replica: Gateway) -> AsyncIterator[GatewayOpsServiceStub]:
    async with replica.connect_ops() as stub:
        yield stub


async def test_a_destination_charges_seller_and_fee_go_back_by_calls_of_ours(refunding: Refunding) -> None:
    payment_id = await refunding.payments.paid()
    await refunding.stripe.settle()

    answer = await refunding.refund(payment_id, 4_000)
    assert answer.refund.state == refunds_pb2.Refund.STATE_SUCCEEDED
    assert await refunding.destination(payment_id) == (4_000, 600, 0)
    [refund] = await refunding.payments.refunds(payment_id)
    assert refund["transfer_reversal"] is None

    await refunding.refund(payment_id, 1_000, reverse_transfer=False, refund_application_fee=False)
    assert await refunding.destination(payment_id) == (4_000, 600, 0)
    await refunding.refund(payment_id, 2_000, refund_application_fee=False)
    assert await refunding.destination(payment_id) == (6_000, 600, 0)


async def test_a_refund_says_its_reason_its_bearer_and_its_lines(refunding: Refunding) -> None:
    payment_id, (first, second, third) = await refunding.cart()

    made = (
        await refunding.refund(
            payment_id,
            4_000,
            line_amounts=lines(b=4_000),
            reason=refunds_pb2.CreateRefundRequest.REASON_REQUESTED_BY_PAYER,
        )
    ).refund

    assert (made.bearer, list(made.line_amounts)) == (refunds_pb2.Refund.BEARER_SHARED, lines(b=4_000))
    assert (made.reason, made.actor_id) == (refunds_pb2.CreateRefundRequest.REASON_REQUESTED_BY_PAYER, "operator_1")
    assert await refunding.settled(payment_id) == {first: 8_500, second: 850, third: 2_550}


async def test_a_line_gives_no_more_than_is_left_of_it(refunding: Refunding) -> None:
    payment_id, _ = await refunding.cart()
    create = refunding.payments.gateway.CreateRefund

    unknown = refunding.payments.refund_request(payment_id, 100, expected_minor=CART_MINOR, line_amounts=lines(d=100))
    assert (await refused(create(unknown)))[:3] == (
        StatusCode.INVALID_ARGUMENT,
        "FIELD_INVALID",
        "line_amounts[0].line_id",
    )
    too_much = refunding.payments.refund_request(
        payment_id, 3_101, expected_minor=CART_MINOR, line_amounts=lines(a=100, c=3_001)
    )
    code, reason, field, metadata = await refused(create(too_much))
    assert (code, reason, field) == (StatusCode.FAILED_PRECONDITION, "LINE_EXCEEDS_REFUNDABLE", "line_amounts[1]")
    assert metadata == {"line_id": "c", "refundable_minor": "3000"}
    assert (await refunding.payments.seen(payment_id)).refundable_minor == CART_MINOR


async def test_many_refunds_of_lines_at_once_take_from_no_line_more_than_it_has(refunding: Refunding) -> None:
    payment_id, (first, second, third) = await refunding.cart()

    async def take(number: int) -> None:
        name = "abc"[number % 3]
        reason = "REFUNDABLE_CHANGED"
        while reason == "REFUNDABLE_CHANGED":  # one of those that met was made, so this ends
            try:
                await refunding.refund(payment_id, 1_000, line_amounts=lines(**{name: 1_000}))
            except aio.AioRpcError as error:
                reason = details_of(error).reason
            else:
                reason = ""
        assert reason in ("", "LINE_EXCEEDS_REFUNDABLE", "REFUND_EXCEEDS_REFUNDABLE")

    await asyncio.gather(*(take(number) for number in range(20)))

    got = await refunding.settled(payment_id)
    sums = {"a": 0, "b": 0, "c": 0}
    known = await refunding.replica.parts.store.require(TENANT, payment_id)
    for refund in known.refunds.values():
        for one in refund.parts if refund.stripe_refund_id else ():
            sums[one.line_id] += one.amount_minor
    assert sums["c"] == 3_000
    assert sums["b"] <= 5_000
    assert got == {first: 8_500 - sums["a"] * 85 // 100, second: 4_250 - sums["b"] * 85 // 100, third: 0}


async def test_of_fifty_refunds_of_60_on_100_one_is_made(refunding: Refunding) -> None:
    payment_id = await refunding.payments.paid()
    request = refunding.payments.refund_request

    answers = await asyncio.gather(
        *(refunding.payments.gateway.CreateRefund(request(payment_id, 6_000)) for _ in range(50)),
        return_exceptions=True,
    )

    assert sum(isinstance(one, refunds_pb2.CreateRefundResponse) for one in answers) == 1
    [refund] = await refunding.payments.refunds(payment_id)
    assert refund["amount"] == 6_000


async def test_a_seller_who_lacks_the_money_owes_it_and_the_payer_has_theirs(
    refunding: Refunding, operators: GatewayOpsServiceStub, delivered: Sink
) -> None:
    """180.00 of three, 40.00 of the second refunded while its balance at Stripe is 0."""
    payment_id, (first, second, third) = await refunding.cart()
    await refunding.stripe.pay_out(refunding.accounts[second], amount=4_250, currency="chf")

    answer = await refunding.refund(payment_id, 4_000, line_amounts=lines(b=4_000))
    assert answer.refund.state == refunds_pb2.Refund.STATE_SUCCEEDED
    heard = await delivered.hears(payment_id, lambda seen: seen.attention.reason == "SELLER_OWES")
    assert f"{second} owes 34.00 CHF: " in heard.observation.attention.detail

    async def owed(seller_id: str = second) -> list[ops_pb2.Receivable]:
        return list((await operators.ListReceivables(ops_pb2.ListReceivablesRequest(seller_id=seller_id))).receivables)

    [receivable] = await owed()
    assert (receivable.payment_id, receivable.attempt, receivable.seller_id) == (payment_id, 1, second)
    assert receivable.amount == chf(3_400)
    assert await owed(first) == []
    assert await open_receivables(refunding) >= 1
    assert await refunding.got(payment_id) == {first: 8_500, second: 4_250, third: 2_550}

    for note, minor, reason in (("why", 3_399, "RECEIVABLE_CHANGED"), ("", 3_400, "FIELD_MISSING")):
        assert (await refusal(operators.WriteOffReceivable(written_off(receivable, reason=note, expected=chf(minor)))))[
            1
        ] == reason
    request = written_off(receivable, reason="insolvent")
    done = await operators.WriteOffReceivable(request)
    assert done.amount == chf(3_400)
    [kept] = (await operators.ListOperatorActions(ops_pb2.ListOperatorActionsRequest(payment_id=payment_id))).actions
    assert (kept.method, kept.actor_id, kept.reason) == ("WriteOffReceivable", "operator_1", "insolvent")
    assert json.loads(kept.outcome_json) == {"amount_minor": 3_400, "currency_code": "CHF"}
    assert await operators.WriteOffReceivable(request) == done
    other = ops_pb2.WriteOffReceivableRequest()
    other.CopyFrom(request)
    other.reason = "another reason"
    assert (await refusal(operators.WriteOffReceivable(other)))[1] == "REQUEST_ID_REUSED"
    again = written_off(receivable, reason="insolvent")
    assert (await refusal(operators.WriteOffReceivable(again)))[1] == "RECEIVABLE_NOT_FOUND"

    assert await owed() == []
    assert not (await refunding.payments.seen(payment_id)).HasField("attention")
    assert await refunding.settled(payment_id) == {first: 8_500, second: 4_250, third: 2_550}
    assert len(await refunding.payments.refunds(payment_id)) == 1
    assert await booked(refunding, payment_id, "seller_loss") == 3_400
    assert await booked(refunding, payment_id, "seller", second) == 0


async def open_receivables(refunding: Refunding) -> float:
    """Return how many are shown as open; other tests may have some, too."""
    meter = Meter()
    await look_at_receivables(refunding.replica.parts.receivables, ReceivableMetrics(meter), tenant_id=TENANT)
    return Figures.read(await meter.text())["batzen_receivables_open"]


def written_off(owed: ops_pb2.Receivable, **fields: Any) -> ops_pb2.WriteOffReceivableRequest:
    ours: dict[str, Any] = {
        "request_id": new_request_id(),
        "payment_id": owed.payment_id,
        "attempt": owed.attempt,
        "seller_id": owed.seller_id,
        "expected": owed.amount,
        "actor_id": "operator_1",
    }
    return ops_pb2.WriteOffReceivableRequest(**{**ours, **fields})


async def booked(refunding: Refunding, payment_id: str, account: str, seller_id: str = "") -> int:
    """Return what an account shows of a payment."""
    statement = (
        "SELECT coalesce(sum(amount_minor), 0) FROM ledger_entries WHERE payment_id = :payment AND account = :account"
    )
    if seller_id:
        statement += " AND seller_id = :seller"
    async with refunding.replica.parts.engine.connect() as connection:
        found = await connection.execute(
            sa.text(statement), {"payment": payment_id, "account": account, "seller": seller_id}
        )
        return int(found.scalar_one())


async def test_what_a_seller_owes_is_asked_back_again_and_comes(
    refunding: Refunding, operators: GatewayOpsServiceStub, clock: Clock
) -> None:
    payment_id, (_, second, _) = await refunding.cart()
    account = refunding.accounts[second]
    await refunding.stripe.pay_out(account, amount=4_250, currency="chf")
    await refunding.refund(payment_id, 4_000, line_amounts=lines(b=4_000))

    async def is_owed() -> bool:
        page = await operators.ListReceivables(ops_pb2.ListReceivablesRequest(seller_id=second))
        return bool(page.receivables)

    await eventually(is_owed)
    await refunding.paid(part(second, 10_000), part(await refunding.seller(), 1_000))  # by which the seller has money

    async def has_come() -> bool:
        clock.advance(timedelta(minutes=2))
        await refunding.replica.parts.work.once()
        return (await refunding.got(payment_id))[second] == 850

    async def is_told() -> bool:  # Stripe has it a moment before the answer is kept
        return not await is_owed()

    await eventually(has_come)
    await eventually(is_told)
    reversals = await refunding.stripe.objects("transfer_reversal")
    assert sum(one["amount"] for one in reversals if one["metadata"].get("payment_id") == payment_id) == 3_400


async def test_a_refund_that_fails_at_the_bank_after_its_reversal_gives_the_seller_its_part_again(
    refunding: Refunding, stripe: SandboxControl
) -> None:
    payment_id = await refunding.payments.paid("refundFail")
    await refunding.refund(payment_id, 4_000)
    await stripe.settle()
    await refunding.payments.synced(payment_id)

    back, fee_back, beside = await refunding.destination(payment_id)

    assert (back - fee_back, beside) in ((3_400, 3_400), (0, 0))  # reversed before it was known, or never


async def test_a_refund_made_in_the_dashboard_is_shared(refunding: Refunding, stripe: SandboxControl) -> None:
    payment_id, (first, second, third) = await refunding.cart()
    await stripe.refund(await refunding.payments.intent_id(payment_id), amount=9_000)
    await refunding.payments.synced(payment_id)

    assert await refunding.settled(payment_id) == {first: 4_250, second: 2_125, third: 1_275}
    [shown] = (
        await refunding.payments.gateway.ListRefunds(refunds_pb2.ListRefundsRequest(payment_id=payment_id))
    ).refunds
    assert (shown.bearer, shown.actor_id) == (refunds_pb2.Refund.BEARER_SHARED, "")
    assert list(shown.line_amounts) == lines(a=5_000, b=2_500, c=1_500)


async def test_what_was_refunded_in_the_dashboard_is_shared_where_it_was_asked_for_here_once_more(
    refunding: Refunding, stripe: SandboxControl
) -> None:
    """Somebody refunds all again before that is known: Stripe refuses, and nothing is left of it."""
    payment_id, (first, second, third) = await refunding.cart()
    await stripe.refund(await refunding.payments.intent_id(payment_id), amount=CART_MINOR)
    again = refunding.payments.refund_request(payment_id, CART_MINOR, expected_minor=CART_MINOR)

    assert (await refused(refunding.payments.gateway.CreateRefund(again)))[1] == "REFUNDABLE_CHANGED"

    await refunding.payments.synced(payment_id)
    assert await refunding.settled(payment_id) == {first: 0, second: 0, third: 0}
    assert await booked(refunding, payment_id, "refund_borne") == 0
    assert await booked(refunding, payment_id, "platform_fee") == 0


async def test_parts_of_a_hold_that_was_captured_in_parts_go_back_with_their_share_of_each_fee(
    refunding: Refunding,
) -> None:
    payment_id = await refunding.payments.held()
    capture = refunding.payments.gateway.CaptureIntent
    await capture(refunding.payments.capture_request(payment_id, 6_000, final_capture=False))
    await capture(refunding.payments.capture_request(payment_id, 4_000))
    await refunding.stripe.settle()

    await refunding.refund(payment_id, 7_000)

    assert await refunding.destination_in_parts(payment_id) == (7_000, 1_050)


async def test_money_of_a_dispute_that_was_won_can_be_refunded(refunding: Refunding, stripe: SandboxControl) -> None:
    payment_id = await refunding.payments.paid()
    await stripe.settle()
    dispute = await stripe.dispute(await refunding.payments.intent_id(payment_id))
    assert (await refunding.payments.synced(payment_id)).refundable_minor == 0
    await stripe.move_dispute(dispute["id"], "won")
    assert (await refunding.payments.synced(payment_id)).refundable_minor == AMOUNT_MINOR

    await refunding.refund(payment_id, 5_000)

    assert await refunding.destination(payment_id) == (5_000, 750, 0)
