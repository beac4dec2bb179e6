"""Who is told what, and how: one table. Pure.

A kind may be told to several, each in a way of its own. What a tenant's policy says of channels holds before what
stands here; what a recipient opted out of holds before both, unless they have to know it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from services.orchestrator.facts.domain import FactKind


class RecipientKind(StrEnum):
    """Who is told."""

    PAYER = "PAYER"
    SELLER = "SELLER"
    """Each of those whom the fact concerns."""
    OPERATOR = "OPERATOR"
    """All operators of the tenant at once."""


class Channel(StrEnum):
    """How they are told."""

    IN_APP = "IN_APP"
    MAIL = "MAIL"


class Priority(StrEnum):
    """How soon somebody should look."""

    LOW = "LOW"
    MEDIUM = "MEDIUM"
    HIGH = "HIGH"


class Category(StrEnum):
    """What it is about, by which people sort."""

    PAYMENT = "PAYMENT"
    REFUND = "REFUND"
    DISPUTE = "DISPUTE"
    PAYOUT = "PAYOUT"
    ACCOUNT = "ACCOUNT"
    OPERATION = "OPERATION"


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """That one kind of fact is told to one kind of recipient."""

    kind: FactKind
    recipient: RecipientKind
    category: Category
    priority: Priority
    channels: frozenset[Channel]
    """By which it is told where no policy says otherwise."""
    is_mandatory: bool
    """They have to know: no recipient opts out of it. A tenant's policy may still tell it in another way."""

    @property
    def template(self) -> str:
        """Name the template of its mail."""
        return f"{self.kind}_{self.recipient}".lower()


_BOTH: Final = frozenset(Channel)
_IN_APP: Final = frozenset({Channel.IN_APP})
_MANDATORY, _OPTIONAL = True, False
_PAYER, _SELLER, _OPERATOR = RecipientKind
_LOW, _MEDIUM, _HIGH = Priority

_ROWS: Final[tuple[tuple[FactKind, RecipientKind, Category, Priority, frozenset[Channel], bool], ...]] = (
    # kind                        who        category              priority  channels  must they know
    (FactKind.PAYMENT_RECEIVED, _PAYER, Category.PAYMENT, _MEDIUM, _BOTH, _OPTIONAL),
    (FactKind.PAYMENT_RECEIVED, _SELLER, Category.PAYMENT, _MEDIUM, _IN_APP, _OPTIONAL),
    (FactKind.PAYMENT_FAILED, _PAYER, Category.PAYMENT, _HIGH, _BOTH, _MANDATORY),
    (FactKind.PAYMENT_FAILED, _SELLER, Category.PAYMENT, _MEDIUM, _IN_APP, _OPTIONAL),
    (FactKind.PAYMENT_EXPIRED, _PAYER, Category.PAYMENT, _LOW, _BOTH, _OPTIONAL),
    (FactKind.PAYMENT_EXPIRED, _SELLER, Category.PAYMENT, _LOW, _IN_APP, _OPTIONAL),
    (FactKind.ACTION_REQUIRED, _PAYER, Category.PAYMENT, _HIGH, _BOTH, _MANDATORY),
    (FactKind.PAYMENT_SCHEDULED, _PAYER, Category.PAYMENT, _MEDIUM, _BOTH, _OPTIONAL),
    (FactKind.CHARGE_UPCOMING, _PAYER, Category.PAYMENT, _MEDIUM, _BOTH, _MANDATORY),
    (FactKind.PAYMENT_REFUNDED, _PAYER, Category.REFUND, _HIGH, _BOTH, _MANDATORY),
    (FactKind.PAYMENT_REFUNDED, _SELLER, Category.REFUND, _MEDIUM, _IN_APP, _OPTIONAL),
    (FactKind.REFUND_FAILED, _PAYER, Category.REFUND, _HIGH, _BOTH, _MANDATORY),
    (FactKind.REFUND_FAILED, _OPERATOR, Category.REFUND, _HIGH, _BOTH, _MANDATORY),
    (FactKind.DISPUTE_OPENED, _SELLER, Category.DISPUTE, _HIGH, _BOTH, _MANDATORY),
    (FactKind.DISPUTE_OPENED, _OPERATOR, Category.DISPUTE, _HIGH, _BOTH, _MANDATORY),
    (FactKind.DISPUTE_CLOSED, _SELLER, Category.DISPUTE, _MEDIUM, _BOTH, _MANDATORY),
    (FactKind.DISPUTE_CLOSED, _OPERATOR, Category.DISPUTE, _MEDIUM, _BOTH, _MANDATORY),
    (FactKind.TRANSFER_FAILED, _SELLER, Category.PAYOUT, _HIGH, _BOTH, _MANDATORY),
    (FactKind.TRANSFER_FAILED, _OPERATOR, Category.PAYOUT, _HIGH, _BOTH, _MANDATORY),
    (FactKind.PAYOUT_FAILED, _SELLER, Category.PAYOUT, _HIGH, _BOTH, _MANDATORY),
    (FactKind.PAYOUT_FAILED, _OPERATOR, Category.PAYOUT, _MEDIUM, _IN_APP, _MANDATORY),
    (FactKind.ONBOARDING_REQUIRED, _SELLER, Category.ACCOUNT, _HIGH, _BOTH, _MANDATORY),
    (FactKind.ONBOARDING_REQUIRED, _OPERATOR, Category.ACCOUNT, _LOW, _IN_APP, _MANDATORY),
    # Operators have a list of what needs them; a policy may have them told besides.
    (FactKind.ATTENTION_RAISED, _OPERATOR, Category.OPERATION, _MEDIUM, frozenset(), _MANDATORY),
)

TELLINGS: Final = tuple(
    Telling(kind=kind, recipient=who, category=category, priority=priority, channels=channels, is_mandatory=must)
    for kind, who, category, priority, channels, must in _ROWS
)

NOBODY: Final = frozenset({FactKind.PAYMENT_MOVED, FactKind.ATTENTION_ENDED})
"""What is for systems, and for the list of what needs an operator."""

OF_KIND: Final[Mapping[FactKind, tuple[Telling, ...]]] = MappingProxyType(
    {kind: tuple(one for one in TELLINGS if one.kind is kind) for kind in FactKind}
)


def telling(kind: FactKind, recipient: RecipientKind) -> Telling | None:
    """Return how a kind is told to a recipient; None where it is not."""
    return next((one for one in OF_KIND[kind] if one.recipient is recipient), None)
