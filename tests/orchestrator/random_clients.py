"""Clients, payers, banks and people at Stripe's dashboard, as a random test lets them act, and what goes wrong then.

Each calls the real services. Who does not learn what became of a request asks again, under its id, until they do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

import httpx
from google.protobuf.message import Message
from grpc import aio

from batzen.gateway.v1 import payer_pb2, payment_methods_pb2
from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from batzen.status.v1 import status_pb2
from batzen.type.v1 import money_pb2
from sandbox.control import Refused
from services.runtime.rpc.error_status import refusal_of
from services.runtime.work.engine import Engine
from services.shared.states import State
from services.wire import timestamp
from tests.eventually import eventually
from tests.orchestrator.conftest import Journeys, Orchestrator
from tests.orchestrator.samples import (
    CANCEL_URL,
    RETURN_URL,
    TOTAL_MINOR,
    cancel,
    capture,
    line,
    new_id,
    new_payment_id,
    preserve,
    refund,
    resume,
    retry,
    start,
    state_of,
    submit,
)
from tests.orchestrator.shops import connected
from tests.orchestrator.stripe_truth import (
    Followed,
    at_stripe,
    check_always,
    check_bookings,
    check_history,
    check_settled,
)

UNKNOWN: Final = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "ABORTED", "RESOURCE_EXHAUSTED"})
"""Answers after which a client does not know what became of its request."""
REFUSED: Final = frozenset({"FAILED_PRECONDITION", "INVALID_ARGUMENT", "NOT_FOUND", "ALREADY_EXISTS"})
FORGOTTEN: Final = frozenset(
    {"StartPayment", "AttachPaymentMethod", "DetachPaymentMethod", "SetDefaultPaymentMethod", "SyncPayment"}
)
"""Methods that may refuse before they keep anything: asked again, they look anew."""
KEPT_FOR: Final = timedelta(hours=1)
"""A request is repeated within this: its answer is kept far longer."""
ROUNDS_MAX: Final = 30
"""In which all that was begun has to come to its end."""
BACKOFF: Final = timedelta(seconds=61)
"""More than the longest pause before something is tried again."""
HOUR: Final = timedelta(hours=1)

SENDING: Final = "SELECT EXISTS (SELECT FROM calls WHERE held_until > now() + $1::interval)"
"""Whether the gateway is about to send something to Stripe, or waits for its answer."""

CARDS: Final = (
    "pm_card_visa",
    "pm_card_jcb",
    "pm_card_chargeDeclined",
    "pm_card_chargeDeclinedInsufficientFunds",
    "pm_card_chargeCustomerFail",
    "pm_card_threeDSecure2Required",
    "pm_card_authenticationRequiredOnSetup",
    "pm_card_radarBlock",
    "pm_card_pendingRefund",
)
DEBITS: Final = ("pm_sepaDebit_success_de", "pm_sepaDebit_failed_de")
COLLECTIONS: Final = (pb.COLLECTION_UNSPECIFIED, pb.COLLECTION_ELEMENTS, pb.COLLECTION_CHECKOUT)
TIMINGS: Final = (pb.TIMING_IMMEDIATE, pb.TIMING_MANUAL_CAPTURE, pb.TIMING_SCHEDULED)

SWITCHES: Final[tuple[dict[str, Any], ...]] = (
    {},
    {"duplicate": 2},
    {"reorder": True, "duplicate": 1},
    {"hold": True},
    {"drop": 0.5},
    {"delay_s": 0.05},
)
"""What may go wrong with webhooks."""
FAULTS: Final[tuple[dict[str, Any], ...]] = (
    {"kind": "rate_limit", "times": 2},
    {"kind": "lock_timeout"},
    {"kind": "server_error"},
    {"kind": "server_error", "after": True},
    {"kind": "server_error", "after": True, "should_retry": False, "times": 2},
    {"kind": "reset", "times": 2},
    {"kind": "reset", "after": True},
    {"kind": "html", "after": True},
    {"kind": "cut_off", "after": True, "times": 2},
)
"""What may go wrong between the gateway and Stripe, before the effect of a call or after it."""
SILENCE: Final[dict[str, Any]] = {"kind": "timeout", "after": True}
ROUTES: Final = (
    "POST /v1/*",
    "*",
    "POST /v1/payment_intents",
    "POST /v1/payment_intents/{intent}/confirm",
    "POST /v1/payment_intents/{intent}/capture",
    "POST /v1/payment_intents/{intent}/cancel",
    "POST /v1/setup_intents*",
    "POST /v1/checkout/sessions",
    "POST /v1/checkout/sessions/{session}/expire",
    "POST /v1/refunds",
    "POST /v1/payment_methods/*",
    "GET /v1/*",
)


@dataclass(slots=True, kw_only=True)
class Asked:
    """A request, and what its client knows of it."""

    method: str
    message: Any
    then: Callable[[Any], None]
    """What follows from its answer."""
    outcome: str = ""
    """OK, or the reason of the refusal; empty while it is not known."""
    asked_shift: timedelta = timedelta(0)
    led_to_bank: bool = False
    """Its answer sent the payer to their bank: a repeat is refused once the bank may ask about something else."""


@dataclass
class Clients:
    """All who act, on services that are really there."""

    replica: Orchestrator
    journeys: Journeys
    gateway_work: Engine
    """What the gateway does by itself, on a replica that does it when told to."""
    payer_id: str = field(default_factory=lambda: new_payment_id().replace("pay_", "payer_"))
    followed: list[Followed] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    log: list[str] = field(default_factory=list)
    behind: timedelta = timedelta(0)
    """By how much our clocks were set back."""

    def __post_init__(self) -> None:
        self.stripe = self.journeys.stripe
        self.clock = self.replica.world.clock
        self.bookings = [new_payment_id().replace("pay_", "booking_") for _ in range(2)]

    # Requests.

    async def ask(self, method: str, message: Message, then: Callable[[Any], None]) -> None:
        """Send a request once."""
        asked = Asked(method=method, message=message, then=then, asked_shift=self.clock.shift)
        self.asked.append(asked)
        await self._send(asked)

    async def _send(self, asked: Asked) -> None:
        stub = self.journeys.gateway if asked.method.endswith("PaymentMethod") else self.journeys.orchestrator
        answer = None
        try:
            answer = await getattr(stub, asked.method)(asked.message)
            outcome = "OK"
        except aio.AioRpcError as error:
            if (code := error.code().name) in UNKNOWN:
                self.log.append(f"{asked.method}: {code}")
                self.counts["calls without an answer"] += 1
                return
            if code not in REFUSED:
                raise
            outcome = refusal_of(error).reason
        self.log.append(f"{asked.method}: {outcome}")
        self.counts["calls" if outcome == "OK" else "refusals"] += 1
        self.counts[f"{asked.method} {outcome}"] += 1
        if asked.led_to_bank and outcome == "PAYMENT_STATE":
            return
        is_submitted = asked.method == "SubmitPayment" and answer is not None
        asked.led_to_bank = is_submitted and state_of(answer.payment) == "REQUIRES_ACTION"
        is_kept = asked.outcome == "OK" or asked.method not in FORGOTTEN
        assert not is_kept or asked.outcome in ("", outcome), f"a repeat was answered with {outcome}: {asked}"
        is_first, asked.outcome = asked.outcome != "OK", outcome
        if is_first and answer is not None:
            asked.then(answer)

    async def repeat(self, one: Followed, number: int) -> None:
        """A client asks again for what it asked before."""
        asked = self.asked[number % len(self.asked)]
        if self.clock.shift - asked.asked_shift < KEPT_FOR:
            await self._send(asked)

    async def start(self, *, timing: int, collection: int, extra: int, days: int) -> None:
        """Start a payment; `extra` decides on the rest of what may be asked for."""
        booking_ids = [self.bookings[extra % 2]] if extra % 3 == 0 else []
        changes: dict[str, Any] = {
            "payer": pb.Payer(payer_id=self.payer_id, email="pia@example.ch", name="Pia Payer", locale="de-CH"),
            "timing": timing,
            "collection": collection,
            "booking_ids": booking_ids,
            "cancel_url": CANCEL_URL,
            "keep_method": extra % 5 == 0,
        }
        if extra % 4 == 1:
            euros = money_pb2.Money(amount_minor=TOTAL_MINOR, currency_code="EUR")
            changes["lines"] = [line(unit_amount=euros)]
        when = timestamp(self.clock.now() + timedelta(days=days, minutes=1))
        if timing == pb.TIMING_SCHEDULED:
            changes["charge_time"] = when
        elif timing == pb.TIMING_MANUAL_CAPTURE:
            changes["release_before_lapse"] = extra % 2 == 0
            if extra % 7 == 0:
                changes["capture_time"] = when

        def then(answer: pb.StartPaymentResponse) -> None:
            payment_id = answer.session.payment.payment_id
            one = Followed(payment_id=payment_id, payer_id=self.payer_id, timing=timing, booking_ids=booking_ids)
            self.followed.append(one)
            self.counts["payments"] += 1
            _keep(one, answer.session)

        await self.ask("StartPayment", start(**changes), then)

    async def submit(self, one: Followed, number: int) -> None:
        asked = submit(one.payment_id, CARDS[number % len(CARDS)], keep_method=number % 2 == 0)
        await self.ask("SubmitPayment", asked, _nothing)

    async def capture(self, one: Followed, number: int) -> None:
        part_minor = None if number % 3 == 0 else 1 + number * 97 % (TOTAL_MINOR // 2)
        asked = capture(one.payment_id, part_minor, final_capture=number % 3 == 2)
        if part_minor is not None:
            asked.amount.currency_code = (await self.journeys.payment(one.payment_id)).total.currency_code

        def then(_: pb.CapturePaymentResponse) -> None:
            one.told.captured_minor += part_minor or 0

        await self.ask("CapturePayment", asked, then)

    async def cancel(self, one: Followed, _: int) -> None:
        def then(__: pb.CancelPaymentResponse) -> None:
            one.told.is_called_off = True

        await self.ask("CancelPayment", cancel(one.payment_id), then)

    async def refund(self, one: Followed, number: int) -> None:
        payment = await self.journeys.payment(one.payment_id)
        amounts, currency = payment.snapshot.amounts, payment.total.currency_code
        left_minor = amounts.captured_minor - amounts.refunded_minor - amounts.refund_pending_minor
        wanted_minor = left_minor if number % 2 else max(1, left_minor // 3)
        asked = refund(one.payment_id, wanted_minor or 1)
        asked.amount.currency_code = asked.expected_refundable.currency_code = currency
        asked.expected_refundable.amount_minor = left_minor

        def then(answer: pb.RefundPaymentResponse) -> None:
            one.told.refunded_minor += answer.amount.amount_minor

        await self.ask("RefundPayment", asked, then)

    async def sync(self, one: Followed, _: int) -> None:
        await self.ask("SyncPayment", pb.SyncPaymentRequest(payment_id=one.payment_id), _nothing)
        self.asked.pop()  # no request that has an id

    async def retry(self, one: Followed, number: int) -> None:
        asked = retry(one.payment_id, collection=COLLECTIONS[number % len(COLLECTIONS)])
        await self.ask("RetryPayment", asked, lambda answer: _keep(one, answer.session))

    async def resume(self, one: Followed, _: int) -> None:
        await self.ask("ResumePayment", resume(one.payment_id), lambda answer: _keep(one, answer.session))

    async def preserve(self, one: Followed, _: int) -> None:
        await self.ask("PreservePayment", preserve(one.payment_id), _nothing)

    async def reschedule(self, one: Followed, number: int) -> None:
        asked = pb.ReschedulePaymentRequest(
            request_id=new_id(),
            payment_id=one.payment_id,
            charge_time=timestamp(self.clock.now() + timedelta(hours=number % 48)),
        )
        await self.ask("ReschedulePayment", asked, _nothing)

    async def attach_booking(self, one: Followed, number: int) -> None:
        booking_id = self.bookings[number % 2]
        asked = pb.AttachBookingRequest(request_id=new_id(), payment_id=one.payment_id, booking_ids=[booking_id])
        await self.ask("AttachBooking", asked, lambda _: one.booking_ids.append(booking_id))

    # Kept methods.

    async def keep(self, _: Followed, number: int) -> None:
        asked = payment_methods_pb2.AttachPaymentMethodRequest(
            request_id=new_id(),
            payer=payer_pb2.Payer(payer_id=self.payer_id),
            payment_method_id=CARDS[number % 2],
        )
        await self.ask("AttachPaymentMethod", asked, _nothing)

    async def forget(self, _: Followed, number: int) -> None:
        if (method_id := await self._kept(number)) is not None:
            asked = payment_methods_pb2.DetachPaymentMethodRequest(
                request_id=new_id(), payer_id=self.payer_id, payment_method_id=method_id
            )
            await self.ask("DetachPaymentMethod", asked, _nothing)

    async def prefer(self, _: Followed, number: int) -> None:
        if (method_id := await self._kept(number)) is not None:
            asked = payment_methods_pb2.SetDefaultPaymentMethodRequest(
                request_id=new_id(), payer_id=self.payer_id, payment_method_id=method_id
            )
            await self.ask("SetDefaultPaymentMethod", asked, _nothing)

    async def _kept(self, number: int) -> str | None:
        ids = [kept.payment_method_id for kept in await self.kept()]
        return ids[number % len(ids)] if ids else None

    async def kept(self) -> list[payment_methods_pb2.PaymentMethod]:
        """Return what the payer keeps, by the gateway; nothing while it cannot say."""
        asked = payment_methods_pb2.ListPaymentMethodsRequest(payer_id=self.payer_id)
        with suppress(aio.AioRpcError):
            return list((await self.journeys.gateway.ListPaymentMethods(asked)).payment_methods)
        return []

    # What the payer does in the browser, the bank, and people at Stripe's dashboard.

    async def pay_in_browser(self, one: Followed, number: int) -> None:
        """Pay by any secret or page that was ever given out, also by one that another took the place of."""
        card = (*CARDS, *DEBITS)[number % (len(CARDS) + len(DEBITS))]
        ways = [*one.secrets, *one.pages]
        if not ways:
            return
        way = ways[-1 - (number // 16) % len(ways)]
        with suppress(Refused, httpx.TransportError):
            if way.startswith("http"):
                await self._pay_on_page(way, card, succeed=number % 4 != 0)
            else:
                await self.stripe.browser_confirm(way, payment_method=card, return_url=RETURN_URL)

    async def _pay_on_page(self, url: str, card: str, *, succeed: bool) -> None:
        where = await self.stripe.pay_session(url, payment_method=card)
        if where and not where.startswith(RETURN_URL):
            back = await self.stripe.answer_3ds(where, succeed=succeed)
            if back and not back.startswith(RETURN_URL):
                await self.stripe.come_back(back)

    async def authenticate(self, one: Followed, number: int) -> None:
        seen = await at_stripe(self.stripe, one.payment_id)
        for intent in (*seen.intents, *seen.setups):
            if intent["status"] == "requires_action":
                with suppress(Refused, httpx.TransportError):
                    await self.stripe.authenticate(intent["id"], succeed=number % 4 != 0)

    async def bank_refuses(self, one: Followed, number: int) -> None:
        """The bank refuses the next charges of a kept method."""
        payment = await self.journeys.payment(one.payment_id)
        if method_id := payment.snapshot.method.payment_method_id:
            reasons = ("insufficient_funds", "authentication_required", "lost_card", "insufficient_funds")
            with suppress(Refused):
                await self.stripe.decline_charges(method_id, reasons[number % 4], times=1 + number % 3)

    async def at_dashboard(self, one: Followed, number: int) -> None:
        """A person cancels, refunds, or lets something come to its end."""
        seen = await at_stripe(self.stripe, one.payment_id)
        with suppress(Refused):
            match number % 5:
                case 0 if seen.intents:
                    await self.stripe.cancel(seen.intents[-1]["id"])
                case 1 if seen.received:
                    one.told.has_lost_refund = True
                    await self.stripe.refund(seen.intents[-1]["id"], amount=1 + number)
                case 2 if seen.pages:
                    await self.stripe.expire_session(seen.pages[-1]["id"])
                case 3 if seen.capturable_minor:
                    await self.stripe.lapse_hold(seen.intents[-1]["id"])
                case _:
                    for intent in seen.intents:
                        if intent["status"] == "processing":
                            await self.stripe.finish_debit(intent["id"])

    async def money_comes_late(self, one: Followed, _: int) -> None:
        """Money arrives on an attempt that was over."""
        seen = await at_stripe(self.stripe, one.payment_id)
        over = [intent for intent in seen.intents if intent["status"] == "canceled"]
        if over and not any(intent["amount_received"] for intent in over):
            one.told.is_forced = True
            with suppress(Refused):  # somebody else was faster
                await self.stripe.succeed(over[0]["id"])

    # Time, and what goes wrong.

    async def pass_time(self, by: timedelta) -> None:
        """Let time pass everywhere, and let what falls due happen.

        Nothing that is being sent just then is a day older when it gets there: as old as no request becomes.
        """
        async with connected(self.replica.world.gateway_database) as connection:

            async def is_at_rest() -> bool:
                return not await connection.fetchval(SENDING, self.clock.shift)

            await eventually(is_at_rest, what="the gateway has sent what it was sending")
            self.clock.advance(by)
        await self.stripe.advance(0)
        self.counts["clock moves"] += 1
        await self.work()

    def set_back(self) -> None:
        """Our clocks jump back an hour; Stripe's does not."""
        if not self.behind:
            self.behind = HOUR
            self.clock.shift -= HOUR
            self.counts["clock jumps back"] += 1

    async def work(self) -> None:
        """Let the services do what is due by itself."""
        await self.gateway_work.once()
        await self.replica.sweep()

    async def go_wrong(self, fault: dict[str, Any], route: str) -> None:
        """Let the next call of a route go wrong, and nothing that was ordered before and did not strike."""
        await self._count_faults()
        await self.stripe.fault(**fault, route=route)
        self.counts["faults ordered"] += 1

    async def _count_faults(self) -> None:
        self.counts["faults struck"] += sum(fault["hits"] for fault in await self.stripe.faults())
        await self.stripe.clear_faults()

    async def mischief(self, switches: dict[str, Any]) -> None:
        await self.stripe.release()
        await self.stripe.webhooks(**switches)
        self.counts["webhook switches"] += 1

    # What has to be true.

    async def check(self, touched: Followed | None = None) -> None:
        """Compare with the model what has to be true at any time, of one payment or of all."""
        for one in self.followed if touched is None else [touched]:
            check_history(one, await self.journeys.transitions(one.payment_id))
            payment = await self.journeys.payment(one.payment_id)
            check_always(one, payment, await at_stripe(self.stripe, one.payment_id))

    async def settle(self) -> None:
        """End all mischief, let everything come to its end, and compare all of it with the model."""
        await self._count_faults()
        await self.stripe.webhooks()
        await self.stripe.release()
        self.clock.shift += self.behind
        self.behind = timedelta(0)
        for _ in range(ROUNDS_MAX):
            for asked in [one for one in self.asked if not one.outcome]:
                await self._send(asked)
            await self.stripe.drain()
            await self.work()
            if await self._is_quiet():
                break
            self.clock.advance(BACKOFF)
            await self.stripe.advance(0)
        else:
            raise AssertionError(f"something never comes to its end: {[a.method for a in self.asked if not a.outcome]}")
        for one in self.followed:
            await self.sync(one, 0)
        await self.stripe.drain()
        await self.work()
        await self._check_settled()

    async def _is_quiet(self) -> bool:
        """Whether every request has its answer and each payment rests."""
        if any(not asked.outcome for asked in self.asked):
            return False
        return all([await self._is_at_rest(one) for one in self.followed])

    async def _is_at_rest(self, one: Followed) -> bool:
        plan, payment = await self.journeys.plan(one.payment_id), await self.journeys.payment(one.payment_id)
        is_unknown = payment.snapshot.reason in ("OUTCOME_UNKNOWN", "SUBMITTED")
        seen = await self.journeys.seen(one.payment_id)
        return not (plan.pending_steps or is_unknown or seen.outcome_unknown)

    async def _check_settled(self) -> None:
        payments: dict[str, status_pb2.Payment] = {}
        for one in self.followed:
            check_history(one, await self.journeys.transitions(one.payment_id))
            payments[one.payment_id] = payment = await self.journeys.payment(one.payment_id)
            plan, seen = await self.journeys.plan(one.payment_id), await at_stripe(self.stripe, one.payment_id)
            try:
                check_always(one, payment, seen)
                check_settled(one, payment, plan, seen, now=self.clock.now())
            except AssertionError as wrong:
                wrong.add_note(f"{payment}\n{plan}\n{seen}")
                raise
        check_bookings(self.followed, payments)
        kept = await self.kept()
        assert sum(method.default for method in kept) == (1 if kept else 0), f"defaults: {kept}"


Act = Callable[[Clients, Followed, int], Coroutine[Any, Any, None]]
ACTS: Final[dict[str, Act]] = {
    act.__name__: act
    for act in (
        Clients.submit,
        Clients.capture,
        Clients.cancel,
        Clients.refund,
        Clients.sync,
        Clients.retry,
        Clients.resume,
        Clients.preserve,
        Clients.reschedule,
        Clients.attach_booking,
        Clients.keep,
        Clients.forget,
        Clients.prefer,
        Clients.repeat,
        Clients.pay_in_browser,
        Clients.authenticate,
        Clients.bank_refuses,
        Clients.at_dashboard,
        Clients.money_comes_late,
    )
}
"""What may be done with a payment, with a number that decides how."""

OFTEN: Final = ("sync", "repeat", "keep", "forget", "prefer", "attach_booking")
"""What may be done at any time."""
SENSIBLE: Final[dict[State, tuple[str, ...]]] = {
    State.REQUIRES_PAYMENT_METHOD: (
        *("submit", "pay_in_browser") * 4,
        *("retry", "resume") * 2,
        *("preserve", "cancel", "at_dashboard", "money_comes_late"),
    ),
    State.REQUIRES_ACTION: (*("authenticate",) * 4, "retry", "resume", "submit", "cancel", "pay_in_browser"),
    State.SCHEDULED: (*("bank_refuses", "forget", "retry") * 2, "reschedule", "cancel"),
    State.PROCESSING: ("at_dashboard", "sync", "cancel", "retry"),
    State.AUTHORIZED: (*("capture",) * 5, *("refund", "cancel", "at_dashboard")),
    State.SUCCEEDED: (*("refund",) * 3, "capture", "cancel", "at_dashboard", "pay_in_browser"),
}
"""What is worth trying, by where a payment stands; after its end, that money comes late."""


def sensible(one: Followed, number: int) -> str:
    """Return something that may well succeed."""
    choice = (*SENSIBLE.get(one.collection, ("money_comes_late", "pay_in_browser", "resume")), *OFTEN[number % 6 :][:1])
    return choice[number % len(choice)]


def _keep(one: Followed, session: pb.PaymentSession) -> None:
    """Keep what the payer may pay with from now on."""
    if session.client_secret:
        one.secrets.append(session.client_secret)
    if session.checkout_url:
        one.pages.append(session.checkout_url)


def _nothing(_: object) -> None:
    """Nothing follows from the answer."""
