"""Resolve: an operator decides about a payment that does not move by itself, in a way that fits how it stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, cast

from batzen.orchestrator.v1.ops_pb2 import Resolution, ResolvePaymentRequest
from batzen.status.v1.status_pb2 import Payment
from batzen.type.v1.money_pb2 import Money
from services.console.actions.domain import Ask, Input, Preview, Unreadable, plain, read_amount
from services.console.actions.kinds import TIMEOUT_S, Action, held_of
from services.console.amounts import sum_of
from services.console.desk import Visit
from services.console.payments.shown import words

CHOICES: Final = (
    (
        "RESOLUTION_TRY_NOW",
        "Try at once what is to be done",
        "What is due by its plan is tried now, a charge or a capture, too. It always fits.",
    ),
    (
        "RESOLUTION_SETTLE_AS_SEEN",
        "Read Stripe anew and settle as seen",
        "The payment is read at Stripe, and stands as it stands there.",
    ),
    ("RESOLUTION_CANCEL", "Cancel, and release what is held", "It fits while no money was taken."),
    (
        "RESOLUTION_REFUND_SURPLUS",
        "Give back what other attempts took",
        "The surplus goes back to the payer, from sellers and platform alike. This cannot be undone.",
    ),
    (
        "RESOLUTION_GIVE_UP_TRANSITIONS",
        "Give up what status refuses",
        "Refused while status does not say of the money what the books say.",
    ),
    (
        "RESOLUTION_CLEAR_ATTENTION",
        "Take off the attention",
        "Attention that stays until an operator has resolved it is taken off. No money moves by that.",
    ),
)
SURPLUS: Final = "RESOLUTION_REFUND_SURPLUS"
CANCEL: Final = "RESOLUTION_CANCEL"
CLEAR: Final = "RESOLUTION_CLEAR_ATTENTION"
STAYS_HELD: Final = (
    "What is held stays held. Where it came after the payment had ended, only an operator takes it, with Capture; "
    "Cancel lets go of it, and so does its lapse."
)


class Resolve(Action):
    """Decides by hand."""

    key = "resolve"
    title = "Resolve"
    button = "Resolve"
    method = "ResolvePayment"

    def inputs(self, payment: Payment, given: Mapping[str, str]) -> Sequence[Input]:
        """Return the ways; surplus only where there is some."""
        options = [
            (key, label) for key, label, _ in CHOICES if key != SURPLUS or payment.snapshot.amounts.surplus_minor > 0
        ]
        hint = "The services refuse one that does not fit, and say which do."
        return (
            Input(
                name="way",
                label="How",
                kind="select",
                value=given.get("way", options[0][0]),
                options=options,
                hint=hint,
            ),
        )

    def read(self, payment: Payment, given: Mapping[str, str]) -> Ask:
        """Return what fields say; the surplus is the one that was looked at, and a hold is given away."""
        way = given.get("way", "")
        if way not in {key for key, _, _ in CHOICES}:
            raise Unreadable({"way": "Choose one of these."})
        currency = payment.total.currency_code
        fields = {"way": way}
        moved = held_of(payment) if way == CANCEL else None
        if way == SURPLUS:
            seen = given.get("surplus") or plain(
                Money(amount_minor=payment.snapshot.amounts.surplus_minor, currency_code=currency)
            )
            moved = read_amount(seen, currency, name="way")
            fields["surplus"] = plain(moved)
        return Ask(action=self.key, payment_id=payment.payment_id, fields=fields, moved=moved)

    async def preview(self, _: Visit, payment: Payment, ask: Ask) -> Preview:
        """Return what the way means."""
        _key, label, meaning = next(choice for choice in CHOICES if choice[0] == ask.fields["way"])
        lines = [(words(one.reason), one.detail) for one in payment.snapshot.attentions]
        if ask.moved is not None:
            lines.insert(0, ("Released" if ask.fields["way"] == CANCEL else "Goes back", sum_of(ask.moved)))
        held = held_of(payment) if ask.fields["way"] == CLEAR else None
        if held is not None:
            lines.insert(0, ("Stays held", sum_of(held)))
        return Preview(consequences=(f"{label}.", meaning, *([STAYS_HELD] if held else [])), lines=lines)

    async def run(self, visit: Visit, ask: Ask, *, request_id: str, reason: str) -> None:
        """Resolve."""
        request = ResolvePaymentRequest(
            request_id=request_id,
            payment_id=ask.payment_id,
            actor_id=visit.session.subject,
            reason=reason,
            resolution=cast("Resolution", Resolution.Value(ask.fields["way"])),
            expected_surplus=ask.moved if ask.fields["way"] == SURPLUS else None,
        )
        await visit.calls.orchestrator_ops.ResolvePayment(request, metadata=visit.word, timeout=TIMEOUT_S)
