"""Checks of single fields of a request: each returns the field's value, or raises and names the field by its path.

A value that is missing raises `FieldMissing`, one that it may not have `FieldInvalid`. What only one service asks for
stays there.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Collection, Iterable, Mapping
from typing import Final, Protocol, TypeVar
from urllib.parse import urlsplit

from services.errors import FieldInvalid, FieldMissing
from services.shared.amounts import AMOUNT_MINOR_MAX

ID_CHARACTERS_MAX: Final = 128
EMAIL_CHARACTERS_MAX: Final = 320
"""What SMTP carries: 64 before the @, 255 after it."""
LOCALE_CHARACTERS_MAX: Final = 35
"""BCP 47 needs no more."""
URL_CHARACTERS_MAX: Final = 2_000
"""Below what every browser and proxy takes."""
LABELS_MAX: Final = 50
LABEL_KEY_CHARACTERS_MAX: Final = 40
LABEL_CHARACTERS_MAX: Final = 500
"""Labels are as many and as long as Stripe's metadata."""

_ID: Final = re.compile(r"[!-~]+")
_PAYMENT_ID: Final = re.compile(r"pay_[0-9A-Za-z]{26}")
_CURRENCY: Final = re.compile(r"[A-Z]{3}")
_COUNTRY: Final = re.compile(r"[A-Z]{2}")
_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+")
_LOCALE: Final = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class MoneyLike(Protocol):
    """What has an amount: the message batzen.type.v1.Money."""

    amount_minor: int
    currency_code: str


M = TypeVar("M", bound=MoneyLike)


def one_of(enum: Iterable[tuple[str, int]], offered: Collection[int]) -> str:
    """Say which values of an enum may be sent, by its `items()`, and which one is meant where it is left out."""
    names = {number: name for name, number in enum if number in offered and number}
    said = f"must be one of {', '.join(names.values())}"
    return f"{said}, or left out" if 0 in offered else said


def one_word_of(words: Iterable[str]) -> str:
    """Say which words may be sent."""
    return f"must be one of {', '.join(words)}"


def request_id(value: str) -> uuid.UUID:
    """Return the id of a request that changes something, a UUID."""
    if not value:
        raise FieldMissing(field="request_id")
    try:
        return uuid.UUID(value)
    except ValueError:
        raise FieldInvalid(field="request_id", detail="must be a UUID, made before the first try") from None


def identifier(value: str, *, field: str) -> str:
    """Return an opaque id of 1 to 128 visible ASCII characters."""
    if not value:
        raise FieldMissing(field=field)
    if len(value) > ID_CHARACTERS_MAX or not _ID.fullmatch(value):
        raise FieldInvalid(field=field, detail=f"must have at most {ID_CHARACTERS_MAX} characters, visible ASCII alone")
    return value


def payment_id(value: str, *, field: str = "payment_id") -> str:
    """Return what can be a payment's id; one that is well formed and unknown is not found later."""
    if not value:
        raise FieldMissing(field=field)
    if not _PAYMENT_ID.fullmatch(value):
        raise FieldInvalid(field=field, detail="must be `pay_` and 26 letters and digits")
    return value


def is_payment_id(value: str) -> bool:
    """Whether it can be a payment's id."""
    return _PAYMENT_ID.fullmatch(value) is not None


def reference(value: str, *, field: str, required: bool = False) -> str:
    """Return an opaque text of a caller, in any script, of at most 128 printable characters."""
    if required and not value:
        raise FieldMissing(field=field)
    if len(value) > ID_CHARACTERS_MAX or not value.isprintable():
        raise FieldInvalid(field=field, detail=f"must have at most {ID_CHARACTERS_MAX} characters, printable alone")
    return value


def text(value: str, *, field: str, characters_max: int) -> str:
    """Return a text that is not too long and that PostgreSQL can keep."""
    if len(value) > characters_max or "\0" in value:
        raise FieldInvalid(field=field, detail=f"must have at most {characters_max} characters, none of them NUL")
    return value


def labels(values: Mapping[str, str], *, field: str = "labels") -> dict[str, str]:
    """Return the caller's own notes: few, short, each under a key."""
    if len(values) > LABELS_MAX:
        raise FieldInvalid(field=field, detail=f"must be at most {LABELS_MAX}")
    for key, value in values.items():
        if not 0 < len(key) <= LABEL_KEY_CHARACTERS_MAX or "\0" in key:
            raise FieldInvalid(
                field=field, detail=f"must have keys of 1 to {LABEL_KEY_CHARACTERS_MAX} characters, none NUL"
            )
        text(value, field=f"{field}[{key}]", characters_max=LABEL_CHARACTERS_MAX)
    return dict(values)


def url(value: str, *, field: str) -> str:
    """Return a URL that a payer's browser may be sent to: https, or http on loopback."""
    if not value:
        raise FieldMissing(field=field)
    problem = FieldInvalid(
        field=field, detail=f"must be an https URL, or http on loopback, of at most {URL_CHARACTERS_MAX} characters"
    )
    if len(value) > URL_CHARACTERS_MAX or not _ID.fullmatch(value):
        raise problem
    try:
        parts = urlsplit(value)
        host = parts.hostname
    except ValueError:
        raise problem from None
    if not host or not (parts.scheme == "https" or (parts.scheme == "http" and host in _LOOPBACK)):
        raise problem
    return value


def email(value: str, *, field: str) -> str:
    """Return what looks like an e-mail address."""
    if not value:
        raise FieldMissing(field=field)
    if len(value) > EMAIL_CHARACTERS_MAX or "\0" in value or not _EMAIL.fullmatch(value):
        raise FieldInvalid(
            field=field, detail=f"must be an e-mail address of at most {EMAIL_CHARACTERS_MAX} characters"
        )
    return value


def locale(value: str, *, field: str) -> str:
    """Return a BCP 47 locale, such as `de-CH`."""
    if not value:
        raise FieldMissing(field=field)
    if len(value) > LOCALE_CHARACTERS_MAX or not _LOCALE.fullmatch(value):
        raise FieldInvalid(field=field, detail="must be a BCP 47 locale, such as de-CH")
    return value


def country(value: str, *, field: str = "country_code") -> str:
    """Return an ISO 3166-1 alpha-2 code."""
    if not value:
        raise FieldMissing(field=field)
    if not _COUNTRY.fullmatch(value):
        raise FieldInvalid(field=field, detail="must be two upper case letters of ISO 3166-1")
    return value


def money(value: M, *, field: str, least_minor: int, is_set: bool = True) -> M:
    """Return an amount of at least `least_minor`, and not beyond what is ever charged, with its currency.

    `is_set` says whether the request has the field at all.
    """
    if not is_set:
        raise FieldMissing(field=field)
    if not value.currency_code:
        raise FieldMissing(field=f"{field}.currency_code")
    if not _CURRENCY.fullmatch(value.currency_code):
        raise FieldInvalid(field=f"{field}.currency_code", detail="must be three upper case letters of ISO 4217")
    if not least_minor <= value.amount_minor <= AMOUNT_MINOR_MAX:
        raise FieldInvalid(field=f"{field}.amount_minor", detail=f"must be {least_minor} to {AMOUNT_MINOR_MAX}")
    return value


def currency(value: str, *, field: str) -> str:
    """Return a currency as ISO 4217 has it, or an empty text for any."""
    if value and not _CURRENCY.fullmatch(value):
        raise FieldInvalid(field=field, detail="must be three upper case letters of ISO 4217")
    return value


def page_size(value: int, *, default: int, at_most: int) -> int:
    """Return the size of a page; 0 means the default."""
    if not 0 <= value <= at_most:
        raise FieldInvalid(field="page_size", detail=f"must be 0 to {at_most}", page_size_max=at_most)
    return value or default
