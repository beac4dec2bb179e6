"""Idempotency keys, as Stripe's v1 API treats them."""

from __future__ import annotations

import asyncio

import pytest
import stripe

from sandbox.control import SandboxControl
from tests.sandbox.samples import RETURN_URL, Api, Connect

PARAMS = {"amount": 500, "currency": "chf"}
CREATE = "POST /v1/payment_intents"
DAY_S = 86_400


async def test_the_same_request_again_gets_the_same_answer(v1: Api) -> None:
    first = await v1.payment_intents.create_async(PARAMS, {"idempotency_key": "k"})
    await v1.payment_intents.cancel_async(first.id)

    again = await v1.payment_intents.create_async(PARAMS, {"idempotency_key": "k"})

    assert (again.id, again.status) == (first.id, "requires_payment_method")
    assert again.last_response.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.last_response.headers
    assert len((await v1.payment_intents.list_async()).data) == 1


async def test_the_order_of_parameters_does_not_matter(v1: Api) -> None:
    first = await v1.payment_intents.create_async(PARAMS, {"idempotency_key": "k"})
    again = await v1.payment_intents.create_async(dict(reversed(PARAMS.items())), {"idempotency_key": "k"})

    assert again.id == first.id


async def test_a_key_with_other_parameters_is_refused(v1: Api) -> None:
    intent = await v1.payment_intents.create_async(PARAMS, {"idempotency_key": "k"})

    for call in (
        v1.payment_intents.create_async({**PARAMS, "amount": 600}, {"idempotency_key": "k"}),
        v1.payment_intents.cancel_async(intent.id, None, {"idempotency_key": "k"}),
    ):
        with pytest.raises(stripe.IdempotencyError, match="Keys for idempotent requests"):
            await call


async def test_a_key_still_in_use_is_a_conflict(v1: Api, control: SandboxControl) -> None:
    await control.fault("pause", route=CREATE)
    first = asyncio.ensure_future(v1.payment_intents.create_async(PARAMS, {"idempotency_key": "k"}))
    await control.until_paused()

    with pytest.raises(stripe.APIError) as caught:
        await v1.payment_intents.create_async(PARAMS, {"idempotency_key": "k"})

    assert (caught.value.http_status, caught.value.error.code) == (409, "idempotency_key_in_use")
    await control.resume()
    intent = await first
    again = await v1.payment_intents.create_async(PARAMS, {"idempotency_key": "k"})
    assert again.id == intent.id


async def test_the_official_client_waits_for_a_key_in_use(connect: Connect, control: SandboxControl) -> None:
    v1 = connect(max_network_retries=2)
    await control.fault("slow", route=CREATE, seconds=0.2)

    first, second = await asyncio.gather(
        v1.payment_intents.create_async(PARAMS, {"idempotency_key": "k"}),
        v1.payment_intents.create_async(PARAMS, {"idempotency_key": "k"}),
    )

    assert first.id == second.id


async def test_a_500_after_the_effect_is_replayed(v1: Api, control: SandboxControl) -> None:
    await control.fault("server_error", route=CREATE, after=True)

    for _ in range(2):
        with pytest.raises(stripe.APIError) as caught:
            await v1.payment_intents.create_async(PARAMS, {"idempotency_key": "k"})
        assert caught.value.http_status == 500

    assert caught.value.headers["idempotent-replayed"] == "true"
    assert len((await v1.payment_intents.list_async()).data) == 1


async def test_a_500_before_the_effect_leaves_the_key_free(v1: Api, control: SandboxControl) -> None:
    await control.fault("server_error", route=CREATE)
    with pytest.raises(stripe.APIError):
        await v1.payment_intents.create_async(PARAMS, {"idempotency_key": "k"})
    assert (await v1.payment_intents.list_async()).data == []

    intent = await v1.payment_intents.create_async(PARAMS, {"idempotency_key": "k"})

    assert [row.id for row in (await v1.payment_intents.list_async()).data] == [intent.id]


async def test_the_official_clients_retries_create_one_object(connect: Connect, control: SandboxControl) -> None:
    v1 = connect(max_network_retries=2)
    await control.fault("server_error", route=CREATE, after=True, stored=False)

    intent = await v1.payment_intents.create_async(PARAMS)

    assert [row.id for row in (await v1.payment_intents.list_async()).data] == [intent.id]


async def test_a_decline_is_replayed_and_a_new_key_tries_again(v1: Api) -> None:
    intent = await v1.payment_intents.create_async(PARAMS)
    params = {"payment_method": "pm_card_chargeDeclined", "return_url": RETURN_URL}
    for _ in range(2):
        with pytest.raises(stripe.CardError):
            await v1.payment_intents.confirm_async(intent.id, params, {"idempotency_key": "k"})
    assert len((await v1.charges.list_async({"payment_intent": intent.id})).data) == 1

    with pytest.raises(stripe.CardError):
        await v1.payment_intents.confirm_async(intent.id, params, {"idempotency_key": "k2"})

    assert len((await v1.charges.list_async({"payment_intent": intent.id})).data) == 2


async def test_a_refused_parameter_does_not_use_up_the_key(v1: Api) -> None:
    with pytest.raises(stripe.InvalidRequestError):
        await v1.payment_intents.create_async({**PARAMS, "bogus": 1}, {"idempotency_key": "k"})

    assert (await v1.payment_intents.create_async(PARAMS, {"idempotency_key": "k"})).amount == 500


@pytest.mark.parametrize("kind", ["rate_limit", "lock_timeout"])
async def test_a_429_does_not_use_up_the_key(v1: Api, control: SandboxControl, kind: str) -> None:
    await control.fault(kind, route=CREATE)
    with pytest.raises(stripe.RateLimitError):
        await v1.payment_intents.create_async(PARAMS, {"idempotency_key": "k"})

    intent = await v1.payment_intents.create_async(PARAMS, {"idempotency_key": "k"})

    assert "idempotent-replayed" not in intent.last_response.headers


async def test_what_is_not_modelled_does_not_use_up_the_key(v1: Api) -> None:
    shipping = {"name": "Nobody", "address": {"line1": "Nowhere 1"}}
    with pytest.raises(stripe.APIError):
        await v1.payment_intents.create_async({**PARAMS, "shipping": shipping}, {"idempotency_key": "k"})

    assert (await v1.payment_intents.create_async(PARAMS, {"idempotency_key": "k"})).amount == 500


async def test_keys_belong_to_an_account(connect: Connect) -> None:
    ours, theirs = connect(), connect()

    first = await ours.payment_intents.create_async(PARAMS, {"idempotency_key": "k"})
    second = await theirs.payment_intents.create_async({**PARAMS, "amount": 700}, {"idempotency_key": "k"})

    assert first.id != second.id


async def test_a_key_is_new_again_after_a_day(fresh: tuple[Api, SandboxControl]) -> None:
    v1, control = fresh
    first = await v1.payment_intents.create_async(PARAMS, {"idempotency_key": "k"})
    await control.advance(DAY_S - 60)
    assert (await v1.payment_intents.create_async(PARAMS, {"idempotency_key": "k"})).id == first.id
    await control.advance(60)

    second = await v1.payment_intents.create_async({**PARAMS, "amount": 700}, {"idempotency_key": "k"})

    assert second.id != first.id


async def test_a_key_has_at_most_255_characters(v1: Api) -> None:
    assert (await v1.payment_intents.create_async(PARAMS, {"idempotency_key": "k" * 255})).amount == 500
    with pytest.raises(stripe.IdempotencyError):
        await v1.payment_intents.create_async(PARAMS, {"idempotency_key": "k" * 256})
