"""The payments of the demo, each a journey of one kind, in the order in which they are shown."""

from __future__ import annotations

from typing import Final

from local.scenarios import coming_back, form, holds, kept, page, sellers
from local.scenarios.scenario import Scenario

SCENARIOS: Final = (
    *form.SCENARIOS,
    *holds.SCENARIOS,
    *kept.SCENARIOS,
    *sellers.SCENARIOS,
    *page.SCENARIOS,
    *coming_back.SCENARIOS,
)

__all__ = ["SCENARIOS", "Scenario"]
