"""Builds what diagnoses payments from its parts."""

from __future__ import annotations

from services.orchestrator.diagnosis.examiner import Examiner
from services.orchestrator.diagnosis.plan_store import PlanStore
from services.orchestrator.peers import Peers
from services.orchestrator.peers.examinations import Examinations
from services.orchestrator.storage.store import Store
from services.runtime.database.connections import DirectConnections
from services.runtime.process.clock import Clock


def examiner(
    held: DirectConnections, store: Store, peers: Peers, examinations: Examinations, *, clock: Clock
) -> Examiner:
    """Return what diagnoses payments."""
    return Examiner(PlanStore(held, store, clock=clock), peers.status, peers.pricing, examinations)
