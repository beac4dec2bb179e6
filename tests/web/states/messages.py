"""Pages that say one thing: what was refused, and what needs no more than a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from services.bff.sessions.entering import ASKING, asking_values, left_values
from services.bff.sessions.returning import unknown_values
from services.web.failures import Refusal, failure_of
from services.web.messages import TEMPLATE, message_of, values_of
from services.web.sessions.domain import Session
from tests.web.checkout_samples import NOW, PAYMENT_ID, TENANT
from tests.web.state import Front, State

REFERENCE: Final = "5f0e8c1f7a9d4f6f9d0a64c2f5b1c3d7"


def _refused(refusal: Refusal, *, front: Front = "bff") -> State:
    def values(language: str) -> Mapping[str, object]:
        failure = failure_of(refusal, language, correlation_id=REFERENCE)
        return values_of(message_of(failure, language), language)

    return State(front=front, template=TEMPLATE, values=values)


PRESENT: Final = Session(
    key=b"",
    form_key=b"",
    tenant_id="main",
    subject="guest-2207",
    role="payer",
    payment_id=PAYMENT_ID,
    locale="",
    auth_time=NOW,
    create_time=NOW,
    seen_time=NOW,
    expire_time=NOW,
)


def _asked(session: Session | None) -> State:
    def values(language: str) -> Mapping[str, object]:
        return asking_values(language, "a-code", "guest-1041", TENANT, session)

    return State(front="bff", template=ASKING, values=values)


STATES: Final = {
    "message-enter": _asked(None),
    "message-enter-another": _asked(PRESENT),
    "message-left": State(front="bff", template=TEMPLATE, values=left_values),
    "message-returned": State(front="bff", template=TEMPLATE, values=unknown_values),
    "message-link-expired": _refused(Refusal(410, "LINK_EXPIRED")),
    "message-none": _refused(Refusal(404, "PAYMENT_NOT_FOUND")),
    "message-form": _refused(Refusal(403, "FORM_UNKNOWN")),
    "message-too-many": _refused(Refusal(429, "TOO_MANY_DECLINES", retry_after=timedelta(minutes=9))),
    "message-away": _refused(Refusal(503, "DEPENDENCY_UNAVAILABLE", retry_after=timedelta(seconds=1)), front="console"),
}
