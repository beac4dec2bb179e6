"""Records that are taken over, as messages say them; what is wrong is named by its field of the record."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final, TypeVar

from google.protobuf.message import Message

from batzen.gateway.v1 import imports_pb2 as pb
from services import wire
from services.errors import FieldInvalid, FieldMissing
from services.gateway.disputes.domain import Dispute, Standing, Withdrawal
from services.gateway.imports.domain import (
    ATTEMPT,
    Consent,
    CustomerRecord,
    Moved,
    PaymentRecord,
    SellerRecord,
)
from services.gateway.intents.domain import Intent
from services.gateway.refunds.domain import Bearer, Refund, RefundState
from services.gateway.settlement.domain import DisputeRecovery, MovementKind, Settled, SettlementTerms
from services.gateway.settlement.seen import BackFacts, MovedFacts
from services.gateway.stripe_api import currencies, stripe_ids
from services.shared import fields
from services.shared.amounts import AMOUNT_MINOR_MAX
from services.shared.payment import Method
from services.shared.split import LinePart, Split
from services.shared.states import IntentState

LINES_MAX: Final = 100
MOVEMENTS_MAX: Final = 100
REFUNDS_MAX: Final = 100
DISPUTES_MAX: Final = 10
CONSENTS_MAX: Final = 50
WORD_CHARACTERS_MAX: Final = 100
"""Of a reason of Stripe's."""
BACK: Final = {MovementKind.TRANSFER: ("trr_",), MovementKind.FEE: ("fr_",)}
"""How the ids of what goes back begin."""
_MOVES: Final = {MovementKind.TRANSFER: stripe_ids.TRANSFER, MovementKind.FEE: stripe_ids.FEE}
_BEARERS: Final = {
    pb.ImportedRefund.BEARER_UNSPECIFIED: Bearer.SHARED,
    pb.ImportedRefund.BEARER_SHARED: Bearer.SHARED,
    pb.ImportedRefund.BEARER_SELLER: Bearer.SELLER,
    pb.ImportedRefund.BEARER_PLATFORM: Bearer.PLATFORM,
}

M = TypeVar("M", bound=Message)


def payment(message: pb.ImportedPayment) -> PaymentRecord:
    """Read a payment."""
    currency_code = _currency(message.currency_code)
    lines = _lines(message, currency_code)
    charge = message.charge if message.HasField("charge") else None
    captured_minor = charge.captured_minor if charge is not None else 0
    if captured_minor and not lines:
        raise FieldMissing(field="lines")
    refunds = _refunds(message.refunds)
    disputes = _disputes(message.disputes, currency_code, charge_id=charge.charge_id if charge is not None else "")
    if not captured_minor and (refunds or disputes):
        raise FieldInvalid(field="refunds", detail="must be empty: nothing was captured of the payment")
    if sum(one.amount_minor for one in refunds) > captured_minor:
        raise FieldInvalid(field="refunds", detail="must come to at most what was captured")
    intent = None if charge is None else _intent(message, charge, lines, refunded=refunds, is_disputed=bool(disputes))
    moved = () if charge is None else _moved(charge, currency_code)
    return PaymentRecord(
        payment_id=fields.payment_id(message.payment_id),
        payer_id=fields.identifier(message.payer_id, field="payer_id"),
        currency_code=currency_code,
        intent=intent,
        seller_ids=tuple(dict.fromkeys(one.seller_id for one in lines if not one.is_platform)),
        capture_time=_time(charge, "capture_time", "charge") if charge is not None and captured_minor else None,
        moved=moved,
        refunds=refunds,
        disputes=disputes,
    )


def customer(message: pb.ImportedCustomer) -> CustomerRecord:
    """Read a customer."""
    default_id = message.default_method_id
    _check_count(message.consents, "consents", CONSENTS_MAX)
    return CustomerRecord(
        payer_id=fields.identifier(message.payer_id, field="payer_id"),
        customer_id=stripe_ids.read(message.customer_id, stripe_ids.CUSTOMER, field="customer_id"),
        default_method_id=_method_id(default_id, field="default_method_id") if default_id else "",
        consents=tuple(
            Consent(
                payment_method_id=_method_id(one.payment_method_id, field=f"consents[{place}].payment_method_id"),
                actor_id=fields.identifier(one.actor_id, field=f"consents[{place}].actor_id"),
                consent_time=_time(one, "consent_time", f"consents[{place}]"),
            )
            for place, one in enumerate(message.consents)
        ),
    )


def seller(message: pb.ImportedSeller) -> SellerRecord:
    """Read a seller's account."""
    return SellerRecord(
        seller_id=fields.identifier(message.seller_id, field="seller_id"),
        stripe_account_id=stripe_ids.read(message.stripe_account_id, stripe_ids.ACCOUNT, field="stripe_account_id"),
    )


def _intent(
    message: pb.ImportedPayment,
    charge: pb.ImportedCharge,
    lines: tuple[LinePart, ...],
    *,
    refunded: Sequence[Refund],
    is_disputed: bool,
) -> Intent:
    captured_minor = _amount(charge.captured_minor, field="charge.captured_minor", least_minor=0)
    is_paid = captured_minor > 0
    if captured_minor > message.total_minor:
        raise FieldInvalid(field="charge.captured_minor", detail="must be at most the total")
    sellers = tuple(dict.fromkeys(one.seller_id for one in lines if not one.is_platform))
    if charge.is_destination and (len(sellers) != 1 or any(one.is_platform for one in lines)):
        raise FieldInvalid(field="charge.is_destination", detail="must not be set: the lines are not all of one seller")
    currency_code = message.currency_code
    split = Split(lines=lines, step_minor=currencies.limits(currency_code).step_minor) if lines else None
    recovery = DisputeRecovery.AT_LOSS if message.sellers_bear_disputes else DisputeRecovery.NONE
    is_own_transfer = is_paid and not charge.is_destination
    return Intent(
        attempt=ATTEMPT,
        amount_minor=message.total_minor,
        application_fee_minor=sum(one.platform_minor for one in lines) if charge.is_destination else 0,
        create_time=_time(message, "open_time"),
        seller_id=sellers[0] if charge.is_destination else "",
        split=split,
        settlement=SettlementTerms(dispute_recovery=recovery),
        settled=Settled(charge_minor=captured_minor, amount_minor=captured_minor, currency_code=currency_code)
        if is_own_transfer
        else None,
        intent_id=stripe_ids.read(charge.intent_id, stripe_ids.INTENT, field="charge.intent_id"),
        state=IntentState.SUCCEEDED if is_paid else IntentState.CANCELED,
        captured_minor=captured_minor,
        charge_id=stripe_ids.read(charge.charge_id, stripe_ids.CHARGE, field="charge.charge_id")
        if is_paid or charge.charge_id
        else "",
        refunded_at_stripe_minor=sum(one.amount_minor for one in refunded),
        disputed=is_disputed,
        is_unseen=True,
        method=wire.read(Method, charge.method) if charge.HasField("method") else None,
    )


def _lines(message: pb.ImportedPayment, currency_code: str) -> tuple[LinePart, ...]:
    total_minor = _amount(message.total_minor, field="total_minor", least_minor=0)
    _check_count(message.lines, "lines", LINES_MAX)
    lines = tuple(_line(one, at=f"lines[{place}]") for place, one in enumerate(message.lines))
    if len({one.line_id for one in lines}) != len(lines):
        raise FieldInvalid(field="lines", detail="must have each line once")
    if lines and sum(one.gross_minor for one in lines) != total_minor:
        raise FieldInvalid(field="lines", detail="must come to the total")
    step_minor = currencies.limits(currency_code).step_minor
    for place, one in enumerate(lines):
        if one.gross_minor % step_minor or one.seller_minor % step_minor:
            raise FieldInvalid(field=f"lines[{place}]", detail=f"must have amounts that are multiples of {step_minor}")
    return lines


def _line(message: pb.ImportedLine, *, at: str) -> LinePart:
    gross_minor = _amount(message.gross_minor, field=f"{at}.gross_minor", least_minor=0)
    fee_minor = _amount(message.fee_minor, field=f"{at}.fee_minor", least_minor=0)
    if fee_minor > gross_minor or (fee_minor and message.is_platform):
        raise FieldInvalid(
            field=f"{at}.fee_minor", detail="must be at most what the payer paid, and 0 of what the platform sold"
        )
    return LinePart(
        line_id=fields.identifier(message.line_id, field=f"{at}.line_id"),
        seller_id=fields.identifier(message.seller_id, field=f"{at}.seller_id"),
        gross_minor=gross_minor,
        seller_minor=gross_minor - fee_minor,
        platform_fee_minor=fee_minor,
        is_platform=message.is_platform,
    )


def _moved(charge: pb.ImportedCharge, currency_code: str) -> tuple[Moved, ...]:
    named = (
        (MovementKind.TRANSFER, "charge.transfers", charge.transfers),
        (MovementKind.FEE, "charge.application_fees", charge.application_fees),
    )
    if charge.application_fees and not charge.is_destination:
        raise FieldInvalid(field="charge.application_fees", detail="must be empty: only a destination charge has one")
    found = []
    for kind, at, messages in named:
        _check_count(messages, at, MOVEMENTS_MAX)
        _check_distinct((one.stripe_id for one in messages), at)
        for place, one in enumerate(messages):
            facts = _movement(one, kind, currency_code, charge.charge_id, at=f"{at}[{place}]")
            found.append(Moved(seller_id=one.seller_id, facts=facts))
    return tuple(found)


def _movement(
    message: pb.ImportedMovement, kind: MovementKind, currency_code: str, charge_id: str, *, at: str
) -> MovedFacts:
    _check_count(message.back, f"{at}.back", MOVEMENTS_MAX)
    _check_distinct((one.stripe_id for one in message.back), f"{at}.back")
    fields.identifier(message.seller_id, field=f"{at}.seller_id")
    back = tuple(
        BackFacts(
            stripe_id=stripe_ids.read(one.stripe_id, BACK[kind], field=f"{at}.back[{place}].stripe_id"),
            movement_id="",
            amount_minor=_amount(one.amount_minor, field=f"{at}.back[{place}].amount_minor"),
            create_time=_time(one, "create_time", f"{at}.back[{place}]"),
            stripe_refund_id=_refund_id(one.stripe_refund_id, field=f"{at}.back[{place}].stripe_refund_id"),
        )
        for place, one in enumerate(message.back)
    )
    amount_minor = _amount(message.amount_minor, field=f"{at}.amount_minor")
    if (back_minor := sum(one.amount_minor for one in back)) > amount_minor:
        raise FieldInvalid(field=f"{at}.back", detail="must be at most what there was to go back")
    return MovedFacts(
        kind=kind,
        stripe_id=stripe_ids.read(message.stripe_id, _MOVES[kind], field=f"{at}.stripe_id"),
        charge_id=charge_id,
        amount_minor=amount_minor,
        currency_code=currency_code,
        create_time=_time(message, "create_time", at),
        back=back,
        back_minor=back_minor,
    )


def _refunds(messages: Sequence[pb.ImportedRefund]) -> tuple[Refund, ...]:
    _check_count(messages, "refunds", REFUNDS_MAX)
    found = tuple(_refund(one, at=f"refunds[{place}]") for place, one in enumerate(messages))
    _check_distinct((one.refund_id for one in found), "refunds")
    return tuple(sorted(found, key=lambda one: (one.create_time, one.refund_id)))


def _refund(message: pb.ImportedRefund, *, at: str) -> Refund:
    stripe_id = stripe_ids.read(message.stripe_refund_id, stripe_ids.REFUND, field=f"{at}.stripe_refund_id")
    bearer = _BEARERS.get(message.bearer)
    if bearer is None:
        detail = fields.one_of(pb.ImportedRefund.Bearer.items(), _BEARERS)
        raise FieldInvalid(field=f"{at}.bearer", detail=detail)
    return Refund(
        refund_id=f"refund_{stripe_id.partition('_')[2]}",
        attempt=ATTEMPT,
        amount_minor=_amount(message.amount_minor, field=f"{at}.amount_minor"),
        create_time=_time(message, "create_time", at),
        state=RefundState.SUCCEEDED,
        stripe_refund_id=stripe_id,
        actor_id=fields.reference(message.actor_id, field=f"{at}.actor_id"),
        reason=fields.text(message.reason, field=f"{at}.reason", characters_max=WORD_CHARACTERS_MAX),
        bearer=bearer,
    )


def _disputes(messages: Sequence[pb.ImportedDispute], currency_code: str, *, charge_id: str) -> tuple[Dispute, ...]:
    _check_count(messages, "disputes", DISPUTES_MAX)
    _check_distinct((one.dispute_id for one in messages), "disputes")
    return tuple(_dispute(one, currency_code, charge_id, at=f"disputes[{place}]") for place, one in enumerate(messages))


def _dispute(message: pb.ImportedDispute, currency_code: str, charge_id: str, *, at: str) -> Dispute:
    """Read a dispute. What of it Stripe took, and gave back, are balance transactions whose ids nobody needs."""
    dispute_id = stripe_ids.read(message.dispute_id, stripe_ids.DISPUTE, field=f"{at}.dispute_id")
    amount_minor = _amount(message.amount_minor, field=f"{at}.amount_minor")
    opened, closed = _time(message, "open_time", at), _time(message, "close_time", at)
    if closed < opened:
        raise FieldInvalid(field=f"{at}.close_time", detail="must not be before it was opened")
    moves = [(-amount_minor, opened)] if message.is_lost else [(-amount_minor, opened), (amount_minor, closed)]
    return Dispute(
        dispute_id=dispute_id,
        status="lost" if message.is_lost else "won",
        standing=Standing.LOST if message.is_lost else Standing.CLOSED,
        amount_minor=amount_minor,
        currency_code=currency_code,
        reason=fields.text(message.reason, field=f"{at}.reason", characters_max=WORD_CHARACTERS_MAX),
        is_charge_refundable=False,
        charge_id=charge_id,
        create_time=opened,
        withdrawals=tuple(
            Withdrawal(
                balance_transaction_id=f"imported_{dispute_id}_{number}",
                amount_minor=minor,
                fee_minor=0,
                currency_code=currency_code,
                create_time=time,
                available_time=time,
            )
            for number, (minor, time) in enumerate(moves, start=1)
        ),
    )


def _currency(value: str) -> str:
    if not value:
        raise FieldMissing(field="currency_code")
    currencies.limits(value)
    return value


def _amount(minor: int, *, field: str, least_minor: int = 1) -> int:
    if not least_minor <= minor <= AMOUNT_MINOR_MAX:
        raise FieldInvalid(field=field, detail=f"must be {least_minor} to {AMOUNT_MINOR_MAX} minor units")
    return minor


def _time(message: Message, name: str, at: str = "") -> datetime:
    found = wire.instant(message, name)
    if found is None:
        raise FieldMissing(field=f"{at}.{name}" if at else name)
    return found


def _refund_id(value: str, *, field: str) -> str:
    return stripe_ids.read(value, stripe_ids.REFUND, field=field) if value else ""


def _method_id(value: str, *, field: str) -> str:
    return stripe_ids.read(value, stripe_ids.PAYMENT_METHOD, field=field)


def _check_count(messages: Iterable[M], field: str, at_most: int) -> None:
    if len(list(messages)) > at_most:
        raise FieldInvalid(field=field, detail=f"must be at most {at_most}")


def _check_distinct(ids: Iterable[str], field: str) -> None:
    """Refuse what stands in a record twice: it would be counted twice, or never be kept."""
    every = list(ids)
    if len(set(every)) < len(every):
        raise FieldInvalid(field=field, detail="must have each once")
