"""How a person is reached. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from services.shared.codec import Json
from services.shared.text import storable

EMAIL_CHARACTERS_MAX: Final = 512
"""As many as Stripe takes of an address; a longer one is none."""
NAME_CHARACTERS_MAX: Final = 256
LOCALE_CHARACTERS_MAX: Final = 35
"""Of a language tag; more than any that is in use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """How somebody is reached; what is not known is empty."""

    email: str = field(default="", repr=False)
    name: str = field(default="", repr=False)
    locale: str = ""


def contact(*, email: str, name: str, locale: str) -> Contact:
    """Return a contact of what Stripe shows, as it may be kept and shown."""
    return Contact(
        email=storable(email, characters_max=EMAIL_CHARACTERS_MAX) if len(email) <= EMAIL_CHARACTERS_MAX else "",
        name=storable(name, characters_max=NAME_CHARACTERS_MAX),
        locale=storable(locale, characters_max=LOCALE_CHARACTERS_MAX),
    )


def of_customer(details: Json) -> Contact:
    """Return how a payer is reached, by what a customer is made of at Stripe."""
    locales = details.get("preferred_locales")
    first = locales[0] if isinstance(locales, list) and locales else ""
    return contact(email=_text(details, "email"), name=_text(details, "name"), locale=str(first or ""))


def details_in(shown: Json) -> Json:
    """Return what of a customer, as Stripe shows it, is kept: by its own names."""
    return {name: shown[name] for name in ("email", "name", "preferred_locales") if shown.get(name)}


def _text(details: Json, name: str) -> str:
    value = details.get(name)
    return "" if value is None else str(value)
