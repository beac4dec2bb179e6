"""What an account has: balance transactions of every kind, payouts and what is in them, exchange, planted faults."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from sandbox.control import Refused, SandboxControl
from sandbox.state import Sandbox
from tests.sandbox.samples import Api, debited, paid, seller
from tests.sandbox.test_transfers import has, refused, settled

DAY_S = 86_400
FRESH = tuple[Api, SandboxControl]


async def own_id(v1: Api) -> str:
    return str((await v1.accounts.retrieve_current_async()).id)


async def rows(v1: Api, **params: Any) -> list[Any]:
    """Return balance transactions, oldest first."""
    return list((await v1.balance_transactions.list_async({"limit": 100, **params})).data)[::-1]


async def test_every_kind_of_balance_transaction_counts_and_has_its_category(v1: Api, control: SandboxControl) -> None:
    me = await own_id(v1)
    await control.top_up(me, 50_000, currency="chf")
    charge = await settled(v1, card="pm_card_refundFail")
    await v1.refunds.create_async({"payment_intent": charge.id, "amount": 1_000})
    await control.settle()
    split = await settled(v1, application_fee_amount=700, transfer_data={"destination": await seller(v1)})
    await v1.refunds.create_async(
        {"payment_intent": split.id, "reverse_transfer": True, "refund_application_fee": True}
    )
    await control.dispute((await settled(v1)).id)
    await control.book(me, "stripe_fee", -200, currency="chf", description="Radar")
    await control.book(me, "reserved_funds", -300, currency="chf")
    await control.book(me, "gift_from_heaven", 40, currency="chf", fee=4)
    payout = await v1.payouts.create_async({"amount": 1_000, "currency": "chf", "metadata": {"by": "hand"}})
    await v1.payouts.cancel_async(payout.id)

    found = await rows(v1)

    assert [(row.type, row.net, row.reporting_category) for row in found] == [
        ("topup", 50_000, "topup"),
        ("charge", 9_680, "charge"),
        ("refund", -1_000, "refund"),
        ("refund_failure", 1_000, "refund_failure"),
        ("charge", 9_680, "charge"),
        ("transfer", -10_000, "transfer"),
        ("application_fee", 700, "platform_earning"),
        ("refund", -10_000, "refund"),
        ("transfer_refund", 10_000, "transfer_reversal"),
        ("application_fee_refund", -700, "platform_earning_refund"),
        ("charge", 9_680, "charge"),
        ("adjustment", -11_500, "dispute"),
        ("stripe_fee", -200, "fee"),
        ("reserved_funds", -300, "risk_reserved_funds"),
        ("gift_from_heaven", 36, "gift_from_heaven"),
        ("payout", -1_000, "payout"),
        ("payout_cancel", 1_000, "payout_reversal"),
    ]
    assert sum(await has(v1)) == sum(row.net for row in found)
    assert all(row.net == row.amount - row.fee == row.amount - sum(d.amount for d in row.fee_details) for row in found)
    expanded = (await v1.balance_transactions.list_async({"expand": ["data.source"]})).data
    assert [row.source and row.source.object for row in expanded[:6]] == ["payout"] * 2 + [None] * 3 + ["dispute"]


async def test_a_debit_books_a_payment_and_its_refund(v1: Api, control: SandboxControl) -> None:
    debit = await debited(v1)
    await control.finish_debit(debit.id)
    await control.settle()
    await v1.refunds.create_async({"payment_intent": debit.id, "amount": 4_000})

    assert [(row.type, row.amount, row.reporting_category) for row in await rows(v1)] == [
        ("payment", 10_000, "charge"),
        ("payment_refund", -4_000, "refund"),
    ]


async def test_balance_transactions_are_listed_by_what_is_asked(fresh: FRESH) -> None:
    v1, control = fresh
    first = await settled(v1)
    await control.advance(60)
    second = await settled(v1, currency="eur", amount=5_000)
    one, two = await rows(v1)

    for params, expected in (
        ({"created": {"gt": one.created}}, [two.id]),
        ({"created": {"gte": one.created, "lt": two.created}}, [one.id]),
        ({"created": {"lte": one.created}}, [one.id]),
        ({"currency": "eur"}, [two.id]),
        ({"source": first.latest_charge.id}, [one.id]),
        ({"type": "charge", "source": second.latest_charge.id}, [two.id]),
        ({"type": "refund"}, []),
        ({"payout": "po_nobody"}, []),
    ):
        assert [row.id for row in await rows(v1, **params)] == expected


async def test_an_automatic_payout_takes_what_is_available_and_names_it(fresh: FRESH) -> None:
    v1, control = fresh
    me = await own_id(v1)
    early = await settled(v1)
    await v1.refunds.create_async({"payment_intent": early.id, "amount": 1_000})
    await control.advance(2 * DAY_S)
    late = await settled(v1)
    assert await has(v1) == (8_680, 9_680)

    payout = await control.pay_out(me, currency="chf")

    assert (payout["amount"], payout["status"], payout["reconciliation_status"]) == (8_680, "pending", "in_progress")
    assert await has(v1) == (0, 9_680)
    with pytest.raises(Refused, match="Nothing in chf is available"):
        await control.pay_out(me, currency="chf")
    await control.settle()
    inside = await rows(v1, payout=payout["id"])
    assert [(row.type, row.net) for row in inside] == [("charge", 9_680), ("refund", -1_000), ("payout", -8_680)]
    assert (await v1.events.list_async({"type": "payout.reconciliation_completed"})).data
    await control.advance(2 * DAY_S)
    done = await v1.payouts.retrieve_async(payout["id"], {"expand": ["balance_transaction"]})
    assert (done.status, done.reconciliation_status, done.balance_transaction.amount) == ("paid", "completed", -8_680)

    await control.move_payout(payout["id"], "failed", failure_code="account_closed")
    again = await control.pay_out(me, currency="chf")

    assert again["amount"] == 9_680 + 8_680
    assert [(row.type, row.source) for row in await rows(v1, payout=again["id"])] == [
        ("charge", late.latest_charge.id),
        ("payout_failure", payout["id"]),
        ("payout", again["id"]),
    ]
    failed = await v1.payouts.retrieve_async(payout["id"])
    assert (failed.failure_code, failed.failure_balance_transaction) == ("account_closed", (await rows(v1))[-2].id)
    events = (await v1.events.list_async({"type": "payout.*"})).data
    assert [event.type for event in events if event.data.object.id == payout["id"]] == [
        "payout.failed",
        "payout.paid",
        "payout.reconciliation_completed",
        "payout.created",
    ]


async def test_once_a_day_what_is_available_is_paid_out_by_itself(fresh: FRESH) -> None:
    v1, control = fresh
    me = await own_id(v1)
    await control.take_of_charges(me, per_mille=0, fixed=25)
    await control.pay_out_daily(me)
    await settled(v1)
    await settled(v1, currency="eur")
    await control.advance(DAY_S)
    assert (await v1.payouts.list_async()).data == []

    await control.advance(2 * DAY_S)

    assert {(one.currency, one.amount) for one in (await v1.payouts.list_async()).data} == {
        ("chf", 9_975),
        ("eur", 9_975),
    }
    await control.pay_out_daily(me, daily=False)
    await settled(v1)
    await control.advance(9 * DAY_S)
    assert [one.status for one in (await v1.payouts.list_async()).data] == ["paid", "paid"]


async def test_a_payout_by_hand_takes_no_more_than_is_available(v1: Api, control: SandboxControl) -> None:
    await control.top_up(await own_id(v1), 3_000, currency="chf")
    for amount, code in ((3_001, "balance_insufficient"), (0, "parameter_invalid_integer")):
        assert (await refused(v1.payouts.create_async({"amount": amount, "currency": "chf"}))).code == code
    with pytest.raises(stripe.APIError) as caught:
        await v1.payouts.create_async({"amount": 100, "currency": "chf", "method": "instant"})
    assert caught.value.http_status == 501

    payout = await v1.payouts.create_async({"amount": 2_000, "currency": "chf", "statement_descriptor": "BATZEN"})

    assert (payout.automatic, payout.reconciliation_status) == (False, "not_applicable")
    assert await rows(v1, payout=payout.id) == []
    changed = await v1.payouts.update_async(payout.id, {"metadata": {"of": "May"}})
    assert changed.metadata.to_dict() == {"of": "May"}
    in_time = await v1.payouts.list_async({"arrival_date": {"gte": payout.arrival_date}, "status": "pending"})
    assert [one.id for one in in_time.data] == [payout.id]
    assert (await v1.payouts.list_async({"arrival_date": {"lt": payout.arrival_date}})).data == []
    await control.move_payout(payout.id, "in_transit")
    assert "only be canceled while" in str(await refused(v1.payouts.cancel_async(payout.id)))
    assert await has(v1) == (1_000, 0)


async def test_a_seller_who_was_paid_out_has_nothing_to_reverse(v1: Api, control: SandboxControl) -> None:
    account = await seller(v1)
    charge = (await settled(v1)).latest_charge.id
    made = await v1.transfers.create_async(
        {"amount": 8_500, "currency": "chf", "destination": account, "source_transaction": charge}
    )

    payout = await control.empty_account(account, currency="chf")

    assert (payout["amount"], await has(v1, account)) == (8_500, (0, 0))
    assert (await refused(v1.transfers.reversals.create_async(made.id))).code == "balance_insufficient"
    own: Any = {"stripe_account": account}
    listed = (await v1.balance_transactions.list_async({"payout": payout["id"]}, own)).data
    assert [row.type for row in listed] == ["payout", "payment"]
    events = await control.objects("event", account=account)
    assert (events[0]["type"], events[0]["data"]["object"]["id"]) == ("payout.created", payout["id"])


async def test_a_charge_in_another_currency_is_settled_in_the_platforms(v1: Api, control: SandboxControl) -> None:
    me, account = await own_id(v1), await seller(v1)
    await control.settle_in(me, "chf", rates={"eur": "0.95"})
    intent = await settled(v1, currency="eur")
    charge = intent.latest_charge.id
    (row,) = await rows(v1)
    assert (row.amount, row.currency, row.exchange_rate, row.fee) == (9_500, "chf", 0.95, 306)
    assert (await v1.charges.retrieve_async(charge)).currency == "eur"
    in_eur = {"amount": 8_500, "currency": "eur", "destination": account, "source_transaction": charge}
    assert (await refused(v1.transfers.create_async(in_eur))).param == "currency"
    made = await v1.transfers.create_async(in_eur | {"amount": 8_075, "currency": "chf"})
    more = {"amount": 1_426, "currency": "chf", "destination": account, "source_transaction": charge}
    assert (await refused(v1.transfers.create_async(more))).param == "amount"

    await control.settle_in(me, "chf", rates={"eur": "0.96"})
    refund = await v1.refunds.create_async(
        {"payment_intent": intent.id, "amount": 4_000, "expand": ["balance_transaction"]}
    )
    await v1.transfers.reversals.create_async(made.id, {"amount": 3_230})

    assert (refund.amount, refund.currency) == (4_000, "eur")
    booked = refund.balance_transaction
    assert (booked.amount, booked.currency, booked.exchange_rate) == (-3_840, "chf", 0.96)
    assert sum(await has(v1)) == 9_500 - 306 - 8_075 - 3_840 + 3_230
    assert await has(v1, account) == (0, 8_075 - 3_230)


async def test_the_split_of_a_destination_charge_is_exchanged_with_it(v1: Api, control: SandboxControl) -> None:
    account = await seller(v1)
    await control.settle_in(await own_id(v1), "chf", currencies=["usd"], rates={"eur": "0.955"})

    await settled(v1, currency="eur", application_fee_amount=1_501, transfer_data={"destination": account})
    await settled(v1, currency="usd", application_fee_amount=1_500, transfer_data={"destination": account})

    assert [(row.type, row.amount, row.currency) for row in await rows(v1)] == [
        ("charge", 9_550, "chf"),
        ("transfer", -9_550, "chf"),
        ("application_fee", 1_433, "chf"),
        ("charge", 10_000, "usd"),
        ("transfer", -10_000, "usd"),
        ("application_fee", 1_500, "usd"),
    ]
    assert (await has(v1, account), await has(v1, account, "usd")) == ((0, 8_117), (0, 8_500))
    with pytest.raises(stripe.APIError) as caught:
        await paid(v1, currency="gbp")
    assert (caught.value.http_status, caught.value.error.code) == (501, "sandbox_not_modelled")


@pytest.mark.parametrize(
    "terms",
    [
        {"default_currency": "chf", "currencies": ["eur"], "rates": {}},
        {"default_currency": "xxx", "currencies": ["xxx"], "rates": {}},
        {"default_currency": "chf", "currencies": ["chf"], "rates": {"eur": "0"}},
        {"default_currency": "chf", "currencies": ["chf"], "rates": {"eur": "much"}},
    ],
)
async def test_terms_that_cannot_be_are_refused(v1: Api, control: SandboxControl, terms: dict[str, Any]) -> None:
    with pytest.raises(Refused) as caught:
        await control.post(f"/accounts/{await own_id(v1)}/exchange", **terms)

    assert caught.value.status == 400


async def test_what_is_done_in_the_dashboard_names_no_request(v1: Api, control: SandboxControl) -> None:
    account = await seller(v1)
    intent = await settled(v1, application_fee_amount=700, transfer_data={"destination": account})
    charge = await v1.charges.retrieve_async(intent.latest_charge.id)
    await control.top_up(await own_id(v1), 300, currency="chf")

    made = await control.transfer(await own_id(v1), amount=300, currency="chf", destination=account)
    await control.reverse_transfer(made["id"], amount=100)
    await control.refund_fee(charge.application_fee, amount=200)

    assert (await v1.transfers.retrieve_async(made["id"])).amount_reversed == 100
    assert (await v1.application_fees.retrieve_async(charge.application_fee)).amount_refunded == 200
    for kind in ("transfer.reversed", "application_fee.refunded"):
        (event,) = (await v1.events.list_async({"type": kind})).data
        assert event.request.id is None
    for call in (control.reverse_transfer(intent.id), control.move_payout(made["id"], "paid"), control.balance("me")):
        with pytest.raises(Refused) as caught:
            await call
        assert caught.value.status == 404


async def test_faults_are_planted_in_the_books(v1: Api, control: SandboxControl, sandbox: Sandbox) -> None:
    me = await own_id(v1)
    intents = [await settled(v1) for _ in range(3)]
    wrong, gone, dear = await rows(v1)

    await control.change_booking(wrong.id, amount=9_999)
    await control.change_booking(dear.id, fee=400)
    await control.forget(gone.id)
    await control.forget(intents[0].id)

    found = await rows(v1)
    assert [(row.amount, row.fee, row.net, sum(one.amount for one in row.fee_details)) for row in found] == [
        (9_999, 320, 9_679, 320),
        (10_000, 400, 9_600, 400),
    ]
    assert (await control.balance(me))["pending"][0]["amount"] == 19_279
    with pytest.raises(stripe.InvalidRequestError):
        await v1.payment_intents.retrieve_async(intents[0].id)
    with pytest.raises(Refused):
        await control.change_booking(dear.id, net=1)
    assert sandbox.locate(dear.id)[1]["net"] == 9_600
