"""Every state of the checkout."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Final

from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from batzen.type.v1.money_pb2 import Money
from services.bff.checkout import messages, standing, steps
from services.bff.checkout.place import Place
from services.bff.checkout.receipts import receipt
from services.bff.checkout.shown import Shown
from services.web.failures import Refusal, failure_of
from tests.web import checkout_samples as samples
from tests.web.state import State

PAID: Final = {"authorized_minor": samples.TOTAL_MINOR, "captured_minor": samples.TOTAL_MINOR}
SURPLUS: Final = samples.snapshot(amounts={"surplus_minor": samples.TOTAL_MINOR})
TURN: Final = "REQUIRES_PAYMENT_METHOD"
SOON: Final = samples.at(samples.NOW + timedelta(days=5))


def _standing(session: pb.PaymentSession, place: Place) -> Shown:
    shown = standing.standing(session, place, answered=0)
    assert shown is not None
    return shown


def _method(session: pb.PaymentSession, place: Place) -> Shown:
    return steps.method(session, samples.KEPT, place)


def _confirm(session: pb.PaymentSession, place: Place, *, chosen: str = "pm_visa") -> Shown:
    methods = steps.methods(session, samples.KEPT, place)
    return steps.confirm(session, next(one for one in methods if one.value == chosen), place)


def _price_changed(place: Place) -> Shown:
    before = Money(amount_minor=18_954, currency_code="CHF")
    notice = steps.price_changed(before, samples.session("REQUIRES_PAYMENT_METHOD").payment.total, place)
    return steps.method(samples.session("REQUIRES_PAYMENT_METHOD"), samples.KEPT, place, notice=notice)


def _offered(timing: pb.Timing) -> pb.PaymentSession:
    """Return a payment whose payer may choose when they pay."""
    offered = [
        pb.OfferedTiming(timing=pb.TIMING_IMMEDIATE),
        pb.OfferedTiming(timing=pb.TIMING_MANUAL_CAPTURE),
        pb.OfferedTiming(timing=pb.TIMING_SCHEDULED, charge_time=SOON),
    ]
    charge_time = SOON if timing == pb.TIMING_SCHEDULED else None
    return samples.session(TURN, timing=timing, timings_offered=offered, charge_time=charge_time)


def _timing_changed(place: Place) -> Shown:
    session = _offered(pb.TIMING_SCHEDULED)
    return steps.timing(session, place, notice=steps.timing_changed(session, place))


def _too_many(place: Place) -> Shown:
    refusal = Refusal(429, "RATE_LIMITED", retry_after=timedelta(minutes=12))
    return messages.failed(place, failure_of(refusal, place.words.language), samples.PAYMENT_ID)


def _held() -> pb.PaymentSession:
    amounts = {"authorized_minor": samples.TOTAL_MINOR, "capturable_minor": samples.TOTAL_MINOR}
    return samples.session("AUTHORIZED", snapshot=samples.snapshot(amounts=amounts, hold_expire_time=SOON))


def _held_part() -> pb.PaymentSession:
    amounts = {"authorized_minor": samples.TOTAL_MINOR, "captured_minor": 2_000, "capturable_minor": 19_060}
    return samples.session("AUTHORIZED", snapshot=samples.snapshot(amounts=amounts, hold_expire_time=SOON))


def _paid(**amounts: int) -> Callable[[str], pb.PaymentSession]:
    return lambda state: samples.session(state, snapshot=samples.snapshot(amounts=PAID | amounts))


def _scheduled_terms(state: str) -> pb.PaymentSession:
    return samples.session(state, timing=pb.TIMING_SCHEDULED, charge_time=SOON, keep_method=True)


NEW: Final = replace(samples.TENANT, offers_form=False, tells_by_mail=False)
MADE: Final[Mapping[str, Callable[[Place], Shown]]] = {
    "loading": partial(_standing, samples.session("INITIALIZED")),
    "timing-scheduled": partial(steps.timing, _scheduled_terms(TURN)),
    "timing-held": partial(steps.timing, samples.session(TURN, timing=pb.TIMING_MANUAL_CAPTURE)),
    "timing-choice": partial(steps.timing, _offered(pb.TIMING_IMMEDIATE)),
    "timing-changed": _timing_changed,
    "method": partial(_method, samples.session(TURN)),
    "method-first-time": lambda place: steps.method(samples.session(TURN), (), replace(place, tenant=NEW)),
    "method-declined": partial(_method, samples.declined()),
    "method-declined-lost-card": partial(_method, samples.declined("lost_card")),
    "method-duplicate": partial(_method, samples.declined("duplicate_transaction")),
    "method-price-changed": _price_changed,
    "confirm": partial(_confirm, samples.session(TURN)),
    "confirm-page": partial(_confirm, samples.session(TURN), chosen=steps.PAGE),
    "confirm-scheduled": partial(_confirm, _scheduled_terms(TURN)),
    "confirm-hold": partial(_confirm, samples.session(TURN, timing=pb.TIMING_MANUAL_CAPTURE)),
    "card": partial(steps.card, samples.session(TURN, client_secret="pi_1_secret_2")),
    "attention": partial(
        _standing,
        samples.session(
            "REQUIRES_ACTION",
            snapshot=samples.snapshot(),
            next_action=pb.NextAction(redirect_url="https://bank.example.com/3ds"),
        ),
    ),
    "processing": partial(_standing, samples.session("PROCESSING", snapshot=samples.snapshot())),
    "processing-slow": partial(_standing, samples.session("PROCESSING", snapshot=samples.snapshot(), ago_s=20)),
    "processing-unknown": partial(
        _standing, samples.session("PROCESSING", snapshot=samples.snapshot(reason="OUTCOME_UNKNOWN"))
    ),
    "held": partial(_standing, _held()),
    "held-part": partial(_standing, _held_part()),
    "scheduled": partial(_standing, samples.session("SCHEDULED", snapshot=samples.snapshot(charge_time=SOON))),
    "success": partial(_standing, _paid()("SUCCEEDED")),
    "success-surplus": partial(_standing, _paid(surplus_minor=samples.TOTAL_MINOR)("SUCCEEDED")),
    "failed": partial(_standing, samples.session("FAILED")),
    "canceled": partial(_standing, samples.session("CANCELED")),
    "canceled-surplus": partial(_standing, samples.session("CANCELED", snapshot=SURPLUS)),
    "method-declined-surplus": partial(_method, samples.declined(amounts={"surplus_minor": samples.TOTAL_MINOR})),
    "expired": partial(_standing, samples.session("EXPIRED")),
    "partly-refunded": partial(_standing, _paid(refunded_minor=3_060)("PARTIALLY_REFUNDED")),
    "refunded": partial(_standing, _paid(refunded_minor=samples.TOTAL_MINOR)("REFUNDED")),
    "disputed": partial(_standing, _paid(disputed_open_minor=samples.TOTAL_MINOR)("DISPUTED")),
    "dispute-lost": partial(_standing, _paid(disputed_lost_minor=samples.TOTAL_MINOR)("DISPUTE_LOST")),
    "receipt": partial(receipt, samples.receipt(_paid()("SUCCEEDED"))),
    "receipt-bare": partial(
        receipt, samples.receipt(_paid()("SUCCEEDED"), sellers=(), issuer=pb.ReceiptParty(name="Alpine Lessons"))
    ),
    "receipt-refunded": partial(
        receipt,
        samples.receipt(
            _paid(refunded_minor=5_060)("PARTIALLY_REFUNDED"),
            samples.history(0, 3_060, 3_060, 5_060),
            sellers=(samples.SELLER, pb.ReceiptParty(seller_id="seller_bo", name="Bergbuch Verlag, Chur")),
        ),
    ),
    "receipt-part": partial(receipt, samples.receipt(_held_part())),
    "receipt-contested": partial(
        receipt,
        samples.receipt(
            samples.session(
                "DISPUTE_LOST", snapshot=samples.snapshot(amounts=PAID | {"disputed_lost_minor": samples.TOTAL_MINOR})
            ),
            samples.history(0, 3_060, 0),
        ),
    ),
    "log-in-again": messages.log_in_again,
    "missing": messages.missing,
    "not-known": lambda place: messages.not_known(place, samples.PAYMENT_ID, revision=3),
    "broken": lambda place: messages.broken(place, samples.PAYMENT_ID),
    "too-many": _too_many,
    "plain-processing": lambda place: _standing(samples.session("PROCESSING"), replace(place, is_plain=True)),
}
"""Name to how its page is made."""


def _state(made: Callable[[Place], Shown]) -> State:
    usual = made(samples.place())
    return State(
        front="bff",
        template=usual.template,
        values=lambda language: made(samples.place(language)).values,
        kind=usual.kind,
    )


STATES: Final[Mapping[str, State]] = {f"checkout-{name}": _state(made) for name, made in MADE.items()}
