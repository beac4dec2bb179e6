"""A seller's account, and what it takes for it to be paid. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from services.errors import FieldInvalid
from services.shared.vat_ids import read_vat_id

DESCRIPTOR_CHARACTERS_MAX: Final = 22
"""Of what a statement shows: the platform's prefix, `* ` and the seller's suffix; Stripe's limit."""
PREFIX_CHARACTERS_MAX: Final = 10
"""Of the platform's prefix; Stripe's limit. What fits behind the longest one fits behind each."""
JOINT: Final = "* "
"""What Stripe writes between prefix and suffix."""
RECEIPT_NAME_CHARACTERS_MAX: Final = 100
"""Two lines of a receipt on a phone."""

_SUFFIX: Final = re.compile(r"""[^<>\\'"*]*[A-Za-z][^<>\\'"*]*""")


@dataclass(frozen=True, slots=True, kw_only=True)
class RequirementError:
    """What is wrong with something that a seller sent, in Stripe's words."""

    code: str
    reason: str
    requirement: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirements:
    """What Stripe wants to know of a seller, in Stripe's words."""

    currently_due: tuple[str, ...] = ()
    past_due: tuple[str, ...] = ()
    eventually_due: tuple[str, ...] = ()
    pending_verification: tuple[str, ...] = ()
    """Being looked at by Stripe."""
    due_time: datetime | None = None
    """By when what is due now has to be there; None where nothing presses."""
    errors: tuple[RequirementError, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountDetails:
    """What is shown of an account; nothing is decided by it."""

    capabilities: Mapping[str, str] = field(default_factory=dict)
    """By name: `active`, `inactive`, `pending`."""
    requirements: Requirements = Requirements()
    disabled_reason: str = ""
    details_submitted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Particulars:
    """What a caller says of a seller beside the account; None leaves what is kept, empty takes it away."""

    statement_descriptor_suffix: str | None = None
    receipt_name: str | None = None
    vat_id: str | None = None

    @property
    def says_something(self) -> bool:
        """Whether anything is to be kept."""
        return (self.statement_descriptor_suffix, self.receipt_name, self.vat_id) != (None, None, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class SellerAccount:
    """A seller's account, as last known."""

    seller_id: str
    stripe_account_id: str
    charges_enabled: bool
    payouts_enabled: bool
    transfers_enabled: bool
    """It can receive its part of a charge."""
    gone: bool
    """It is not there any more, or closed to us."""
    details: AccountDetails = AccountDetails()
    statement_descriptor_suffix: str = ""
    receipt_name: str = ""
    vat_id: str = ""
    observe_time: datetime | None = None

    @property
    def missing(self) -> str:
        """What it needs for a destination charge and has not; empty when it can be paid."""
        if self.gone:
            return "account"
        return "" if self.transfers_enabled else "transfers"


def statement_descriptor_suffix(value: str, *, field: str) -> str:
    """Return what is to stand on statements behind the platform's prefix; empty for nothing."""
    most = DESCRIPTOR_CHARACTERS_MAX - PREFIX_CHARACTERS_MAX - len(JOINT)
    if not value:
        return ""
    is_plain = value.isascii() and value.isprintable() and value == value.strip()
    if len(value) > most or not is_plain or not _SUFFIX.fullmatch(value):
        raise FieldInvalid(
            field=field,
            detail=f"must have at most {most} printable ASCII characters, one of them a letter, none of < > \\ ' \" *",
        )
    return value


def receipt_name(value: str, *, field: str) -> str:
    """Return what receipts call a seller, on one line; empty for nothing."""
    if len(value) > RECEIPT_NAME_CHARACTERS_MAX or not value.isprintable() or value != value.strip():
        detail = f"must have at most {RECEIPT_NAME_CHARACTERS_MAX} printable characters, none at an end a space"
        raise FieldInvalid(field=field, detail=detail)
    return value


def vat_id(value: str, *, field: str) -> str:
    """Return a VAT id as it is written on receipts; empty for none."""
    if not value:
        return ""
    try:
        return read_vat_id(value)
    except ValueError as error:
        raise FieldInvalid(field=field, detail=str(error)) from error
