"""What a caller of WatchMany may ask for on its stream. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from services.errors import ServiceError


@dataclass(frozen=True, slots=True, kw_only=True)
class Add:
    """Begin to follow a payment."""

    payment_id: str
    after_revision: int | None
    latest_only: bool
    assertion: str
    error: ServiceError | None = None
    """What is wrong with the command."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """Stop following a payment."""

    payment_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Renew:
    """Take a new assertion of a subject in place of the older one."""

    assertion: str


Command = Add | Drop | Renew
