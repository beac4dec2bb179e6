"""Journeys through the whole suite, as stubborn callers take them: every call is repeated until it is answered."""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import asyncpg

from batzen import errors
from batzen.client import Client, new_request_id
from batzen.gateway.v1 import disputes_pb2, payer_pb2, payment_methods_pb2, sellers_pb2
from batzen.orchestrator.v1 import orchestrator_pb2
from batzen.pricing.v1 import price_book_pb2, pricing_pb2
from batzen.status.v1 import status_pb2
from batzen.type.v1 import money_pb2, payment_pb2
from local.suite import Suite
from sandbox.control import SandboxControl
from services.runtime.database.connections import plain_dsn
from tests.eventually import WITHIN_S, eventually, persistently
from tests.suite import at_stripe

SELLER: Final = "seller_1"
PAYER: Final = at_stripe.new_payer_id() if at_stripe.is_asked_for() else "payer_1"
"""At Stripe one of this run, since there a customer outlives the database that knows its payer."""
RETURN_URL: Final = "https://shop.example/back"
TOTAL_MINOR: Final = 10_000
REFUND_MINOR: Final = 2_500
PART_MINOR: Final = 3_000

PAID: Final = frozenset({"SUCCEEDED", "PARTIALLY_REFUNDED", "REFUNDED"})
ENDED_WITHOUT_MONEY: Final = frozenset({"CANCELED", "EXPIRED", "FAILED"})

CALL_TIMEOUT_S: Final = 15.0
"""Of one try. More than Stripe may keep silent before it is asked again: what is given up earlier is made twice."""
AGAIN: Final = (errors.Unavailable, errors.DeadlineExceeded, errors.Aborted, errors.ResourceExhausted)

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """How a journey has to end."""

    state: str
    charges: int = 1
    captured_minor: int | None = None
    """Of the charge, where that is captured by itself."""
    refunds: int = 0
    states: tuple[str, ...] = ()
    """Each of these states was reached by exactly one transition."""
    attention: str = ""
    """Reason for which a person is asked to look."""
    told: tuple[str, ...] = ()
    """What people are told that the gateway noticed, each once."""

    @property
    def quote(self) -> set[str]:
        """What pricing holds of a quote with coupons in the end; nothing yet of a payment that may still be paid."""
        if self.state in PAID:
            return {"REDEEMED"}
        return {"RELEASED"} if self.state in ENDED_WITHOUT_MONEY else set()


class Traveller:
    """A shop, its payer and the payer's browser."""

    def __init__(
        self, suite: Suite, shop: Client, payer: Client, sandbox: SandboxControl, *, payer_id: str = PAYER
    ) -> None:
        self.payer_id = payer_id
        self.suite = suite
        self.shop = shop
        self.payer = payer
        self.sandbox = sandbox

    async def put_seller(self, seller_id: str = SELLER) -> None:
        request = sellers_pb2.PutSellerAccountRequest(
            request_id=new_request_id(),
            seller_id=seller_id,
            country_code="CH",
            email="seller@example.ch",
            stripe_account_id=at_stripe.seller_account_id() if seller_id == SELLER else "",
        )
        await stubbornly(lambda: self.shop.sellers.PutSellerAccount(request, timeout=CALL_TIMEOUT_S))

    async def put_coupon(self, *, uses_max: int = 1) -> str:
        """Have an operator make a coupon that may be used so many times; return its code."""
        discount_id = f"once{secrets.token_hex(6)}"
        discount = price_book_pb2.Discount(
            discount_id=discount_id,
            code=discount_id.upper(),
            direction="ADJUSTMENT_DIRECTION_DISCOUNT",
            percent="10",
            funder="FUNDER_SELLER",
            uses_max=uses_max,
        )
        discount.valid_from.FromSeconds(int(time.time()) - 60)
        request = pricing_pb2.PutDiscountRequest(
            request_id=new_request_id(), discount=discount, change_reason="For one journey"
        )
        async with self.suite.client("operator", sub="clerk") as operator:
            await stubbornly(lambda: operator.pricing.PutDiscount(request, timeout=CALL_TIMEOUT_S))
        return discount.code

    async def start(
        self,
        *,
        request_id: str | None = None,
        coupon_codes: tuple[str, ...] = (),
        timing: orchestrator_pb2.Timing = orchestrator_pb2.TIMING_UNSPECIFIED,
    ) -> orchestrator_pb2.PaymentSession:
        request = self.start_request(request_id=request_id)
        request.timing = timing
        request.coupon_codes.extend(coupon_codes)
        return await self.started(request)

    async def started(self, request: orchestrator_pb2.StartPaymentRequest) -> orchestrator_pb2.PaymentSession:
        answer = await stubbornly(lambda: self.shop.orchestrator.StartPayment(request, timeout=CALL_TIMEOUT_S))
        return answer.session

    def start_request(self, *, request_id: str | None = None) -> orchestrator_pb2.StartPaymentRequest:
        return orchestrator_pb2.StartPaymentRequest(
            request_id=request_id or new_request_id(),
            payer=orchestrator_pb2.Payer(payer_id=self.payer_id, email="payer@example.ch", name="Pia Payer"),
            lines=[
                pricing_pb2.Line(
                    line_id="lesson",
                    seller_id=SELLER,
                    kind="LINE_KIND_SESSION",
                    quantity="1",
                    unit_amount=money_pb2.Money(amount_minor=TOTAL_MINOR, currency_code="CHF"),
                )
            ],
            return_url=RETURN_URL,
            collection=orchestrator_pb2.COLLECTION_ELEMENTS,
        )

    async def submit(self, payment_id: str, card: str) -> orchestrator_pb2.SubmitPaymentResponse:
        request = orchestrator_pb2.SubmitPaymentRequest(
            request_id=new_request_id(), payment_id=payment_id, payment_method_id=card
        )
        return await stubbornly(lambda: self.payer.orchestrator.SubmitPayment(request, timeout=CALL_TIMEOUT_S))

    async def sync(self, payment_id: str) -> status_pb2.Payment:
        request = orchestrator_pb2.SyncPaymentRequest(payment_id=payment_id)
        answer = await stubbornly(lambda: self.payer.orchestrator.SyncPayment(request, timeout=CALL_TIMEOUT_S))
        return answer.payment

    async def capture(self, payment_id: str, amount_minor: int, *, is_final: bool) -> None:
        request = orchestrator_pb2.CapturePaymentRequest(
            request_id=new_request_id(),
            payment_id=payment_id,
            amount=money_pb2.Money(amount_minor=amount_minor, currency_code="CHF"),
            final_capture=is_final,
            actor_id="clerk",
        )
        await stubbornly(lambda: self.shop.orchestrator.CapturePayment(request, timeout=CALL_TIMEOUT_S))

    async def refund(self, payment_id: str, *, amount_minor: int, refundable_minor: int) -> None:
        request = orchestrator_pb2.RefundPaymentRequest(
            request_id=new_request_id(),
            payment_id=payment_id,
            amount=money_pb2.Money(amount_minor=amount_minor, currency_code="CHF"),
            expected_refundable=money_pb2.Money(amount_minor=refundable_minor, currency_code="CHF"),
            actor_id="clerk",
        )
        await stubbornly(lambda: self.shop.orchestrator.RefundPayment(request, timeout=CALL_TIMEOUT_S))

    async def cancel(self, payment_id: str) -> None:
        request = orchestrator_pb2.CancelPaymentRequest(request_id=new_request_id(), payment_id=payment_id)
        await stubbornly(lambda: self.payer.orchestrator.CancelPayment(request, timeout=CALL_TIMEOUT_S))

    async def release(self, payment_id: str) -> None:
        """Let go of what is held, as the shop."""
        request = orchestrator_pb2.CancelPaymentRequest(request_id=new_request_id(), payment_id=payment_id)
        await stubbornly(lambda: self.shop.orchestrator.CancelPayment(request, timeout=CALL_TIMEOUT_S))

    async def payment(self, payment_id: str) -> status_pb2.Payment:
        request = status_pb2.GetPaymentRequest(payment_id=payment_id)
        return (await stubbornly(lambda: self.shop.status.GetPayment(request, timeout=CALL_TIMEOUT_S))).payment

    async def history(self, payment_id: str) -> list[status_pb2.Transition]:
        """Return all that status keeps of a payment, oldest first."""
        request = status_pb2.ListTransitionsRequest(payment_id=payment_id, page_size=500)
        answer = await stubbornly(lambda: self.shop.status.ListTransitions(request, timeout=CALL_TIMEOUT_S))
        assert not answer.next_page_token
        return list(answer.transitions)

    async def states(self, payment_id: str) -> list[str]:
        """Return the states a payment went through, each as often as it came to it."""
        names = [state_name(transition.state) for transition in await self.history(payment_id)]
        return [name for number, name in enumerate(names) if number == 0 or names[number - 1] != name]

    async def intent_of(self, payment_id: str) -> dict[str, Any]:
        [intent] = await self.sandbox.objects("payment_intent", **{"metadata.payment_id": payment_id})
        return intent

    async def until(self, payment_id: str, state: str, *, within_s: float = WITHIN_S) -> None:
        """Wait until a payment has come to a state, and nothing of it is left to be done."""
        stands = ""

        async def has_come() -> bool:
            nonlocal stands
            reached = state_name((await self.payment(payment_id)).state)
            left = await self.left_to_do() if reached == state else ["the payment"]
            stands = f"{payment_id} is {reached}, not {state}; left: {left}"
            return reached == state and not left

        await eventually(has_come, within_s=within_s, what=lambda: stands)

    async def until_followed(self) -> None:
        """Wait until what happens from now on is heard as it happens; a tenant's first payments are listed."""
        connection = await asyncpg.connect(plain_dsn(self.suite.database_url("orchestrator")))
        try:
            await eventually(lambda: connection.fetchval("SELECT cursor <> '' FROM feeds LIMIT 1"))
        finally:
            await connection.close()

    async def left_to_do(self) -> list[str]:
        """Return what is still on somebody's list: due payments, unheard transitions, open requests, calls, events."""
        left = []
        for service, questions in LEFT_TO_DO.items():
            connection = await asyncpg.connect(plain_dsn(self.suite.database_url(service)))
            try:
                for what, question in questions.items():
                    if await connection.fetchval(question):
                        left.append(f"{service}: {what}")
            finally:
                await connection.close()
        return left

    async def check(self, payment_id: str, ends: Ends) -> None:
        """Raise AssertionError unless everything exists exactly once, at Stripe and in the history."""
        intents = await self.sandbox.objects("payment_intent", **{"metadata.payment_id": payment_id})
        assert len(intents) == 1, f"{len(intents)} intents"
        charges = [
            charge
            for charge in await self.sandbox.objects("charge")
            if charge["payment_intent"] == intents[0]["id"] and charge["status"] == "succeeded"
        ]
        assert len(charges) == ends.charges, f"{len(charges)} charges"
        captured_minor = [charge["amount_captured"] for charge in charges]
        assert ends.captured_minor is None or captured_minor == [ends.captured_minor], f"captured {captured_minor}"
        refunds = [
            refund for refund in await self.sandbox.objects("refund") if refund["payment_intent"] == intents[0]["id"]
        ]
        assert len(refunds) == ends.refunds, f"{len(refunds)} refunds"
        customers = await self.sandbox.objects("customer", **{"metadata.payer_id": self.payer_id})
        assert len(customers) == 1, f"{len(customers)} customers"
        history = await self.history(payment_id)
        assert [one.revision for one in history] == list(range(1, len(history) + 1))
        assert len({one.request_id for one in history}) == len(history)
        assert history[-1].snapshot.attention.reason == ends.attention
        await self._check_quote(payment_id, ends)
        await self._check_told(payment_id, ends)
        await self._check_heard(payment_id, history)
        reached = Counter(state_name(one.state) for one in history)
        for state in ends.states:
            assert reached[state] == 1, f"{state} was reached {reached[state]} times: {dict(reached)}"

    async def _check_told(self, payment_id: str, ends: Ends) -> None:
        """Raise AssertionError unless what the gateway noticed is a fact, once each."""
        connection = await asyncpg.connect(plain_dsn(self.suite.database_url("orchestrator")))
        try:
            rows = await connection.fetch(NOTICED, payment_id)
        finally:
            await connection.close()
        assert sorted(row["kind"] for row in rows) == sorted(ends.told), f"told of {rows}"

    async def _check_heard(self, payment_id: str, history: Sequence[status_pb2.Transition]) -> None:
        """Raise AssertionError unless each revision is heard once, and payer and seller are told once of the money."""
        connection = await asyncpg.connect(plain_dsn(self.suite.database_url("orchestrator")))

        async def is_heard() -> bool:
            revisions = [row["revision"] for row in await connection.fetch(HEARD, payment_id)]
            assert revisions == list(range(1, len(revisions) + 1)), f"heard {revisions}"
            return len(revisions) >= len(history)

        try:
            await eventually(is_heard)
            told = {tuple(row) for row in await connection.fetch(TOLD, payment_id)}
        finally:
            await connection.close()
        is_paid = any(one.snapshot.collection == payment_pb2.PAYMENT_STATE_SUCCEEDED for one in history)
        assert told == ({("PAYER", 1, 1), ("SELLER", 1, 0)} if is_paid else set()), f"told {told}"

    async def _check_quote(self, payment_id: str, ends: Ends) -> None:
        """Raise AssertionError unless pricing knows what became of the quote, and counts its coupons right."""
        quote_id = (await self.payment(payment_id)).quote_id
        connection = await asyncpg.connect(plain_dsn(self.suite.database_url("pricing")))
        try:
            states = await connection.fetch("SELECT state FROM quote_outcomes WHERE quote_id = $1", quote_id)
            uses = await connection.fetch("SELECT state FROM discount_uses WHERE quote_id = $1", quote_id)
            wrong = await connection.fetch(MISCOUNTED)
        finally:
            await connection.close()
        assert {row["state"] for row in states} == (ends.quote if uses else set()), f"the quote is {states}"
        assert {row["state"] for row in uses} <= (ends.quote or {"HELD"}), f"the coupon's use is {uses}"
        assert not wrong, f"miscounted: {wrong}"


OF_OURS: Final = "AND subject IN (SELECT intent_id FROM intents)" if at_stripe.is_asked_for() else ""
"""At Stripe there are also events of payments that another run made, and whose database is gone."""

LEFT_TO_DO: Final = {
    "orchestrator": {
        "due payments": "SELECT count(*) FROM payments WHERE due_time < now() AND stage <> 'REFUSED'",
        "unheard transitions": "SELECT count(*) FROM transitions",
        "open requests": "SELECT count(*) FROM requests WHERE state <> 'DONE'",
        "held payments": "SELECT count(*) FROM payments WHERE held_until > now()",
        "quotes of which pricing has to hear": "SELECT count(*) FROM quote_outbox",
    },
    "gateway": {
        # One that was only accepted was never sent: it waits for nobody but a repeat of its request.
        "unanswered calls": "SELECT count(*) FROM calls WHERE state IN ('STARTED', 'UNKNOWN')",
        "waiting events": f"SELECT count(*) FROM events WHERE state = 'WAITING' {OF_OURS}",
        "deliveries": "SELECT count(*) FROM deliveries WHERE delivered_version < wanted_version",
        "due events": f"SELECT count(*) FROM event_runs WHERE coalesce(due_time, dead_time) IS NOT NULL {OF_OURS}",
        "notices": "SELECT count(*) FROM notices WHERE delivered_time IS NULL",
        "dead deliveries": "SELECT count(*) FROM deliveries WHERE dead_time IS NOT NULL",
    },
}
"""What must be nothing once all is done."""

NOTICED: Final = """
SELECT kind FROM facts WHERE payment_id = $1 AND kind IN ('DISPUTE_OPENED', 'DISPUTE_CLOSED', 'TRANSFER_FAILED')"""

HEARD: Final = """
SELECT revision FROM facts WHERE payment_id = $1 AND kind = 'PAYMENT_MOVED' ORDER BY seq"""
TOLD: Final = """
SELECT recipient_kind, count(*), count(m.kind) FROM notifications n
    LEFT JOIN mails m USING (tenant_id, fact_id, recipient_kind, recipient_id)
WHERE n.payment_id = $1 AND n.kind = 'PAYMENT_RECEIVED' GROUP BY 1"""

MISCOUNTED: Final = """
SELECT c.* FROM discount_counters c
WHERE held_count <> (SELECT count(*) FROM discount_uses u
                     WHERE (u.tenant_id, u.discount_id, u.state) = (c.tenant_id, c.discount_id, 'HELD'))
    OR redeemed_count <> (SELECT count(*) FROM discount_uses u
                          WHERE (u.tenant_id, u.discount_id, u.state) = (c.tenant_id, c.discount_id, 'REDEEMED'))"""
"""Coupons whose counters are not the sum of their uses."""


async def stubbornly(call: Callable[[], Awaitable[Answer]]) -> Answer:
    """Repeat a call, the same each time, until it is answered or refused for good."""
    return await persistently(call, again=AGAIN)


def state_name(state: payment_pb2.PaymentState) -> str:
    return payment_pb2.PaymentState.Name(state).removeprefix("PAYMENT_STATE_")


# The journeys: each returns the payment it led to.


async def pay(traveller: Traveller) -> str:
    session = await traveller.start()
    await traveller.submit(session.payment.payment_id, "pm_card_visa")
    return session.payment.payment_id


async def pay_after_the_customer_was_deleted(traveller: Traveller) -> str:
    first = await traveller.intent_of((await traveller.start()).payment.payment_id)
    await traveller.sandbox.webhooks(drop=1.0)  # that it is gone is heard with the next payment
    await traveller.sandbox.delete_customer(first["customer"])
    await traveller.sandbox.webhooks()
    return await pay(traveller)


async def pay_with_3ds(traveller: Traveller) -> str:
    payment_id = (await traveller.start()).payment.payment_id
    await traveller.submit(payment_id, "pm_card_threeDSecure2Required")
    intent = await traveller.intent_of(payment_id)
    if intent["status"] == "requires_action":
        await traveller.sandbox.authenticate(intent["id"], succeed=True)
    await traveller.sync(payment_id)
    return payment_id


async def pay_in_browser(traveller: Traveller) -> str:
    session = await traveller.start()
    await traveller.sandbox.browser_confirm(session.client_secret, payment_method="pm_card_visa", return_url=RETURN_URL)
    return session.payment.payment_id


async def keep_methods_and_pay(traveller: Traveller) -> str:
    methods, payer = traveller.payer.payment_methods, payer_pb2.Payer(email="pia@before.example", name="Pia")

    async def keep(card: str) -> str:
        request = payment_methods_pb2.AttachPaymentMethodRequest(
            request_id=new_request_id(), payer=payer, payment_method_id=card
        )
        answer = await stubbornly(lambda: methods.AttachPaymentMethod(request, timeout=CALL_TIMEOUT_S))
        return answer.payment_method.payment_method_id

    visa, amex = await keep("pm_card_visa"), await keep("pm_card_amex")
    preferring = payment_methods_pb2.SetDefaultPaymentMethodRequest(request_id=new_request_id(), payment_method_id=amex)
    await stubbornly(lambda: methods.SetDefaultPaymentMethod(preferring, timeout=CALL_TIMEOUT_S))
    removing = payment_methods_pb2.DetachPaymentMethodRequest(request_id=new_request_id(), payment_method_id=amex)
    await stubbornly(lambda: methods.DetachPaymentMethod(removing, timeout=CALL_TIMEOUT_S))
    listing = payment_methods_pb2.ListPaymentMethodsRequest()
    listed = await stubbornly(lambda: methods.ListPaymentMethods(listing, timeout=CALL_TIMEOUT_S))
    assert [(one.payment_method_id, one.default) for one in listed.payment_methods] == [(visa, True)]
    (customer,) = await traveller.sandbox.objects("customer", **{"metadata.payer_id": traveller.payer_id})
    attached = await traveller.sandbox.objects("payment_method", customer=customer["id"])
    assert [one["id"] for one in attached] == [visa]

    payment_id = (await traveller.start()).payment.payment_id  # which names another e-mail address
    await traveller.submit(payment_id, visa)
    return payment_id


async def keep_a_method_with_3ds_and_pay(traveller: Traveller) -> str:
    methods = traveller.payer.payment_methods

    async def set_up(card: str = "") -> str:
        request = payment_methods_pb2.CreateSetupIntentRequest(request_id=new_request_id())
        if card:
            request.payment_method_id, request.return_url = card, RETURN_URL
        answer = await stubbornly(lambda: methods.CreateSetupIntent(request, timeout=CALL_TIMEOUT_S))
        return answer.setup_intent.setup_intent_id

    calling_off = payment_methods_pb2.CancelSetupIntentRequest(
        request_id=new_request_id(), setup_intent_id=await set_up()
    )
    await stubbornly(lambda: methods.CancelSetupIntent(calling_off, timeout=CALL_TIMEOUT_S))
    setup_intent_id = await set_up("pm_card_threeDSecure2Required")
    await traveller.sandbox.authenticate(setup_intent_id, succeed=True)
    reading = payment_methods_pb2.GetSetupIntentRequest(setup_intent_id=setup_intent_id, with_secret=True)
    seen = await stubbornly(lambda: methods.GetSetupIntent(reading, timeout=CALL_TIMEOUT_S))
    listing = payment_methods_pb2.ListPaymentMethodsRequest()
    listed = await stubbornly(lambda: methods.ListPaymentMethods(listing, timeout=CALL_TIMEOUT_S))
    kept_id = seen.setup_intent.payment_method.payment_method_id
    assert [(one.payment_method_id, one.consent_actor_id) for one in listed.payment_methods] == [
        (kept_id, traveller.payer_id)
    ]
    setups = await traveller.sandbox.objects("setup_intent", **{"metadata.payer_id": traveller.payer_id})
    assert sorted(str(one["status"]) for one in setups) == ["canceled", "succeeded"]
    return await pay(traveller)


async def pay_and_refund(traveller: Traveller) -> str:
    payment_id = await pay(traveller)
    await traveller.refund(payment_id, amount_minor=REFUND_MINOR, refundable_minor=TOTAL_MINOR)
    return payment_id


async def hold_and_capture_in_parts(traveller: Traveller) -> str:
    payment_id = (await traveller.start(timing=orchestrator_pb2.TIMING_MANUAL_CAPTURE)).payment.payment_id
    await traveller.submit(payment_id, "pm_card_visa")
    await traveller.capture(payment_id, PART_MINOR, is_final=False)
    await traveller.capture(payment_id, PART_MINOR, is_final=True)  # of the same amount, and not the same capture
    return payment_id


async def be_charged_later(traveller: Traveller) -> str:
    request = traveller.start_request()
    request.timing = orchestrator_pb2.TIMING_SCHEDULED
    request.charge_time.GetCurrentTime()  # due as soon as the method is kept, and nobody waits for it
    payment_id = (await traveller.started(request)).payment.payment_id
    await traveller.submit(payment_id, "pm_card_visa")
    return payment_id


async def call_off(traveller: Traveller) -> str:
    payment_id = (await traveller.start()).payment.payment_id
    await traveller.cancel(payment_id)
    return payment_id


async def pay_with_a_coupon(traveller: Traveller) -> str:
    session = await traveller.start(coupon_codes=(await traveller.put_coupon(),))
    await traveller.submit(session.payment.payment_id, "pm_card_visa")
    return session.payment.payment_id


async def pay_late_with_a_coupon_that_is_gone(traveller: Traveller) -> str:
    coupon = await traveller.put_coupon()
    payment_id = (await traveller.start(coupon_codes=(coupon,))).payment.payment_id
    await traveller.cancel(payment_id)
    await traveller.until(payment_id, "CANCELED")
    await traveller.start(coupon_codes=(coupon,))
    await traveller.sandbox.succeed((await traveller.intent_of(payment_id))["id"])
    await traveller.sync(payment_id)
    return payment_id


async def answer_a_dispute_and_give_it_up(traveller: Traveller) -> str:
    payment_id = await pay(traveller)
    intent = await traveller.intent_of(payment_id)
    dispute = await traveller.sandbox.dispute(intent["id"])
    await traveller.until(payment_id, "DISPUTED")
    evidence = disputes_pb2.SubmitDisputeEvidenceRequest(
        request_id=new_request_id(),
        dispute_id=dispute["id"],
        evidence={"product_description": "A lesson"},
        submit=True,
        actor_id="clerk",
    )
    given_up = disputes_pb2.AcceptDisputeRequest(
        request_id=new_request_id(), dispute_id=dispute["id"], actor_id="clerk"
    )
    async with traveller.suite.client("operator", sub="clerk") as operator:
        await stubbornly(lambda: operator.disputes.SubmitDisputeEvidence(evidence, timeout=CALL_TIMEOUT_S))
        await stubbornly(lambda: operator.disputes.AcceptDispute(given_up, timeout=CALL_TIMEOUT_S))
    (found,) = await traveller.sandbox.objects("dispute", payment_intent=intent["id"])
    assert (found["status"], found["evidence_details"]["submission_count"]) == ("lost", 1)
    return payment_id


Journey = Callable[[Traveller], Awaitable[str]]

JOURNEYS: Final[dict[str, tuple[Journey, Ends]]] = {
    "start and submit": (pay, Ends(state="SUCCEEDED", states=("INITIALIZED", "SUCCEEDED"))),
    "deleted customer": (
        pay_after_the_customer_was_deleted,
        Ends(state="SUCCEEDED", states=("INITIALIZED", "SUCCEEDED")),
    ),
    "3-D Secure and sync": (pay_with_3ds, Ends(state="SUCCEEDED", states=("INITIALIZED", "SUCCEEDED"))),
    "webhook": (pay_in_browser, Ends(state="SUCCEEDED", states=("INITIALIZED", "SUCCEEDED"))),
    "kept methods": (keep_methods_and_pay, Ends(state="SUCCEEDED", states=("INITIALIZED", "SUCCEEDED"))),
    "kept with 3-D Secure": (
        keep_a_method_with_3ds_and_pay,
        Ends(state="SUCCEEDED", states=("INITIALIZED", "SUCCEEDED")),
    ),
    "refund": (
        pay_and_refund,
        Ends(state="PARTIALLY_REFUNDED", refunds=1, states=("INITIALIZED", "SUCCEEDED", "PARTIALLY_REFUNDED")),
    ),
    "dispute": (
        answer_a_dispute_and_give_it_up,
        Ends(
            state="DISPUTE_LOST",
            states=("SUCCEEDED", "DISPUTE_LOST"),
            attention="DISPUTE_LOST",
            told=("DISPUTE_OPENED", "DISPUTE_CLOSED"),
        ),
    ),
    "hold and captures": (
        hold_and_capture_in_parts,
        Ends(state="SUCCEEDED", states=("INITIALIZED", "SUCCEEDED"), captured_minor=2 * PART_MINOR),
    ),
    "scheduled charge": (
        be_charged_later,
        Ends(state="SUCCEEDED", states=("INITIALIZED", "SCHEDULED", "SUCCEEDED")),
    ),
    "cancel": (call_off, Ends(state="CANCELED", charges=0, states=("INITIALIZED", "CANCELED"))),
    "coupon": (pay_with_a_coupon, Ends(state="SUCCEEDED", states=("INITIALIZED", "SUCCEEDED"))),
    "late money": (
        pay_late_with_a_coupon_that_is_gone,
        Ends(state="SUCCEEDED", states=("INITIALIZED", "CANCELED"), attention="LATE_MONEY"),
    ),
}
