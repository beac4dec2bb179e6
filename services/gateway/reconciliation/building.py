"""Builds what reconciles from its parts."""

from __future__ import annotations

from collections.abc import Callable

from services.gateway.balance.importer import BalanceImport
from services.gateway.ledger.closings import Closings
from services.gateway.mirror.store import Store
from services.gateway.reconciliation.books import BookComparison
from services.gateway.reconciliation.lists import ListComparison
from services.gateway.reconciliation.metrics import ReconciliationMetrics
from services.gateway.reconciliation.ours import Ours
from services.gateway.reconciliation.repairs import Repairs
from services.gateway.reconciliation.runner import Reconciliations
from services.gateway.reconciliation.standing import StandingComparison
from services.gateway.reconciliation.store import ReconciliationStore
from services.gateway.reconciliation.theirs import Theirs
from services.gateway.stripe_api.client import Provider
from services.gateway.sync.reader import MirrorReader
from services.runtime.database.connections import DirectConnections
from services.runtime.process.clock import Clock
from services.runtime.work.kinds import WorkClass


def reconciliations(
    connections: DirectConnections,
    *,
    payments: Store,
    imports: BalanceImport,
    reader: MirrorReader,
    closings: Closings,
    provider: Provider,
    clock: Clock,
    wake: Callable[[WorkClass], None],
    metrics: ReconciliationMetrics,
) -> Reconciliations:
    """Return what begins runs and takes their steps."""
    store = ReconciliationStore(connections, clock=clock)
    repairs = Repairs(imports, reader)
    lists = ListComparison(Theirs(provider), Ours(connections), store, reader=reader, repairs=repairs, now=clock.now)
    books = BookComparison(connections, closings, now=clock.now)
    standing = StandingComparison(connections, payments, reader, clock=clock, wake=wake)
    return Reconciliations(store, lists, books, standing, now=clock.now, wake=wake, metrics=metrics)
