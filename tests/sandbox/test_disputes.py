"""Disputes and inquiries: what they take, how they move, and what they forbid."""

from __future__ import annotations

import pytest
import stripe

from sandbox.control import Refused, SandboxControl
from sandbox.disputes import TEXTS
from tests.sandbox.samples import Api, debited, paid


async def events_of(control: SandboxControl, dispute_id: str) -> list[str]:
    found = await control.objects("event")
    return [event["type"] for event in found if event["data"]["object"]["id"] == dispute_id]


@pytest.mark.parametrize(
    ("card", "status", "reason"),
    [
        ("pm_card_createDispute", "needs_response", "fraudulent"),
        ("pm_card_createDisputeProductNotReceived", "needs_response", "product_not_received"),
        ("pm_card_createDisputeInquiry", "warning_needs_response", "fraudulent"),
    ],
)
async def test_a_card_that_is_known_for_it_is_disputed_after_it_paid(
    v1: Api, control: SandboxControl, card: str, status: str, reason: str
) -> None:
    intent = await paid(v1, card=card)
    assert not intent.latest_charge.disputed  # as it was answered

    await control.settle()

    (dispute,) = (await v1.disputes.list_async({"charge": intent.latest_charge.id})).data
    assert (dispute.status, dispute.reason, dispute.amount) == (status, reason, 10_000)
    assert (await v1.charges.retrieve_async(intent.latest_charge.id)).disputed


async def test_a_dispute_takes_its_money_and_gives_it_back_when_it_is_won(v1: Api, control: SandboxControl) -> None:
    opened = await control.dispute((await paid(v1)).id, amount=4_000)
    assert [entry["net"] for entry in opened["balance_transactions"]] == [-5_500]
    await control.move_dispute(opened["id"], "under_review")
    await control.move_dispute(opened["id"], "won")

    dispute = await v1.disputes.retrieve_async(opened["id"])
    assert [entry.amount for entry in dispute.balance_transactions] == [-4_000, 4_000]
    assert dispute.evidence_details.submission_count == 1
    assert await events_of(control, opened["id"]) == [
        "charge.dispute.created",
        "charge.dispute.funds_withdrawn",
        "charge.dispute.updated",
        "charge.dispute.closed",
        "charge.dispute.funds_reinstated",
    ]


async def test_an_inquiry_takes_nothing_unless_it_becomes_a_dispute(v1: Api, control: SandboxControl) -> None:
    quiet, loud = [await control.dispute((await paid(v1)).id, inquiry=True) for _ in range(2)]
    await control.move_dispute(quiet["id"], "warning_under_review")
    closed = await control.move_dispute(quiet["id"], "warning_closed")
    escalated = await control.move_dispute(loud["id"], "needs_response")

    assert (closed["balance_transactions"], len(escalated["balance_transactions"])) == ([], 1)
    assert (await events_of(control, loud["id"]))[-1] == "charge.dispute.funds_withdrawn"


@pytest.mark.parametrize(
    ("inquiry", "then", "is_refundable"),
    [(True, "", True), (False, "", False), (False, "lost", False), (False, "won", True)],
)
async def test_a_charge_is_refunded_only_as_far_as_its_dispute_lets_it(
    v1: Api, control: SandboxControl, inquiry: bool, then: str, is_refundable: bool
) -> None:
    intent = await paid(v1)
    dispute = await control.dispute(intent.id, inquiry=inquiry)
    if then:
        dispute = await control.move_dispute(dispute["id"], then)

    assert dispute["is_charge_refundable"] is is_refundable
    if is_refundable:
        assert (await v1.refunds.create_async({"payment_intent": intent.id})).status == "succeeded"
        return
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await v1.refunds.create_async({"payment_intent": intent.id, "amount": 1})
    assert caught.value.code == "charge_disputed"


async def test_what_took_no_money_is_not_disputed_and_what_is_closed_does_not_move(
    v1: Api, control: SandboxControl
) -> None:
    hold = await paid(v1, capture_method="manual")
    lost = await control.dispute((await paid(v1)).id)
    await control.move_dispute(lost["id"], "lost")

    with pytest.raises(Refused):
        await control.dispute(hold.id)
    for status in ("won", "under_review", "nonsense"):
        with pytest.raises(Refused):
            await control.move_dispute(lost["id"], status)


async def test_disputes_of_one_intent_are_listed_alone(v1: Api, control: SandboxControl) -> None:
    ours, theirs = await paid(v1), await paid(v1)
    first = await control.dispute(ours.id, amount=1_000)
    second = await control.dispute(ours.id, amount=2_000)
    await control.dispute(theirs.id)

    listed = await v1.disputes.list_async({"payment_intent": ours.id})

    assert [dispute.id for dispute in listed.data] == [second["id"], first["id"]]


@pytest.mark.parametrize(("returns_fee", "nets"), [(False, [-5_500, 4_000]), (True, [-5_500, 5_500])])
async def test_whether_the_fee_of_a_dispute_that_is_won_comes_back_is_said_by_its_balance_transactions(
    v1: Api, control: SandboxControl, returns_fee: bool, nets: list[int]
) -> None:
    opened = await control.dispute((await paid(v1)).id, amount=4_000, returns_fee=returns_fee)
    won = await control.move_dispute(opened["id"], "won")

    assert [entry["net"] for entry in won["balance_transactions"]] == nets
    categories = [entry["reporting_category"] for entry in won["balance_transactions"]]
    assert categories == ["dispute", "dispute_reversal"]


async def test_money_may_be_withdrawn_and_given_back_later_than_its_event(v1: Api, control: SandboxControl) -> None:
    opened = await control.dispute((await paid(v1)).id, moves_after_s=3_600, fee=0)
    assert opened["balance_transactions"] == []
    await control.settle()
    won = await control.move_dispute(opened["id"], "won")
    assert [entry["amount"] for entry in won["balance_transactions"]] == [-10_000]
    await control.settle()

    assert (await events_of(control, opened["id"]))[1::2] == [
        "charge.dispute.funds_withdrawn",
        "charge.dispute.funds_reinstated",
    ]


async def test_a_part_may_come_back_of_a_dispute_that_is_lost(v1: Api, control: SandboxControl) -> None:
    opened = await control.dispute((await paid(v1)).id)
    lost = await control.move_dispute(opened["id"], "lost", reinstated=3_000)

    assert (lost["status"], [entry["amount"] for entry in lost["balance_transactions"]]) == ("lost", [-10_000, 3_000])


async def test_disputes_of_a_charge_may_take_more_than_it_took(v1: Api, control: SandboxControl) -> None:
    intent = await paid(v1)
    await v1.refunds.create_async({"payment_intent": intent.id, "amount": 4_000})
    for amount in (10_000, 2_000):
        await control.dispute(intent.id, amount=amount)

    listed = await v1.balance_transactions.list_async({"type": "adjustment"})
    assert sorted(entry.net for entry in listed.data) == [-11_500, -3_500]


async def test_evidence_is_a_draft_until_it_is_handed_in_and_more_may_follow(v1: Api, control: SandboxControl) -> None:
    opened = await control.dispute((await paid(v1)).id)
    draft = {"product_description": "A lesson", "receipt": "file_1Kept"}
    await v1.disputes.update_async(opened["id"], {"evidence": draft, "submit": False, "metadata": {"by": "op"}})
    kept = await v1.disputes.update_async(opened["id"], {"evidence": {"receipt": ""}, "submit": False})
    assert (kept.status, kept.evidence.product_description, kept.evidence.receipt) == (
        "needs_response",
        "A lesson",
        None,
    )
    assert (kept.evidence_details.has_evidence, kept.evidence_details.submission_count) == (True, 0)

    handed_in = await v1.disputes.update_async(opened["id"], {"submit": True})
    again = await v1.disputes.update_async(opened["id"], {"evidence": {"service_date": "2026-11-02"}})

    assert (handed_in.status, handed_in.evidence_details.submission_count) == ("under_review", 1)
    assert (again.status, again.evidence_details.submission_count, again.metadata["by"]) == ("under_review", 2, "op")


@pytest.mark.parametrize(
    ("evidence", "param"),
    [
        ({"receipt": "a text"}, "evidence[receipt]"),
        ({"product_description": "x" * 20_001}, "evidence[product_description]"),
        (dict.fromkeys(TEXTS[:8], "x" * 20_000), "evidence"),
    ],
)
async def test_evidence_that_breaks_the_limits_is_refused(
    v1: Api, control: SandboxControl, evidence: dict[str, str], param: str
) -> None:
    opened = await control.dispute((await paid(v1)).id)

    with pytest.raises(stripe.InvalidRequestError) as caught:
        await v1.disputes.update_async(opened["id"], {"evidence": evidence})

    assert caught.value.param == param


@pytest.mark.parametrize(
    ("inquiry", "text", "status"),
    [
        (False, "winning_evidence", "won"),
        (False, "losing_evidence", "lost"),
        (True, "winning_evidence", "warning_closed"),
        (True, "losing_evidence", "needs_response"),
    ],
)
async def test_stripes_texts_for_tests_decide_a_dispute(
    v1: Api, control: SandboxControl, inquiry: bool, text: str, status: str
) -> None:
    opened = await control.dispute((await paid(v1)).id, inquiry=inquiry)
    await v1.disputes.update_async(opened["id"], {"evidence": {"uncategorized_text": text}, "submit": True})
    await control.settle()

    assert (await v1.disputes.retrieve_async(opened["id"])).status == status


async def test_a_dispute_is_given_up_once_and_takes_no_evidence_then(v1: Api, control: SandboxControl) -> None:
    opened = await control.dispute((await paid(v1)).id)
    assert (await v1.disputes.close_async(opened["id"])).status == "lost"

    with pytest.raises(stripe.InvalidRequestError):
        await v1.disputes.close_async(opened["id"])
    with pytest.raises(stripe.InvalidRequestError):
        await v1.disputes.update_async(opened["id"], {"evidence": {"customer_name": "A"}})


async def test_what_nobody_answers_is_lost_by_the_clock_and_an_inquiry_is_not(v1: Api, control: SandboxControl) -> None:
    silent = await control.dispute((await paid(v1)).id, due_in_s=3_600)
    asked = await control.dispute((await paid(v1)).id, due_in_s=3_600, inquiry=True)
    answered = await control.dispute((await paid(v1)).id, due_in_s=3_600)
    await v1.disputes.update_async(answered["id"], {"evidence": {"customer_name": "A"}})
    await control.advance(3_601)

    ended = [(await v1.disputes.retrieve_async(one["id"])).status for one in (silent, asked, answered)]
    assert ended == ["lost", "warning_needs_response", "under_review"]
    late = await v1.disputes.update_async(asked["id"], {"evidence": {"customer_name": "A"}})
    assert late.evidence_details.past_due


@pytest.mark.parametrize("end", ["won", "lost"])
async def test_a_decision_is_appealed_and_an_inquiry_is_prevented(v1: Api, control: SandboxControl, end: str) -> None:
    opened = await control.dispute((await paid(v1)).id)
    for status in ("lost", "appeal_needs_response"):
        await control.move_dispute(opened["id"], status)
    appealed = await v1.disputes.update_async(opened["id"], {"evidence": {"uncategorized_text": "Look again."}})
    assert appealed.status == "appeal_under_review"
    ended = await control.move_dispute(opened["id"], end)
    prevented = await control.dispute((await paid(v1)).id, inquiry=True)
    prevented = await control.move_dispute(prevented["id"], "prevented")

    assert len(ended["balance_transactions"]) == (2 if end == "won" else 1)
    assert prevented["balance_transactions"] == []


async def test_a_debit_is_lost_at_once(v1: Api, control: SandboxControl) -> None:
    intent = await debited(v1)
    await control.finish_debit(intent.id)
    lost = await control.dispute(intent.id)

    assert (lost["status"], lost["evidence_details"]["due_by"]) == ("lost", None)
    assert (await events_of(control, lost["id"]))[-1] == "charge.dispute.closed"


@pytest.mark.parametrize("because", ["refunded", "disputed", "approved"])
async def test_a_warning_and_a_review_stand_until_the_charge_is_refunded_or_disputed(
    v1: Api, control: SandboxControl, because: str
) -> None:
    intent = await paid(v1)
    warning, review = await control.warn_of_fraud(intent.id), await control.open_review(intent.id)
    assert [one.id for one in (await v1.reviews.list_async()).data] == [review["id"]]
    if because == "refunded":
        await v1.refunds.create_async({"payment_intent": intent.id})
    elif because == "disputed":
        await control.dispute(intent.id)
    else:
        await v1.reviews.approve_async(review["id"])

    listed = await v1.radar.early_fraud_warnings.list_async({"payment_intent": intent.id})
    assert [one.actionable for one in listed.data] == [because == "approved"]
    closed = await v1.reviews.retrieve_async(review["id"])
    assert (closed.open, closed.closed_reason, warning["actionable"]) == (False, because, True)
    assert (await v1.payment_intents.retrieve_async(intent.id)).review == review["id"]
