"""What an operator asks for: its fields, what it moves, and what has to be shown before it is done. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from batzen.cli import money
from batzen.type.v1.money_pb2 import Money

REASON_CHARACTERS_MAX: Final = 300
"""It stands in an entry of the audit beside ids and the amount."""
FIELD_CHARACTERS_MAX: Final = 200
APPROVAL_LIFE: Final = timedelta(hours=24)
"""How long a second person may release what was asked for; later it is looked at anew."""
_SPACES: Final = re.compile(r"[\s'’_]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """From which amounts on an operator types the amount, and from which on a second one releases it."""

    typed_above: Mapping[str, int]
    """In minor units, by currency. A currency that is not named is always above."""
    released_above: Mapping[str, int]

    def needs_typing(self, moved: Money | None) -> bool:
        """Tell whether the amount has to be typed."""
        return _is_above(moved, self.typed_above)

    def needs_release(self, moved: Money | None) -> bool:
        """Tell whether a second person has to release it."""
        return _is_above(moved, self.released_above)


def _is_above(moved: Money | None, limits: Mapping[str, int]) -> bool:
    return moved is not None and moved.amount_minor > limits.get(moved.currency_code, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """One field of an action's form."""

    name: str
    label: str
    kind: str = "text"
    """`text`, `amount`, `select` or `check`."""
    value: str = ""
    hint: str = ""
    options: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What is asked for, read and found to be well formed."""

    action: str
    payment_id: str
    fields: Mapping[str, str]
    """As they are sent on, exactly: hidden in the form, and kept with what waits for release."""
    moved: Money | None
    """What it moves at most; None where it moves nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What comes of it, before it is done."""

    consequences: Sequence[str]
    lines: Sequence[tuple[str, str]] = ()
    """Amounts, by what they are."""
    warning: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)
    """Beside those of the ask: what the operator saw, by which the service tells whether it still holds."""


class Unreadable(Exception):
    """Fields of an action that cannot be read: by name, a sentence."""

    def __init__(self, errors: Mapping[str, str]) -> None:
        super().__init__("; ".join(errors.values()))
        self.errors = errors


def read_amount(text: str, currency_code: str, *, name: str = "amount") -> Money:
    """Return an amount above 0 that a person wrote.

    Raises:
        Unreadable: It is none.
    """
    try:
        amount = money.parse(f"{text.strip()} {currency_code}")
    except ValueError as error:
        raise Unreadable({name: str(error)}) from None
    if amount.amount_minor <= 0:
        raise Unreadable({name: "It has to be above 0."})
    return amount


def plain(amount: Money) -> str:
    """Return the figure of an amount as it is written into a field: `1250.50`."""
    return money.shown(amount.amount_minor, amount.currency_code).rpartition(" ")[0].replace("'", "")


def check_confirmation(
    fields: Mapping[str, str], moved: Money | None, *, needs_typing: bool, wants_reason: bool = True
) -> str:
    """Return the reason of a form that is sent, where all that it needs is there.

    Raises:
        Unreadable: A reason or the amount is missing, or not the one that is moved.
    """
    errors = {}
    reason = fields.get("reason", "").strip()
    if wants_reason and not reason:
        errors["reason"] = "Say why."
    if len(reason) > REASON_CHARACTERS_MAX:
        errors["reason"] = f"At most {REASON_CHARACTERS_MAX} characters."
    if needs_typing and moved is not None and _SPACES.sub("", fields.get("typed", "")) != plain(moved):
        errors["typed"] = f"Type {plain(moved)}, the amount that is moved."
    if errors:
        raise Unreadable(errors)
    return reason
