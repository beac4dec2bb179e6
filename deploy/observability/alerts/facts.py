"""What people are told: whether what happens is heard of."""

from __future__ import annotations

from typing import Final

from deploy.observability.rule import Alert, Group, Severity

GROUP: Final = Group(
    name="batzen-facts",
    rules=[
        Alert(
            name="BatzenFactsBehind",
            severity=Severity.TICKET,
            # A feed says of itself every 15 s that nothing happened.
            expr="max(batzen_facts_behind_seconds) > 120",
            lasting="3m",
            summary="Nobody was told for {{ $value | humanizeDuration }} of what happens to a tenant's payments",
        ),
    ],
)
