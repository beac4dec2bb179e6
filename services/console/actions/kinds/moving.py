"""Cancel and retry: a payment is cancelled, or tried again now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from batzen.orchestrator.v1.orchestrator_pb2 import CancelPaymentRequest, Collection, RetryPaymentRequest
from batzen.status.v1.status_pb2 import Payment
from batzen.type.v1 import payment_pb2
from services.console.actions.domain import Ask, Input, Preview
from services.console.actions.kinds import TIMEOUT_S, Action, held_of
from services.console.amounts import sum_of, written
from services.console.desk import Visit
from services.console.payments.shown import moment

CANCEL_REASON_CHARACTERS_MAX: Final = 200
"""Of the call's own field; the whole reason is in the console's audit."""
WAYS: Final = (
    ("", "As before"),
    ("COLLECTION_ELEMENTS", "With the site’s form"),
    ("COLLECTION_CHECKOUT", "On a hosted page"),
)


class Cancel(Action):
    """Cancels a payment."""

    key = "cancel"
    title = "Cancel the payment"
    button = "Cancel the payment"
    method = "CancelPayment"

    def inputs(self, payment: Payment, given: Mapping[str, str]) -> Sequence[Input]:
        """Return nothing."""
        return ()

    def read(self, payment: Payment, given: Mapping[str, str]) -> Ask:
        """Return the ask; what is held is given away."""
        return Ask(action=self.key, payment_id=payment.payment_id, fields={}, moved=held_of(payment))

    async def preview(self, _: Visit, payment: Payment, ask: Ask) -> Preview:
        """Return what is released."""
        held = payment.snapshot.amounts.capturable_minor
        released = (
            f"{written(held, payment.total.currency_code)} that are held are released to the payer."
            if held
            else "No money was taken, and none will be."
        )
        return Preview(consequences=(released, "The payer can pay nothing more on it. This cannot be undone."))

    async def run(self, visit: Visit, ask: Ask, *, request_id: str, reason: str) -> None:
        """Cancel."""
        request = CancelPaymentRequest(
            request_id=request_id, payment_id=ask.payment_id, reason=reason[:CANCEL_REASON_CHARACTERS_MAX]
        )
        await visit.calls.orchestrator.CancelPayment(request, metadata=visit.word, timeout=TIMEOUT_S)


class Retry(Action):
    """Tries again: a charge, or a new attempt for the payer."""

    key = "retry"
    title = "Try again"
    button = "Try again now"
    method = "RetryPayment"

    def inputs(self, payment: Payment, given: Mapping[str, str]) -> Sequence[Input]:
        """Return how the payer pays from now on, where it is their turn."""
        if _charges(payment):
            return ()
        return (Input(name="way", label="How the payer pays", kind="select", value=given.get("way", ""), options=WAYS),)

    def read(self, payment: Payment, given: Mapping[str, str]) -> Ask:
        """Return what fields say; a planned charge moves the total."""
        way = given.get("way", "")
        return Ask(
            action=self.key,
            payment_id=payment.payment_id,
            fields={"way": way if way in dict(WAYS) else ""},
            moved=payment.total if _charges(payment) else None,
        )

    async def preview(self, _: Visit, payment: Payment, ask: Ask) -> Preview:
        """Return what is tried."""
        if not _charges(payment):
            return Preview(
                consequences=(
                    "The payer gets a new attempt; the one before is cancelled at Stripe first.",
                    "Nothing is charged before the payer submits.",
                )
            )
        planned = payment.snapshot.charge_time
        lines = [("Charged now", sum_of(payment.total))]
        if payment.snapshot.HasField("charge_time"):
            lines.append(("Planned for", moment(planned).text))
        return Preview(
            consequences=(f"{sum_of(payment.total)} are charged to the kept method now, without the payer.",),
            lines=lines,
        )

    async def run(self, visit: Visit, ask: Ask, *, request_id: str, reason: str) -> None:
        """Try again."""
        request = RetryPaymentRequest(request_id=request_id, payment_id=ask.payment_id)
        if ask.fields["way"]:
            request.collection = (
                Collection.COLLECTION_CHECKOUT
                if ask.fields["way"] == "COLLECTION_CHECKOUT"
                else Collection.COLLECTION_ELEMENTS
            )
        await visit.calls.orchestrator.RetryPayment(request, metadata=visit.word, timeout=TIMEOUT_S)


def _charges(payment: Payment) -> bool:
    return payment.snapshot.collection == payment_pb2.PAYMENT_STATE_SCHEDULED
