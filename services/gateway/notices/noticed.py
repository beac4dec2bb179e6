"""What is noticed: by what was kept before, and what is kept now. Pure.

The same change comes to the same notice, whoever sees it and however often: also after a crash, and after a restore of
the database that has forgotten that it was seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from services.gateway.disputes.domain import Dispute
from services.gateway.intents.domain import Intent
from services.gateway.mirror.payment import MirroredPayment
from services.gateway.notices.domain import Notice, NoticeKind, notice_id, written
from services.gateway.payouts.domain import FAILED, Payout
from services.gateway.sellers.domain import SellerAccount
from services.gateway.settlement.domain import Movement, MovementKind, MovementState
from services.gateway.settlement.moves import wait_of
from services.gateway.settlement.positions import split_of
from services.gateway.settlement.standings import needs_operator

NEWS_AGE_MAX: Final = timedelta(days=120)
"""Of a dispute that is first seen when it is over, such as one of an imported payment: few take longer than 90 days."""


def of_payment(payment: MirroredPayment, *, now: datetime) -> Iterator[Notice]:
    """Yield what is new of a payment's disputes and transfers since it was written."""
    for intent in payment.intents.values():
        known = payment.written.get(intent.attempt)
        before = {one.dispute_id: one for one in known.disputes} if isinstance(known, Intent) else {}
        for dispute in intent.disputes:
            yield from _of_dispute(payment, intent, before.get(dispute.dispute_id), dispute, now=now)
    for movement in payment.movements.values():
        if _is_in_vain(movement) and not _was_in_vain(payment.written.get(movement.movement_id)):
            yield _transfer_failed(payment, movement)


def of_account(before: SellerAccount | None, after: SellerAccount, *, now: datetime) -> Iterator[Notice]:
    """Yield that a seller is wanted to do something that it was not before.

    While a seller is being onboarded, Stripe wants one piece after the other, which its page shows by itself: of those
    none is told but the first.
    """
    if not _is_news(before, after):
        return
    requirements = after.details.requirements
    wanted = sorted({*requirements.currently_due, *requirements.past_due})
    # The day tells one time from the next, as the same may be wanted again in a year, and no two of one day.
    when = (str(requirements.due_time or ""), f"{now:%Y-%m-%d}")
    what = (after.stripe_account_id, *wanted, after.details.disabled_reason, str(after.gone), *when)
    yield Notice(
        notice_id=notice_id(NoticeKind.ONBOARDING_REQUIRED, after.seller_id, *what),
        kind=NoticeKind.ONBOARDING_REQUIRED,
        occur_time=now,
        seller_ids=(after.seller_id,),
        values=written(
            {
                "requirements_count": len(wanted),
                "past_due_count": len(requirements.past_due),
                "due_time": requirements.due_time,
                "disabled_reason": after.details.disabled_reason,
                "gone": after.gone,
            }
        ),
    )


def of_payout(shown: Payout) -> Iterator[Notice]:
    """Yield that a payout did not arrive, as an event shows it: nothing follows that, whatever is known of it here."""
    if shown.state == FAILED:
        yield Notice(
            notice_id=notice_id(NoticeKind.PAYOUT_FAILED, shown.stripe_account_id, shown.payout_id),
            kind=NoticeKind.PAYOUT_FAILED,
            occur_time=shown.shown_time,
            seller_ids=(shown.seller_id,) if shown.seller_id else (),
            values=written(
                {
                    "payout_id": shown.payout_id,
                    "amount_minor": shown.amount_minor,
                    "currency_code": shown.currency_code,
                    "failure_code": shown.failure_code,
                    "arrival_time": shown.arrival_time,
                }
            ),
        )


def _of_dispute(
    payment: MirroredPayment, intent: Intent, before: Dispute | None, after: Dispute, *, now: datetime
) -> Iterator[Notice]:
    values: dict[str, str | bool | int | datetime | None] = {
        "dispute_id": after.dispute_id,
        "amount_minor": after.amount_minor,
        "currency_code": after.currency_code,
        "reason": after.reason,
        "inquiry": after.is_inquiry,
    }
    sellers = split_of(intent).seller_ids
    opening = str(after.openings)
    if after.openings > (before.openings if before is not None else 0):
        yield Notice(
            notice_id=notice_id(NoticeKind.DISPUTE_OPENED, after.dispute_id, opening),
            kind=NoticeKind.DISPUTE_OPENED,
            occur_time=after.create_time if after.openings == 1 else now,
            payment_id=payment.payment_id,
            seller_ids=sellers,
            values=written(values | {"evidence_due_time": after.evidence_due_time}),
        )
    is_history = before is None and now - after.create_time > NEWS_AGE_MAX
    if not after.is_open and not is_history and (before is None or before.state != after.state):
        yield Notice(
            notice_id=notice_id(NoticeKind.DISPUTE_CLOSED, after.dispute_id, opening, after.state),
            kind=NoticeKind.DISPUTE_CLOSED,
            occur_time=now,
            payment_id=payment.payment_id,
            seller_ids=sellers,
            values=written(values | {"outcome": after.state} | _fee(after)),
        )


def _fee(dispute: Dispute) -> dict[str, str | int]:
    """Return what Stripe kept for a dispute, as far as it has booked that."""
    if not dispute.withdrawals:
        return {}
    fee_minor = sum(one.fee_minor for one in dispute.withdrawals)
    return {"fee_minor": fee_minor, "fee_currency_code": dispute.withdrawals[-1].currency_code}


def _transfer_failed(payment: MirroredPayment, movement: Movement) -> Notice:
    return Notice(
        notice_id=notice_id(NoticeKind.TRANSFER_FAILED, payment.payment_id, movement.movement_id),
        kind=NoticeKind.TRANSFER_FAILED,
        occur_time=movement.refuse_time or movement.create_time,
        payment_id=payment.payment_id,
        seller_ids=(movement.seller_id,),
        values=written(
            {
                "transfer_id": movement.movement_id,
                "amount_minor": movement.charge_minor,
                "currency_code": payment.currency_code,
                "reason": wait_of(movement),
                "refusal_code": movement.refusal_code,
            }
        ),
    )


def _is_in_vain(movement: Movement) -> bool:
    """Whether a seller does not get what Stripe refused, by itself or for long."""
    is_refused = movement.kind is MovementKind.TRANSFER and movement.state is MovementState.REFUSED
    return is_refused and needs_operator(movement)


def _was_in_vain(before: object) -> bool:
    """Whether that was so when it was written, also while it was asked for once more."""
    return isinstance(before, Movement) and before.refusals > 0 and needs_operator(before)


def _is_news(before: SellerAccount | None, after: SellerAccount) -> bool:
    wanted, reason = after.details.requirements, after.details.disabled_reason
    if after.gone:
        return before is None or not before.gone
    if not (wanted.currently_due or wanted.past_due or reason):
        return False
    if before is None or before.gone or before.stripe_account_id != after.stripe_account_id:
        return True
    known = before.details.requirements
    if wanted.due_time is not None and (known.due_time is None or wanted.due_time < known.due_time):
        return True
    if not after.details.details_submitted:
        return False
    is_more = {*wanted.currently_due, *wanted.past_due} - {*known.currently_due, *known.past_due}
    return bool(is_more) or reason not in ("", before.details.disabled_reason)
