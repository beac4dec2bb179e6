"""A page to be answered with, and what several pages of a payment have in common. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from batzen.status.v1.status_pb2 import Payment
from batzen.type.v1 import payment_pb2 as states
from batzen.type.v1.money_pb2 import Money
from batzen.type.v1.payment_pb2 import PaymentSnapshot
from batzen.vocabularies import known_state
from services.bff.checkout import declines
from services.bff.checkout.model import Checkout, Key, Notice, Step, Tone
from services.bff.checkout.place import Place
from services.bff.checkout.price import order_of
from services.bff.checkout.wording import Wording
from services.web.security.headers import PageKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A page to be answered with."""

    template: str
    page: Checkout
    part: Mapping[str, object]
    """What the page has of its own, by the name that its template knows it by."""
    words: Wording
    kind: PageKind = PageKind.PAGE

    @property
    def values(self) -> Mapping[str, object]:
        """What the template is given."""
        words = self.words
        return {
            "language": words.language, "skip": words.say("skip"), "say": words.say, "page": self.page, **self.part
        }  # fmt: skip


def state_of(payment: Payment) -> states.PaymentState:
    """Return the state by which a page is chosen."""
    return known_state(payment.state, settled=payment.settled, phase=payment.phase)


def is_payers_turn(payment: Payment) -> bool:
    """Tell whether the payer may choose how to pay."""
    return state_of(payment) == states.PAYMENT_STATE_REQUIRES_PAYMENT_METHOD


def page_of(
    key: Key,
    session: pb.PaymentSession,
    place: Place,
    *,
    heading: str = "",
    status: str = "",
    lead: str = "",
    steps: Sequence[Step] = (),
    notice: Notice | None = None,
) -> Checkout:
    """Return what every page of a payment has; where it says nothing else, that money of the payer goes back."""
    return place.page(
        key,
        payment_id=session.payment.payment_id,
        revision=session.payment.revision,
        heading=heading or place.words.say(f"{key}.heading"),
        status=status or place.words.say(f"{key}.status"),
        lead=lead,
        order=order_of(session, place.words),
        steps=steps,
        notice=notice or surplus(session.payment, place),
    )


def has_declined(payment: Payment) -> bool:
    """Tell whether the try before was refused."""
    return payment.snapshot.HasField("last_error")


def declined(session: pb.PaymentSession, place: Place) -> Notice | None:
    """Return what went wrong with the try before; None where nothing did."""
    if not has_declined(session.payment):
        return None
    error, say = session.payment.snapshot.last_error, place.words.say
    key = declines.key_of(code=error.code, decline_code=error.decline_code)
    text = say(f"decline.{key}_text")
    also = surplus(session.payment, place)
    if also is not None:
        text = f"{text} {also.text}"
    elif key != declines.DUPLICATE:
        text = f"{text} {say('decline.not_charged')}"
    return Notice(tone=Tone.BAD, title=say(f"decline.{key}_title"), text=text, key=key)


def surplus(payment: Payment, place: Place) -> Notice | None:
    """Return that another try took money as well, which goes back; None where none did."""
    minor = payment.snapshot.amounts.surplus_minor
    if not minor:
        return None
    text = place.words.say("surplus.text", amount=place.words.amount(minor, payment.total.currency_code))
    return Notice(tone=Tone.WARN, title=place.words.say("surplus.title"), text=text, key="surplus")


def owed_of(session: pb.PaymentSession) -> Money:
    """Return what is to be paid, of the quote that is shown; of the payment where it has none."""
    quote = session.quote
    if not quote.lines:
        return session.payment.total
    return Money(amount_minor=quote.total.amount_minor, currency_code=quote.currency_code)


def total_of(session: pb.PaymentSession, place: Place) -> str:
    """Return what is to be paid."""
    order = order_of(session, place.words)
    owed = owed_of(session)
    return place.words.amount(owed.amount_minor, owed.currency_code) if order is None else order.total


def named(method: PaymentSnapshot.Method, words: Wording) -> str:
    """Return what the method of a payment is called."""
    return words.method(brand=method.brand, kind=method.type, last4=method.last4)
