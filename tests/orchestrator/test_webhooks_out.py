"""Each fact reaches each receiver that wants it, in the order of its payment, whatever receivers do meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta

import pytest

from batzen.webhooks import WebhookRefused, verified
from local.databases import ServiceDatabase
from services.orchestrator.facts.domain import FactKind
from services.orchestrator.webhooks_out.delivering import AT_ONCE
from services.orchestrator.webhooks_out.domain import RESTS_AFTER, TRIED_FOR, DeliveryState, Form
from services.orchestrator.webhooks_out.sending import Outcome
from services.orchestrator.webhooks_out.upkeep import KEPT
from services.runtime.observability.metrics import Meter
from services.runtime.process.followed import Followed
from services.runtime.work.kinds import SLOTS, Work, WorkClass
from tests.conftest import Databases
from tests.eventually import eventually
from tests.metrics import Figures
from tests.orchestrator.hooks import Room, new_name, of, room, told
from tests.orchestrator.receivers import Received, hangs, receiver, says

OK = says("200 OK")
BROKEN = says("503 Service Unavailable", body=b"out of order, ask anna@example.ch")
SECOND = timedelta(seconds=1)
FIRST_RETRY = timedelta(seconds=8)
HOUR = timedelta(hours=1)


@pytest.fixture
async def hooks(database: ServiceDatabase) -> AsyncIterator[Room]:
    async with room(database.runtime_url) as made:
        yield made


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as made:
        yield made


async def test_a_fact_goes_once_to_each_who_wants_it_signed_by_its_own_secret(
    hooks: Room, stack: AsyncExitStack
) -> None:
    everything, paid, none = [await stack.enter_async_context(receiver(OK)) for _ in range(3)]
    await hooks.subscribe("everything", everything.url())
    await hooks.subscribe("paid", paid.url(), FactKind.PAYMENT_RECEIVED)
    await hooks.subscribe("old", none.url(), FactKind.PAYMENT_REFUNDED)
    payment_id = new_name("pay_")
    facts = [hooks.fact(payment_id, 1), hooks.fact(payment_id, 2, kind=FactKind.PAYMENT_RECEIVED)]
    for _ in range(2):
        await hooks.facts.keep(hooks.tenant_id, facts)
        await hooks.send()
    assert (told(everything.requests), told(paid.requests), none.requests) == (
        [(payment_id, 1), (payment_id, 2)], [(payment_id, 2)], []
    )  # fmt: skip
    [received] = paid.requests
    event = verified(received.body, received.headers, secrets=[hooks.secrets["paid"]])
    assert (event.type, event.payment and event.payment.revision) == ("payment.received", 2)
    [delivery] = await hooks.deliveries(subscription_id="paid")
    assert received.headers["webhook-id"] == str(delivery.delivery_id)
    assert (delivery.state, delivery.try_count, delivery.tries[0].status) == ("DELIVERED", 1, 200)
    assert hooks.secrets["paid"] != hooks.secrets["everything"]


async def test_what_is_of_no_payment_is_sent_in_the_order_of_its_seller(hooks: Room, stack: AsyncExitStack) -> None:
    good = await stack.enter_async_context(receiver(OK))
    await hooks.subscribe("good", good.url(), FactKind.ONBOARDING_REQUIRED)
    for place in range(3):
        fact = hooks.fact("", place, kind=FactKind.ONBOARDING_REQUIRED, seller_ids=["seller_a"])
        await hooks.facts.keep(hooks.tenant_id, [fact])
    await hooks.send()
    assert len(good.requests) == 3
    assert {one.subject for one in await hooks.deliveries()} == {"seller:seller_a"}


async def test_what_is_not_taken_is_tried_again_before_what_came_later_and_holds_up_no_other_payment(
    hooks: Room, stack: AsyncExitStack
) -> None:
    late, other = new_name("pay_"), new_name("pay_")

    async def answer(received: Received, writer: asyncio.StreamWriter) -> None:
        await (BROKEN if told([received]) == [(late, 1)] and len(of(late, bad.requests)) < 3 else OK)(received, writer)

    bad = await stack.enter_async_context(receiver(answer))
    await hooks.subscribe("bad", bad.url())
    await hooks.happen(late, 1, 2)
    await hooks.send()
    await hooks.happen(late, 3)
    await hooks.happen(other, 1, 2)
    await hooks.send()
    assert told(bad.requests) == [(late, 1), (other, 1), (other, 2)]
    hooks.later(FIRST_RETRY)
    await hooks.send()
    hooks.later(FIRST_RETRY)
    await hooks.send()
    assert of(late, bad.requests) == [1, 1]
    hooks.later(timedelta(seconds=40))
    await hooks.send()
    assert of(late, bad.requests) == [1, 1, 1, 2, 3]
    assert len({one.headers["webhook-id"] for one in bad.requests[-3:]}) == 3
    [first] = [one for one in await hooks.deliveries(payment_id=late) if one.revision == 1]
    assert [one.outcome for one in first.tries] == ["REFUSED", "REFUSED", "DELIVERED"]
    assert first.tries[0].answer == "out of order, ask …@…"


async def test_after_three_days_it_is_a_dead_letter_and_its_payment_goes_on(hooks: Room, stack: AsyncExitStack) -> None:
    poison, after = new_name("pay_"), 2

    async def answer(received: Received, writer: asyncio.StreamWriter) -> None:
        await (BROKEN if told([received]) == [(poison, 1)] else OK)(received, writer)

    bad = await stack.enter_async_context(receiver(answer))
    await hooks.subscribe("bad", bad.url())
    await hooks.happen(poison, 1)
    began = hooks.clock.now()
    await hooks.send()
    hooks.later(HOUR * 70)
    await hooks.happen(poison, after)
    while (await hooks.states())[0] == DeliveryState.WAITING:
        assert hooks.clock.now() - began < TRIED_FOR + 2 * HOUR
        assert of(poison, bad.requests) == [1] * len(bad.requests)
        hooks.later(HOUR * 1.25)
        await hooks.send()
    assert await hooks.states() == ["DEAD", "DELIVERED"]
    assert hooks.clock.now() - began >= TRIED_FOR
    assert of(poison, bad.requests)[-2:] == [1, after]


async def test_a_receiver_that_fails_again_and_again_rests_and_others_do_not(
    hooks: Room, stack: AsyncExitStack
) -> None:
    bad, good = [await stack.enter_async_context(receiver(answer)) for answer in (BROKEN, OK)]
    await hooks.subscribe("bad", bad.url())
    await hooks.subscribe("good", good.url())
    for _ in range(RESTS_AFTER + AT_ONCE):
        await hooks.happen(new_name("pay_"), 1)
    await hooks.send()
    tried = len(bad.requests)
    assert RESTS_AFTER <= tried < RESTS_AFTER + AT_ONCE
    assert len(good.requests) == RESTS_AFTER + AT_ONCE
    await hooks.happen(new_name("pay_"), 1)
    await hooks.send()
    assert (len(bad.requests), len(good.requests)) == (tried, RESTS_AFTER + AT_ONCE + 1)
    found = await hooks.webhooks.subscriptions.find(hooks.tenant_id, "bad")
    assert found.rest_end_time is not None
    assert found.failures == tried
    # Then a few tell whether it is back; what is not tried by them waits for the next rest to end, which is longer.
    hooks.later(timedelta(seconds=12))
    begin_time = hooks.clock.now()
    await hooks.send()
    assert tried < len(bad.requests) <= tried + AT_ONCE
    again = await hooks.webhooks.subscriptions.find(hooks.tenant_id, "bad")
    assert again.rest_end_time is not None
    assert again.rest_end_time - begin_time > timedelta(seconds=15)
    bad.answer = OK
    hooks.later(HOUR * 1.5)
    await hooks.send()
    assert await hooks.states(state=DeliveryState.WAITING) == []
    assert (await hooks.webhooks.subscriptions.find(hooks.tenant_id, "bad")).failures == 0


async def test_a_receiver_that_hangs_takes_its_own_slots_alone(hooks: Room, stack: AsyncExitStack) -> None:
    bad, good = [await stack.enter_async_context(receiver(answer)) for answer in (hangs, OK)]
    await hooks.subscribe("bad", bad.url())
    for _ in range(SLOTS[WorkClass.HOOKS]):
        await hooks.happen(new_name("pay_"), 1)
    await hooks.subscribe("good", good.url())
    engine = hooks.engine()
    async with engine.running(grace_s=0):
        await eventually(lambda: len(bad.requests) == AT_ONCE)
        for place in range(3):
            await hooks.happen(new_name("pay_"), 1)
            engine.wake(WorkClass.HOOKS)
            await eventually(lambda place=place: len(good.requests) == place + 1)
        assert len(bad.requests) == AT_ONCE
        # A test that finds no room there is no failure of the receiver's.
        test = await hooks.webhooks.trials.send(hooks.action("TestWebhookSubscription").key, "bad")
        assert [one.outcome for one in test.tries] == [Outcome.RECEIVER_BUSY]
        found = await hooks.row(
            "SELECT failures FROM webhook_subscriptions WHERE tenant_id = $1 AND url = $2", bad.url()
        )
        assert found["failures"] == 0
    assert await hooks.states(subscription_id="bad", state=DeliveryState.DELIVERED) == []


async def test_what_comes_while_its_payment_is_sent_is_sent_right_after(hooks: Room, stack: AsyncExitStack) -> None:
    payment_id, begun, go_on = new_name("pay_"), asyncio.Event(), asyncio.Event()

    async def answer(received: Received, writer: asyncio.StreamWriter) -> None:
        begun.set()
        await go_on.wait()
        await OK(received, writer)

    slow = await stack.enter_async_context(receiver(answer))
    await hooks.subscribe("slow", slow.url())
    await hooks.happen(payment_id, 1)
    sending = asyncio.create_task(hooks.send())
    await begun.wait()
    await hooks.happen(payment_id, 2)
    go_on.set()
    await sending
    assert of(payment_id, slow.requests) == [1, 2]


async def test_what_comes_just_before_its_payment_is_let_go_is_not_forgotten(
    hooks: Room, stack: AsyncExitStack
) -> None:
    payment_id, good = new_name("pay_"), await stack.enter_async_context(receiver(OK))
    await hooks.subscribe("good", good.url())
    await hooks.happen(payment_id, 1)

    async def deliver(work: Work) -> None:
        await hooks.webhooks.kind.handler(work)
        await hooks.happen(payment_id, 2)

    await hooks.engine(replace(hooks.webhooks.kind, handler=deliver)).once()
    assert of(payment_id, good.requests) == [1]
    await hooks.send()
    assert of(payment_id, good.requests) == [1, 2]


async def test_what_comes_while_a_try_fails_does_not_bring_the_next_one_forward(
    hooks: Room, stack: AsyncExitStack
) -> None:
    payment_id, begun, go_on = new_name("pay_"), asyncio.Event(), asyncio.Event()

    async def answer(received: Received, writer: asyncio.StreamWriter) -> None:
        begun.set()
        await go_on.wait()
        await BROKEN(received, writer)

    slow = await stack.enter_async_context(receiver(answer))
    await hooks.subscribe("slow", slow.url())
    await hooks.happen(payment_id, 1)
    sending = asyncio.create_task(hooks.send())
    await begun.wait()
    await hooks.happen(payment_id, 2)
    go_on.set()
    await sending
    assert of(payment_id, slow.requests) == [1]
    hooks.later(FIRST_RETRY)
    await hooks.send()
    assert of(payment_id, slow.requests) == [1, 1]


async def test_what_is_paused_waits_and_what_is_deleted_is_canceled(hooks: Room, stack: AsyncExitStack) -> None:
    good = await stack.enter_async_context(receiver(OK))
    await hooks.subscribe("good", good.url(), paused=True)
    await hooks.subscribe("gone", good.url(), paused=True)
    await hooks.happen(new_name("pay_"), 1, 2)
    await hooks.send()
    assert good.requests == []
    await hooks.subscribe("good", good.url())
    await hooks.webhooks.subscriptions.delete(hooks.action("DeleteWebhookSubscription"), "gone")
    hooks.later(2 * SECOND)
    await hooks.send()
    assert len(good.requests) == 2
    assert await hooks.states(subscription_id="gone") == ["CANCELED", "CANCELED"]


async def test_what_never_came_to_a_try_is_given_up_only_where_its_receiver_failed_all_the_time(
    database: ServiceDatabase, stack: AsyncExitStack
) -> None:
    async with room(database.runtime_url, meter=(meter := Meter())) as hooks:
        bad, good = [await stack.enter_async_context(receiver(answer)) for answer in (BROKEN, OK)]
        await hooks.subscribe("bad", bad.url())
        await hooks.subscribe("good", good.url(), FactKind.PAYMENT_FAILED)
        await hooks.subscribe("away", good.url())
        await hooks.happen(new_name("pay_"), 1)
        await hooks.webhooks.upkeep.give_up()
        hooks.later(TRIED_FOR + HOUR)  # we were away, and nothing was tried
        assert await hooks.webhooks.upkeep.give_up() == 0
        await hooks.send()  # the first try of each
        assert await hooks.states(subscription_id="away") == ["DELIVERED"]
        assert await hooks.states(subscription_id="bad") == ["DEAD"]
        for _ in range(3 * RESTS_AFTER):
            await hooks.happen(new_name("pay_"), 1)
        await hooks.send()
        waiting = len(await hooks.states(subscription_id="bad", state=DeliveryState.WAITING))
        hooks.later(TRIED_FOR + HOUR)
        assert await hooks.webhooks.upkeep.give_up() == 0
        await hooks.happen(new_name("pay_"), 1)
        await hooks.engine().once()
        dead = len(await hooks.states(subscription_id="bad", state=DeliveryState.DEAD)) - 1
        assert 0 < dead < waiting
        assert await hooks.webhooks.upkeep.give_up() == waiting - dead
        # The lanes find nothing, and end.
        hooks.later(HOUR)
        await hooks.send()
        figures = Figures.read(await meter.text())
        assert figures.of("batzen_webhook_deliveries_ended_total", state="DEAD") == waiting + 1


async def test_figures_say_what_is_sent_and_how_receivers_do(databases: Databases, stack: AsyncExitStack) -> None:
    own = await databases.create("orchestrator")  # so many receivers have series of their own: no other test's
    stack.push_async_callback(databases.drop, own)
    async with room(own.runtime_url, meter=(meter := Meter())) as hooks:
        bad, good = [await stack.enter_async_context(receiver(answer)) for answer in (BROKEN, OK)]
        await hooks.subscribe("bad", bad.url())
        await hooks.subscribe("good", good.url())
        await hooks.happen(new_name("pay_"), 1)
        await hooks.send()
        hooks.later(HOUR)
        await hooks.webhooks.upkeep.look()
        figures = Figures.read(await meter.text())
        failing = figures.of("batzen_webhook_receiver_failing_seconds", receiver=f"{hooks.tenant_id}/bad")
        oldest = figures.of("batzen_webhook_oldest_waiting_seconds", receiver=f"{hooks.tenant_id}/bad")
        assert failing == pytest.approx(HOUR.total_seconds(), abs=60)
        assert oldest == pytest.approx(HOUR.total_seconds(), abs=60)
        assert figures.of("batzen_webhook_waiting", receiver=f"{hooks.tenant_id}/bad") == 1
        assert figures.of("batzen_webhook_waiting", receiver=f"{hooks.tenant_id}/good") == 0
        assert figures.of("batzen_webhook_receiver_failing_seconds", receiver=f"{hooks.tenant_id}/good") == 0
        assert figures.of("batzen_webhook_tries_total", outcome="REFUSED") == 1
        assert figures.of("batzen_webhook_tries_total", outcome="DELIVERED") == 1
        assert figures.of("batzen_webhook_deliveries_ended_total", state="DELIVERED") == 1
        assert figures.of("batzen_webhook_deliveries_made_total") == 2
        assert figures.of("batzen_webhook_delivered_seconds_count") == 1
        assert figures.of("batzen_webhook_try_seconds_count") == 2
        hooks.later(TRIED_FOR)
        await hooks.send()
        await hooks.webhooks.upkeep.look()
        figures = Figures.read(await meter.text())
        assert figures.of("batzen_webhook_dead", receiver=f"{hooks.tenant_id}/bad") == 1
        assert figures.of("batzen_webhook_oldest_waiting_seconds", receiver=f"{hooks.tenant_id}/bad") == 0


async def test_what_ended_long_ago_is_forgotten_and_then_its_lane_and_its_subscription(
    hooks: Room, stack: AsyncExitStack
) -> None:
    good = await stack.enter_async_context(receiver(OK))
    await hooks.subscribe("good", good.url())
    await hooks.happen(new_name("pay_"), 1)
    await hooks.send()
    hooks.later(KEPT - HOUR)
    await hooks.webhooks.upkeep.forget()
    assert len(await hooks.deliveries()) == 1
    await hooks.webhooks.subscriptions.delete(hooks.action("DeleteWebhookSubscription"), "good")
    hooks.later(2 * HOUR)
    await hooks.webhooks.upkeep.forget()
    assert await hooks.deliveries() == []
    counted = "SELECT (SELECT count(*) FROM webhook_lanes WHERE tenant_id = $1) AS lanes"
    assert (await hooks.row(counted))["lanes"] == 0
    there = "SELECT count(*) AS n FROM webhook_subscriptions WHERE tenant_id = $1"
    assert (await hooks.row(there))["n"] == 1
    hooks.later(KEPT)
    await hooks.webhooks.upkeep.forget()
    assert (await hooks.row(there))["n"] == 0


async def test_an_earlier_secret_signs_beside_a_new_one_for_a_while(hooks: Room, stack: AsyncExitStack) -> None:
    good = await stack.enter_async_context(receiver(OK))
    await hooks.subscribe("good", good.url())
    rotation = hooks.action("RotateWebhookSecret")
    for _ in range(2):  # a repeat says the same
        _, secret = await hooks.webhooks.subscriptions.rotate(rotation, "good", overlap=HOUR)
        hooks.secrets["new"] = hooks.secrets.get("new", secret)
        assert secret == hooks.secrets["new"] != hooks.secrets["good"]

    async def signed_by() -> list[bool]:
        await hooks.happen(new_name("pay_"), 1)
        await hooks.send()
        headers = good.requests[-1].headers
        return [len(headers["webhook-signature"].split()) == 2, *(
            verifies(secret, good.requests[-1], hooks) for secret in (hooks.secrets["good"], hooks.secrets["new"])
        )]  # fmt: skip

    assert await signed_by() == [True, True, True]
    hooks.later(2 * HOUR)
    assert await signed_by() == [False, False, True]


def verifies(secret: str, received: Received, hooks: Room) -> bool:
    try:
        verified(received.body, received.headers, secrets=[secret], now=hooks.clock.now())
    except WebhookRefused:
        return False
    return True


async def test_secrets_are_kept_under_a_key_that_another_may_replace(
    database: ServiceDatabase, stack: AsyncExitStack
) -> None:
    good = await stack.enter_async_context(receiver(OK))
    old, new = bytes(32), bytes([1] * 32)
    async with room(database.runtime_url, keys=Followed((old,))) as hooks:
        await hooks.subscribe("good", good.url())
        kept = (await hooks.row("SELECT wrapped_secret FROM webhook_secrets WHERE tenant_id = $1"))["wrapped_secret"]
        assert hooks.secrets["good"].encode() not in kept
        names = {"tenant_id": hooks.tenant_id, "clock": hooks.clock}
    async with room(database.runtime_url, keys=Followed((new, old)), **names) as hooks:
        await hooks.webhooks.upkeep.rewrap()
        await hooks.happen(new_name("pay_"), 1)
    async with room(database.runtime_url, keys=Followed((new,)), **names) as hooks:
        await hooks.send()
    assert len(good.requests) == 1


async def test_without_its_key_what_waits_goes_on_waiting(
    database: ServiceDatabase, stack: AsyncExitStack, caplog: pytest.LogCaptureFixture
) -> None:
    good = await stack.enter_async_context(receiver(OK))
    async with room(database.runtime_url) as hooks:
        await hooks.subscribe("good", good.url())
        await hooks.happen(new_name("pay_"), 1)
        names = {"tenant_id": hooks.tenant_id, "clock": hooks.clock}
    async with room(database.runtime_url, keys=Followed((bytes(32),)), **names) as hooks:
        await hooks.send()
        assert await hooks.states() == ["WAITING"]
        assert "WebhooksNotConfigured" in caplog.text
    async with room(database.runtime_url, **names) as hooks:
        hooks.later(timedelta(minutes=1))
        await hooks.send()
    assert len(good.requests) == 1


async def test_the_old_form_waits_for_the_gateway_and_then_comes(hooks: Room, stack: AsyncExitStack) -> None:
    good = await stack.enter_async_context(receiver(OK))
    await hooks.subscribe("old", good.url(), form=Form.LEGACY)
    payment_id = new_name("pay_")
    facts = [hooks.fact(payment_id, 1), hooks.fact(payment_id, 1, kind=FactKind.PAYMENT_FAILED)]
    await hooks.facts.keep(hooks.tenant_id, facts)
    assert [(one.kind, one.body) for one in await hooks.deliveries()] == [("PAYMENT_MOVED", None)]
    await hooks.send()  # the payment has no attempt yet, so that the gateway has nothing to say
    [delivery] = await hooks.deliveries()
    assert (delivery.state, delivery.body) == ("DELIVERED", good.requests[0].body)
