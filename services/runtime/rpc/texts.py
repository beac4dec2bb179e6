"""Looks through every text of a request before its handler sees it: in fields, in lists, in maps and their keys.

One place for all methods of all services, so that no field can be forgotten, today's or a later one's. There are no
exceptions: no field of a request may hold a card's number or a NUL.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

from services.errors import CardNumberRefused, FieldInvalid
from services.shared.cards import digits_in, holds_card_number, is_card_number_in, may_hold_card_number
from services.shared.text import storable

GROUPS_MAX: Final = 5_000
"""Of digits, in rows of 12 digits and more, in a request: looking through so many takes 20 ms, in which nothing else
runs. A thousand lines with four such numbers each fit."""
TEXT_CHARACTERS_MAX: Final = 32_768
"""Of each text that is looked through; no field of any request takes so many."""
KEY_CHARACTERS_MAX: Final = 40
"""Of a map's key, where it is a part of a field's path."""
HIDDEN: Final = "…"
"""Stands in a field's path for a key that must not be told."""

_STRING: Final = FieldDescriptor.CPPTYPE_STRING
_MESSAGE: Final = FieldDescriptor.CPPTYPE_MESSAGE


class _Text(NamedTuple):
    path: str
    value: str


def check_texts(message: Message, encoded: bytes) -> None:
    """Raise CardNumberRefused or FieldInvalid for the first text that may not come in; `encoded` is `message`'s own.

    The path that the error names holds nothing of what was refused. A request without so many digits in a row costs a
    microsecond.
    """
    if not may_hold_card_number(encoded) and b"\0" not in encoded:
        return
    looked_through = 0
    for path, text in _texts(message, "", has_unknown=_has_unknown(message)):
        if "\0" in text:
            raise FieldInvalid(field=path, detail="must hold no NUL character")
        if len(text) > TEXT_CHARACTERS_MAX:
            raise FieldInvalid(field=path, detail=f"must have at most {TEXT_CHARACTERS_MAX} characters")
        for groups in digits_in(text):
            looked_through += len(groups)
            if looked_through > GROUPS_MAX:
                raise FieldInvalid(
                    field=path,
                    detail=f"must have at most {GROUPS_MAX} groups of digits, with all other texts of this request",
                )
            if is_card_number_in(groups):
                raise CardNumberRefused(field=path)


def _has_unknown(message: Message) -> bool:
    """Whether a message holds fields, at whatever depth, that are not known here."""
    known = type(message)()
    known.CopyFrom(message)
    known.DiscardUnknownFields()
    return known.ByteSize() != message.ByteSize()


def _texts(message: Message, parent: str, *, has_unknown: bool) -> Iterator[_Text]:
    """Return every text in a message with its path, a map's keys before its values."""
    for field, value in message.ListFields():
        path = f"{parent}{field.name}"
        kind = field.cpp_type
        if kind == _MESSAGE:
            if isinstance(value, Mapping):
                yield from _of_map(value, path, has_unknown=has_unknown)
            elif field.is_repeated:
                for place, each in enumerate(value):
                    yield from _texts(each, f"{path}[{place}].", has_unknown=has_unknown)
            else:
                yield from _texts(value, f"{path}.", has_unknown=has_unknown)
        elif kind == _STRING:
            for place, each in enumerate(value if field.is_repeated else (value,)):
                text = each if isinstance(each, str) else each.decode("utf-8", "ignore").replace("\0", " ")
                yield _Text(f"{path}[{place}]" if field.is_repeated else path, text)
    if not has_unknown:
        return
    for unknown in UnknownFieldSet(message):  # type: ignore[attr-defined]  # it is a sequence
        # What a newer caller sends is kept with the rest, so it is looked through as well.
        if isinstance(unknown.data, bytes):
            text = unknown.data.decode("utf-8", "ignore").replace("\0", " ")
            yield _Text(f"{parent}{unknown.field_number}", text)


def _of_map(values: Mapping[Any, Any], path: str, *, has_unknown: bool) -> Iterator[_Text]:
    for key, value in values.items():
        name = str(key)
        if "\0" in name or holds_card_number(name):
            yield _Text(f"{path}[{HIDDEN}]", name)
        place = f"{path}[{storable(name, characters_max=KEY_CHARACTERS_MAX)}]"
        if isinstance(value, Message):
            yield from _texts(value, f"{place}.", has_unknown=has_unknown)
        elif isinstance(value, str):
            yield _Text(place, value)
