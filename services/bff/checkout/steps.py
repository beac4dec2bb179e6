"""The steps of the way: when, how, and the last look. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC
from typing import Final
from urllib.parse import urlencode

from batzen.gateway.v1.payment_methods_pb2 import PaymentMethod
from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from batzen.type.v1.money_pb2 import Money
from services.bff.checkout import timings
from services.bff.checkout.model import (
    CardStep,
    ConfirmStep,
    Key,
    Method,
    MethodStep,
    Notice,
    Step,
    StepState,
    TimingStep,
    Tone,
)
from services.bff.checkout.place import Place
from services.bff.checkout.shown import Shown, declined, has_declined, owed_of, page_of, total_of
from services.bff.checkout.wording import mark_of
from services.receipts.model import Fact
from services.web.security.headers import PageKind

PAGE: Final = "page"
"""The way to pay on the page that Stripe hosts."""
CARD: Final = "card"
"""The way to pay with a card that is entered in our page."""
_TOTAL: Final = re.compile(r"([A-Z]{3})([0-9]{1,15})")
AS_ENTERED: Final = "form"
"""What the form of our page sends: a token that Stripe's script made of the card."""


def timing(session: pb.PaymentSession, place: Place, *, notice: Notice | None = None) -> Shown:
    """Return the step that says when the money is taken, where that is not at once, or is the payer's choice."""
    say, home = place.words.say, place.home(session.payment.payment_id)
    facts = [Fact(label=say("timing.amount"), value=total_of(session, place))]
    offered = timings.offered(session, place.now)
    if session.timing == pb.TIMING_SCHEDULED and not offered:
        facts.append(Fact(label=say("timing.when"), value=timings.moment(session, place)))
    page = page_of(
        Key.TIMING,
        session,
        place,
        steps=_steps(session, place, now="timing"),
        notice=notice or declined(session, place),
    )
    step = TimingStep(
        facts=facts,
        text="" if offered else timings.text(session.timing, session, place),
        onwards=f"{home}/method",
        options=[timings.option(one, session, place) for one in offered],
        action=f"{home}/timing",
        request_id=place.new_id() if offered else "",
    )
    return Shown(template="checkout/timing.html", page=page, part={"timing": step}, words=place.words)


def method(
    session: pb.PaymentSession,
    kept: Sequence[PaymentMethod],
    place: Place,
    *,
    chosen: str = "",
    notice: Notice | None = None,
) -> Shown:
    """Return the step on which a way to pay is chosen."""
    home = place.home(session.payment.payment_id)
    step = MethodStep(
        methods=methods(session, kept, place, chosen=chosen),
        action=f"{home}/confirm",
        can_cancel=True,
        request_id=place.new_id(),
    )
    page = page_of(
        Key.METHOD,
        session,
        place,
        steps=_steps(session, place, now="method"),
        notice=notice or declined(session, place),
    )
    return Shown(template="checkout/method.html", page=page, part={"choice": step}, words=place.words)


def methods(
    session: pb.PaymentSession, kept: Sequence[PaymentMethod], place: Place, *, chosen: str = ""
) -> list[Method]:
    """Return the ways to pay: what is kept, then a new card in our page where the tenant offers that, then the page."""
    say = place.words.say
    refused = session.payment.snapshot.method.payment_method_id if has_declined(session.payment) else ""
    known = {one.payment_method_id for one in kept if not one.expired} | {PAGE, CARD}
    wish = chosen if chosen in known and chosen != refused else ""
    usual = next((one.payment_method_id for one in kept if not one.expired), PAGE)
    wanted = wish or ("" if refused and refused == usual else usual)
    found = [_kept(one, place, is_chosen=one.payment_method_id == wanted) for one in kept]
    if place.tenant.offers_form and place.tenant.publishable_key and not place.is_plain:
        found.append(
            Method(
                value=CARD,
                title=say("method.card_title"),
                mark="card",
                detail=say("method.card_detail"),
                is_chosen=wanted == CARD,
            )
        )
    found.append(
        Method(
            value=PAGE,
            title=say("method.page_title"),
            mark="page",
            detail=say("method.page_detail"),
            is_chosen=wanted == PAGE,
        )
    )
    return found


def confirm(session: pb.PaymentSession, wanted: Method, place: Place, *, notice: Notice | None = None) -> Shown:
    """Return the last look before paying."""
    say, home = place.words.say, place.home(session.payment.payment_id)
    amount = total_of(session, place)
    promises = {PAGE: "confirm.page_promise", CARD: "confirm.card_promise"}
    is_kept = wanted.value not in promises
    step = ConfirmStep(
        method=wanted,
        change=f"{home}/method?{urlencode({'method': wanted.value})}",
        action=f"{home}/submit",
        request_id=place.new_id(),
        button=_button(session, place) if is_kept else say("confirm.go_to_page", amount=amount),
        promise="" if is_kept else say(promises[wanted.value]),
        total=sent_total(owed_of(session)),
        timing=timings.sent(session.timing),
        offers_keeping=False,
        mandate=_mandate(session, place),
        must_keep=session.keep_method,
    )
    page = page_of(Key.CONFIRM, session, place, steps=_steps(session, place, now="confirm"), notice=notice)
    return Shown(
        template="checkout/confirm.html",
        page=page,
        part={"confirm": step},
        words=place.words,
        kind=PageKind.REDIRECTING,
    )


def card(session: pb.PaymentSession, place: Place) -> Shown:
    """Return the step on which a card is entered into Stripe's form in our page."""
    say, home = place.words.say, place.home(session.payment.payment_id)
    step = CardStep(
        script=place.stripe_script,
        publishable_key=place.tenant.publishable_key,
        client_secret=session.client_secret,
        locale=place.words.language,
        return_url=f"{place.origin}/return/{session.payment.payment_id}",
        action=f"{home}/submit",
        request_id=place.new_id(),
        button=_button(session, place),
        otherwise=say("card.otherwise"),
        other_request_id=place.new_id(),
        other_action=f"{home}/submit",
        total=sent_total(owed_of(session)),
        timing=timings.sent(session.timing),
        mandate=_mandate(session, place),
        must_keep=session.keep_method,
    )
    page = page_of(
        Key.CARD, session, place, steps=_steps(session, place, now="confirm"), notice=declined(session, place)
    )
    return Shown(
        template="checkout/card.html", page=page, part={"card": step}, words=place.words, kind=PageKind.ELEMENTS
    )


def sent_total(total: Money) -> str:
    """Return a total as a form carries it."""
    return f"{total.currency_code}{total.amount_minor}"


def seen_total(form: Mapping[str, str]) -> Money | None:
    """Return the total that a form was shown with; None where it says none that can be."""
    found = _TOTAL.fullmatch(form.get("total", ""))
    return None if found is None else Money(currency_code=found[1], amount_minor=int(found[2]))


def price_changed(before: Money, after: Money, place: Place) -> Notice:
    """Return that the payment costs something else than its payer was shown."""
    text = place.words.say(
        "price.text",
        before=place.words.amount(before.amount_minor, before.currency_code),
        after=place.words.amount(after.amount_minor, after.currency_code),
    )
    return Notice(tone=Tone.WARN, title=place.words.say("price.title"), text=text, key="price_changed")


def timing_changed(session: pb.PaymentSession, place: Place) -> Notice:
    """Return that the money is taken at another time than the payer was shown."""
    text = place.words.say("timing.changed_text", timing=timings.title(session.timing, session, place))
    return Notice(tone=Tone.WARN, title=place.words.say("timing.changed_title"), text=text, key="timing_changed")


def _steps(session: pb.PaymentSession, place: Place, *, now: str) -> list[Step]:
    home = place.home(session.payment.payment_id)
    names = ["timing", "method", "confirm"] if timings.is_shown(session, place.now) else ["method", "confirm"]
    names.append("done")
    at = names.index(now)
    return [
        Step(
            label=place.words.say(f"steps.{name}"),
            state=StepState.DONE if turn < at else StepState.NOW if turn == at else StepState.NEXT,
            href=f"{home}/{name}" if turn < at else None,
        )
        for turn, name in enumerate(names)
    ]


def _kept(one: PaymentMethod, place: Place, *, is_chosen: bool) -> Method:
    say = place.words.say
    expires = f"{one.expire_month:02}" if one.expire_month else ""
    return Method(
        value=one.payment_method_id,
        title=place.words.method(brand=one.brand, kind=one.type, last4=one.last4),
        mark=mark_of(brand=one.brand, kind=one.type),
        detail=say("method.expires", month=expires, year=str(one.expire_year)) if expires else "",
        problem=say("method.expired") if one.expired else "",
        is_chosen=is_chosen,
    )


def _button(session: pb.PaymentSession, place: Place) -> str:
    names = {pb.TIMING_MANUAL_CAPTURE: "confirm.hold", pb.TIMING_SCHEDULED: "confirm.keep"}
    return place.words.say(names.get(session.timing, "confirm.pay"), amount=total_of(session, place))


def _mandate(session: pb.PaymentSession, place: Place) -> str:
    say, name = place.words.say, place.tenant.name
    account = say("confirm.account", payer=session.payment.payer_id)  # whoever was led to another's sees it here
    if session.timing == pb.TIMING_SCHEDULED and session.HasField("charge_time"):
        when = place.words.moment(session.charge_time.ToDatetime(UTC))
        mandate = say("confirm.mandate_scheduled", name=name, amount=total_of(session, place), time=when)
    else:
        mandate = say("confirm.mandate", name=name)
    return f"{mandate} {account}"
