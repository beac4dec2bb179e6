"""Separate charges and transfers: who is paid from what, what comes back, and what each account has then."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from sandbox.control import SandboxControl
from tests.sandbox.samples import Api, paid, seller

DAY_S = 86_400


async def transferred(v1: Api, destination: str, amount: int, **params: Any) -> Any:
    return await v1.transfers.create_async({"amount": amount, "currency": "chf", "destination": destination, **params})


async def settled(v1: Api, **params: Any) -> Any:
    """Take a payment that is on the books at once."""
    return await paid(v1, capture_method="automatic", **params)


async def has(v1: Api, account: str | None = None, currency: str = "chf") -> tuple[int, int]:
    """Return what an account has available and pending."""
    balance = await v1.balance.retrieve_async(options={"stripe_account": account} if account else None)
    (available,) = [part.amount for part in balance.available if part.currency == currency] or [0]
    (pending,) = [part.amount for part in balance.pending if part.currency == currency] or [0]
    return available, pending


async def refused(call: Any) -> stripe.InvalidRequestError:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await call
    assert caught.value.http_status == 400
    return caught.value


async def test_several_sellers_are_paid_from_one_charge(fresh: tuple[Api, SandboxControl]) -> None:
    v1, control = fresh
    sellers = [await seller(v1) for _ in range(3)]
    intent = await paid(v1, amount=18_000, transfer_group="order-7", on_behalf_of=sellers[0])
    charge = intent.latest_charge.id
    assert (intent.latest_charge.on_behalf_of, intent.latest_charge.transfer_data) == (sellers[0], None)

    made = [
        await transferred(v1, account, amount, source_transaction=charge, metadata={"of": account})
        for account, amount in zip(sellers, (8_500, 4_250, 2_550), strict=True)
    ]

    assert {(one.transfer_group, one.source_transaction) for one in made} == {("order-7", charge)}
    assert (await has(v1), await has(v1, sellers[1])) == ((0, 18_000 - 552 - 15_300), (0, 4_250))
    rows = (await v1.balance_transactions.list_async(options={"stripe_account": sellers[1]})).data
    assert [(row.type, row.net, row.source) for row in rows] == [("payment", 4_250, made[1].destination_payment)]
    await control.advance(2 * DAY_S)
    assert (await has(v1), await has(v1, sellers[1])) == ((2_148, 0), (4_250, 0))
    row = await v1.balance_transactions.retrieve_async(made[0].balance_transaction, {"expand": ["source"]})
    assert (row.status, row.type, row.amount, row.source.id) == ("available", "transfer", -8_500, made[0].id)
    listed = await v1.transfers.list_async({"transfer_group": "order-7", "destination": sellers[2]})
    assert [one.id for one in listed.data] == [made[2].id]
    assert (await v1.transfers.list_async({"created": {"lt": made[0].created}})).data == []
    events = await v1.events.list_async({"type": "transfer.created"})
    assert [event.data.object.id for event in events.data] == [one.id for one in reversed(made)]


async def test_a_charge_pays_for_no_more_than_it_took(v1: Api) -> None:
    account = await seller(v1)
    charge = (await paid(v1)).latest_charge.id
    first = await transferred(v1, account, 6_000, source_transaction=charge)

    error = await refused(transferred(v1, account, 4_001, source_transaction=charge))

    assert (error.param, "must not exceed the source amount of 100.00 chf" in str(error)) == ("amount", True)
    assert first.transfer_group.startswith("group_pi_")
    await v1.transfers.reversals.create_async(first.id)
    assert (await refused(transferred(v1, account, 4_001, source_transaction=charge))).param == "amount"
    assert (await transferred(v1, account, 4_000, source_transaction=charge)).transfer_group == first.transfer_group


async def test_without_a_charge_the_platform_pays_from_what_is_available(v1: Api) -> None:
    account = await seller(v1)
    await settled(v1)
    assert (await refused(transferred(v1, account, 1))).code == "balance_insufficient"  # its money is pending
    await settled(v1, card="pm_card_bypassPending")

    assert (await refused(transferred(v1, account, 9_681))).code == "balance_insufficient"
    made = await transferred(v1, account, 9_680, description="the rest", transfer_group="order-8")

    assert (made.source_transaction, made.transfer_group, made.description) == (None, "order-8", "the rest")
    assert (await has(v1), await has(v1, account)) == ((0, 9_680), (9_680, 0))


async def test_what_cannot_be_transferred_is_refused(v1: Api, control: SandboxControl) -> None:
    account, stopped = await seller(v1), await seller(v1)
    await control.set_capability(stopped, "transfers", active=False)
    charge = (await paid(v1, transfer_group="order-9")).latest_charge.id
    held = (await paid(v1, capture_method="manual")).latest_charge.id

    for destination, params, code, param in (
        ("acct_nobody", {"source_transaction": charge}, "resource_missing", "destination"),
        (stopped, {"source_transaction": charge}, "insufficient_capabilities_for_transfer", "destination"),
        (account, {"source_transaction": "ch_nobody"}, "resource_missing", "source_transaction"),
        (account, {"source_transaction": held}, None, "source_transaction"),
        (account, {"source_transaction": charge, "currency": "eur"}, None, "currency"),
        (account, {"source_transaction": charge, "transfer_group": "order-10"}, None, "transfer_group"),
    ):
        error = await refused(transferred(v1, destination, 100, **params))
        assert (error.code, error.param) == (code, param)
    assert (await refused(transferred(v1, account, 0, source_transaction=charge))).param == "amount"
    assert (await refused(v1.transfers.create_async({"currency": "chf", "destination": account}))).param == "amount"
    assert (await v1.transfers.list_async()).data == []


async def test_a_reversal_takes_no_more_than_is_left_nor_than_the_seller_has(v1: Api) -> None:
    account = await seller(v1)
    made = await transferred(v1, account, 8_000, source_transaction=(await paid(v1)).latest_charge.id)

    part = await v1.transfers.reversals.create_async(made.id, {"amount": 3_000, "metadata": {"of": "refund-1"}})

    assert (part.amount, part.transfer, part.metadata["of"]) == (3_000, made.id, "refund-1")
    assert (await refused(v1.transfers.reversals.create_async(made.id, {"amount": 5_001}))).param == "amount"
    again = await v1.transfers.retrieve_async(made.id)
    assert (again.amount_reversed, again.reversed, again.reversals.data[0].id) == (3_000, False, part.id)
    rest = await v1.transfers.reversals.create_async(made.id)
    again = await v1.transfers.retrieve_async(made.id)
    assert (rest.amount, again.amount_reversed, again.reversed) == (5_000, 8_000, True)
    assert "already fully reversed" in str(await refused(v1.transfers.reversals.create_async(made.id)))
    events = await v1.events.list_async({"type": "transfer.reversed"})
    assert [event.data.object.amount_reversed for event in events.data] == [8_000, 3_000]
    assert (await has(v1, account), (await has(v1))[1]) == ((0, 0), 9_680)
    listed = await v1.transfers.reversals.list_async(made.id)
    assert [(one.id, one.amount) for one in listed.data] == [(rest.id, 5_000), (part.id, 3_000)]
    row = await v1.balance_transactions.retrieve_async(rest.balance_transaction)
    assert (row.type, row.amount, row.reporting_category) == ("transfer_refund", 5_000, "transfer_reversal")
    changed = await v1.transfers.reversals.update_async(made.id, rest.id, {"metadata": {"seen": "yes"}})
    assert (await v1.transfers.reversals.retrieve_async(made.id, rest.id)).metadata == changed.metadata


async def test_a_seller_who_lacks_the_money_gives_back_only_what_a_destination_charge_brought(v1: Api) -> None:
    account = await seller(v1)
    charge = (await paid(v1)).latest_charge.id
    first, second = [await transferred(v1, account, amount, source_transaction=charge) for amount in (5_000, 5_000)]
    split = await settled(v1, application_fee_amount=1_500, transfer_data={"destination": account})
    own = (await v1.charges.retrieve_async(split.latest_charge.id)).transfer
    assert await has(v1, account) == (0, 18_500)
    await v1.transfers.reversals.create_async(own, {"amount": 10_000})
    await v1.transfers.reversals.create_async(first.id)
    assert await has(v1, account) == (0, 3_500)

    error = await refused(v1.transfers.reversals.create_async(second.id))

    assert (error.code, (await v1.transfers.retrieve_async(second.id)).amount_reversed) == ("balance_insufficient", 0)
    await v1.transfers.reversals.create_async(second.id, {"amount": 3_500})
    more = await settled(v1, transfer_data={"destination": account, "amount": 2_000})
    await v1.transfers.reversals.create_async(second.id, {"amount": 1_500})
    await v1.transfers.reversals.create_async((await v1.charges.retrieve_async(more.latest_charge.id)).transfer)
    assert await has(v1, account) == (0, -1_500)


async def test_a_transfer_can_be_described_later(v1: Api) -> None:
    made = await transferred(
        v1, await seller(v1), 100, source_transaction=(await paid(v1)).latest_charge.id, metadata={"a": "1", "b": "2"}
    )

    changed = await v1.transfers.update_async(made.id, {"description": "late", "metadata": {"a": ""}})

    assert (changed.description, changed.metadata.to_dict()) == ("late", {"b": "2"})
    (event,) = (await v1.events.list_async({"type": "transfer.updated"})).data
    assert event.data.previous_attributes.to_dict() == {"description": None, "metadata": {"a": "1", "b": "2"}}


async def test_a_fee_is_given_back_in_parts_and_never_more(v1: Api) -> None:
    account = await seller(v1)
    intent = await settled(v1, application_fee_amount=1_500, transfer_data={"destination": account})
    fee = (await v1.charges.retrieve_async(intent.latest_charge.id)).application_fee

    first = await v1.application_fees.refunds.create_async(fee, {"amount": 600, "metadata": {"of": "refund-1"}})

    assert (first.amount, first.fee, first.metadata["of"]) == (600, fee, "refund-1")
    assert (await has(v1, account), await has(v1)) == ((0, 9_100), (0, 580))
    assert (await refused(v1.application_fees.refunds.create_async(fee, {"amount": 901}))).param == "amount"
    rest = await v1.application_fees.refunds.create_async(fee)
    again = await v1.application_fees.retrieve_async(fee)
    assert (rest.amount, again.amount_refunded, again.refunded) == (900, 1_500, True)
    assert [one.id for one in again.refunds.data] == [rest.id, first.id]
    assert "already been refunded" in str(await refused(v1.application_fees.refunds.create_async(fee)))
    row = await v1.balance_transactions.retrieve_async(rest.balance_transaction)
    assert (row.type, row.amount, row.source) == ("application_fee_refund", -900, rest.id)
    await v1.application_fees.refunds.update_async(fee, first.id, {"metadata": {"of": ""}})
    assert (await v1.application_fees.refunds.retrieve_async(fee, first.id)).metadata.to_dict() == {}
    types = {event.type for event in (await v1.events.list_async({"limit": 4})).data}
    assert types >= {"application_fee.refunded", "application_fee.refund.updated"}


async def test_of_a_connected_account_only_its_money_can_be_read(v1: Api) -> None:
    own: dict[str, Any] = {"options": {"stripe_account": await seller(v1)}}
    with pytest.raises(stripe.APIError) as caught:
        await v1.transfers.list_async(**own)
    assert (caught.value.http_status, caught.value.error.code) == (501, "sandbox_not_modelled")
    with pytest.raises(stripe.PermissionError):
        await v1.balance.retrieve_async(options={"stripe_account": "acct_nobody"})
    assert (await v1.balance_transactions.list_async(**own)).data == []
