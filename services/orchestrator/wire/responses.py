"""Builds answers. Of what is passed on, it names what is shown: a field of later is hidden until it is named, too."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final, TypeVar

from google.protobuf.message import Message

from batzen.orchestrator.v1 import ops_pb2, orchestrator_pb2
from batzen.pricing.v1 import pricing_pb2
from batzen.status.v1 import status_pb2
from batzen.type.v1 import payment_pb2
from services.orchestrator.domain import timings
from services.orchestrator.domain.money_policy import Allowed
from services.orchestrator.domain.payment import OUTCOME_NOT_RECORDED_YET
from services.orchestrator.domain.plan import NextStep, Plan, Stage
from services.orchestrator.domain.quote import QuoteState
from services.orchestrator.domain.refund import RefundedLine
from services.orchestrator.domain.start_switch import StartSwitch
from services.orchestrator.wire.payments import snapshot_message
from services.shared.states import State
from services.wire import fill_optional_instant, money, timestamp

M = TypeVar("M", bound=Message)

_SHOWN: Final = (
    "quote_id",
    "currency_code",
    "total",
    "rounding",
    "payer_id",
    "create_time",
    "expire_time",
    "preview",
    "total_display",
)
_SHOWN_OF_LINE: Final = (
    "line_id",
    "seller_id",
    "kind",
    "quantity",
    "unit_amount_minor",
    "list_minor",
    "adjustment_minor",
    "base_minor",
    "net_minor",
    "vat_minor",
    "gross_minor",
    "tax",
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


def _seller_parts(lines: Iterable[tuple[str, int, int]], currency: str) -> list[orchestrator_pb2.SellerPart]:
    """Return the sums of each seller, in the order of the lines, of which each has seller, gross and seller's share."""
    sums: dict[str, tuple[int, int]] = {}
    for seller_id, gross_minor, share_minor in lines:
        gross_before_minor, share_before_minor = sums.get(seller_id, (0, 0))
        sums[seller_id] = (gross_before_minor + gross_minor, share_before_minor + share_minor)
    return [
        orchestrator_pb2.SellerPart(
            seller_id=seller_id,
            gross=money(gross_minor, currency),
            platform_fee=money(gross_minor - share_minor, currency),
            seller_share=money(share_minor, currency),
        )
        for seller_id, (gross_minor, share_minor) in sums.items()
    ]


def refund_preview(
    amount_minor: int, refundable_minor: int, lines: Sequence[RefundedLine], said: Allowed, currency: str
) -> orchestrator_pb2.PreviewRefundResponse:
    """Return what a refund would do, and what the policy gives back."""
    message = orchestrator_pb2.PreviewRefundResponse(
        amount=money(amount_minor, currency),
        refundable=money(refundable_minor, currency),
        seller_parts=_seller_parts(
            ((line.seller_id, line.gross_minor, line.shares.seller_minor) for line in lines), currency
        ),
        lines=[
            orchestrator_pb2.RefundLine(
                line_id=line.line_id,
                seller_id=line.seller_id,
                gross_minor=line.gross_minor,
                seller_share_minor=line.shares.seller_minor,
                platform_fee_minor=line.shares.platform_fee_minor,
                fee_vat_minor=line.shares.fee_vat_minor,
                platform_vat_minor=line.shares.platform_vat_minor,
                discounts_funded_minor=line.shares.discounts_funded_minor,
                surcharges_minor=line.shares.surcharges_minor,
                rounding_minor=line.shares.rounding_minor,
                platform_borne_minor=line.platform_borne_minor,
            )
            for line in lines
        ],
        policy_amount=money(said.amount_minor, currency),
        policy_lines=[
            orchestrator_pb2.RefundLineAmount(line_id=line_id, amount_minor=minor)
            for line_id, minor in said.of_lines.items()
        ],
    )
    fill_optional_instant(message, "policy_until", said.until)
    return message


def payment_plan(plan: Plan) -> orchestrator_pb2.PaymentPlan:
    """Return what was asked for and how far it has come."""
    currency = plan.currency_code or ""
    message = orchestrator_pb2.PaymentPlan(
        payment_id=plan.payment_id,
        timing=f"TIMING_{plan.terms.timing}",
        timings_offered=[f"TIMING_{one}" for one in timings.open_to(plan)],
        collection=f"COLLECTION_{plan.collection}",
        quote_id=plan.quote_id or "",
        seller_parts=_seller_parts(
            ((line.seller_id, line.gross_minor, line.seller_minor) for line in plan.split.lines), currency
        ),
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
        lines=[_copy(line, _SHOWN_OF_LINE) for line in quote.lines],
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
