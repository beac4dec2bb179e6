"""Capture: what is held is taken, all of it or a part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from batzen.orchestrator.v1.orchestrator_pb2 import CapturePaymentRequest
from batzen.status.v1.status_pb2 import Payment
from batzen.type.v1.money_pb2 import Money
from services.console.actions.domain import Ask, Input, Preview, plain, read_amount
from services.console.actions.kinds import TIMEOUT_S, Action
from services.console.amounts import sum_of
from services.console.desk import Visit
from services.console.payments.shown import moment

REST: Final = (("release", "Release it"), ("keep", "Keep it held, for another capture"))


class Capture(Action):
    """Takes what is held."""

    key = "capture"
    title = "Capture"
    button = "Capture"
    method = "CapturePayment"

    def inputs(self, payment: Payment, given: Mapping[str, str]) -> Sequence[Input]:
        """Return how much, and what becomes of the rest."""
        held = _held(payment)
        return (
            Input(
                name="amount",
                label=f"Amount in {held.currency_code}",
                kind="amount",
                value=given.get("amount", plain(held)),
                hint=f"Up to {sum_of(held)}.",
            ),
            Input(
                name="rest",
                label="What is left of the hold",
                kind="select",
                value=given.get("rest", "release"),
                options=REST,
            ),
        )

    def read(self, payment: Payment, given: Mapping[str, str]) -> Ask:
        """Return what fields say."""
        amount = read_amount(given.get("amount", ""), payment.total.currency_code)
        rest = "keep" if given.get("rest") == "keep" else "release"
        return Ask(
            action=self.key,
            payment_id=payment.payment_id,
            fields={"amount": plain(amount), "rest": rest},
            moved=amount,
            lost=_left(payment, amount) if rest == "release" else None,
        )

    async def preview(self, _: Visit, payment: Payment, ask: Ask) -> Preview:
        """Return what is taken and what is released."""
        held, moved = _held(payment), ask.moved or Money()
        left = _left(payment, moved)
        goes = "is released to the payer" if ask.fields["rest"] == "release" else "stays held"
        lines = [("Held now", sum_of(held)), ("Taken", sum_of(moved)), (f"What {goes}", sum_of(left))]
        if payment.snapshot.HasField("hold_expire_time"):
            lines.append(("The hold lapses", moment(payment.snapshot.hold_expire_time).text))
        return Preview(
            consequences=(
                f"{sum_of(moved)} are taken from the payer’s method, and sellers are due their part.",
                f"{sum_of(left)} {goes}.",
            ),
            lines=lines,
        )

    async def run(self, visit: Visit, ask: Ask, *, request_id: str, reason: str) -> None:
        """Capture."""
        request = CapturePaymentRequest(
            request_id=request_id,
            payment_id=ask.payment_id,
            amount=ask.moved,
            final_capture=ask.fields["rest"] == "release",
            actor_id=visit.session.subject,
        )
        await visit.calls.orchestrator.CapturePayment(request, metadata=visit.word, timeout=TIMEOUT_S)


def _held(payment: Payment) -> Money:
    return Money(amount_minor=payment.snapshot.amounts.capturable_minor, currency_code=payment.total.currency_code)


def _left(payment: Payment, moved: Money) -> Money:
    held = _held(payment)
    return Money(amount_minor=max(held.amount_minor - moved.amount_minor, 0), currency_code=held.currency_code)
