"""Puts the import together."""

from __future__ import annotations

from services.orchestrator.booking_claims import BookingClaims
from services.orchestrator.imports.importer import Imports
from services.orchestrator.imports.metrics import ImportMetrics
from services.orchestrator.imports.store import ImportStore
from services.orchestrator.peers.imports import ImportPeers
from services.orchestrator.storage.booking_claims import BookingClaimStore
from services.runtime.database.connections import DirectConnections
from services.runtime.observability.metrics import Meter
from services.runtime.process.clock import Clock


def importing(held: DirectConnections, peers: ImportPeers, *, clock: Clock, meter: Meter) -> Imports:
    """Return what takes records over."""
    claims = BookingClaimStore(held)
    return Imports(
        peers,
        ImportStore(held),
        BookingClaims(claims, now=clock.now),
        claims,
        metrics=ImportMetrics(meter),
        now=clock.now,
    )
