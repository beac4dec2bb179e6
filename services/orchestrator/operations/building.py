"""Builds the operators' side from its parts."""

from __future__ import annotations

from services.orchestrator.figures.store import PaymentFigureStore
from services.orchestrator.operations.actions import ActionStore
from services.orchestrator.operations.attention import AttentionStore
from services.orchestrator.operations.servicer import Operations
from services.orchestrator.operations.stuck import StuckStore
from services.orchestrator.operations.stuck_rpcs import StuckPayments
from services.orchestrator.peers import Peers
from services.orchestrator.storage.store import Store
from services.runtime.database.connections import DirectConnections
from services.runtime.process.clock import Clock


def operator_side(held: DirectConnections, store: Store, peers: Peers, *, clock: Clock) -> Operations:
    """Return what the operators' RPCs go by."""
    return Operations(
        actions=ActionStore(held),
        attention=AttentionStore(held),
        stuck=StuckPayments(StuckStore(held, clock=clock), store, peers.status),
        figures=PaymentFigureStore(held),
        now=clock.now,
    )
