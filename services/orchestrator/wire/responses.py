"""Builds answers. Of what is passed on, it names what is shown: a field of later is hidden until it is named, too."""

from __future__ import annotations

from dataclasses import replace
from typing import Final, TypeVar

from google.protobuf.message import Message

from batzen.orchestrator.v1 import ops_pb2, orchestrator_pb2
from batzen.pricing.v1 import pricing_pb2
from batzen.status.v1 import status_pb2
from batzen.type.v1 import payment_pb2
from services.orchestrator.domain.payment import OUTCOME_NOT_RECORDED_YET
from services.orchestrator.domain.plan import NextStep, Plan, Stage
from services.orchestrator.domain.quote import QuoteState
from services.orchestrator.domain.start_switch import StartSwitch
from services.orchestrator.wire.payments import snapshot_message
from services.shared.states import State
from services.wire import fill_optional_instant, money, timestamp

M = TypeVar("M", bound=Message)

_SHOWN: Final = (
    "quote_id",
    "currency_code",
    "total",
    "lines",
    "rounding",
    "payer_id",
    "create_time",
    "expire_time",
    "preview",
    "total_display",
)
_SHOWN_OF_SELLER: Final = ("seller_id", "base_minor", "net_minor", "vat_minor", "gross_minor")
_SHOWN_OF_ADJUSTMENT: Final = ("adjustment_id", "coupon_code", "direction", "amount_minor", "shares")
_QUOTE_STEPS: Final = {QuoteState.REDEEMED: "redeem quote", QuoteState.RELEASED: "release quote"}
_NOT_OF_TOTAL: Final = frozenset({pricing_pb2.STAGE_PLATFORM_FEE})


def unrecorded_payment(plan: Plan) -> status_pb2.Payment:
    """Return a payment while status is away: as one that is processing, and whose outcome is not recorded yet."""
    snapshot = replace(
        plan.latest_snapshot, collection=State.PROCESSING, reason=OUTCOME_NOT_RECORDED_YET, last_error=None
    )
    return status_pb2.Payment(
        payment_id=plan.payment_id,
        revision=plan.revision,
        state=payment_pb2.PAYMENT_STATE_PROCESSING,
        phase=status_pb2.PHASE_PROCESSING,
        snapshot=snapshot_message(snapshot),
        total=money(plan.total_minor or 0, plan.currency_code or ""),
        payer_id=plan.payer_id,
        seller_ids=plan.seller_ids,
        booking_ids=plan.booking_ids,
        client_reference=plan.client_reference,
        quote_id=plan.quote_id or "",
        labels=plan.labels,
    )


def seller_part(seller_id: str, gross_minor: int, fee_minor: int, currency: str) -> orchestrator_pb2.SellerPart:
    """Return the message of a seller's part, of a payment or of a refund."""
    return orchestrator_pb2.SellerPart(
        seller_id=seller_id, gross=money(gross_minor, currency), platform_fee=money(fee_minor, currency)
    )


def payment_plan(plan: Plan) -> orchestrator_pb2.PaymentPlan:
    """Return what was asked for and how far it has come."""
    currency = plan.currency_code or ""
    message = orchestrator_pb2.PaymentPlan(
        payment_id=plan.payment_id,
        timing=f"TIMING_{plan.terms.timing}",
        collection=f"COLLECTION_{plan.collection}",
        quote_id=plan.quote_id or "",
        seller_parts=[seller_part(part.seller_id, part.gross_minor, part.fee_minor, currency) for part in plan.parts],
        attempt=plan.attempt,
        mirror_version=plan.mirror_version,
        revision=plan.revision,
        pending_steps=[
            *(["start"] if plan.stage is Stage.STARTING else []),
            *(f"record {transition.fact}" for transition in plan.pending),
            *([_QUOTE_STEPS[plan.quote_pending]] if plan.quote_pending else []),
        ],
        create_time=timestamp(plan.create_time),
        booking_ids=plan.booking_ids,
        next_step=plan.next_step or "",
        time_zone=plan.terms.time_zone,
        charge_tries=plan.course.charge_tries,
    )
    if plan.next_step in (NextStep.GIVE_UP_START, NextStep.EXPIRE):
        fill_optional_instant(message, "expire_time", plan.next_time)
    fill_optional_instant(message, "next_time", plan.next_time)
    fill_optional_instant(message, "preserve_time", plan.course.preserve_time)
    return message


def for_payer(quote: pricing_pb2.Quote) -> pricing_pb2.Quote:
    """Return what a payer sees of a quote: what they pay, for what, to whom, and how it came about.

    Left out is what platform and sellers settle between them: fees, fee plans, shares, who bears a discount.
    """
    shown = pricing_pb2.Quote(
        rows=[row for row in quote.rows if row.payer_facing],
        sellers=[_copy(seller, _SHOWN_OF_SELLER) for seller in quote.sellers],
        stages=[stage for stage in quote.stages if stage.stage not in _NOT_OF_TOTAL],
        adjustments=[_copy(adjustment, _SHOWN_OF_ADJUSTMENT) for adjustment in quote.adjustments],
    )
    shown.MergeFrom(_copy(quote, _SHOWN))
    return shown


def _copy(message: M, names: tuple[str, ...]) -> M:
    """Return a message with the fields of these names alone."""
    copied = type(message)()
    copied.CopyFrom(message)
    for field, _ in message.ListFields():
        if field.name not in names:
            copied.ClearField(field.name)
    copied.DiscardUnknownFields()
    return copied


def start_switch(switch: StartSwitch) -> ops_pb2.StartSwitch:
    """Return what an operator said of new payments."""
    end = switch.expected_end_time
    return ops_pb2.StartSwitch(
        paused=switch.paused,
        create_time=timestamp(switch.create_time),
        actor_id=switch.actor_id,
        reason=switch.reason,
        public_message=switch.public_message,
        expected_end_time=None if end is None else timestamp(end),
    )
