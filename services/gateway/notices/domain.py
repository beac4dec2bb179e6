"""A notice: what it says, and the id that is derived from what happened. Pure."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

NAMESPACE: Final = uuid.UUID("5a0f7a54-93c1-4c0e-8b6f-2f4b1d0e6c38")
"""Of the ids of notices. Never changes: what is noticed twice must be the same."""


class NoticeKind(StrEnum):
    """What happened, as the contract names it."""

    DISPUTE_OPENED = "DISPUTE_OPENED"
    DISPUTE_CLOSED = "DISPUTE_CLOSED"
    TRANSFER_FAILED = "TRANSFER_FAILED"
    PAYOUT_FAILED = "PAYOUT_FAILED"
    ONBOARDING_REQUIRED = "ONBOARDING_REQUIRED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something that happened at Stripe, which people are told."""

    notice_id: uuid.UUID
    kind: NoticeKind
    occur_time: datetime
    payment_id: str = ""
    """Empty where it is of no payment."""
    seller_ids: tuple[str, ...] = ()
    """Whom it concerns; empty for the platform alone."""
    values: Mapping[str, str]
    """What varies; no personal data."""


def notice_id(kind: NoticeKind, *what: str) -> uuid.UUID:
    """Return the id of the notice that `kind` happened to `what`, such as a dispute."""
    return uuid.uuid5(NAMESPACE, "\x1f".join((kind, *what)))


def written(values: Mapping[str, str | bool | int | datetime | None]) -> dict[str, str]:
    """Return what varies as the contract writes it; what is not known is left out."""
    return {name: _written(value) for name, value in values.items() if value is not None and value != ""}


def _written(value: str | bool | int | datetime) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return str(value)
