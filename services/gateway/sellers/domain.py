"""A seller's account, and what it takes for it to be paid. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class SellerAccount:
    """A seller's account, as last known."""

    seller_id: str
    stripe_account_id: str
    charges_enabled: bool
    payouts_enabled: bool
    transfers_enabled: bool
    """It can receive its part of a charge."""
    requirements_due: tuple[str, ...]
    gone: bool
    """It is not there any more, or closed to us."""

    @property
    def missing(self) -> str:
        """What it needs for a destination charge and has not; empty when it can be paid."""
        if self.gone:
            return "account"
        return "" if self.transfers_enabled else "transfers"
