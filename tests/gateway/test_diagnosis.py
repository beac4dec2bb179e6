"""Examinations: records that agree say nothing, whatever became of a payment; what asks for too much is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from grpc import aio

from batzen.gateway.v1 import diagnosis_pb2
from batzen.type.v1 import diagnosis_pb2 as said
from sandbox.control import SandboxControl
from services.gateway.diagnosis import checks
from tests.gateway.conftest import Gateway
from tests.gateway.samples import Payments, new_id
from tests.gateway.settling import Carts, part
from tests.refusals import details_of

STRIPE = said.KEEPER_STRIPE


@pytest.fixture
def carts(replica: Gateway, payments: Payments, stripe: SandboxControl) -> Carts:
    return Carts(replica, payments, stripe)


async def examined(payments: Payments, *payment_ids: str, with_stripe: bool = False) -> list[diagnosis_pb2.Examination]:
    request = diagnosis_pb2.ExaminePaymentsRequest(payment_ids=payment_ids, with_stripe=with_stripe)
    return list((await payments.gateway.ExaminePayments(request)).examinations)


def figures(one: diagnosis_pb2.Examination, keeper: int) -> dict[str, Any]:
    [side] = [side for side in one.sides if side.keeper == keeper]
    return {each.name: each.amount.amount_minor if each.HasField("amount") else each.text for each in side.figures}


async def test_records_of_whatever_became_of_a_payment_agree_with_each_other_and_with_stripe(carts: Carts) -> None:
    s1, s2 = await carts.sellers(2)
    payments = carts.payments
    cart = await carts.paid(part(s1, 10_000), part(s2, 5_000))
    refunded, held, created = await payments.paid(), await payments.held(), await payments.created()
    await carts.refunded_by_hand(refunded, 2_500)
    disputed = await payments.paid()
    await carts.stripe.dispute(await payments.intent_id(disputed))
    await carts.settled(cart)
    await carts.settled(refunded)
    await payments.synced(disputed)
    await carts.settled(disputed)

    for payment_id in (cart, refunded, held, created, disputed):
        [found] = await examined(payments, payment_id, with_stripe=True)

        assert [(one.check, one.about, one.sayings) for one in found.disagreements] == []
        assert not found.is_moving
        at_stripe, mirrored = figures(found, STRIPE), figures(found, said.KEEPER_MIRROR)
        shared = {"captured", "held", "given back", "total", "intent"}
        assert {name: at_stripe[name] for name in shared} == {name: mirrored[name] for name in shared}
    assert figures(found, said.KEEPER_LEDGER)["captured"] == mirrored["captured"]


async def test_what_is_only_at_stripe_is_found_and_waits_for_its_event_while_it_is_young(
    carts: Carts, stripe: SandboxControl
) -> None:
    payment_id = await carts.payments.paid()
    await carts.settled(payment_id)
    await stripe.refund(await carts.payments.intent_id(payment_id), amount=1_000)

    [found] = await examined(carts.payments, payment_id, with_stripe=True)
    [one] = found.disagreements
    assert (one.check, one.sayings[0].text, one.sayings[1].text) == ("STRIPE_REFUND", "nothing", "1000 CHF SUCCEEDED")
    assert one.waits_for
    [unasked] = await examined(carts.payments, payment_id)
    assert not unasked.disagreements
    assert STRIPE not in [side.keeper for side in unasked.sides]


async def test_stripe_that_does_not_answer_is_a_side_without_figures(
    payments: Payments, stripe: SandboxControl
) -> None:
    payment_id = await payments.paid()
    await stripe.fault("server_error", route="GET /v1/payment_intents/{intent}", times=None, should_retry=False)

    [found] = await examined(payments, payment_id, with_stripe=True)

    [side] = [side for side in found.sides if side.keeper == STRIPE]
    assert side.problem
    assert not side.figures


async def test_those_that_money_was_booked_of_are_listed_page_by_page(payments: Payments) -> None:
    since, until = Timestamp(), Timestamp()
    since.FromDatetime(datetime.now(UTC) - timedelta(days=365))
    until.FromDatetime(datetime.now(UTC) + timedelta(days=3650))
    paid = {await payments.paid() for _ in range(2)}
    created = await payments.created()
    found: list[str] = []
    while True:
        request = diagnosis_pb2.ListBookedPaymentsRequest(
            start_time=since, end_time=until, after_payment_id=found[-1] if found else "", page_size=3
        )
        page = (await payments.gateway.ListBookedPayments(request)).payment_ids
        found += page
        if len(page) < 3:
            break

    assert found == sorted(set(found))
    assert paid <= set(found)
    assert created not in found


@pytest.mark.parametrize(
    ("request_of", "field"),
    [
        (diagnosis_pb2.ExaminePaymentsRequest(), "payment_ids"),
        (diagnosis_pb2.ExaminePaymentsRequest(payment_ids=["pay"] * 101), "payment_ids"),
        (diagnosis_pb2.ExaminePaymentsRequest(payment_ids=["a", "b"], with_stripe=True), "with_stripe"),
        (diagnosis_pb2.ListBookedPaymentsRequest(start_time=Timestamp(), end_time=Timestamp()), "end_time"),
    ],
)
async def test_too_much_is_refused(payments: Payments, request_of: Any, field: str) -> None:
    is_list = isinstance(request_of, diagnosis_pb2.ListBookedPaymentsRequest)
    call = payments.gateway.ListBookedPayments if is_list else payments.gateway.ExaminePayments
    with pytest.raises(aio.AioRpcError) as refused:
        await call(request_of)
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert (details_of(refused.value).reason, details_of(refused.value).field) == ("FIELD_INVALID", field)


async def test_another_tenants_payments_are_not_examined_here(replica: Gateway) -> None:
    async with replica.connect(tenant="other") as other:
        for call, request in (
            (other.ExaminePayments, diagnosis_pb2.ExaminePaymentsRequest(payment_ids=[new_id("pay")])),
            (other.ListBookedPayments, diagnosis_pb2.ListBookedPaymentsRequest()),
        ):
            with pytest.raises(aio.AioRpcError) as refused:
                await call(request)
            assert details_of(refused.value).reason == "TENANT_NOT_SERVED"


def test_each_check_has_a_name_of_its_own_and_says_what_it_means_and_what_would_be_done() -> None:
    every = (*checks.OURS, *checks.AT_STRIPE)
    assert len({one.name for one in every}) == len(every) == 20
    assert all(one.name.isupper() and one.meaning.endswith(".") and one.remedy.endswith(".") for one in every)
