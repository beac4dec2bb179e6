"""What an operator did, as it is kept for ever."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from services.orchestrator.domain.plan import RequestKey

NOTHING_JSON: Final = "{}"
"""Where there was nothing before, or nothing was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """What is kept of an operator's request on a payment beside what the request says already."""

    reason: str
    """In the operator's words."""
    asked_json: str
    """What was asked for, without personal data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DoneAction:
    """An action that was answered."""

    key: RequestKey
    request_hash: bytes
    actor_id: str
    create_time: datetime
    reason: str = ""
    payment_id: str = ""
    """Empty where it is about none."""
    asked_json: str = NOTHING_JSON
    before_json: str = NOTHING_JSON
    after_json: str = NOTHING_JSON
    refusal: str = ""
    """Why it was refused, in UPPER_SNAKE_CASE; empty where it was done."""
    action_id: int = 0
    """Higher is newer; 0 while it is not kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionFilter:
    """Which actions are looked for; what is empty narrows nothing."""

    payment_id: str = ""
    actor_id: str = ""
