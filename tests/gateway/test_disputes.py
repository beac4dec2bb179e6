"""Money that the payer's bank takes back: what is said of it, to whom, and what is not done meanwhile."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from grpc import StatusCode

from batzen.gateway.v1 import refunds_pb2
from batzen.gateway.v1.observation_pb2 import Notice
from services.gateway.call_log import backoff
from services.gateway.disputes.domain import (
    UNREAD,
    WARNING_DAYS,
    Dispute,
    DisputeState,
    Standing,
    Withdrawal,
    standing_of,
)
from services.gateway.intents.domain import Intent
from services.gateway.mirror import attention
from services.gateway.refunds.domain import Refund
from services.shared import codec
from services.shared.payment import Attention
from services.shared.states import AttentionReason
from tests.gateway.receiving import event_of
from tests.gateway.samples import AMOUNT_MINOR, Payments, refusal
from tests.gateway.test_domain import NOW, START, conclude, intent, paid, refund
from tests.gateway.test_inbox import Place, place, quiet  # noqa: F401 fixtures

STATUS_OF = {
    Standing.OPEN: "needs_response",
    Standing.INQUIRY: "warning_needs_response",
    Standing.LOST: "lost",
    Standing.CLOSED: "won",
}
DUE = datetime(2026, 12, 1, 18, tzinfo=UTC)


def moved(amount_minor: int, *, fee_minor: int = 0, currency_code: str = "CHF", rate: str = "") -> Withdrawal:
    """A balance transaction of a dispute."""
    return Withdrawal(
        balance_transaction_id="txn_1",
        amount_minor=amount_minor,
        fee_minor=fee_minor,
        currency_code=currency_code,
        create_time=NOW,
        available_time=NOW + timedelta(days=2),
        exchange_rate=rate,
    )


def dispute(standing: str, amount_minor: int = AMOUNT_MINOR, *, dispute_id: str = "dp_1", **fields: Any) -> Dispute:
    ours: dict[str, Any] = {
        "status": STATUS_OF[standing],
        "reason": "fraudulent",
        "is_charge_refundable": False,
        "currency_code": "CHF",
        "create_time": NOW,
    }
    if standing == Standing.LOST:
        ours["withdrawals"] = (moved(-amount_minor),)
    return Dispute(dispute_id=dispute_id, standing=standing, amount_minor=amount_minor, **{**ours, **fields})


# The rules.


@pytest.mark.parametrize(
    ("standing", "open_minor", "lost_minor", "reason"),
    [
        (Standing.OPEN, 4_000, 0, "DISPUTE_OPEN"),
        (Standing.LOST, 0, 4_000, "DISPUTE_LOST"),
        (Standing.INQUIRY, 0, 0, "INQUIRY_OPEN"),
        (Standing.CLOSED, 0, 0, None),
    ],
)
def test_a_dispute_takes_what_it_contests_while_it_is_open_and_when_it_is_lost(
    standing: str, open_minor: int, lost_minor: int, reason: str | None
) -> None:
    seen = conclude(START, [paid(disputed=True, disputes=(dispute(standing, 4_000),))], [])

    assert (seen.amounts.disputed_open_minor, seen.amounts.disputed_lost_minor) == (open_minor, lost_minor)
    assert seen.refundable_minor == AMOUNT_MINOR - open_minor - lost_minor
    assert [one.reason for one in seen.attentions] == ([reason] if reason else [])


def test_several_disputes_of_a_charge_are_all_counted_and_all_said() -> None:
    both = (
        dispute(Standing.LOST, 1_000, dispute_id="dp_1"),
        dispute(Standing.OPEN, 2_000, dispute_id="dp_2", evidence_due_time=DUE),
    )

    seen = conclude(START, [paid(disputed=True, disputes=both)], [])

    assert (seen.amounts.disputed_open_minor, seen.amounts.disputed_lost_minor) == (2_000, 1_000)
    assert [(one.reason, one.detail) for one in seen.attentions] == [
        (
            "DISPUTE_OPEN",
            "Dispute dp_2 over 20.00 CHF (fraudulent) is open; evidence is due by 2026-12-01 18:00 UTC.",
        ),
        ("DISPUTE_LOST", "Dispute dp_1 over 10.00 CHF (fraudulent) was lost."),
    ]


def test_a_charge_that_is_disputed_in_a_way_not_read_yet_needs_an_operator_and_gives_nothing_back() -> None:
    unread = paid(disputed=True)

    assert conclude(START, [unread], []).attentions == (UNREAD,)
    assert not unread.may_be_refunded


@pytest.mark.parametrize(
    ("standing", "is_refundable", "may"),
    [
        (Standing.OPEN, False, False),
        (Standing.OPEN, True, True),
        (Standing.INQUIRY, True, True),
        (Standing.INQUIRY, False, False),
        (Standing.CLOSED, False, True),  # Stripe has the last word
        (Standing.LOST, False, True),
    ],
)
def test_a_disputed_charge_is_refunded_only_while_stripe_says_that_it_can_be(
    standing: str, is_refundable: bool, may: bool
) -> None:
    contested = paid(disputed=True, disputes=(dispute(standing, is_charge_refundable=is_refundable),))

    assert contested.may_be_refunded is may


def test_what_a_bank_took_back_of_another_attempt_is_no_surplus_any_more() -> None:
    contested = paid(2, disputed=True, disputes=(dispute(Standing.LOST, 4_000),))

    seen = conclude(START, [paid(1), contested], [refund(1_000, attempt=2)])

    assert (seen.amounts.surplus_minor, seen.amounts.disputed_lost_minor) == (5_000, 0)


@pytest.mark.parametrize(
    ("status", "is_withdrawn", "standing"),
    [
        ("needs_response", False, Standing.OPEN),
        ("appeal_under_review", True, Standing.OPEN),
        ("lost", True, Standing.LOST),
        ("won", False, Standing.CLOSED),
        ("warning_closed", False, Standing.CLOSED),
        ("warning_under_review", False, Standing.INQUIRY),
        ("prevented", True, Standing.LOST),
        ("prevented", False, Standing.CLOSED),
        ("a_state_to_come", True, Standing.OPEN),
        ("a_state_to_come", False, Standing.INQUIRY),
    ],
)
def test_every_state_of_a_dispute_says_where_the_money_is(status: str, is_withdrawn: bool, standing: str) -> None:
    assert standing_of(status, is_withdrawn=is_withdrawn) == standing


@pytest.mark.parametrize(
    ("status", "state", "is_inquiry"),
    [
        ("warning_under_review", DisputeState.UNDER_REVIEW, True),
        ("warning_closed", DisputeState.CLOSED, True),
        ("appeal_needs_response", DisputeState.APPEAL_NEEDS_RESPONSE, False),
        ("prevented", DisputeState.PREVENTED, False),
        ("a_state_to_come", DisputeState.OTHER, False),
    ],
)
def test_a_state_is_told_as_the_contract_names_it(status: str, state: DisputeState, is_inquiry: bool) -> None:
    shown = dispute(Standing.OPEN, status=status)

    assert (shown.state, shown.is_inquiry) == (state, is_inquiry)


def test_a_part_of_what_was_lost_that_came_back_is_refundable() -> None:
    partly = dispute(Standing.LOST, 6_000, withdrawals=(moved(-6_000), moved(2_000)))

    seen = conclude(START, [paid(disputed=True, disputes=(partly,))], [])

    assert (seen.amounts.disputed_lost_minor, seen.refundable_minor) == (4_000, AMOUNT_MINOR - 4_000)


def test_an_operator_is_told_seven_three_and_one_day_before_once_each() -> None:
    told, said, due_times = dispute(Standing.OPEN, evidence_due_time=DUE), [], []
    while (due_time := told.next_warning_time()) is not None:
        due_times.append((DUE - due_time).days)
        assert told.warned(due_time - timedelta(seconds=1)).warned_days == told.warned_days
        told = told.warned(due_time)
        attention = told.attention()
        assert attention is not None
        said.append((attention.reason, attention.detail.partition(":")[0]))

    assert tuple(due_times) == WARNING_DAYS
    assert said == [
        ("DISPUTE_DUE", "In less than 7 days"),
        ("DISPUTE_DUE", "In less than 3 days"),
        ("DISPUTE_DUE", "In less than 1 day"),
    ]


@pytest.mark.parametrize("status", ["under_review", "won", "warning_under_review"])
def test_what_was_answered_or_ended_is_not_due(status: str) -> None:
    standing = standing_of(status, is_withdrawn=False)
    over = dispute(standing, status=status, evidence_due_time=DUE, warned_days=3)

    assert over.next_warning_time() is None
    assert over.warned(DUE) == over
    assert "less than" not in str(over.attention())


def test_what_is_due_soon_when_it_comes_is_told_by_what_is_left() -> None:
    late = dispute(Standing.INQUIRY, evidence_due_time=DUE).warned(DUE - timedelta(days=2))

    assert late.warned_days == 3
    assert late.next_warning_time() == DUE - timedelta(days=1)


def test_what_needs_an_operator_most_is_named_first_and_each_reason_once() -> None:
    every = [Attention(reason=reason, detail=f"About {reason}.") for reason in reversed(attention.BY_URGENCY)]

    said = attention.by_reason([*every, Attention(reason=AttentionReason.SURPLUS, detail="And more.")])

    assert [one.reason for one in said] == list(attention.BY_URGENCY)
    assert {one.reason: one.detail for one in said} == {
        **{reason: f"About {reason}." for reason in attention.BY_URGENCY},
        AttentionReason.SURPLUS: "About SURPLUS. And more.",
    }
    assert attention.by_reason([]) == ()


# The gateway.


async def _event(place: Place, shown: dict[str, Any], event_type: str) -> str:  # noqa: F811
    receipt = await place.sender.send(event_of(shown, event_type, at=place.clock.now()))
    await place.idle()
    return receipt


async def _refused(payments: Payments, payment_id: str, amount_minor: int, *, expected_minor: int) -> tuple[Any, str]:
    request = payments.refund_request(payment_id, amount_minor, expected_minor=expected_minor)
    return await refusal(payments.gateway.CreateRefund(request))


async def test_a_dispute_is_told_with_what_it_takes_and_ends_as_it_is_decided(place: Place) -> None:  # noqa: F811
    payment_id = await place.payments.paid()
    opened = await place.stripe.dispute(await place.payments.intent_id(payment_id), amount=6_000)

    assert await _event(place, opened, "charge.dispute.created") == "ACCEPTED"

    heard = (await place.sink.hears(payment_id, lambda seen: seen.amounts.disputed_open_minor == 6_000)).observation
    assert (heard.refundable_minor, heard.attention.reason) == (AMOUNT_MINOR - 6_000, "DISPUTE_OPEN")
    assert opened["id"] in heard.attention.detail
    disputed = (StatusCode.FAILED_PRECONDITION, "CHARGE_DISPUTED")
    assert await _refused(place.payments, payment_id, 1_000, expected_minor=4_000) == disputed

    won = await place.stripe.move_dispute(opened["id"], "won")
    await _event(place, won, "charge.dispute.closed")

    seen = await place.payments.seen(payment_id)
    assert (seen.amounts.disputed_open_minor, seen.refundable_minor) == (0, AMOUNT_MINOR)
    assert not seen.HasField("attention")
    begun, over = place.sink.told(payment_id)
    assert (begun.kind, over.kind) == (Notice.KIND_DISPUTE_OPENED, Notice.KIND_DISPUTE_CLOSED)
    assert (begun.values["dispute_id"], begun.values["amount_minor"]) == (opened["id"], "6000")
    assert (over.values["outcome"], over.seller_ids) == ("WON", [place.payments.seller_id])
    given = await place.payments.gateway.CreateRefund(place.payments.refund_request(payment_id, AMOUNT_MINOR))
    assert given.refund.state == refunds_pb2.Refund.STATE_SUCCEEDED


async def test_a_lost_dispute_stays_said(place: Place) -> None:  # noqa: F811
    payment_id = await place.payments.paid()
    opened = await place.stripe.dispute(await place.payments.intent_id(payment_id))
    await _event(place, await place.stripe.move_dispute(opened["id"], "lost"), "charge.dispute.closed")

    seen = await place.payments.seen(payment_id)
    assert (seen.amounts.disputed_lost_minor, seen.refundable_minor) == (AMOUNT_MINOR, 0)
    assert seen.attention.reason == "DISPUTE_LOST"
    assert await place.payments.synced(payment_id) == seen


async def test_an_inquiry_takes_nothing_asks_for_an_operator_and_lets_refunds_pass(place: Place) -> None:  # noqa: F811
    payment_id = await place.payments.paid()
    asked = await place.stripe.dispute(await place.payments.intent_id(payment_id), inquiry=True)
    await _event(place, asked, "charge.dispute.created")

    seen = await place.payments.seen(payment_id)
    assert (seen.amounts.disputed_open_minor, seen.refundable_minor) == (0, AMOUNT_MINOR)
    assert seen.attention.reason == "INQUIRY_OPEN"
    await place.payments.gateway.CreateRefund(place.payments.refund_request(payment_id, 1_000))
    closed = await place.stripe.move_dispute(asked["id"], "warning_closed")
    await _event(place, closed, "charge.dispute.closed")
    assert not (await place.payments.seen(payment_id)).HasField("attention")


async def test_a_dispute_whose_webhooks_were_lost_is_seen_by_any_reading(place: Place) -> None:  # noqa: F811
    payment_id = await place.payments.paid("createDispute")
    await place.stripe.settle()

    seen = await place.payments.synced(payment_id)

    assert (seen.amounts.disputed_open_minor, seen.attention.reason) == (AMOUNT_MINOR, "DISPUTE_OPEN")


async def test_a_dispute_that_is_not_seen_yet_is_refused_as_stripe_refuses_it(place: Place) -> None:  # noqa: F811
    payment_id = await place.payments.paid()
    await place.stripe.dispute(await place.payments.intent_id(payment_id), amount=100)

    disputed = (StatusCode.FAILED_PRECONDITION, "CHARGE_DISPUTED")
    assert await _refused(place.payments, payment_id, 1_000, expected_minor=AMOUNT_MINOR) == disputed
    assert (await place.payments.seen(payment_id)).amounts.refund_pending_minor == 0


async def test_a_warning_of_fraud_and_a_review_ask_for_an_operator_until_they_are_over(place: Place) -> None:  # noqa: F811
    payment_id = await place.payments.paid()
    (charge,) = await place.payments.charges(payment_id)
    warning = await place.stripe.warn_of_fraud(charge["payment_intent"])
    review = await place.stripe.open_review(charge["payment_intent"])

    await _event(place, warning, "radar.early_fraud_warning.created")
    heard = (await place.sink.hears(payment_id, lambda seen: seen.is_held_back)).observation
    assert (heard.attention.reason, heard.early_fraud_warning) == ("EARLY_FRAUD_WARNING", True)
    assert warning["id"] in heard.attention.detail
    await _event(place, review, "review.opened")
    await _event(place, warning | {"actionable": False}, "radar.early_fraud_warning.updated")
    seen = await place.payments.seen(payment_id)
    assert (seen.attention.reason, seen.is_held_back, seen.early_fraud_warning) == ("REVIEW_OPEN", True, False)
    assert review["id"] in seen.attention.detail
    assert warning["id"] not in seen.attention.detail

    await _event(place, review | {"open": False}, "review.closed")
    seen = await place.payments.seen(payment_id)
    assert not seen.HasField("attention")
    assert not seen.is_held_back


async def test_that_a_review_and_a_warning_are_over_is_seen_by_a_reading_too(place: Place) -> None:  # noqa: F811
    payment_id = await place.payments.paid()
    (charge,) = await place.payments.charges(payment_id)
    warning = await place.stripe.warn_of_fraud(charge["payment_intent"])
    review = await place.stripe.open_review(charge["payment_intent"])
    await _event(place, warning, "radar.early_fraud_warning.created")
    await _event(place, review, "review.opened")
    assert (await place.payments.synced(payment_id)).is_held_back  # nothing is over

    await place.stripe.refund(charge["payment_intent"])

    seen = await place.payments.synced(payment_id)
    assert (seen.is_held_back, seen.HasField("attention"), seen.amounts.refunded_minor) == (False, False, AMOUNT_MINOR)


async def test_that_a_review_is_over_counts_in_whatever_order_it_is_told(place: Place) -> None:  # noqa: F811
    payment_id = await place.payments.paid()
    (charge,) = await place.payments.charges(payment_id)
    review = await place.stripe.open_review(charge["payment_intent"])
    closed = await place.stripe.close_review(review["id"])

    await _event(place, closed, "review.closed")
    await _event(place, review, "review.opened")  # late, or repeated

    seen = await place.payments.seen(payment_id)
    assert (seen.is_held_back, seen.HasField("attention")) == (False, False)


async def test_a_review_that_stripe_does_not_show_is_open_until_it_does(place: Place) -> None:  # noqa: F811
    payment_id = await place.payments.paid()
    (charge,) = await place.payments.charges(payment_id)
    review = await place.stripe.open_review(charge["payment_intent"])
    await place.stripe.close_review(review["id"])
    await place.stripe.fault("forbidden", route="GET /v1/reviews/*", times=None)

    await place.sender.send(event_of(review, "review.opened", at=place.clock.now()))
    await place.sink.hears(payment_id, lambda seen: seen.is_held_back)
    await place.stripe.clear_faults()
    place.clock.advance(backoff.REST_MAX)
    await place.idle()

    assert not (await place.payments.seen(payment_id)).is_held_back


# Refunds that the payer does not get.


async def test_a_refund_that_fails_after_it_succeeded_needs_an_operator_until_the_payer_has_the_money(
    place: Place,  # noqa: F811
) -> None:
    payment_id = await place.payments.paid("refundFail")
    gateway, clock = place.payments.gateway, place.clock
    given = await gateway.CreateRefund(place.payments.refund_request(payment_id, 4_000))
    other = await gateway.CreateRefund(place.payments.refund_request(payment_id, 4_000, expected_minor=6_000))
    assert other.observation.amounts.refunded_minor == 8_000
    clock.advance(timedelta(days=3))
    await place.stripe.settle()

    seen = await place.payments.synced(payment_id)
    assert (seen.amounts.refunded_minor, seen.refundable_minor) == (0, AMOUNT_MINOR)
    assert seen.attention.reason == "REFUND_FAILED"
    assert "80.00 CHF" in seen.attention.detail
    assert given.refund.refund_id in seen.attention.detail
    assert (await place.sink.hears(payment_id, lambda one: one == seen)) is not None

    clock.advance(timedelta(hours=1))
    part = await gateway.CreateRefund(place.payments.refund_request(payment_id, 5_000))
    assert "30.00 CHF" in part.observation.attention.detail
    rest = await gateway.CreateRefund(place.payments.refund_request(payment_id, 3_000, expected_minor=5_000))
    assert not rest.observation.HasField("attention")


def test_a_refund_made_before_another_failed_does_not_stand_for_it() -> None:
    failed = refund(4_000, state="FAILED")
    failed = replace(failed, stripe_refund_id="re_1", fail_time=failed.create_time + timedelta(days=2))
    beside = replace(refund(5_000), stripe_refund_id="re_2", create_time=failed.create_time + timedelta(days=1))
    after = replace(refund(4_000), stripe_refund_id="re_3", create_time=failed.create_time + timedelta(days=2))

    assert conclude(START, [paid()], [failed, beside]).attentions
    assert conclude(START, [paid()], [failed, beside, after]).attentions == ()


def test_a_refund_that_stripe_never_took_was_promised_to_nobody() -> None:
    assert conclude(START, [paid()], [refund(4_000, state="FAILED")]).attentions == ()
    canceled = replace(refund(4_000, state="CANCELED"), stripe_refund_id="re_1")
    assert conclude(START, [paid()], [canceled]).attentions


def test_what_is_kept_of_a_dispute_a_notice_and_a_failure_is_read_back() -> None:

    kept = intent(notices=(("prv_1", "review.opened"),))
    contested = dispute(Standing.LOST, evidence_due_time=DUE)
    failed = replace(refund(1), fail_time=DUE)

    assert codec.from_json(Intent, codec.to_json(kept)) == kept
    assert codec.from_json(Dispute, codec.to_json(contested)) == contested
    assert codec.from_json(Refund, codec.to_json(failed)) == failed
