"""Refund: what goes back to the payer, at whose cost, by what the operator saw as refundable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, cast

from batzen.orchestrator.v1.orchestrator_pb2 import PreviewRefundRequest, RefundPaymentRequest
from batzen.status.v1.status_pb2 import Payment
from batzen.type.v1.money_pb2 import Money
from services.console.actions.domain import FIELD_CHARACTERS_MAX, Ask, Input, Preview, Unreadable, plain, read_amount
from services.console.actions.kinds import TIMEOUT_S, Action
from services.console.amounts import sum_of
from services.console.desk import Visit
from services.console.payments.offers import refundable
from services.console.payments.shown import moment

WHY: Final = (
    ("REASON_REQUESTED_BY_PAYER", "The payer asked for it"),
    ("REASON_DUPLICATE", "Charged twice"),
    ("REASON_FRAUDULENT", "A fraud"),
)
BEARERS: Final = (
    ("shared", "Seller and platform, in proportion"),
    ("seller", "The seller alone; the platform keeps its fee"),
    ("platform", "The platform alone; the seller keeps its part"),
)
KEPT: Final = ("amount", "expected", "why", "bearer", "seller", "beyond")
"""Fields that are sent on."""


class Refund(Action):
    """Gives money back."""

    key = "refund"
    title = "Refund"
    button = "Refund"
    method = "RefundPayment"

    def inputs(self, payment: Payment, given: Mapping[str, str]) -> Sequence[Input]:
        """Return how much, why, at whose cost, and of which seller."""
        left = Money(amount_minor=refundable(payment.snapshot.amounts), currency_code=payment.total.currency_code)
        inputs = [
            Input(
                name="amount",
                label=f"Amount in {payment.total.currency_code}",
                kind="amount",
                value=given.get("amount", plain(left)),
                hint=f"Up to {sum_of(left)}.",
            ),
            Input(name="why", label="Why", kind="select", value=given.get("why", WHY[0][0]), options=WHY),
            Input(
                name="bearer",
                label="At whose cost",
                kind="select",
                value=given.get("bearer", BEARERS[0][0]),
                options=BEARERS,
            ),
        ]
        if len(payment.seller_ids) > 1:
            sellers = [("", "All, in proportion"), *((seller, seller) for seller in payment.seller_ids)]
            inputs.append(
                Input(
                    name="seller", label="Of whose lines", kind="select", value=given.get("seller", ""), options=sellers
                )
            )
        return inputs

    def read(self, payment: Payment, given: Mapping[str, str]) -> Ask:
        """Return what fields say; `expected` is there once it was looked at."""
        amount = read_amount(given.get("amount", ""), payment.total.currency_code)
        fields = {name: given.get(name, "")[:FIELD_CHARACTERS_MAX] for name in KEPT} | {"amount": plain(amount)}
        if fields["why"] not in dict(WHY) or fields["bearer"] not in dict(BEARERS):
            raise Unreadable({"why": "Choose one of these."})
        if fields["seller"] and fields["seller"] not in payment.seller_ids:
            raise Unreadable({"seller": "The payment has no line of this seller."})
        if fields["expected"]:
            fields["expected"] = plain(read_amount(fields["expected"], payment.total.currency_code, name="expected"))
        return Ask(action=self.key, payment_id=payment.payment_id, fields=fields, moved=amount)

    async def preview(self, visit: Visit, payment: Payment, ask: Ask) -> Preview:
        """Return what the services say would come of it."""
        request = PreviewRefundRequest(
            payment_id=ask.payment_id,
            amount=ask.moved,
            seller_id=ask.fields["seller"],
            keep_seller_part=ask.fields["bearer"] == "platform",
            keep_platform_fee=ask.fields["bearer"] == "seller",
        )
        seen = await visit.calls.orchestrator.PreviewRefund(request, metadata=visit.word)
        lines = [("The payer gets back", sum_of(seen.amount)), ("Refundable now", sum_of(seen.refundable))]
        lines += [(f"{part.seller_id} gives back", sum_of(part.seller_share)) for part in seen.seller_parts]
        is_beyond = seen.amount.amount_minor > seen.policy_amount.amount_minor
        until = f" until {moment(seen.policy_until).text}" if seen.HasField("policy_until") else ""
        return Preview(
            consequences=(
                f"{sum_of(seen.amount)} go back to the payer’s method. This cannot be undone.",
                "What sellers had of it is taken back afterwards; the payer does not wait for that."
                if ask.fields["bearer"] != "platform"
                else "Sellers keep their part; the platform bears all of it.",
            ),
            lines=lines,
            warning=f"The terms of this payment give back {sum_of(seen.policy_amount)}{until}. Your reason is kept as "
            "why more goes back."
            if is_beyond
            else "",
            fields={"expected": plain(seen.refundable), "beyond": "1" if is_beyond else ""},
        )

    async def run(self, visit: Visit, ask: Ask, *, request_id: str, reason: str) -> None:
        """Refund; refused where what is refundable is not what was looked at."""
        moved = ask.moved or Money()
        expected = read_amount(ask.fields["expected"], moved.currency_code, name="expected")
        request = RefundPaymentRequest(
            request_id=request_id,
            payment_id=ask.payment_id,
            amount=moved,
            expected_refundable=expected,
            reason=cast("RefundPaymentRequest.Reason", RefundPaymentRequest.Reason.Value(ask.fields["why"])),
            seller_id=ask.fields["seller"],
            keep_seller_part=ask.fields["bearer"] == "platform",
            keep_platform_fee=ask.fields["bearer"] == "seller",
            actor_id=visit.session.subject,
            beyond_policy_reason=reason if ask.fields["beyond"] else "",
        )
        await visit.calls.orchestrator.RefundPayment(request, metadata=visit.word, timeout=TIMEOUT_S)
