"""Puts the import together."""

from __future__ import annotations

from services.gateway.balance.store import BalanceStore
from services.gateway.imports.importer import Imports
from services.gateway.imports.store import ImportStore
from services.gateway.mirror.store import Store
from services.gateway.servicers.imports import ImportServicer
from services.runtime.database.connections import DirectConnections
from services.runtime.process.clock import Clock


def import_servicer(connections: DirectConnections, payments: Store, *, clock: Clock, tenant_id: str) -> ImportServicer:
    """Return what answers ImportService for a tenant."""
    imports = Imports(
        ImportStore(connections, clock=clock), payments, BalanceStore(connections, clock=clock), now=clock.now
    )
    return ImportServicer(imports, tenant_id=tenant_id)
