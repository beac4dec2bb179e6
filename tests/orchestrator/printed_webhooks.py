"""The tables of docs/webhooks-out.md that code prints."""

from __future__ import annotations

from services.orchestrator.facts.domain import FactKind
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
