"""What people are told of: what is new of a dispute, a transfer, an account, a payout, and the same of the same."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from services.gateway.mirror.payment import MirroredPayment
from services.gateway.notices.domain import Notice
from services.gateway.notices.noticed import NEWS_AGE_MAX, of_account, of_payment, of_payout
from services.gateway.sellers.domain import AccountDetails, Requirements, SellerAccount
from services.gateway.settlement.domain import Movement, MovementKind, MovementOrigin, MovementState
from tests.gateway.test_dispute_money import dispute, moved, payment_of
from tests.gateway.test_disputes import NOW
from tests.gateway.test_payouts import sight
from tests.gateway.test_positions import attempt, line

OPEN, INQUIRY, CLOSED, LOST = "OPEN", "INQUIRY", "CLOSED", "LOST"
DOCUMENT = "individual.verification.document"
TRANSFER = Movement(
    movement_id="transfer_1",
    kind=MovementKind.TRANSFER,
    origin=MovementOrigin.SOURCE,
    attempt=1,
    seller_id="s1",
    amount_minor=8_500,
    currency_code="CHF",
    charge_minor=8_500,
    fact="transfer:1",
    create_time=NOW,
)


def contested() -> MirroredPayment:
    """A payment of two sellers that was saved."""
    payment = payment_of(attempt(line("s1", 10_000), line("s2", 5_000)))
    payment.mark_saved()
    return payment


def told(payment: MirroredPayment, *, now: datetime = NOW) -> list[Notice]:
    """Return what people are told as it is saved now."""
    found = list(of_payment(payment, now=now))
    payment.mark_saved()
    assert not list(of_payment(payment, now=now)), "it is told with each save"
    return found


def shown(payment: MirroredPayment, standing: str, **fields: Any) -> list[Notice]:
    """Let Stripe show the dispute, and return what people are told."""
    payment.apply_disputes(1, [dispute(standing, 6_000, **fields)])
    return told(payment)


def said(found: list[Notice]) -> list[tuple[str, str]]:
    return [(one.kind, one.values.get("outcome", one.values.get("inquiry", ""))) for one in found]


# Disputes.


def test_a_dispute_is_told_when_it_opens_and_when_it_closes_to_who_has_a_part() -> None:
    payment = contested()
    (opened,) = shown(payment, OPEN, evidence_due_time=NOW + timedelta(days=7))
    assert not shown(payment, OPEN, status="under_review", evidence_due_time=NOW + timedelta(days=7))
    back = (moved(-6_000, fee_minor=1_500), moved(6_000, fee_minor=-500))
    (closed,) = shown(payment, CLOSED, withdrawals=back)

    assert (opened.kind, opened.payment_id, opened.seller_ids) == ("DISPUTE_OPENED", "pay_a", ("s1", "s2"))
    assert opened.values == {
        "dispute_id": "dp_1",
        "amount_minor": "6000",
        "currency_code": "CHF",
        "reason": "fraudulent",
        "inquiry": "false",
        "evidence_due_time": f"{NOW + timedelta(days=7):%Y-%m-%dT%H:%M:%SZ}",
    }
    assert closed.values["outcome"] == "WON"
    assert (closed.values["fee_minor"], closed.values["fee_currency_code"]) == ("1000", "CHF")
    assert opened.notice_id != closed.notice_id


def test_what_becomes_of_a_dispute_is_told_each_time_that_it_begins_or_ends_and_never_twice() -> None:
    payment = contested()
    found = [
        *shown(payment, INQUIRY),
        *shown(payment, OPEN),
        *shown(payment, LOST),
        *shown(payment, OPEN, status="appeal_needs_response"),
        *shown(payment, OPEN, status="appeal_under_review"),
        *shown(payment, LOST),
        *shown(payment, CLOSED),  # won after all, of which no appeal was seen
    ]

    opened, closed = "DISPUTE_OPENED", "DISPUTE_CLOSED"
    assert said(found) == [
        (opened, "true"), (opened, "false"), (closed, "LOST"), (opened, "false"), (closed, "LOST"), (closed, "WON"),
    ]  # fmt: skip
    assert len({one.notice_id for one in found}) == len(found)


def test_who_sees_the_same_comes_to_the_same_notices() -> None:
    """As after a crash, or a restore that has forgotten that it was told."""
    one, other = contested(), contested()
    first = shown(one, OPEN) + shown(one, LOST)
    other.apply_disputes(1, [dispute(OPEN, 6_000)])
    other.apply_disputes(1, [dispute(LOST, 6_000)])  # both before it was saved

    assert [each.notice_id for each in told(other)] == [each.notice_id for each in first]


def test_a_dispute_that_is_seen_once_it_is_over_is_only_told_to_be() -> None:
    assert said(shown(contested(), CLOSED, status="prevented")) == [("DISPUTE_CLOSED", "PREVENTED")]
    assert not shown(contested(), LOST, create_time=NOW - NEWS_AGE_MAX - timedelta(days=1))  # history, of an import


# Transfers.


@pytest.mark.parametrize(
    ("code", "waited", "reason"),
    [
        ("insufficient_capabilities_for_transfer", timedelta(hours=23), None),
        ("insufficient_capabilities_for_transfer", timedelta(days=1), "SELLER"),
        ("balance_insufficient", timedelta(days=2), "BALANCE"),
        ("account_invalid", timedelta(0), "SELLER_GONE"),
        ("amount_too_large", timedelta(0), "REFUSED"),
    ],
)
def test_a_transfer_that_does_not_come_by_itself_or_for_a_day_is_told_once(
    code: str, waited: timedelta, reason: str | None
) -> None:
    payment = contested()
    payment.reserve(TRANSFER, asked=NOW)
    assert not told(payment)

    payment.refused("transfer_1", code=code, now=NOW + waited)
    found = told(payment)

    assert [one.values["reason"] for one in found] == ([reason] if reason else [])
    for one in found:
        assert (one.kind, one.payment_id, one.seller_ids) == ("TRANSFER_FAILED", "pay_a", ("s1",))
        assert (one.values["amount_minor"], one.values["refusal_code"]) == ("8500", code)
        payment.reserve(TRANSFER, asked=NOW + waited)  # it is asked for again
        assert not told(payment)
        payment.refused("transfer_1", code=code, now=NOW + waited + timedelta(days=1))
        assert not told(payment)


def test_what_a_seller_does_not_give_back_is_no_transfer_that_failed() -> None:
    payment = contested()
    back = replace(TRANSFER, kind=MovementKind.REVERSAL, state=MovementState.REFUSED, refusals=1, refuse_time=NOW)
    payment.movements[back.movement_id] = replace(back, refusal_code="resource_missing")
    assert not told(payment)


# Accounts.


def account(*wanted: str, submitted: bool = True, due: datetime | None = None, **fields: Any) -> SellerAccount:
    reason, past = fields.pop("reason", ""), fields.pop("past", ())
    requirements = Requirements(currently_due=wanted, past_due=past, due_time=due)
    ours = {"charges_enabled": True, "payouts_enabled": True, "transfers_enabled": True, "gone": False}
    details = AccountDetails(requirements=requirements, disabled_reason=reason, details_submitted=submitted)
    return SellerAccount(seller_id="s1", stripe_account_id="acct_1", details=details, **{**ours, **fields})


READY = account()
NEW = account("external_account", "tos_acceptance.date", submitted=False)


@pytest.mark.parametrize(
    ("before", "after", "is_told"),
    [
        (None, READY, False),
        (None, NEW, True),
        (NEW, account("company.name", submitted=False), False),  # its page asks for the next by itself
        (NEW, account("company.name", submitted=False, due=NOW), True),
        (NEW, READY, False),
        (READY, account(DOCUMENT), True),
        (account(DOCUMENT), account(DOCUMENT), False),
        (account(DOCUMENT), account(DOCUMENT, "company.tax_id"), True),
        (account(DOCUMENT, "company.tax_id"), account(DOCUMENT), False),
        (account(DOCUMENT), account(DOCUMENT, due=NOW), True),
        (account(DOCUMENT, due=NOW), account(DOCUMENT, due=NOW + timedelta(days=9)), False),
        (account(DOCUMENT), account(past=(DOCUMENT,), reason="requirements.past_due"), True),
        (account(reason="listed"), account(reason="listed"), False),
        (READY, account(gone=True), True),
        (account(gone=True), account(gone=True), False),
        (account(gone=True), NEW, True),
        (account(gone=True), READY, False),
    ],
)
def test_a_seller_is_told_of_what_is_wanted_now_and_was_not_before(
    before: SellerAccount | None, after: SellerAccount, is_told: bool
) -> None:
    found = list(of_account(before, after, now=NOW))
    assert [(one.kind, one.seller_ids, one.payment_id) for one in found] == (
        [("ONBOARDING_REQUIRED", ("s1",), "")] if is_told else []
    )


def test_what_is_wanted_of_a_seller_is_counted_and_never_named() -> None:
    wanted = account("person_1.first_name", past=(DOCUMENT,), reason="requirements.past_due", due=NOW)
    (one,) = of_account(READY, wanted, now=NOW)

    assert one.values == {
        "requirements_count": "2",
        "past_due_count": "1",
        "due_time": f"{NOW:%Y-%m-%dT%H:%M:%SZ}",
        "disabled_reason": "requirements.past_due",
        "gone": "false",
    }


def test_the_same_is_wanted_once_a_day_and_may_be_wanted_again() -> None:
    wanted, times = account(DOCUMENT), (NOW, NOW, NOW + timedelta(days=365))
    ids = [one.notice_id for now in times for one in of_account(READY, wanted, now=now)]
    assert (len(ids), len(set(ids))) == (3, 2)


# Payouts.


@pytest.mark.parametrize("state", ["pending", "in_transit", "paid", "canceled"])
def test_only_a_payout_that_failed_is_told(state: str) -> None:
    assert not list(of_payout(sight(state)))


def test_a_payout_that_failed_is_told_to_whose_it_is_with_why() -> None:
    failed = sight("failed", failure_code="account_closed")
    (one,), (of_platform,) = of_payout(failed), of_payout(replace(failed, seller_id="", stripe_account_id=""))

    assert (one.kind, one.seller_ids, of_platform.seller_ids) == ("PAYOUT_FAILED", ("seller_1",), ())
    assert (one.values["amount_minor"], one.values["failure_code"]) == ("8500", "account_closed")
    assert one.notice_id != of_platform.notice_id
