"""A repeat of what another submit followed: where the payer's bank is by now is not said as an answer to it."""

from __future__ import annotations

import asyncpg
from grpc import aio

from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from batzen.orchestrator.v1.orchestrator_pb2_grpc import OrchestratorServiceStub
from services.runtime.database.connections import plain_dsn
from tests.orchestrator.conftest import Journeys, Orchestrator, World
from tests.orchestrator.crash_injection import ask, mortal_orchestrator, shop_key
from tests.orchestrator.lives import Lives
from tests.orchestrator.samples import (
    RETURN_URL,
    THREE_D_SECURE,
    Refusal,
    refused,
    resume,
    start,
    state_of,
    submit,
)
from tests.orchestrator.test_bookings import Platform, booking, checked

ANOTHER = "pm_card_authenticationRequired"
"""Another card whose bank asks for its payer."""
OVERTAKEN = ("FAILED_PRECONDITION", "PAYMENT_STATE", {"state": "REQUIRES_ACTION"})


def said(refusal: Refusal) -> tuple[str, str, dict[str, str]]:
    return refusal.code, refusal.reason, refusal.metadata


async def pays_with_another(
    orchestrator: OrchestratorServiceStub, payment_id: str
) -> tuple[pb.SubmitPaymentRequest, pb.SubmitPaymentRequest]:
    """Return the submit of a card whose bank asks, and the one of another card after it, whose bank asks too."""
    first, second = submit(payment_id, THREE_D_SECURE), submit(payment_id, ANOTHER)
    of_first = await orchestrator.SubmitPayment(first)
    assert (await orchestrator.SubmitPayment(first)) == of_first  # nothing came after it
    of_second = await orchestrator.SubmitPayment(second)
    assert of_first.next_action.redirect_url
    assert of_second.next_action.redirect_url
    assert of_second.payment.snapshot.method.last4 != of_first.payment.snapshot.method.last4
    return first, second


async def test_a_repeat_of_a_submit_that_another_followed_leads_to_no_bank(
    orchestrator: OrchestratorServiceStub, as_payer: OrchestratorServiceStub, journeys: Journeys
) -> None:
    """Whoever confirms at the bank that is asked now pays with the other card."""
    payment_id = await journeys.started()
    first, second = await pays_with_another(as_payer, payment_id)
    assert said(await refused(as_payer.SubmitPayment(first))) == OVERTAKEN
    asked_last = (await as_payer.SubmitPayment(second)).next_action
    assert asked_last.redirect_url
    # Under an id of its own the first card pays.
    anew = await as_payer.SubmitPayment(submit(payment_id, THREE_D_SECURE))
    assert said(await refused(as_payer.SubmitPayment(second))) == OVERTAKEN
    await journeys.stripe.answer_3ds(anew.next_action.redirect_url, succeed=True)
    paid = (await orchestrator.SyncPayment(pb.SyncPaymentRequest(payment_id=payment_id))).payment
    assert (state_of(paid), paid.snapshot.method.last4) == ("SUCCEEDED", anew.payment.snapshot.method.last4)


async def test_nor_where_the_platform_is_asked_before_a_submit_begins(world: World) -> None:
    async with checked(world, Platform()) as stub:
        payment = (await stub.StartPayment(start(booking_ids=[booking()]))).session.payment
        first, second = await pays_with_another(stub, payment.payment_id)
        assert said(await refused(stub.SubmitPayment(first))) == OVERTAKEN
        assert (await stub.SubmitPayment(second)).next_action.redirect_url


async def test_nor_where_the_payers_browser_paid_with_another_by_itself(
    orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    session = (await orchestrator.StartPayment(start())).session
    payment_id = session.payment.payment_id
    first = submit(payment_id, THREE_D_SECURE)
    await orchestrator.SubmitPayment(first)
    await journeys.stripe.browser_confirm(session.client_secret, payment_method=ANOTHER, return_url=RETURN_URL)
    await orchestrator.SyncPayment(pb.SyncPaymentRequest(payment_id=payment_id))
    assert said(await refused(orchestrator.SubmitPayment(first))) == OVERTAKEN


async def test_a_submit_that_is_carried_on_after_another_leads_to_no_bank(
    replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys, lives: Lives
) -> None:
    """Wherever it died: what its repeat leads to is the bank of its own card, or it is refused."""
    were_overtaken = 0
    for life in lives():
        payment_id = await journeys.started()
        first, second = submit(payment_id, THREE_D_SECURE), submit(payment_id, ANOTHER)
        async with mortal_orchestrator(replica, life) as (parts, _):
            await ask(parts, first)
        if await replica.parts.store.request(shop_key(first)) is None:
            continue  # it was never heard of
        await journeys.deliver(await journeys.synced(payment_id))
        try:
            card = (await orchestrator.SubmitPayment(second)).payment.snapshot.method.last4
        except aio.AioRpcError:  # nothing is known of the first one yet
            card = ""
        await replica.sweep()
        if not card:
            assert (await orchestrator.SubmitPayment(first)).next_action.redirect_url, life.place
            continue
        were_overtaken += 1
        assert said(await refused(orchestrator.SubmitPayment(first))) == OVERTAKEN, life.place
        assert (await orchestrator.SubmitPayment(second)).next_action.redirect_url, life.place
        assert (await journeys.payment(payment_id)).snapshot.method.last4 == card, life.place
    assert were_overtaken


async def test_a_session_that_is_repeated_says_no_bank_of_what_was_submitted_since(
    orchestrator: OrchestratorServiceStub, as_payer: OrchestratorServiceStub
) -> None:
    asked_start = start()
    started = (await orchestrator.StartPayment(asked_start)).session
    payment_id = started.payment.payment_id
    await as_payer.SubmitPayment(submit(payment_id, THREE_D_SECURE))
    asked = resume(payment_id)
    resumed = (await as_payer.ResumePayment(asked)).session
    assert resumed.next_action.redirect_url
    assert (await as_payer.ResumePayment(asked)).session == resumed
    await as_payer.SubmitPayment(submit(payment_id, ANOTHER))

    again = (await as_payer.ResumePayment(asked)).session
    assert again.payment == resumed.payment
    assert (again.client_secret, again.HasField("next_action")) == ("", False)  # it would confirm the other card
    first = (await orchestrator.StartPayment(asked_start)).session
    assert (first.client_secret, first.HasField("next_action")) == (started.client_secret, False)  # a form chooses anew


async def test_a_plan_of_an_older_release_is_read_and_its_payer_goes_on(
    world: World, as_payer: OrchestratorServiceStub, journeys: Journeys
) -> None:
    """Whether another submit came since is not known of it: its payer reads how it stands, or submits anew."""
    payment_id = await journeys.started()
    asked = submit(payment_id, THREE_D_SECURE)
    assert (await as_payer.SubmitPayment(asked)).next_action.redirect_url
    connection = await asyncpg.connect(plain_dsn(world.database_url))
    try:
        forgotten = "UPDATE payments SET course = course - 'submitted_by' WHERE payment_id = $1"
        await connection.execute(forgotten, payment_id)
    finally:
        await connection.close()

    assert said(await refused(as_payer.SubmitPayment(asked))) == OVERTAKEN
    synced = await as_payer.SyncPayment(pb.SyncPaymentRequest(payment_id=payment_id))
    assert synced.next_action.redirect_url
    anew = submit(payment_id, THREE_D_SECURE)
    answer = await as_payer.SubmitPayment(anew)
    assert (await as_payer.SubmitPayment(anew)).next_action == answer.next_action
