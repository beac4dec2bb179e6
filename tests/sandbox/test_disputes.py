"""Disputes and inquiries: what they take, how they move, and what they forbid."""

from __future__ import annotations

import pytest
import stripe

from sandbox.control import Refused, SandboxControl
from tests.sandbox.samples import Api, paid


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
