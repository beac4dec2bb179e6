"""What the operators' front counts of its own."""

from __future__ import annotations

from typing import Final

from services.runtime.observability.metrics import Metric, counter, one_of

LOGINS_REFUSED: Final = counter(
    "batzen_console_logins_refused_total",
    "Ways back from the issuer that came to nothing: of no log-in that is under way, or of nobody who may enter.",
)

_KIND: Final = one_of("kind", "capture", "refund", "cancel", "retry", "resolve", "accept-dispute")
ACTIONS: Final = counter(
    "batzen_console_actions_total",
    "Calls that operators had made for a payment, by what came of each. Unknown: no answer came, and it is sent again.",
    _KIND,
    one_of("outcome", "done", "refused", "unknown"),
)
APPROVALS_OPENED: Final = counter(
    "batzen_console_approvals_opened_total", "What came to wait for a second person.", _KIND
)
APPROVALS_DECIDED: Final = counter(
    "batzen_console_approvals_decided_total",
    "What waited for a second person and was decided; what nobody decides expires after a day and is not here.",
    _KIND,
    one_of("decision", "released", "declined", "withdrawn"),
)

METRICS: Final[tuple[Metric, ...]] = (LOGINS_REFUSED, ACTIONS, APPROVALS_OPENED, APPROVALS_DECIDED)
