"""The tables of docs/webhooks-out.md that code prints."""

from __future__ import annotations

from datetime import timedelta

from services.orchestrator.facts.domain import FactKind
from services.orchestrator.webhooks_out.domain import RETRY_DELAYS, TRIED_FOR
from services.orchestrator.webhooks_out.payload import LEGACY_STATUSES, event_type


def types() -> str:
    """Return each kind that a subscription may name, and the `type` of its bodies."""
    lines = ["| kind | `type` |", "| --- | --- |"]
    lines += [f"| `{kind}` | `{event_type(kind)}` |" for kind in FactKind]
    return "\n".join(lines) + "\n"


def statuses() -> str:
    """Return the word of the old form for each way a collection may stand."""
    lines = ["| `collection` | `paymentStatus` |", "| --- | --- |"]
    words = dict.fromkeys(LEGACY_STATUSES.values())
    for word in words:
        states = ", ".join(f"`{state}`" for state, its in LEGACY_STATUSES.items() if its == word)
        lines.append(f"| {states} | `{word}` |")
    return "\n".join(lines) + "\n"


def tries() -> str:
    """Return when what was not taken is tried again."""
    lines = ["| try | after the one before |", "| --- | --- |"]
    lines += [f"| {number} | {_said(delay)} |" for number, delay in enumerate(RETRY_DELAYS[:-1], start=2)]
    lines.append(
        f"| each further one | {_said(RETRY_DELAYS[-1])}, until {_said(TRIED_FOR)} after it was made or replayed |"
    )
    return "\n".join(lines) + "\n"


def _said(time: timedelta) -> str:
    seconds = int(time.total_seconds())
    for unit, its_seconds in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= its_seconds:
            return f"{seconds // its_seconds} {unit}"
    return f"{seconds} s"
