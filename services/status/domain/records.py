"""What the service remembers: payments as they stand, and the transitions that led there. Pure."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Final

from services.status.domain.snapshot import Snapshot

PAYER: Final = "payer"
SELLER: Final = "seller"
PAYMENT_ID: Final = re.compile(r"pay_[0-9A-Za-z]{26}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What a payment is opened with."""

    payment_id: str
    payer_id: str
    total_amount_minor: int
    currency_code: str
    seller_ids: tuple[str, ...] = ()
    booking_ids: tuple[str, ...] = ()
    client_reference: str = ""
    quote_id: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)

    def digest(self) -> bytes:
        """Return what tells two openings of one id apart, 32 bytes; the order of sellers and bookings does not."""
        content = [
            self.payer_id,
            self.total_amount_minor,
            self.currency_code,
            sorted(self.seller_ids),
            sorted(self.booking_ids),
            self.client_reference,
            self.quote_id,
            sorted(self.labels.items()),
        ]
        return hashlib.sha256(json.dumps(content, separators=(",", ":")).encode()).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstTransition:
    """What goes with the opening of a payment as its revision 2."""

    request_id: str
    snapshot: Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """A payment as it stands at one revision."""

    opening: Opening
    """As opened, but with the labels and bookings of now."""
    revision: int
    snapshot: Snapshot
    open_time: datetime
    update_time: datetime
    """When `revision` was written."""
    complete_time: datetime | None
    """When `collection` first came to an end; None before."""

    def belongs_to(self, subject: str, *, roles: Collection[str]) -> bool:
        """Return whether the payment is `subject`'s own in one of `roles`."""
        return (PAYER in roles and self.opening.payer_id == subject) or (
            SELLER in roles and subject in self.opening.seller_ids
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """One step of a payment's history."""

    payment_id: str
    revision: int
    snapshot: Snapshot
    record_time: datetime
    request_id: str
    """Canonical text of a UUID."""


def open_month(open_time: datetime) -> date:
    """Return the first day of the month, in UTC, that a payment was opened in: part of the keys of its history."""
    return open_time.date().replace(day=1)
