"""The services behind this one, a file each: domain values in, domain values out, refusals apart from outages.

Protobuf on the calling side stops here, but for what is only passed on: a payment of status and a quote of pricing go
into answers as they came. Every method raises `Refusal` for good, `DependencyUnavailable` for now.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from services.orchestrator.peers.bookings import BookingCheck
from services.orchestrator.peers.gateway import Gateway
from services.orchestrator.peers.pricing import Pricing
from services.orchestrator.peers.status import Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Peers:
    """All of them."""

    pricing: Pricing
    status: Status
    gateway: Gateway
    bookings: BookingCheck = field(default_factory=lambda: BookingCheck(None))
