"""What an operator asks for: its fields, what it moves, and what has to be shown before it is done. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from batzen.cli import money
from batzen.type.v1.money_pb2 import Money
from services.console import amounts

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
    """Of one call, and of all that was moved alone on one payment."""
    released_above_a_day: Mapping[str, int]
    """Of all that one operator moves alone in 24 hours."""

    def needs_typing(self, moved: Money | None) -> bool:
        """Tell whether the amount has to be typed."""
        return moved is not None and _is_above(moved.amount_minor, moved.currency_code, self.typed_above)

    def needs_release(self, moved: Money | None, before: MovedAlone) -> bool:
        """Tell whether a second person has to release it, by itself or with what was moved alone before."""
        if moved is None:
            return False
        minor, currency = moved.amount_minor, moved.currency_code
        return _is_above(minor + before.of_payment_minor, currency, self.released_above) or _is_above(
            minor + before.of_day_minor, currency, self.released_above_a_day
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MovedAlone:
    """What was moved before without a second person, in the currency of what is asked for now."""

    of_payment_minor: int
    """On the payment, by whomever."""
    of_day_minor: int
    """By the operator, in the last 24 hours, on all payments."""


def _is_above(minor: int, currency_code: str, limits: Mapping[str, int]) -> bool:
    return minor > limits.get(currency_code, 0)


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
    """What it moves at most, or gives away: a hold that is released is money that is not taken. None where nothing."""
    lost: Money | None = None
    """What is given away beside it, in the same currency: the rest of a hold."""

    @property
    def weighed(self) -> Money | None:
        """What limits are compared with."""
        if self.moved is None or self.lost is None:
            return self.moved
        return Money(
            amount_minor=self.moved.amount_minor + self.lost.amount_minor, currency_code=self.moved.currency_code
        )


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
    return amounts.plain(amount.amount_minor, amount.currency_code)


def require_seen(ask: Ask) -> None:
    """Refuse a form without what was seen, by which the service tells whether it still holds.

    Raises:
        Unreadable: It was not looked at.
    """
    if not ask.fields.get("expected", "seen"):
        raise Unreadable({"amount": "Look at what comes of it first."})


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
