"""Builds the operators' side from its parts."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from services.orchestrator.operations.actions import ActionStore
from services.orchestrator.operations.attention import AttentionStore
from services.orchestrator.operations.servicer import Operations
from services.runtime.database.connections import DirectConnections


def operator_side(held: DirectConnections, *, now: Callable[[], datetime]) -> Operations:
    """Return what the operators' RPCs go by."""
    return Operations(actions=ActionStore(held), attention=AttentionStore(held), now=now)
