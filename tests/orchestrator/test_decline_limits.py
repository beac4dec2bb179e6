"""Who tries out cards is stopped: by payer, address and card; before that a form is left for its hosted page."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from grpc import aio

from batzen.orchestrator.v1.orchestrator_pb2 import Payer, SubmitPaymentRequest
from batzen.orchestrator.v1.orchestrator_pb2_grpc import OrchestratorServiceStub
from services.orchestrator.decline_limits import ADDRESS_KEY
from services.orchestrator.domain.decline_limits import DECLINES_MAX, FORM_DECLINES_MAX, WINDOW, counted_as, network_of
from tests.orchestrator.conftest import Journeys, Orchestrator, World
from tests.orchestrator.samples import DECLINED, OPENED, Clock, refused, start, state_of, submit
from tests.refusals import details_of


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("nonsense", ""),
        ("", ""),
    ],
)
def test_of_an_address_what_one_household_has_counts_as_one(address: str, network: str) -> None:
    assert network_of(address) == network


@pytest.fixture(scope="module")
async def limited(world: World) -> AsyncIterator[Orchestrator]:
    """An orchestrator that counts as in production."""
    async with world.orchestrator(declines_max=DECLINES_MAX) as running:
        yield running


@asynccontextmanager
async def a_payer(limited: Orchestrator, payments: int = 1) -> AsyncIterator[tuple[OrchestratorServiceStub, list[str]]]:
    """Yield how a new payer calls, and payments of theirs."""
    payer_id = f"payer-{uuid.uuid4().hex}"
    async with limited.connect() as shop, limited.connect(payer_id, roles=["payer"]) as payer:
        started = [(await shop.StartPayment(start(payer=Payer(payer_id=payer_id)))).session for _ in range(payments)]
        yield payer, [one.payment.payment_id for one in started]


async def payer_of(journeys: Journeys, payment_id: str) -> str:
    return (await journeys.payment(payment_id)).payer_id


async def declined(
    payer: OrchestratorServiceStub, payment_id: str, *, card: str = DECLINED, times: int = 1, address: str = ""
) -> None:
    for _ in range(times):
        answer = await payer.SubmitPayment(submit(payment_id, card), metadata=((ADDRESS_KEY, address),))
        assert state_of(answer.payment) == "REQUIRES_PAYMENT_METHOD"


async def test_a_form_is_left_for_the_hosted_page_and_a_payer_for_an_hour(limited: Orchestrator, clock: Clock) -> None:
    clock.advance(WINDOW)  # from here on no decline of another test counts
    async with a_payer(limited, payments=3) as (payer, [one, other, last]):
        await declined(payer, one, times=FORM_DECLINES_MAX - 1)
        answered = submit(one, DECLINED)
        first = await payer.SubmitPayment(answered)
        beyond = await refused(payer.SubmitPayment(submit(one)))
        repeated = await payer.SubmitPayment(answered)

        assert (beyond.code, beyond.reason) == ("FAILED_PRECONDITION", "HOSTED_CHECKOUT_REQUIRED")
        assert repeated == first

        await declined(payer, other, times=DECLINES_MAX - FORM_DECLINES_MAX)
        too_many = await refused(payer.SubmitPayment(submit(last)))
        by_shop = None
        async with limited.connect() as shop:
            by_shop = (await shop.SubmitPayment(submit(one, DECLINED))).payment

        assert (too_many.code, too_many.reason) == ("RESOURCE_EXHAUSTED", "TOO_MANY_DECLINES")
        assert 0 < int(too_many.metadata["retry_after_s"]) <= WINDOW.total_seconds()
        assert by_shop.snapshot.decline_count == FORM_DECLINES_MAX + 1  # a service answers for its payers itself

        clock.advance(WINDOW)
        assert state_of((await payer.SubmitPayment(submit(last))).payment) == "SUCCEEDED"


async def at_once(
    payers: Sequence[OrchestratorServiceStub], submits: Sequence[SubmitPaymentRequest]
) -> tuple[list[SubmitPaymentRequest], list[str]]:
    """Send submits over several replicas at once; return those that were refused, and by which reason."""
    calls = [payers[place % len(payers)].SubmitPayment(one) for place, one in enumerate(submits)]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    found = [
        (one, details_of(answer).reason)
        for one, answer in zip(submits, answers, strict=True)
        if isinstance(answer, aio.AioRpcError)
    ]
    return [one for one, _ in found], sorted({reason for _, reason in found})


async def test_who_sends_many_at_once_gets_no_more_tries(
    limited: Orchestrator, world: World, clock: Clock, journeys: Journeys
) -> None:
    clock.advance(WINDOW)  # from here on no decline of another test counts
    async with (
        world.orchestrator(declines_max=DECLINES_MAX) as other,
        a_payer(limited) as (payer, [payment_id]),
        other.connect(await payer_of(journeys, payment_id), roles=["payer"]) as elsewhere,
    ):
        submits = [submit(payment_id, DECLINED) for _ in range(3 * FORM_DECLINES_MAX)]
        swept = asyncio.ensure_future(asyncio.wait({asyncio.ensure_future(one.move()) for one in (limited, other)}))
        withdrawn, reasons = await at_once([payer, elsewhere], submits)
        await swept
        await limited.sweep()

    payment = await journeys.payment(payment_id)
    assert (len(withdrawn), reasons) == (len(submits) - FORM_DECLINES_MAX, ["HOSTED_CHECKOUT_REQUIRED"])
    assert payment.snapshot.decline_count == FORM_DECLINES_MAX
    # Of one that was refused nobody was told, and nothing is left.
    tried = ["PROCESSING", "REQUIRES_PAYMENT_METHOD"] * FORM_DECLINES_MAX
    assert await journeys.states(payment_id) == [*OPENED, *tried]
    assert await limited.parts.store.open_requests("main", payment_id) == []


async def test_what_came_too_often_at_once_may_be_asked_for_again_later(
    world: World, clock: Clock, journeys: Journeys
) -> None:
    clock.advance(WINDOW)  # from here on no decline of another test counts
    declines_max = 2
    async with (
        world.orchestrator(declines_max=declines_max) as few,
        world.orchestrator(declines_max=declines_max) as other,
        a_payer(few) as (payer, [payment_id]),
        other.connect(await payer_of(journeys, payment_id), roles=["payer"]) as elsewhere,
    ):
        submits = [submit(payment_id, DECLINED) for _ in range(3 * declines_max)]
        withdrawn, reasons = await at_once([payer, elsewhere], submits)
        before = await journeys.states(payment_id)
        clock.advance(WINDOW)
        again = (await elsewhere.SubmitPayment(withdrawn[0])).payment

    assert (len(withdrawn), reasons) == (len(submits) - declines_max, ["TOO_MANY_DECLINES"])
    assert before == [*OPENED, *["PROCESSING", "REQUIRES_PAYMENT_METHOD"] * declines_max]
    assert again.snapshot.decline_count == declines_max + 1


async def test_an_address_is_counted_over_all_its_payers(limited: Orchestrator, clock: Clock) -> None:
    clock.advance(WINDOW)  # from here on no decline of another test counts
    store, now = limited.parts.decline_store, clock.now()
    near, far = "2001:db8:7::1", "2001:db8:8::1"
    counted = counted_as("main", "address", network_of(near))
    for number in range(DECLINES_MAX):
        for _ in range(2):  # one decline counts once
            await store.add(
                "main", [counted], card=b"", payment_id="pay_of_others", decline=number, now=now, window=WINDOW
            )

    async with a_payer(limited) as (payer, [payment_id]):
        there = await refused(payer.SubmitPayment(submit(payment_id), metadata=((ADDRESS_KEY, "2001:db8:7::2"),)))
        elsewhere = await payer.SubmitPayment(submit(payment_id), metadata=((ADDRESS_KEY, far),))

    assert there.reason == "TOO_MANY_DECLINES"
    assert state_of(elsewhere.payment) == "SUCCEEDED"


async def test_who_tries_a_card_that_was_declined_too_often_waits_as_well(limited: Orchestrator, clock: Clock) -> None:
    clock.advance(WINDOW)  # from here on no decline of another test counts
    payers = [a_payer(limited) for _ in range(DECLINES_MAX)]
    async with AsyncExitStack() as stack:
        calls = [await stack.enter_async_context(one) for one in payers]
        for payer, [payment_id] in calls:
            await declined(payer, payment_id)
        last, [payment_id] = calls[-1]
        with_another_card = await refused(last.SubmitPayment(submit(payment_id)))
        async with a_payer(limited) as (untouched, [paid]):
            fine = await untouched.SubmitPayment(submit(paid))

    assert with_another_card.reason == "TOO_MANY_DECLINES"
    assert state_of(fine.payment) == "SUCCEEDED"
