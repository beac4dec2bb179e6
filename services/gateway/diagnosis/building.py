"""Builds what examines from its parts."""

from __future__ import annotations

from services.gateway.diagnosis.examiner import Examiner
from services.gateway.diagnosis.store import RecordStore
from services.gateway.diagnosis.stripe_side import StripeSide
from services.gateway.mirror.store import Store
from services.gateway.stripe_api.client import Provider
from services.gateway.sync.movements import AccountOwners, MovementReader
from services.runtime.database.connections import DirectConnections
from services.runtime.process.clock import Clock


def examiner(
    connections: DirectConnections, payments: Store, provider: Provider, owners: AccountOwners, *, clock: Clock
) -> Examiner:
    """Return what examines payments."""
    return Examiner(
        RecordStore(connections, payments, clock=clock),
        StripeSide(provider, MovementReader(provider, owners)),
        now=clock.now,
    )
