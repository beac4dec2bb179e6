"""What is put on Stripe's objects beside what they are: ours, by which they are found again, and the caller's. Pure.

Stripe keeps 50 keys of 40 characters with values of 500. A list of ids that does not fit one value goes on under
numbered keys: `bookingIds`, `bookingIds_2`, `bookingIds_3`, each a list of its own. What does not fit even so is
refused before Stripe is asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from services.errors import FieldInvalid
from services.gateway.errors import MetadataTooLarge

KEYS_MAX: Final = 50
KEY_CHARACTERS_MAX: Final = 40
VALUE_CHARACTERS_MAX: Final = 500
"""Of one object. Source: docs.stripe.com/api/metadata."""

PAYMENT_ID: Final = "payment_id"
ATTEMPT: Final = "attempt"
CALL_ID: Final = "call_id"
CAPTURE_CALL_ID: Final = "capture_call_id"
"""Of the capture that was made last. Captures are made one after another, so this tells one from the next, whatever
they come to."""
ACTOR_ID: Final = "actor_id"
"""Of a refund, a transfer or a reversal: who asked for it. Without it one that was learned again would be by nobody's
word, and undone."""
MOVEMENT_ID: Final = "movement_id"
"""Of a transfer, a reversal or a fee refund, on which nothing of a caller's is put."""
OURS: Final = frozenset({PAYMENT_ID, ATTEMPT, CALL_ID, CAPTURE_CALL_ID})
"""No caller may say otherwise. Room is kept for each, also where only some are put on an object."""


def checked(given: Mapping[str, str], *, field: str) -> dict[str, str]:
    """Return a caller's metadata as it is put on an object: what is too long goes on under numbered keys.

    Raises FieldInvalid for what can be no metadata, and MetadataTooLarge for what is more than Stripe keeps.
    """
    kept: dict[str, str] = {}
    for key, value in given.items():
        _check(key, value, field=field)
        for name, part in _parts(key, value):
            if name in kept or (name != key and name in given):
                raise FieldInvalid(field=field, detail=f"must not have {name}: that is where {key} goes on")
            kept[name] = part
    if len(kept) > KEYS_MAX - len(OURS):
        detail = f"It keeps {KEYS_MAX} keys, {len(OURS)} of them ours."
        raise MetadataTooLarge(field=field, detail=detail, keys=len(kept) + len(OURS))
    too_long = [name for name in kept if len(name) > KEY_CHARACTERS_MAX]
    if too_long:
        detail = f"A key has at most {KEY_CHARACTERS_MAX} characters."
        raise MetadataTooLarge(field=field, detail=detail, keys=",".join(too_long))
    return kept


def _check(key: str, value: str, *, field: str) -> None:
    if key in OURS:
        raise FieldInvalid(field=field, detail=f"must not have {key}: that key is ours")
    if not key or not key.isascii() or not key.isprintable() or "[" in key or "]" in key:
        raise FieldInvalid(field=field, detail="must have keys of visible ASCII characters, without brackets")
    if "\0" in value:
        raise FieldInvalid(field=field, detail=f"must have no NUL, as {key} has")
    if not value:  # by which Stripe would take a key away
        raise FieldInvalid(field=field, detail=f"must have no empty value, as {key} has")


def _parts(key: str, value: str) -> Iterator[tuple[str, str]]:
    """Yield the keys of a value, with as many whole ids as each can hold."""
    number, part = 1, value
    while len(part) > VALUE_CHARACTERS_MAX:
        end = part.rfind(",", 0, VALUE_CHARACTERS_MAX + 1)
        if end < 1:  # no list that could go on elsewhere
            detail = f"A value has at most {VALUE_CHARACTERS_MAX} characters; only a list goes on under another key."
            raise MetadataTooLarge(field=f"metadata[{key}]", detail=detail, keys=key)
        yield _numbered(key, number), part[:end]
        number, part = number + 1, part[end + 1 :]
    yield _numbered(key, number), part


def _numbered(key: str, number: int) -> str:
    return key if number == 1 else f"{key}_{number}"
