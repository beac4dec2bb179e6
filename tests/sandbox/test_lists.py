"""Lists: newest first, in pages, with filters; and references expanded on request."""

from __future__ import annotations

import pytest
import stripe

from sandbox.control import SandboxControl
from tests.sandbox.samples import Api, paid

DAY_S = 86_400


async def _create(v1: Api, count: int) -> list[str]:
    """Create intents, and return their ids, newest first."""
    made = [await v1.payment_intents.create_async({"amount": 500, "currency": "chf"}) for _ in range(count)]
    return [intent.id for intent in reversed(made)]


async def test_pages_follow_one_another_in_both_directions(v1: Api) -> None:
    ids = await _create(v1, 12)

    first = await v1.payment_intents.list_async()
    assert ([row.id for row in first.data], first.has_more) == (ids[:10], True)
    second = await v1.payment_intents.list_async({"starting_after": ids[9]})
    assert ([row.id for row in second.data], second.has_more) == (ids[10:], False)
    back = await v1.payment_intents.list_async({"ending_before": ids[5], "limit": 3})
    assert ([row.id for row in back.data], back.has_more) == (ids[2:5], True)
    top = await v1.payment_intents.list_async({"ending_before": ids[2], "limit": 3})
    assert ([row.id for row in top.data], top.has_more) == (ids[:2], False)


async def test_the_official_client_pages_by_itself(v1: Api) -> None:
    ids = await _create(v1, 7)

    found = await v1.payment_intents.list_async({"limit": 2})

    assert [row.id async for row in found.auto_paging_iter()] == ids


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 101}, "limit"),
        ({"starting_after": "pi_nobody"}, "starting_after"),
        ({"ending_before": "pi_nobody"}, "ending_before"),
        ({"starting_after": "pi_1", "ending_before": "pi_2"}, None),
    ],
)
async def test_a_page_that_cannot_be_is_refused(v1: Api, params: dict[str, int | str], param: str | None) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await v1.payment_intents.list_async(params)

    assert caught.value.param == param


async def test_lists_are_filtered(v1: Api) -> None:
    customer = await v1.customers.create_async({"email": "p@example.com"})
    ours, other = await paid(v1, customer=customer.id), await paid(v1)

    assert [row.id for row in (await v1.payment_intents.list_async({"customer": customer.id})).data] == [ours.id]
    charges = await v1.charges.list_async({"payment_intent": other.id})
    assert [row.id for row in charges.data] == [other.latest_charge.id]
    assert [row.id for row in (await v1.customers.list_async({"email": "p@example.com"})).data] == [customer.id]
    assert (await v1.customers.list_async({"email": "q@example.com"})).data == []
    events = await v1.events.list_async({"types": ["charge.succeeded", "customer.*"], "limit": 100})
    assert [event.type for event in events.data] == ["charge.succeeded", "charge.succeeded", "customer.created"]


async def test_lists_are_filtered_by_time_and_events_are_kept_for_30_days(fresh: tuple[Api, SandboxControl]) -> None:
    v1, control = fresh
    (old,) = await _create(v1, 1)
    await control.advance(20 * DAY_S)
    (new,) = await _create(v1, 1)
    middle = int(await control.now()) - 10 * DAY_S

    for bounds, ids in (({"gt": middle}, [new]), ({"lte": middle}, [old]), ({"gte": 0}, [new, old])):
        assert [row.id for row in (await v1.payment_intents.list_async({"created": bounds})).data] == ids
    await control.advance(10 * DAY_S + 60)
    assert [event.data.object["id"] for event in (await v1.events.list_async()).data] == [new]


async def test_references_are_expanded_on_request(v1: Api, control: SandboxControl) -> None:
    customer = await v1.customers.create_async({})
    intent = await paid(v1, customer=customer.id)
    await control.settle()

    plain = await v1.payment_intents.retrieve_async(intent.id)
    assert isinstance(plain.latest_charge, str)
    deep = await v1.payment_intents.retrieve_async(
        intent.id, {"expand": ["latest_charge.balance_transaction", "customer", "payment_method"]}
    )
    assert deep.latest_charge.balance_transaction.object == "balance_transaction"
    assert (deep.customer.object, deep.payment_method.object) == ("customer", "payment_method")
    rows = await v1.payment_intents.list_async({"expand": ["data.latest_charge"]})
    assert rows.data[0].latest_charge.id == plain.latest_charge


@pytest.mark.parametrize("path", ["amount", "bogus", "latest_charge.bogus", "a.b.c.d.e"])
async def test_what_is_no_reference_cannot_be_expanded(v1: Api, path: str) -> None:
    intent = await paid(v1)

    with pytest.raises(stripe.InvalidRequestError) as caught:
        await v1.payment_intents.retrieve_async(intent.id, {"expand": [path]})

    assert caught.value.param == "expand"
