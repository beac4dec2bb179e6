"""How a payment stands, as its payer sees it. Pure.

Which page it is follows from the state that status says; a state newer than this package is shown as the nearest one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC
from typing import Final

from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from batzen.status.v1.status_pb2 import Payment
from batzen.type.v1 import payment_pb2 as states
from services.bff.checkout.model import Attention, Cancel, Key, Link, Outcome, Question, Tone, Waiting
from services.bff.checkout.place import SLOW_AFTER, Place
from services.bff.checkout.shown import Shown, named, page_of, state_of
from services.receipts.model import Fact
from services.web.security.headers import PageKind

OUTCOMES: Final[Mapping[states.PaymentState, tuple[Key, Tone]]] = {
    states.PAYMENT_STATE_AUTHORIZED: (Key.HELD, Tone.INFO),
    states.PAYMENT_STATE_SCHEDULED: (Key.SCHEDULED, Tone.INFO),
    states.PAYMENT_STATE_SUCCEEDED: (Key.SUCCESS, Tone.GOOD),
    states.PAYMENT_STATE_FAILED: (Key.FAILED, Tone.BAD),
    states.PAYMENT_STATE_CANCELED: (Key.CANCELED, Tone.INFO),
    states.PAYMENT_STATE_EXPIRED: (Key.EXPIRED, Tone.WARN),
    states.PAYMENT_STATE_PARTIALLY_REFUNDED: (Key.PARTLY_REFUNDED, Tone.INFO),
    states.PAYMENT_STATE_REFUNDED: (Key.REFUNDED, Tone.INFO),
    states.PAYMENT_STATE_DISPUTED: (Key.DISPUTED, Tone.WARN),
    states.PAYMENT_STATE_DISPUTE_LOST: (Key.DISPUTE_LOST, Tone.INFO),
}
PAID: Final = frozenset({Key.SUCCESS, Key.PARTLY_REFUNDED, Key.REFUNDED, Key.DISPUTED, Key.DISPUTE_LOST})
"""Pages of which there is a receipt."""
OVER: Final = frozenset({Key.FAILED, Key.CANCELED, Key.EXPIRED})
UNKNOWN: Final = "OUTCOME_UNKNOWN"


def standing(session: pb.PaymentSession, place: Place, *, answered: int | None = None) -> Shown | None:
    """Return the page of how a payment stands; None where it is the payer's turn, who has steps to choose from.

    `answered` is what the payer said of how it was; None where they are not asked.
    """
    state = state_of(session.payment)
    if state in OUTCOMES:
        return outcome(session, place, answered=answered)
    match state:
        case states.PAYMENT_STATE_REQUIRES_PAYMENT_METHOD:
            return None
        case states.PAYMENT_STATE_REQUIRES_ACTION:
            return attention(session, place)
        case states.PAYMENT_STATE_INITIALIZED:
            return loading(session, place)
        case _:
            return processing(session, place)


def has_receipt(payment: Payment) -> bool:
    """Tell whether money was taken, so that there is something to show in one's books."""
    state = state_of(payment)
    return state in OUTCOMES and (OUTCOMES[state][0] in PAID or _has_part(OUTCOMES[state][0], payment))


def _has_part(key: Key, payment: Payment) -> bool:
    """Tell whether a part of what is held was taken."""
    return key is Key.HELD and payment.snapshot.amounts.captured_minor > 0


def loading(session: pb.PaymentSession, place: Place) -> Shown:
    """Return the page of a payment that is being opened."""
    page = page_of(Key.LOADING, session, place, lead=place.words.say("loading.lead"))
    return Shown(template="checkout/loading.html", page=page, part={}, words=place.words)


def attention(session: pb.PaymentSession, place: Place) -> Shown:
    """Return the page of a payment whose bank asks for its payer."""
    home = place.home(session.payment.payment_id)
    away = _away(session, place)
    hosted = session.checkout_url if place.is_hosted(session.checkout_url) else ""
    in_page = bool(session.client_secret) and not away and not place.is_plain
    step = Attention(
        redirect_url=away or hosted,
        script=place.stripe_script,
        publishable_key=place.tenant.publishable_key,
        client_secret=session.client_secret if in_page else "",
        check=f"{home}/check",
        request_id=place.new_id(),
        another="" if session.collection == pb.COLLECTION_CHECKOUT else f"{home}/submit",
        another_id=place.new_id(),
        facts=_asked_about(session, place),
    )
    lead = place.words.say("attention.lead")
    if not session.payment.snapshot.amounts.surplus_minor:
        lead = f"{lead} {place.words.say('attention.not_charged')}"
    page = page_of(Key.ATTENTION, session, place, lead=lead)
    return Shown(
        template="checkout/attention.html",
        page=page,
        part={"attention": step},
        words=place.words,
        kind=PageKind.ELEMENTS if in_page else PageKind.REDIRECTING,
    )


def _asked_about(session: pb.PaymentSession, place: Place) -> list[Fact]:
    """Return which card it is: the payer may have chosen another before, and come here by that one's form."""
    snapshot, words = session.payment.snapshot, place.words
    if not snapshot.HasField("method"):
        return []
    return [Fact(label=words.say("confirm.with"), value=named(snapshot.method, words))]


def _away(session: pb.PaymentSession, place: Place) -> str:
    """Return where the payer's bank is; empty where nothing says so, or what no browser of theirs is sent to."""
    url = session.next_action.redirect_url
    return url if place.may_lead_to(url) else ""


def processing(session: pb.PaymentSession, place: Place) -> Shown:
    """Return the page of a payment of which it is not known yet what came of it."""
    payment, say = session.payment, place.words.say
    is_unknown = payment.snapshot.reason == UNKNOWN
    since = payment.update_time.ToDatetime(UTC)
    is_slow = is_unknown or place.now - since >= SLOW_AFTER
    waiting = Waiting(
        is_slow=is_slow,
        check=f"{place.home(payment.payment_id)}?check=1",
        tells_by_mail=place.tenant.tells_by_mail,
        is_unknown=is_unknown,
    )
    told = "decline.unknown_mail" if place.tenant.tells_by_mail else "decline.unknown_text"
    page = page_of(
        Key.PROCESSING,
        session,
        place,
        heading=say("processing.unknown_heading") if is_unknown else "",
        lead=say(told) if is_unknown else "" if is_slow else say("processing.lead"),
        status=say("processing.slow_status") if is_slow else "",
    )
    return Shown(template="checkout/processing.html", page=page, part={"waiting": waiting}, words=place.words)


def outcome(session: pb.PaymentSession, place: Place, *, answered: int | None = None) -> Shown:
    """Return the page of how a payment ended, or stands until something happens to it."""
    payment, words = session.payment, place.words
    key, tone = OUTCOMES[state_of(payment)]
    may_begin_again = key in OVER and not payment.snapshot.amounts.surplus_minor
    home = place.home(payment.payment_id)
    shell_home = place.tenant.home
    ending = Outcome(
        tone=tone,
        amount="" if key in OVER else _headline(session, key, place),
        facts=_facts(session, key, place),
        next=_next(session, key, place),
        home=Link(label=words.say("outcome.back", name=place.tenant.name), href=shell_home) if shell_home else None,
        receipt=f"{home}/receipt" if has_receipt(payment) else "",
        again=Link(label=words.say("outcome.again"), href=shell_home) if may_begin_again and shell_home else None,
        question=None
        if answered is None or key is not Key.SUCCESS
        else Question(action=f"{home}/answer", request_id=place.new_id(), answered=answered),
        cancel=Cancel(
            action=f"{home}/cancel",
            request_id=place.new_id(),
            means=words.say("scheduled.cancel_means", name=place.tenant.name),
        )
        if key is Key.SCHEDULED
        else None,
    )
    heading = words.say("held_part.heading" if _has_part(key, payment) else f"{key}.heading")
    page = page_of(key, session, place, heading=heading, status=f"{heading}.")
    if key in OVER:  # its text says already what goes back
        page = replace(page, notice=None)
    return Shown(template="checkout/outcome.html", page=page, part={"outcome": ending}, words=words)


def _headline(session: pb.PaymentSession, key: Key, place: Place) -> str:
    """Return the amount that the page is about: never more than what really moved."""
    amounts = session.payment.snapshot.amounts
    minor = {
        Key.HELD: amounts.capturable_minor,
        Key.SCHEDULED: session.payment.total.amount_minor,
        Key.PARTLY_REFUNDED: amounts.refunded_minor,
        Key.REFUNDED: amounts.refunded_minor,
        Key.DISPUTED: amounts.disputed_open_minor,
        Key.DISPUTE_LOST: amounts.disputed_lost_minor,
    }.get(key, amounts.captured_minor)
    return place.words.amount(minor, session.payment.total.currency_code)


def _facts(session: pb.PaymentSession, key: Key, place: Place) -> list[Fact]:
    payment, words = session.payment, place.words
    snapshot, say = payment.snapshot, place.words.say
    facts: list[Fact] = []

    def add(label: str, value: str) -> None:
        facts.append(Fact(label=say(f"outcome.{label}"), value=value))

    def amount(minor: int) -> str:
        return words.amount(minor, payment.total.currency_code)

    if key in PAID and key is not Key.SUCCESS:
        add("amount", amount(snapshot.amounts.captured_minor))
    if _has_part(key, payment):
        add("taken", amount(snapshot.amounts.captured_minor))
    if key is not Key.HELD and snapshot.amounts.capturable_minor:
        add("held", amount(snapshot.amounts.capturable_minor))
    if snapshot.HasField("method") and key not in OVER:
        add("method", named(snapshot.method, words))
    if key is Key.SCHEDULED and snapshot.HasField("charge_time"):
        add("charge_time", words.moment(snapshot.charge_time.ToDatetime(UTC)))
    if key is Key.HELD and snapshot.HasField("hold_expire_time"):
        add("held_until", words.moment(snapshot.hold_expire_time.ToDatetime(UTC)))
    if snapshot.amounts.refund_pending_minor:
        add("refund_pending", amount(snapshot.amounts.refund_pending_minor))
    if payment.HasField("complete_time"):
        add("date", words.moment(payment.complete_time.ToDatetime(UTC)))
    add("reference", payment.booking_ids[0] if payment.booking_ids else payment.client_reference or payment.payment_id)
    return facts


def _next(session: pb.PaymentSession, key: Key, place: Place) -> str:
    payment, words, say = session.payment, place.words, place.words.say
    snapshot, currency = payment.snapshot, payment.total.currency_code
    amounts = snapshot.amounts
    nothing_yet = [] if amounts.surplus_minor else [say("outcome.nothing_yet")]
    if _has_part(key, payment):
        return say("held_part.next", taken=words.amount(amounts.captured_minor, currency))
    if key is Key.HELD:
        return " ".join([*nothing_yet, say("held.next")])
    if key is Key.SCHEDULED and snapshot.HasField("charge_time"):
        return " ".join([say("scheduled.next", time=words.moment(snapshot.charge_time.ToDatetime(UTC))), *nothing_yet])
    if key is Key.SCHEDULED:
        return " ".join([say("scheduled.next_open"), *nothing_yet])
    if key in OVER and amounts.surplus_minor:
        return say("surplus.over", amount=words.amount(amounts.surplus_minor, currency))
    return say(f"{key}.next")
