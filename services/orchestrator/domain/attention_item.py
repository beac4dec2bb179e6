"""That a payment needs, or needed, an operator for one reason."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime

from services.shared.states import Cause


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionItem:
    """One item: raised, perhaps acknowledged, and in the end resolved. None takes another's place."""

    item_id: uuid.UUID
    payment_id: str
    reason: str
    detail: str
    """As it was said last."""
    raise_time: datetime
    raise_revision: int
    change_time: datetime | None = None
    acknowledge_time: datetime | None = None
    acknowledged_by: str = ""
    note: str = ""
    resolve_time: datetime | None = None
    resolve_revision: int = 0
    resolve_cause: Cause | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemFilter:
    """Which items are looked for; what is empty narrows nothing."""

    payment_id: str = ""
    reason: str = ""
    with_resolved: bool = False
    unacknowledged_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledgment:
    """That somebody looks after an item."""

    item_id: uuid.UUID
    actor_id: str
    note: str
    time: datetime
