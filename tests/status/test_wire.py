"""Messages that are put together around a serialised transition are those that protobuf writes."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from batzen.status.v1 import status_pb2
from services.shared.states import Cause, State
from services.status.domain.records import Transition
from services.status.domain.snapshot import Snapshot
from services.status.wire.responses import joined_updates, many_update, transition_message, watch_update

REASONS = ("", "x", "x" * 50, "x" * 127, "x" * 128, "ü" * 8_000, "x" * 16_300, "x" * 20_000)
"""Of lengths on both sides of where a length takes one more byte."""


@pytest.mark.parametrize("reason", REASONS, ids=len)
def test_a_message_around_a_serialised_transition_is_what_protobuf_writes(reason: str) -> None:
    transition = transition_message(
        Transition(
            payment_id="pay_00000000000000000000000001",
            revision=2**40,
            snapshot=Snapshot(collection=State.PROCESSING, cause=Cause.STEP, reason=reason),
            record_time=datetime(2026, 1, 2, 3, 4, 5, 678_900, tzinfo=UTC),
            request_id="0e4f2f6e-6f0a-4a39-8a43-9a1cbb9e8a55",
        )
    )
    updates = status_pb2.WatchPaymentResponse.Updates(transitions=[transition])
    event = status_pb2.WatchManyResponse.Event(transition=transition)

    serialized = transition.SerializeToString()
    assert watch_update(serialized) == status_pb2.WatchPaymentResponse(updates=updates).SerializeToString()
    both = [transition, transition]
    updates = status_pb2.WatchPaymentResponse.Updates(transitions=both)
    joined = joined_updates([watch_update(serialized)] * 2)
    assert joined == status_pb2.WatchPaymentResponse(updates=updates).SerializeToString(), "no field comes twice"
    assert many_update(serialized) == status_pb2.WatchManyResponse(events=[event]).SerializeToString()


def test_only_updates_are_joined() -> None:
    """What a watch begins with is another field of the same oneof: of both together a reader would see one."""
    header = status_pb2.WatchPaymentResponse(header=status_pb2.WatchPaymentResponse.Header(current_revision=1))
    with pytest.raises(ValueError, match="alone"):
        joined_updates([header.SerializeToString(), watch_update(b"")])
