"""The parts of a payment that every service speaks of, as batzen.type.v1 says them: amounts, error, attention, method.

Each part has the fields of its message, and a zero or an empty text where nothing is known. So what has its default is
left out where a part is stored, and read back as its default.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar, overload

from services.shared.states import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Amounts:
    """Amounts in minor units of the payment's currency, all >= 0."""

    authorized_minor: int = 0
    """Held or taken at any time: the largest amount the payer's bank agreed to."""
    capturable_minor: int = 0
    captured_minor: int = 0
    refund_pending_minor: int = 0
    refunded_minor: int = 0
    """Given back; goes down again when a refund fails late."""
    disputed_open_minor: int = 0
    disputed_lost_minor: int = 0
    surplus_minor: int = 0
    """Taken on another attempt and not given back yet; no part of captured, nor its refund of refunded."""

    @property
    def refundable_minor(self) -> int:
        """What can still be given back, never below zero."""
        gone = self.refunded_minor + self.refund_pending_minor
        contested = self.disputed_open_minor + self.disputed_lost_minor
        return max(0, self.captured_minor - gone - contested)

    def contradiction(self) -> str | None:
        """Return what is wrong with the amounts, None if they can be true together.

        Only what cannot happen is refused, since an amount observed at Stripe is a fact. Disputes are not bound by what
        is left: a bank may contest in full what was refunded in part, at another rate of exchange, and several times.
        """
        if min(getattr(self, name) for name in Amounts.__slots__) < 0:
            return "An amount is negative."
        if self.capturable_minor + self.captured_minor > self.authorized_minor:
            return "capturable + captured is more than authorized."
        if self.refunded_minor + self.refund_pending_minor > self.captured_minor:
            return "refunded + refund_pending is more than captured."
        return None


def state_of(collection: State, amounts: Amounts) -> State:
    """Return what a payment has come to: how it was collected, or what became of the money since.

    The rules are those of `STATE_RULES` of status, the first that applies.
    """
    if amounts.disputed_open_minor > 0:
        return State.DISPUTED
    if amounts.disputed_lost_minor > 0:
        return State.DISPUTE_LOST
    if amounts.refunded_minor > 0:
        is_all = amounts.refunded_minor == amounts.captured_minor and not amounts.capturable_minor
        return State.REFUNDED if is_all else State.PARTIALLY_REFUNDED
    return collection


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentError:
    """What went wrong while collecting."""

    code: str = ""
    decline_code: str = ""
    message: str = ""
    """May be shown to the payer."""
    recoverable: bool = False
    """Whether the payer may try again, with this or another method."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """Why the payment needs an operator."""

    reason: str = ""
    """One of `states.AttentionReason`; open, since another service may be newer."""
    detail: str = ""


DETAIL_CHARACTERS_MAX: Final = 500
"""Of what is said at once. What does not fit is found at Stripe, where an operator has to go anyway."""


def as_one(attentions: Sequence[Attention]) -> Attention | None:
    """Return all that needs an operator as one: the first reason, and what each says. None when nothing does."""
    if not attentions:
        return None
    detail = " ".join(one.detail for one in attentions if one.detail)
    if len(detail) > DETAIL_CHARACTERS_MAX:
        detail = f"{detail[: DETAIL_CHARACTERS_MAX - 1]}…"
    return Attention(reason=attentions[0].reason, detail=detail)


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A payment method as it may be shown; never a card number."""

    payment_method_id: str = ""
    type: str = ""
    brand: str = ""
    last4: str = ""
    expire_month: int = 0
    expire_year: int = 0


Part = Amounts | PaymentError | Attention | Method
P = TypeVar("P", Amounts, PaymentError, Attention, Method)


StoredPart = dict[str, int | str | bool]
"""A part as it is stored: the fields that do not have their default."""


@overload
def to_json(part: Part) -> StoredPart: ...
@overload
def to_json(part: Part | None) -> StoredPart | None: ...
def to_json(part: Part | None) -> StoredPart | None:
    """Return what `from_json` reads back; None for None."""
    if part is None:
        return None
    return {name: value for name in part.__slots__ if (value := getattr(part, name))}


@overload
def from_json(kind: type[P], stored: Mapping[str, Any]) -> P: ...
@overload
def from_json(kind: type[P], stored: Mapping[str, Any] | None) -> P | None: ...
def from_json(kind: type[P], stored: Mapping[str, Any] | None) -> P | None:
    """Return the part that `to_json` gave; None for None. Raises TypeError for a field that is not known here."""
    return None if stored is None else kind(**stored)
