"""The same request sent many times at once is one request: one payment, one charge, one refund, and equal answers.

The copies come over several connections to two orchestrators on one database, so that no memory of a process helps.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any, Final, TypeVar

import pytest

from batzen import errors
from batzen.client import Client, new_request_id
from batzen.orchestrator.v1 import orchestrator_pb2
from batzen.status.v1 import status_pb2
from batzen.type.v1 import money_pb2
from local.ports import HOST, free_ports
from local.processes import Child
from local.suite import Suite
from sandbox.faults import Kind
from tests.suite.journeys import PAYER, REFUND_MINOR, TOTAL_MINOR, Ends, Traveller, pay, stubbornly

AT_ONCE: Final = 20
CONNECTIONS: Final = 4
CREATE: Final = "POST /v1/payment_intents"
CONFIRM: Final = "POST /v1/payment_intents/*/confirm"
REFUND: Final = "POST /v1/refunds"

Answer = TypeVar("Answer")


class Crowd:
    """One caller many times over."""

    def __init__(self, clients: list[Client]) -> None:
        self.clients = clients

    async def ask(self, call: Callable[[Client], Awaitable[Answer]]) -> list[Answer]:
        """Make a call `AT_ONCE` times at once, each repeated until it is answered."""

        async def one(client: Client) -> Answer:
            return await stubbornly(lambda: call(client))

        asking = (self.clients[number % len(self.clients)] for number in range(AT_ONCE))
        return list(await asyncio.gather(*map(one, asking)))


@pytest.fixture(scope="module")
async def second_address(suite: Suite) -> AsyncIterator[str]:
    """Where a second orchestrator listens, beside that of the suite and on the same database."""
    ports = free_ports()
    address, health_address = f"{HOST}:{ports['orchestrator']}", f"{HOST}:{ports['orchestrator-health']}"
    environment = suite.env_for("orchestrator") | {
        "BATZEN_LISTEN": address,
        "BATZEN_HEALTH_LISTEN": health_address,
        "BATZEN_METRICS_LISTEN": "",
    }
    second = Child("services.orchestrator", environment=environment, log_file=suite.logs / "orchestrator.second.log")
    await second.start()
    try:
        await second.until_serving(health_address)
        yield address
    finally:
        await second.stop()


@asynccontextmanager
async def _crowd(suite: Suite, second_address: str, *, role: str, subject: str) -> AsyncIterator[Crowd]:
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(Client(token=suite.token(role, sub=subject), addresses=addresses))
            for addresses in (suite.addresses, replace(suite.addresses, orchestrator=second_address))
            for _ in range(CONNECTIONS // 2)
        ]
        yield Crowd(clients)


@pytest.fixture
async def shops(suite: Suite, second_address: str) -> AsyncIterator[Crowd]:
    async with _crowd(suite, second_address, role="service", subject="shop") as crowd:
        yield crowd


@pytest.fixture
async def payers(suite: Suite, second_address: str) -> AsyncIterator[Crowd]:
    async with _crowd(suite, second_address, role="payer", subject=PAYER) as crowd:
        yield crowd


async def _while_stripe_thinks(traveller: Traveller, route: str, asking: Awaitable[Answer]) -> Answer:
    """Have Stripe hold its first answer until it was asked, so that whatever is sent meanwhile overlaps."""
    await traveller.sandbox.fault(Kind.PAUSE, route=route)
    asked = asyncio.ensure_future(asking)
    await traveller.sandbox.until_paused()
    await traveller.sandbox.resume()
    return await asked


def _submit_request(payment_id: str, *, card: str = "pm_card_visa") -> orchestrator_pb2.SubmitPaymentRequest:
    return orchestrator_pb2.SubmitPaymentRequest(
        request_id=new_request_id(), payment_id=payment_id, payment_method_id=card
    )


def _refund_request(payment_id: str) -> orchestrator_pb2.RefundPaymentRequest:
    return orchestrator_pb2.RefundPaymentRequest(
        request_id=new_request_id(),
        payment_id=payment_id,
        amount=money_pb2.Money(amount_minor=REFUND_MINOR, currency_code="CHF"),
        expected_refundable=money_pb2.Money(amount_minor=TOTAL_MINOR, currency_code="CHF"),
        actor_id="clerk",
    )


def _are_equal(answers: list[Any]) -> bool:
    return len(answers) == AT_ONCE and all(answer == answers[0] for answer in answers)


async def test_start_twenty_times_at_once_is_one_payment(traveller: Traveller, shops: Crowd) -> None:
    request = traveller.start_request()
    request.client_reference = f"order {request.request_id}"

    answers = await _while_stripe_thinks(
        traveller, CREATE, shops.ask(lambda shop: shop.orchestrator.StartPayment(request))
    )

    assert _are_equal(answers)
    session = answers[0].session
    assert session.client_secret
    listed = await traveller.shop.status.ListPayments(
        status_pb2.ListPaymentsRequest(filter=status_pb2.PaymentFilter(client_reference=request.client_reference))
    )
    assert [payment.payment_id for payment in listed.payments] == [session.payment.payment_id]
    await traveller.until(session.payment.payment_id, "REQUIRES_PAYMENT_METHOD")
    await traveller.check(
        session.payment.payment_id, Ends(state="REQUIRES_PAYMENT_METHOD", charges=0, states=("INITIALIZED",))
    )


async def test_submit_twenty_times_at_once_is_one_charge(traveller: Traveller, payers: Crowd) -> None:
    payment_id = (await traveller.start()).payment.payment_id
    request = _submit_request(payment_id)

    answers = await _while_stripe_thinks(
        traveller, CONFIRM, payers.ask(lambda payer: payer.orchestrator.SubmitPayment(request))
    )

    assert _are_equal(answers)
    assert answers[0].payment.snapshot.amounts.captured_minor == TOTAL_MINOR
    await traveller.until(payment_id, "SUCCEEDED")
    await traveller.check(payment_id, Ends(state="SUCCEEDED", states=("PROCESSING", "SUCCEEDED")))


async def test_a_decline_twenty_times_at_once_is_one_decline(traveller: Traveller, payers: Crowd) -> None:
    payment_id = (await traveller.start()).payment.payment_id
    request = _submit_request(payment_id, card="pm_card_chargeDeclined")

    answers = await payers.ask(lambda payer: payer.orchestrator.SubmitPayment(request))

    assert _are_equal(answers)
    assert answers[0].payment.snapshot.last_error.code == "card_declined"
    await traveller.until(payment_id, "REQUIRES_PAYMENT_METHOD")
    intent = await traveller.intent_of(payment_id)
    charges = [one for one in await traveller.sandbox.objects("charge") if one["payment_intent"] == intent["id"]]
    assert [charge["status"] for charge in charges] == ["failed"]
    assert (await traveller.payment(payment_id)).snapshot.decline_count == 1


async def test_3d_secure_twenty_times_at_once_sends_the_payer_to_one_page(traveller: Traveller, payers: Crowd) -> None:
    payment_id = (await traveller.start()).payment.payment_id
    request = _submit_request(payment_id, card="pm_card_threeDSecure2Required")

    answers = await payers.ask(lambda payer: payer.orchestrator.SubmitPayment(request))

    assert _are_equal(answers)
    await traveller.sandbox.answer_3ds(answers[0].next_action.redirect_url, succeed=True)
    await traveller.until(payment_id, "SUCCEEDED")
    await traveller.check(payment_id, Ends(state="SUCCEEDED", states=("REQUIRES_ACTION", "SUCCEEDED")))


async def test_refund_twenty_times_at_once_is_one_refund(traveller: Traveller, shops: Crowd) -> None:
    payment_id = await pay(traveller)
    request = _refund_request(payment_id)

    answers = await _while_stripe_thinks(
        traveller, REFUND, shops.ask(lambda shop: shop.orchestrator.RefundPayment(request))
    )

    assert _are_equal(answers)
    assert answers[0].amount.amount_minor == REFUND_MINOR
    await traveller.until(payment_id, "PARTIALLY_REFUNDED")
    await traveller.check(payment_id, Ends(state="PARTIALLY_REFUNDED", refunds=1, states=("SUCCEEDED",)))
    assert (await traveller.payment(payment_id)).snapshot.amounts.refunded_minor == REFUND_MINOR


async def test_cancel_twenty_times_at_once_is_one_cancellation(traveller: Traveller, payers: Crowd) -> None:
    payment_id = (await traveller.start()).payment.payment_id
    request = orchestrator_pb2.CancelPaymentRequest(request_id=new_request_id(), payment_id=payment_id)

    answers = await payers.ask(lambda payer: payer.orchestrator.CancelPayment(request))

    assert _are_equal(answers)
    await traveller.until(payment_id, "CANCELED")
    await traveller.check(payment_id, Ends(state="CANCELED", charges=0, states=("INITIALIZED", "CANCELED")))


async def test_a_repeat_long_after_is_told_what_the_first_was_told(traveller: Traveller, shops: Crowd) -> None:
    start = traveller.start_request()
    started = await traveller.shop.orchestrator.StartPayment(start)
    payment_id = started.session.payment.payment_id
    submit = _submit_request(payment_id)
    submitted = await traveller.payer.orchestrator.SubmitPayment(submit)
    refund = _refund_request(payment_id)
    refunded = await traveller.shop.orchestrator.RefundPayment(refund)

    again = [await shop.orchestrator.RefundPayment(refund) for shop in shops.clients]

    assert again == [refunded] * CONNECTIONS
    assert await traveller.payer.orchestrator.SubmitPayment(submit) == submitted
    started.session.client_secret = ""  # no longer anybody's business: the payment is settled
    assert await traveller.shop.orchestrator.StartPayment(start) == started
    await traveller.until(payment_id, "PARTIALLY_REFUNDED")
    await traveller.check(payment_id, Ends(state="PARTIALLY_REFUNDED", refunds=1))


async def test_the_same_id_of_another_caller_is_another_request(suite: Suite, traveller: Traveller) -> None:
    request = traveller.start_request()

    async with suite.client("operator", sub="operator_1") as operator:
        theirs = await operator.orchestrator.StartPayment(request)
    ours = await traveller.shop.orchestrator.StartPayment(request)

    assert theirs.session.payment.payment_id != ours.session.payment.payment_id


Ask = Callable[[Client, Any], Awaitable[Any]]
Change = Callable[[Any], None]


def _dearer(start: orchestrator_pb2.StartPaymentRequest) -> None:
    start.lines[0].unit_amount.amount_minor += 1


def _by_another_card(submit: orchestrator_pb2.SubmitPaymentRequest) -> None:
    submit.payment_method_id = "pm_card_mastercard"


def _by_a_token(submit: orchestrator_pb2.SubmitPaymentRequest) -> None:
    submit.confirmation_token_id = "ctoken_1"


def _of_more(refund: orchestrator_pb2.RefundPaymentRequest) -> None:
    refund.amount.amount_minor += 1


def _keeping_the_fee(refund: orchestrator_pb2.RefundPaymentRequest) -> None:
    refund.keep_platform_fee = True


CHANGES: dict[str, tuple[str, Change]] = {
    "start": ("StartPayment", _dearer),
    "submit": ("SubmitPayment", _by_another_card),
    "submit by a token": ("SubmitPayment", _by_a_token),
    "refund": ("RefundPayment", _of_more),
    "refund without the fee": ("RefundPayment", _keeping_the_fee),
}
ROUTES: Final = {"StartPayment": CREATE, "SubmitPayment": CONFIRM, "RefundPayment": REFUND}


@pytest.mark.parametrize("case", CHANGES)
async def test_the_same_id_with_another_body_is_refused(
    case: str, traveller: Traveller, shops: Crowd, payers: Crowd
) -> None:
    method, change = CHANGES[case]
    crowd = payers if method == "SubmitPayment" else shops
    if method == "StartPayment":
        request: Any = traveller.start_request()
    elif method == "SubmitPayment":
        request = _submit_request((await traveller.start()).payment.payment_id)
    else:
        request = _refund_request(await pay(traveller))
    other = type(request)()
    other.CopyFrom(request)
    change(other)

    async def refused() -> list[str]:
        reasons = []
        for client in crowd.clients:
            with pytest.raises(errors.AlreadyExists) as refusal:
                await getattr(client.orchestrator, method)(other)
            reasons.append(refusal.value.reason)
        return reasons

    await traveller.sandbox.fault(Kind.PAUSE, route=ROUTES[method])
    first = asyncio.ensure_future(getattr(crowd.clients[0].orchestrator, method)(request))
    await traveller.sandbox.until_paused()
    assert await refused() == ["REQUEST_ID_REUSED"] * CONNECTIONS
    await traveller.sandbox.resume()
    answer = await first

    assert await refused() == ["REQUEST_ID_REUSED"] * CONNECTIONS
    payment = answer.session.payment if method == "StartPayment" else answer.payment
    after = await traveller.payment(payment.payment_id)
    assert after.total.amount_minor == TOTAL_MINOR
    assert after.snapshot.amounts.refunded_minor in (0, REFUND_MINOR)
