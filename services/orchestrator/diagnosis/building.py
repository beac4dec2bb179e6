"""Builds what diagnoses payments from its parts."""

from __future__ import annotations

from dataclasses import dataclass

from services.orchestrator.diagnosis.examiner import Examiner
from services.orchestrator.diagnosis.metrics import DiagnosisMetrics
from services.orchestrator.diagnosis.plan_store import PlanStore
from services.orchestrator.diagnosis.round_store import RoundStore
from services.orchestrator.diagnosis.rounds import Rounds
from services.orchestrator.peers import Peers
from services.orchestrator.peers.examinations import Examinations
from services.orchestrator.storage.store import Store
from services.runtime.database.connections import DirectConnections
from services.runtime.observability.metrics import OFF, Meter
from services.runtime.process.clock import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnoses:
    """What diagnoses payments: one that is asked for, and recent ones by schedule."""

    examiner: Examiner
    rounds: Rounds
    findings: RoundStore
    examinations: Examinations


def diagnosing(
    held: DirectConnections,
    store: Store,
    peers: Peers,
    examinations: Examinations,
    *,
    clock: Clock,
    meter: Meter = OFF,
) -> Diagnoses:
    """Return what diagnoses payments."""
    examiner = Examiner(PlanStore(held, store, clock=clock), peers.status, peers.pricing, examinations)
    findings = RoundStore(held, clock=clock)
    rounds = Rounds(
        findings,
        examiner,
        peers.status,
        examinations,
        now=clock.now,
        metrics=DiagnosisMetrics(meter),
    )
    return Diagnoses(examiner=examiner, rounds=rounds, findings=findings, examinations=examinations)
