"""What an operator says of new payments of a tenant: that they are stopped, or taken again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class StartSwitch:
    """How it stands from when this was said until the next is."""

    paused: bool
    actor_id: str
    reason: str
    """For operators alone."""
    create_time: datetime
    public_message: str = ""
    """For payers."""
    expected_end_time: datetime | None = None
    """For people; nothing happens then by itself."""
