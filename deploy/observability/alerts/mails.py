"""Mails: those that no server takes, and addresses that take none."""

from __future__ import annotations

from typing import Final

from deploy.observability.rule import Alert, Group, Severity

GROUP: Final = Group(
    name="batzen-mails",
    rules=[
        Alert(
            name="BatzenMailsWait",
            severity=Severity.TICKET,
            # One that a full mailbox keeps waiting is no alert; a server that takes fewer than it leaves is. A mail is
            # tried every 72 minutes at least.
            expr="""max(batzen_mails_oldest_seconds) > 1800
and sum(increase(batzen_mails_total{outcome="not_taken"}[2h]))
  > sum(increase(batzen_mails_total{outcome="sent"}[2h]))""",
            lasting="5m",
            summary="A mail waits for {{ $value | humanizeDuration }}, and most tries fail",
        ),
        Alert(
            name="BatzenMailsRefused",
            severity=Severity.TICKET,
            expr="""sum(increase(batzen_mails_total{outcome="refused"}[1h]))
  / sum(increase(batzen_mails_total{outcome=~"sent|refused"}[1h])) > 0.2
and sum(increase(batzen_mails_total{outcome="refused"}[1h])) > 20""",
            lasting="5m",
            summary="{{ $value | humanizePercentage }} of the mails went to addresses that take none",
        ),
    ],
)
