"""What browsers are told of a transition: written once, however many streams there are. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from batzen.status.v1.status_pb2 import Transition
from batzen.type.v1.payment_pb2 import PaymentState
from services.bff.api.modern import models, views
from services.web.events.frames import Event

UPDATE: Final = "payment_status_update"
ERROR: Final = "payment_error"
CONFIRMED: Final = "payment_confirmed"
SUCCEEDED: Final = PaymentState.PAYMENT_STATE_SUCCEEDED
KEPT_MAX: Final = 2_000
"""Transitions whose events are kept, ~1.5 KB each: several tabs, and browsers that come back after a deploy."""
REFUSED_STATES: Final = frozenset(
    {PaymentState.PAYMENT_STATE_REQUIRES_PAYMENT_METHOD, PaymentState.PAYMENT_STATE_FAILED}
)
"""In which a payment's error is why it stands there; in any other it is an older one."""


class ToldTransition(models.TransitionEntry):
    """One step of a payment, as a stream tells it."""

    payment_id: str


class ToldError(models.PaymentProblem):
    """Why a payment was refused, as a stream tells it."""

    payment_id: str
    revision: int


class Frames:
    """The events of transitions."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, int, bool], Sequence[Event]] = OrderedDict()

    def of(self, update: Transition, *, before: PaymentState | None) -> Sequence[Event]:
        """Return the events of a transition: one for everybody, and one for who waits for the end of a try.

        `before` is the state that the reader knows of; None for one that knows none.
        """
        is_confirmed = update.state == SUCCEEDED != before
        key = (update.payment_id, update.revision, is_confirmed)
        kept = self._kept.get(key)
        if kept is None:
            kept = self._kept[key] = events_of(update, is_confirmed=is_confirmed)
            if len(self._kept) > KEPT_MAX:
                self._kept.popitem(last=False)
        return kept


def events_of(update: Transition, *, is_confirmed: bool) -> Sequence[Event]:
    """Return the events of a transition; `is_confirmed` where its reader did not know yet that it succeeded."""
    entry = views.transition(update, is_service=False)
    data = ToldTransition(payment_id=update.payment_id, **dict(entry)).model_dump_json()
    events = [Event(name=UPDATE, data=data)]
    if is_confirmed:
        events.append(Event(name=CONFIRMED, data=data))
    if entry.last_error is not None and update.state in REFUSED_STATES:
        error = ToldError(payment_id=update.payment_id, revision=update.revision, **dict(entry.last_error))
        events.append(Event(name=ERROR, data=error.model_dump_json()))
    return events
