"""The actions there are, one a file: what is asked, what comes of it, and the call that does it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from batzen.orchestrator.v1.ops_pb2 import ListOperatorActionsRequest
from batzen.status.v1.status_pb2 import Payment
from batzen.type.v1.money_pb2 import Money
from services.console.actions.domain import Ask, Input, Preview
from services.console.desk import Visit


class Action(Protocol):
    """One action."""

    key: str
    """In the address, and in the audit."""
    title: str
    button: str
    method: str
    """The call that does it, as operators' actions name it: an id is of one call of each."""

    def inputs(self, payment: Payment, given: Mapping[str, str]) -> Sequence[Input]:
        """Return what is asked before it is looked at; nothing where there is nothing to choose."""

    def read(self, payment: Payment, given: Mapping[str, str]) -> Ask:
        """Return what fields say.

        Raises:
            Unreadable: They say nothing that could be done.
        """

    async def weigh(self, visit: Visit, ask: Ask) -> Ask:
        """Return the ask with what only a service knows of it."""
        return ask

    async def outcome(self, visit: Visit, ask: Ask, request_id: str) -> str | None:
        """Return why its call was refused, empty where it was done, and None where the service has not answered it."""
        answer = await visit.calls.orchestrator_ops.ListOperatorActions(
            ListOperatorActionsRequest(payment_id=ask.payment_id, page_size=ACTIONS_MAX), metadata=visit.word
        )
        return {(one.method, one.request_id): one.refusal for one in answer.actions}.get((self.method, request_id))

    async def preview(self, visit: Visit, payment: Payment, ask: Ask) -> Preview:
        """Return what would come of it. Changes nothing."""

    async def run(self, visit: Visit, ask: Ask, *, request_id: str, reason: str) -> None:
        """Do it. A repeat under the same id is the same call."""


ACTIONS_MAX: Final = 200
"""That are looked through for a call; the newest of its payment."""
TIMEOUT_S: Final = 35.0
"""Of a call that moves money: it takes up to 30 s at Stripe, and its answer has to come back."""


def held_of(payment: Payment) -> Money | None:
    """Return what is held and may still be taken; None where nothing is."""
    minor = payment.snapshot.amounts.capturable_minor
    return Money(amount_minor=minor, currency_code=payment.total.currency_code) if minor else None
