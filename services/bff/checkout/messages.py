"""Pages that say one thing: log in again, there is no such payment, that did not work. Pure."""

from __future__ import annotations

from services.bff.checkout.model import Key, Link, Message, Tone
from services.bff.checkout.place import Place
from services.bff.checkout.shown import Shown
from services.web.failures import Failure, Refusal, failure_of


def log_in_again(place: Place, *, payment_id: str = "") -> Shown:
    """Return what is said to whose session is over, with the way to where they log in."""
    say, home = place.words.say, place.tenant.home
    link = Link(label=say("login.action", name=place.tenant.name), href=home) if home else None
    return _message(place, "login", Tone.INFO, say("login.text"), link, payment_id=payment_id)


def missing(place: Place) -> Shown:
    """Return what is said of a payment that there is not, or that is another's."""
    say, home = place.words.say, place.tenant.home
    link = Link(label=say("page.back_to", name=place.tenant.name), href=home) if home else None
    return _message(place, "missing", Tone.WARN, say("missing.text"), link)


def broken(place: Place, payment_id: str) -> Shown:
    """Return what is said after the page's script met an error: the way on is a page without it."""
    link = Link(label=place.words.say("page.reload"), href=f"{place.home(payment_id)}?plain=1")
    return _message(place, "broken", Tone.WARN, place.words.say("broken.text"), link, payment_id=payment_id)


def failed(place: Place, failure: Failure, payment_id: str = "") -> Shown:
    """Return what is said of a refusal, with the way back to how the payment stands."""
    name = "too_many" if failure.status == 429 else "failure"
    label = place.words.say("decline.try_again" if failure.recoverable else "page.reload")
    link = Link(label=label, href=place.home(payment_id)) if payment_id else None
    tone = Tone.WARN if failure.recoverable else Tone.BAD
    return _message(place, name, tone, failure.message, link, payment_id=payment_id, reference=failure.correlation_id)


def not_known(place: Place, payment_id: str, *, revision: int = 0) -> Shown:
    """Return what is said after a submit of which nothing is known yet: no failure, and nothing to do again.

    The page goes on by itself once more is known than at a revision, if that could be read.
    """
    failure = failure_of(Refusal(200, "OUTCOME_UNKNOWN"), place.words.language)
    link = Link(label=place.words.say("page.reload"), href=f"{place.home(payment_id)}?check=1")
    return _message(
        place,
        "not_known",
        Tone.WARN,
        failure.message,
        link,
        payment_id=payment_id,
        key=Key.NOT_KNOWN,
        revision=revision,
    )


def _message(
    place: Place,
    name: str,
    tone: Tone,
    text: str,
    action: Link | None,
    *,
    payment_id: str = "",
    reference: str = "",
    key: Key = Key.MESSAGE,
    revision: int = 0,
) -> Shown:
    heading = place.words.say(f"{name}.heading")
    page = place.page(
        key, payment_id=payment_id, revision=revision, heading=heading, status=f"{heading}.", is_live=revision > 0
    )
    message = Message(tone=tone, text=text, action=action, reference=reference)
    return Shown(template="checkout/message.html", page=page, part={"message": message}, words=place.words)


def accessibility(place: Place) -> Shown:
    """Return what holds of these pages for everybody, and whom to write to."""
    say, support = place.words.say, place.tenant.support
    link = Link(label=say("accessibility.action", name=place.tenant.name), href=support) if support else None
    return _message(place, "accessibility", Tone.INFO, say("accessibility.text"), link)
