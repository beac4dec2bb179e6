"""The recovery policies: one table, which the code runs on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from batzen import _channel
from services.orchestrator import transition_outbox
from services.orchestrator.domain import policies
from services.orchestrator.domain.payment import SESSION_COMPLETE, SESSION_EXPIRED, Snapshot
from services.orchestrator.domain.recovery import RECOVERIES, Interruption, interruption, table
from services.shared.payment import PaymentError
from services.shared.states import State

WAITING = Snapshot(collection=State.REQUIRES_PAYMENT_METHOD)
DECLINE = PaymentError(code="card_declined", message="No.", recoverable=True)


def test_each_interruption_has_its_policy_and_is_printed() -> None:
    assert set(RECOVERIES) == set(Interruption)
    assert all(f"| `{one}` |" in table() for one in Interruption)


def test_the_code_does_what_the_table_says() -> None:
    assert RECOVERIES[Interruption.CONNECTION].tries == _channel.ATTEMPTS_MAX - 1
    assert RECOVERIES[Interruption.STATE_MISMATCH].tries == transition_outbox.STATE_MISMATCH_TRIES
    preserved = RECOVERIES[Interruption.PRESERVED]
    assert (preserved.window, preserved.window_max) == (policies.PRESERVE_WINDOW, policies.PRESERVE_MAX)


@pytest.mark.parametrize(
    ("latest", "is_preserved", "expected"),
    [
        (WAITING, False, Interruption.ABSENCE),
        (WAITING, True, Interruption.PRESERVED),
        (replace(WAITING, last_error=DECLINE), False, Interruption.DECLINED),
        (replace(WAITING, last_error=DECLINE), True, Interruption.PRESERVED),
        (replace(WAITING, reason=SESSION_EXPIRED), False, Interruption.SESSION_EXPIRED),
        (replace(WAITING, reason=SESSION_COMPLETE), False, Interruption.DECLINED),
        (replace(WAITING, collection=State.REQUIRES_ACTION), False, Interruption.AUTHENTICATION),
    ],
)
def test_what_a_payment_is_picked_up_from(latest: Snapshot, is_preserved: bool, expected: Interruption) -> None:
    assert interruption(latest, is_preserved=is_preserved) is expected
