"""Faults on order, as the official client experiences them."""

from __future__ import annotations

import asyncio
import secrets

import pytest
import stripe

from sandbox.control import Refused, SandboxControl
from sandbox.faults import Kind
from sandbox.serving import running
from sandbox.settings import Settings
from tests.eventually import eventually
from tests.sandbox.samples import Api, Connect, connected, paid

CREATE = "POST /v1/payment_intents"
PARAMS = {"amount": 500, "currency": "chf"}
SHORT_S = 0.3


async def _count(v1: Api) -> int:
    return len((await v1.payment_intents.list_async({"limit": 100})).data)


async def _has_struck(control: SandboxControl) -> bool:
    return all(fault["hits"] for fault in await control.faults())


def _both(connect: Connect) -> tuple[Api, Api]:
    """Return two clients of one account: one that soon gives up, one that does not."""
    key = f"sk_test_{secrets.token_hex(8)}"
    return connect(key, timeout_s=SHORT_S), connect(key)


async def test_a_rate_limit_says_which_and_nothing_happened(v1: Api, control: SandboxControl) -> None:
    await control.fault("rate_limit", route=CREATE, reason="endpoint-rate", should_retry=False)

    with pytest.raises(stripe.RateLimitError) as caught:
        await v1.payment_intents.create_async(PARAMS)

    assert caught.value.error.code == "rate_limit"
    assert caught.value.headers["stripe-rate-limited-reason"] == "endpoint-rate"
    assert caught.value.headers["stripe-should-retry"] == "false"
    assert await _count(v1) == 0


async def test_contention_is_told_from_a_rate_limit(v1: Api, control: SandboxControl) -> None:
    await control.fault("lock_timeout", route=CREATE)

    with pytest.raises(stripe.RateLimitError) as caught:
        await v1.payment_intents.create_async(PARAMS)

    assert caught.value.error.code == "lock_timeout"
    assert "stripe-rate-limited-reason" not in caught.value.headers


async def test_the_client_retries_a_429_only_if_it_is_told_to(connect: Connect, control: SandboxControl) -> None:
    v1 = connect(max_network_retries=1)
    await control.fault("rate_limit", route=CREATE)
    with pytest.raises(stripe.RateLimitError):
        await v1.payment_intents.create_async(PARAMS)

    await control.fault("rate_limit", route=CREATE, should_retry=True)

    assert (await v1.payment_intents.create_async(PARAMS)).amount == 500


@pytest.mark.parametrize(("after", "count"), [(False, 0), (True, 1)])
async def test_a_server_error_before_or_after_the_effect(
    v1: Api, control: SandboxControl, after: bool, count: int
) -> None:
    await control.fault("server_error", route=CREATE, after=after)

    with pytest.raises(stripe.APIError) as caught:
        await v1.payment_intents.create_async(PARAMS)

    assert caught.value.http_status == 500
    assert await _count(v1) == count


@pytest.mark.parametrize(("after", "count"), [(False, 0), (True, 1)])
@pytest.mark.parametrize("kind", ["timeout", "reset"])
async def test_no_answer_at_all_before_or_after_the_effect(
    connect: Connect, control: SandboxControl, kind: str, after: bool, count: int
) -> None:
    impatient, v1 = _both(connect)
    await control.fault(kind, route=CREATE, after=after)

    with pytest.raises(stripe.APIConnectionError):
        await impatient.payment_intents.create_async(PARAMS, {"idempotency_key": "k"})

    await eventually(lambda: _has_struck(control))  # a busy machine may begin once nobody waits any more
    assert await _count(v1) == count
    # The same key settles what happened: the first answer, or the first execution.
    await v1.payment_intents.create_async(PARAMS, {"idempotency_key": "k"})
    assert await _count(v1) == 1


WRONG = {
    Kind.UNAUTHORIZED: (401, stripe.AuthenticationError),
    Kind.FORBIDDEN: (403, stripe.PermissionError),
    Kind.UNKNOWN_ENDPOINT: (404, stripe.InvalidRequestError),
    Kind.MISSING: (404, stripe.InvalidRequestError),
    Kind.INVALID: (400, stripe.InvalidRequestError),
    Kind.IN_USE: (409, stripe.APIError),
    Kind.RATE_LIMIT: (429, stripe.RateLimitError),
    Kind.HTML: (502, stripe.APIError),
    Kind.BROKEN_JSON: (200, stripe.APIError),
    Kind.EMPTY: (200, stripe.APIError),
    Kind.CUT_OFF: (None, stripe.APIConnectionError),
}
"""Status and what the official client makes of it."""


@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.parametrize(("after", "count"), [(False, 0), (True, 1)])
async def test_a_wrong_answer_before_or_after_the_effect_is_not_kept_and_the_next_one_is_true(
    v1: Api, control: SandboxControl, kind: Kind, after: bool, count: int
) -> None:
    await control.fault(kind, route=CREATE, after=after)
    status, error = WRONG[kind]

    with pytest.raises(error) as caught:
        await v1.payment_intents.create_async(PARAMS, {"idempotency_key": "k"})

    assert caught.value.http_status == status
    assert await _count(v1) == count
    answer = await v1.payment_intents.create_async(PARAMS, {"idempotency_key": "k"})
    assert (answer.last_response.headers.get("idempotent-replayed") == "true") is after
    assert await _count(v1) == 1


@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.parametrize("after", [False, True])
async def test_a_repeat_meets_a_wrong_answer_as_the_first_try_does(
    v1: Api, control: SandboxControl, kind: Kind, after: bool
) -> None:
    first = await v1.payment_intents.create_async(PARAMS, {"idempotency_key": "k"})
    await control.fault(kind, route=CREATE, after=after)
    status, error = WRONG[kind]

    with pytest.raises(error) as caught:
        await v1.payment_intents.create_async(PARAMS, {"idempotency_key": "k"})

    assert caught.value.http_status == status
    assert "idempotent-replayed" not in (caught.value.headers or {})
    assert (await v1.payment_intents.create_async(PARAMS, {"idempotency_key": "k"})).id == first.id


async def test_a_refusal_that_is_stored_is_replayed(v1: Api, control: SandboxControl) -> None:
    await control.fault("invalid", route=CREATE, stored=True, code="balance_insufficient", param="amount")

    for replayed in (None, "true"):
        with pytest.raises(stripe.InvalidRequestError) as caught:
            await v1.payment_intents.create_async(PARAMS, {"idempotency_key": "k"})
        assert (caught.value.code, caught.value.param) == ("balance_insufficient", "amount")
        assert caught.value.headers.get("idempotent-replayed") == replayed
    assert await _count(v1) == 0


async def test_status_and_body_may_be_any(v1: Api, control: SandboxControl) -> None:
    await control.fault("server_error", route=CREATE, status=503)
    with pytest.raises(stripe.APIError) as unavailable:
        await v1.payment_intents.create_async(PARAMS)
    await control.fault("forbidden", route=CREATE, body='{"message": "not on the list"}')
    with pytest.raises(stripe.APIError) as foreign:
        await v1.payment_intents.create_async(PARAMS)

    assert (unavailable.value.http_status, foreign.value.http_status) == (503, 403)
    assert foreign.value.http_body == '{"message": "not on the list"}'


async def test_reads_meet_wrong_answers_too(v1: Api, control: SandboxControl) -> None:
    intent = await v1.payment_intents.create_async(PARAMS)
    for kind, (status, error) in WRONG.items():
        await control.fault(kind, route="GET /v1/payment_intents/{intent}", after=True)
        with pytest.raises(error) as caught:
            await v1.payment_intents.retrieve_async(intent.id)
        assert caught.value.http_status == status


async def test_what_is_not_valid_is_refused_before_the_key_is_looked_at(v1: Api) -> None:
    await v1.payment_intents.create_async(PARAMS, {"idempotency_key": "k"})

    with pytest.raises(stripe.InvalidRequestError) as caught:
        await v1.payment_intents.create_async({**PARAMS, "colour": "red"}, {"idempotency_key": "k"})  # type: ignore[typeddict-unknown-key]

    assert caught.value.code == "parameter_unknown"


async def test_a_slow_call_still_answers(connect: Connect, control: SandboxControl) -> None:
    impatient, v1 = _both(connect)
    await control.fault("slow", route=CREATE, seconds=0.01)
    assert (await v1.payment_intents.create_async(PARAMS)).amount == 500

    await control.fault("slow", route=CREATE, seconds=10 * SHORT_S)
    with pytest.raises(stripe.APIConnectionError):
        await impatient.payment_intents.create_async(PARAMS)


async def test_paused_calls_go_on_together(v1: Api, control: SandboxControl) -> None:
    await control.fault("pause", route="GET /v1/payment_intents", times=2)
    both = asyncio.gather(v1.payment_intents.list_async(), v1.payment_intents.list_async())
    await control.until_paused(2)
    intent = await v1.payment_intents.create_async(PARAMS)

    await control.resume()

    assert [[row.id for row in found.data] for found in await both] == [[intent.id]] * 2


async def test_a_route_is_matched_by_path_and_by_template(v1: Api, control: SandboxControl) -> None:
    first, second = [await v1.payment_intents.create_async(PARAMS) for _ in range(2)]
    await control.fault("server_error", route=f"GET /v1/payment_intents/{first.id}")
    await control.fault("server_error", route="POST /v1/payment_intents/{intent}/cancel")
    await control.fault("server_error", route="GET /v1/refunds*", times=2)

    assert (await v1.payment_intents.retrieve_async(second.id)).id == second.id
    for call in (
        v1.payment_intents.retrieve_async(first.id),
        v1.payment_intents.cancel_async(second.id),
        v1.refunds.list_async(),
        v1.refunds.list_async(),
    ):
        with pytest.raises(stripe.APIError):
            await call
    assert [fault["hits"] for fault in await control.faults()] == [1, 1, 2]
    assert (await v1.refunds.list_async()).data == []


async def test_a_fault_strikes_as_often_as_ordered(v1: Api, control: SandboxControl) -> None:
    await control.fault("server_error", route=CREATE, times=None)
    for _ in range(5):
        with pytest.raises(stripe.APIError):
            await v1.payment_intents.create_async(PARAMS)

    await control.clear_faults()

    assert (await v1.payment_intents.create_async(PARAMS)).amount == 500


async def test_chance_and_ids_follow_the_seed() -> None:
    async def history() -> list[str]:
        found = []
        async with (
            running(Settings(port=0, seed=11)) as sandbox,
            SandboxControl(sandbox.base_url) as control,
            connected(sandbox) as connect,
        ):
            v1 = connect()
            await control.fault("server_error", route=CREATE, times=None, chance=0.5)
            for _ in range(12):
                try:
                    found.append((await v1.payment_intents.create_async(PARAMS)).id)
                except stripe.APIError:
                    found.append("failed")
        return found

    first = await history()

    assert first == await history()
    assert 0 < first.count("failed") < 12


async def test_latency_comes_before_the_effect(connect: Connect, control: SandboxControl) -> None:
    impatient, v1 = _both(connect)
    await control.set_latency(10_000 * SHORT_S)
    with pytest.raises(stripe.APIConnectionError):
        await impatient.payment_intents.create_async(PARAMS)

    await control.set_latency(0)

    assert await _count(v1) == 0


async def test_a_fault_after_a_decline_does_not_undo_it(v1: Api, control: SandboxControl) -> None:
    await control.fault("server_error", route=CREATE, after=True)

    with pytest.raises(stripe.APIError):
        await paid(v1, card="pm_card_chargeDeclined")

    (intent,) = (await v1.payment_intents.list_async()).data
    assert intent.last_payment_error.code == "card_declined"


@pytest.mark.parametrize("wrong", [{"kind": "earthquake"}, {"kind": "slow", "colour": "red"}, {}])
async def test_an_unknown_fault_is_refused(control: SandboxControl, wrong: dict[str, str]) -> None:
    with pytest.raises(Refused) as caught:
        await control.post("/faults", **wrong)

    assert caught.value.status == 400
