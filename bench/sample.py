"""A payment in the middle of its life, as everything here is measured with: about 300 bytes on the wire."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from batzen.status.v1 import status_pb2 as pb
from services.shared.payment import Amounts, Method, PaymentError
from services.shared.states import Cause, State
from services.status.domain.records import Transition
from services.status.domain.snapshot import Snapshot
from services.status.wire.responses import transition_message as message_of

NOW: Final = datetime(2026, 11, 20, 12, 0, 0, 123_456, tzinfo=UTC)
REQUEST_ID: Final = "5b1c6a52-5b0b-4c7e-9f0a-0d8f6a4f4c11"
SNAPSHOT: Final = Snapshot(
    collection=State.REQUIRES_PAYMENT_METHOD,
    cause=Cause.OBSERVATION,
    amounts=Amounts(),
    last_error=PaymentError(
        code="card_declined", decline_code="insufficient_funds", message="Your card was declined.", recoverable=True
    ),
    method=Method(
        payment_method_id="pm_1QabcdefGhijklmnopQrstuv",
        type="card",
        brand="visa",
        last4="4242",
        expire_month=12,
        expire_year=2034,
    ),
    attempt=1,
    decline_count=1,
)
"""One more declined card: a move that a payment may make any number of times."""


def transition_message(payment_id: str, *, revision: int, reason: str) -> pb.Transition:
    """Return a transition whose snapshot gives a reason."""
    transition = message_of(
        Transition(payment_id=payment_id, revision=revision, snapshot=SNAPSHOT, record_time=NOW, request_id=REQUEST_ID)
    )
    transition.snapshot.reason = reason
    return transition


SNAPSHOT_MESSAGE: Final = transition_message("", revision=1, reason="").snapshot
