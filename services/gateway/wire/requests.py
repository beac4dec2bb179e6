"""Reads requests of the gateway: what is wrong with one is said with its field, before anything is written down."""

from __future__ import annotations

import hashlib
import re
import uuid
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

from google.protobuf.timestamp_pb2 import Timestamp

from batzen.type.v1 import money_pb2
from services.errors import FieldInvalid, FieldMissing
from services.shared.amounts import AMOUNT_MINOR_MAX

ID_CHARACTERS_MAX: Final = 128
EMAIL_CHARACTERS_MAX: Final = 320
NAME_CHARACTERS_MAX: Final = 256
LOCALE_CHARACTERS_MAX: Final = 35
"""BCP 47 needs no more."""
DESCRIPTION_CHARACTERS_MAX: Final = 500
URL_CHARACTERS_MAX: Final = 2_000
ATTEMPTS_MAX: Final = 100

_ID: Final = re.compile(r"[!-~]+")
_CURRENCY: Final = re.compile(r"[A-Z]{3}")
_COUNTRY: Final = re.compile(r"[A-Z]{2}")
_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+")
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


def request_id(value: str) -> uuid.UUID:
    """Return the request's id, a UUID."""
    if not value:
        raise FieldMissing(field="request_id")
    try:
        return uuid.UUID(value)
    except ValueError:
        raise FieldInvalid(field="request_id", detail="It is a UUID, made before the first try.") from None


def request_hash(request: Any, *left_out: str) -> bytes:
    """Return a hash of the fields that are set, but for the request id and those `left_out`."""
    content = type(request)()
    content.CopyFrom(request)
    for name in ("request_id", *left_out):
        if name in content.DESCRIPTOR.fields_by_name:
            content.ClearField(name)
    return hashlib.sha256(content.SerializeToString(deterministic=True)).digest()


def identifier(value: str, *, field: str) -> str:
    """Return an opaque id of 1 to 128 visible ASCII characters."""
    if not value:
        raise FieldMissing(field=field)
    if len(value) > ID_CHARACTERS_MAX or not _ID.fullmatch(value):
        raise FieldInvalid(field=field, detail=f"At most {ID_CHARACTERS_MAX} visible ASCII characters.")
    return value


def attempt(value: int) -> int:
    """Return the number of an attempt."""
    if not value:
        raise FieldMissing(field="attempt")
    if not 1 <= value <= ATTEMPTS_MAX:
        raise FieldInvalid(field="attempt", detail=f"1 to {ATTEMPTS_MAX}.")
    return value


def money(value: money_pb2.Money, *, is_set: bool, field: str, least_minor: int) -> money_pb2.Money:
    """Return an amount of at least `least_minor` with its currency."""
    if not is_set:
        raise FieldMissing(field=field)
    if not _CURRENCY.fullmatch(value.currency_code):
        raise FieldInvalid(field=f"{field}.currency_code", detail="Three upper case letters of ISO 4217.")
    if not least_minor <= value.amount_minor <= AMOUNT_MINOR_MAX:
        raise FieldInvalid(field=f"{field}.amount_minor", detail=f"{least_minor} to {AMOUNT_MINOR_MAX}.")
    return value


def text(value: str, *, field: str, characters_max: int) -> str:
    """Return a text that is not too long and that PostgreSQL can keep."""
    if len(value) > characters_max or "\0" in value:
        raise FieldInvalid(field=field, detail=f"At most {characters_max} characters, none of them NUL.")
    return value


def url(value: str, *, field: str) -> str:
    """Return a URL that a payer's browser may be sent to: https, or http on loopback."""
    if not value:
        raise FieldMissing(field=field)
    problem = FieldInvalid(field=field, detail="An https URL, or http on loopback.")
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


def country(value: str) -> str:
    """Return an ISO 3166-1 alpha-2 code."""
    if not value:
        raise FieldMissing(field="country_code")
    if not _COUNTRY.fullmatch(value):
        raise FieldInvalid(field="country_code", detail="Two upper case letters of ISO 3166-1.")
    return value


def email(value: str, *, field: str = "email") -> str:
    """Return what looks like an e-mail address."""
    if not value:
        raise FieldMissing(field=field)
    if len(value) > EMAIL_CHARACTERS_MAX or not _EMAIL.fullmatch(value):
        raise FieldInvalid(field=field, detail="That is no e-mail address.")
    return value


def instant(value: Timestamp, *, field: str) -> datetime:
    """Return an instant in UTC."""
    try:
        return value.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise FieldInvalid(field=field, detail="It is no instant of the years 1 to 9999.") from None
