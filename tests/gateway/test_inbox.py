"""What Stripe's events lead to: once, in whatever order and number they come, and never backwards."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa
from grpc import aio

from batzen.gateway.v1 import sellers_pb2
from batzen.gateway.v1.observation_pb2_grpc import add_GatewayEventSinkServiceServicer_to_server
from local.issuer import Issuer
from sandbox.control import SandboxControl
from sandbox.faults import Kind
from sandbox.serving import running
from services.gateway.call_log.backoff import WAIT_MAX
from services.gateway.sync import is_current
from services.gateway.webhooks.effects import EARLY_MAX, PaymentUnknown
from services.gateway.webhooks.endpoint import CONNECT_PATH
from services.gateway.webhooks.inbox import Inbox
from services.runtime.observability.metrics import Meter
from services.runtime.rpc import call_context
from services.runtime.work.kinds import RetryLater, Work
from tests.clock import Clock
from tests.conftest import Databases
from tests.eventually import eventually
from tests.gateway.clocks import level
from tests.gateway.conftest import Gateway, Sink, running_gateway
from tests.gateway.receiving import CONNECT_SECRET, SECRET, Sender, count, event_of, receiving, stored
from tests.gateway.samples import (
    AMOUNT_MINOR,
    CREATE,
    READ,
    REQUIRES_ACTION,
    REQUIRES_PAYMENT_METHOD,
    RETURN_URL,
    SUCCEEDED,
    Payments,
    new_id,
)
from tests.gateway.settling import Carts
from tests.gateway.test_calls import until_struck

BUSY_RUNS = """event_runs r WHERE held_until > '-infinity' OR EXISTS (
    SELECT FROM events e WHERE e.tenant_id = r.tenant_id AND e.subject = r.subject AND e.state = 'WAITING')"""
BUSY_DELIVERIES = "deliveries WHERE delivered_version < wanted_version OR held_until > '-infinity'"
BUSY_NOTICES = "notices WHERE delivered_time IS NULL OR held_until > '-infinity'"
READS = "GET /v1/payment_intents/{intent}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A gateway with a Stripe, an orchestrator and a clock of its own, so that nobody else's webhooks arrive."""

    gateway: Gateway
    payments: Payments
    stripe: SandboxControl
    sink: Sink
    sender: Sender
    clock: Clock
    meter: Meter

    @property
    def inbox(self) -> Inbox:
        return self.gateway.parts.inbox

    async def event(self, payment_id: str, event_type: str, **fields: Any) -> dict[str, Any]:
        """Return an event around the intent of a payment as it is now at Stripe."""
        return event_of((await self.payments.intents(payment_id))[-1], event_type, at=self.clock.now(), **fields)

    async def refund_event(self, payment_id: str, event_type: str) -> dict[str, Any]:
        return event_of((await self.payments.refunds(payment_id))[-1], event_type, at=self.clock.now())

    async def charge_event(self, payment_id: str, event_type: str) -> dict[str, Any]:
        return event_of((await self.payments.charges(payment_id))[-1], event_type, at=self.clock.now())

    async def idle(self) -> None:
        """Wait until nothing is left to be done."""
        engine = self.gateway.parts.engine

        async def is_idle() -> bool:
            busy = (BUSY_RUNS, BUSY_DELIVERIES, BUSY_NOTICES)
            return not any([await count(engine, each) for each in busy])

        await eventually(is_idle)
        assert await count(engine, "events WHERE state = 'WAITING'") == 0

    async def state_of(self, event: dict[str, Any]) -> str:
        return str((await stored(self.gateway.parts.engine, event["id"])).state)

    async def process(self, subject: str) -> None:
        """Work on the events of a subject once, as the engine does."""
        work = Work(kind=self.inbox.work, tenant_id="main", key=(subject,), fence=1, failures=0)
        with call_context.acting_for("main"):
            await self.inbox.process(work)

    async def reads(self, payment_id: str) -> int:
        """Count the readings of a payment's intent at Stripe."""
        return (await self.stripe.calls(await self.payments.intent_id(payment_id))).get(READS, 0)

    def versions(self, payment_id: str) -> list[int]:
        return [one.observation.mirror_version for one in self.sink.of(payment_id)]


@pytest.fixture(scope="module")
async def place(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    clock, sink, server, meter = Clock(), Sink(), aio.server(), Meter()
    add_GatewayEventSinkServiceServicer_to_server(sink, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    database = await databases.create("gateway")
    async with AsyncExitStack() as stack:
        sandbox = await stack.enter_async_context(running())
        stripe = await stack.enter_async_context(SandboxControl(sandbox.base_url))
        gateway = await stack.enter_async_context(
            running_gateway(
                database.runtime_url,
                stripe_key=f"sk_test_{secrets.token_hex(16)}",
                stripe_base=sandbox.base_url,
                sink_address=f"127.0.0.1:{port}",
                issuer=Issuer(tmp_path_factory.mktemp("inbox") / "keys", now=clock.now),
                clock=clock,
                meter=meter,
            )
        )
        webhooks = gateway.parts.metrics.webhooks
        sender = await stack.enter_async_context(receiving(gateway.parts.inbox, clock=clock, metrics=webhooks))
        payments = Payments(await stack.enter_async_context(gateway.connect()), stripe)
        await payments.prepare_seller()
        yield Place(
            gateway=gateway, payments=payments, stripe=stripe, sink=sink, sender=sender, clock=clock, meter=meter
        )
    await server.stop(None)
    await databases.drop(database)


@pytest.fixture(autouse=True)
async def quiet(place: Place) -> AsyncIterator[None]:
    """Leave no fault and no work to the next test, and the clocks together."""
    yield
    await place.stripe.clear_faults()
    await place.stripe.resume()
    await place.idle()
    await level(place.clock, place.stripe)


@pytest.fixture
async def live(place: Place) -> AsyncIterator[Place]:
    """The same, with Stripe sending its webhooks by itself."""
    await place.stripe.webhooks()
    await place.stripe.endpoint(f"{place.sender.base_url}/webhooks/stripe", secrets=[SECRET])
    yield place
    await place.stripe.drain()
    await place.stripe.webhooks(drop=1.0)


async def authenticating(place: Place) -> str:
    """Return a payment that waits for its payer to authenticate."""
    payment_id = await place.payments.created()
    confirm = place.payments.confirm_request(payment_id, "threeDSecure2Required")
    seen = (await place.payments.gateway.ConfirmIntent(confirm)).observation
    assert seen.intent_state == REQUIRES_ACTION
    return payment_id


async def test_what_happens_without_us_is_applied_and_delivered_once(place: Place) -> None:
    payment_id = await authenticating(place)
    await place.stripe.authenticate(await place.payments.intent_id(payment_id), succeed=True)
    event = await place.event(payment_id, "payment_intent.succeeded")

    assert await place.sender.send(event) == "ACCEPTED"

    heard = await place.sink.hears(payment_id, lambda seen: seen.intent_state == SUCCEEDED)
    await place.idle()
    assert heard.origin == "webhook payment_intent.succeeded"
    assert heard.observation.amounts.captured_minor == AMOUNT_MINOR
    assert len(place.versions(payment_id)) == 1
    assert await place.state_of(event) == "DONE"


async def test_the_same_event_and_another_for_the_same_change_have_one_effect(place: Place) -> None:
    payment_id = await authenticating(place)
    await place.stripe.authenticate(await place.payments.intent_id(payment_id), succeed=True)
    one = await place.event(payment_id, "payment_intent.succeeded")
    other = await place.event(payment_id, "payment_intent.succeeded")

    receipts = await asyncio.gather(*(place.sender.send(event) for event in [one, other] * 5))
    await place.idle()

    assert receipts.count("DUPLICATE") == 8
    assert len(place.versions(payment_id)) == 1
    assert [await place.state_of(event) for event in (one, other)] == ["DONE", "DONE"]


async def test_what_an_answer_said_already_needs_no_work(place: Place) -> None:
    payment_id = await place.payments.paid()
    paid = await place.event(payment_id, "payment_intent.succeeded")
    await place.payments.gateway.CreateRefund(place.payments.refund_request(payment_id, 1_000))
    refunded = [
        await place.refund_event(payment_id, "refund.created"),
        await place.charge_event(payment_id, "charge.refunded"),
        await place.refund_event(payment_id, "charge.refund.updated"),
    ]
    # While sellers give back their part the payment is another's: then an event waits, and is worked on.
    await eventually(partial(Carts(place.gateway, place.payments, place.stripe).is_at_rest, payment_id))
    await place.idle()
    reads, told = await place.reads(payment_id), place.versions(payment_id)

    receipts = [await place.sender.send(event) for event in (paid, *refunded)]

    assert receipts == ["ALREADY_APPLIED"] * 4
    assert [await place.state_of(event) for event in (paid, *refunded)] == ["DONE"] * 4
    await place.idle()
    assert await place.reads(payment_id) == reads
    assert place.versions(payment_id) == told


async def test_what_cannot_be_read_is_never_taken_for_known(place: Place) -> None:
    payment_id = await place.payments.paid()
    await place.payments.gateway.CreateRefund(place.payments.refund_request(payment_id, 1_000))
    (intent,) = await place.payments.intents(payment_id)
    (charge,) = await place.payments.charges(payment_id)
    (refund,) = await place.payments.refunds(payment_id)
    held = await place.gateway.parts.reader.mirror_of("main", intent["id"])
    assert held is not None

    assert all(is_current.is_current(held, shown) for shown in (intent, charge, refund))
    for shown in (intent, charge, refund):
        for name in ("id", "status", "amount", "amount_captured", "currency", "object", "last_payment_error"):
            for odd in (None, "odd", [], {}, 1.5, -1, "pi_other"):
                changed = dict(shown) | {name: odd}
                assert is_current.is_current(held, changed) in (True, False)
        assert not is_current.is_current(held, dict(shown) | {"id": "other"})
        assert not is_current.is_current(held, {"object": shown["object"]})
    assert not is_current.is_current(held, {"object": "dispute", "payment_intent": intent["id"]})
    assert not is_current.is_current(held, dict(intent) | {"status": "processing"})
    assert not is_current.is_current(held, dict(charge) | {"amount_refunded": 1_001})
    assert not is_current.is_current(held, dict(charge) | {"disputed": True})
    assert not is_current.is_current(held, dict(refund) | {"status": "failed"})


async def test_a_refund_made_at_stripe_is_read_and_delivered(place: Place) -> None:
    payment_id = await place.payments.paid()
    await place.stripe.refund(await place.payments.intent_id(payment_id), amount=2_500)

    assert await place.sender.send(await place.charge_event(payment_id, "charge.refunded")) == "ACCEPTED"
    heard = await place.sink.hears(payment_id, lambda seen: seen.amounts.refunded_minor == 2_500)

    assert heard.observation.refundable_minor == AMOUNT_MINOR - 2_500
    # While sellers give back their part the payment is another's: then an event waits, and is worked on.
    carts = Carts(place.gateway, place.payments, place.stripe)
    await eventually(partial(carts.is_at_rest, payment_id))
    assert await place.sender.send(await place.refund_event(payment_id, "refund.created")) == "ALREADY_APPLIED"


async def test_one_reading_covers_all_events_that_wait_for_it(place: Place) -> None:
    payment_id = await place.payments.paid()
    intent_id = await place.payments.intent_id(payment_id)
    await place.stripe.refund(intent_id, amount=1_000)
    reads = await place.reads(payment_id)
    await place.stripe.fault(Kind.PAUSE, route=READ)
    first = await place.refund_event(payment_id, "refund.created")
    await place.sender.send(first)
    await until_struck(place.stripe)  # it is being read

    await place.stripe.refund(intent_id, amount=500)
    joined = [await place.refund_event(payment_id, "refund.created") for _ in range(6)]
    await asyncio.gather(*(place.sender.send(event) for event in joined))
    assert await count(place.gateway.parts.engine, f"event_runs WHERE subject = '{intent_id}'") == 1
    await place.stripe.resume()
    await place.idle()

    # Two, unless one was paused for longer than a try takes, which is tried again.
    assert await place.reads(payment_id) < reads + len(joined)
    assert [await place.state_of(event) for event in (first, *joined)] == ["DONE"] * 7
    assert (await place.payments.seen(payment_id)).amounts.refunded_minor == 1_500


async def test_events_in_the_wrong_order_never_turn_a_payment_back(place: Place) -> None:
    payment_id = await authenticating(place)
    asked = await place.event(payment_id, "payment_intent.requires_action")
    created = asked | {"id": "evt_" + new_id("created"), "type": "payment_intent.created"}
    await place.stripe.authenticate(await place.payments.intent_id(payment_id), succeed=True)
    paid = await place.event(payment_id, "payment_intent.succeeded")

    for event in (paid, asked, created):
        await place.sender.send(event)
        await place.idle()
        assert (await place.payments.seen(payment_id)).intent_state == SUCCEEDED

    assert len(place.versions(payment_id)) == 1


async def test_a_decline_that_is_told_late_is_not_taken_for_a_new_one(place: Place) -> None:
    payment_id = await authenticating(place)
    await place.stripe.authenticate(await place.payments.intent_id(payment_id), succeed=False)
    failed = await place.event(payment_id, "payment_intent.payment_failed")
    await place.sender.send(failed)
    heard = await place.sink.hears(payment_id, lambda seen: seen.decline_count == 1)
    assert heard.observation.intent_state == REQUIRES_PAYMENT_METHOD
    await place.payments.gateway.ConfirmIntent(place.payments.confirm_request(payment_id))

    await place.sender.send(failed | {"id": f"evt_{secrets.token_hex(8)}"})
    await place.idle()

    seen = await place.payments.seen(payment_id)
    assert (seen.intent_state, seen.decline_count) == (SUCCEEDED, 1)


async def test_an_event_of_another_version_is_applied_by_a_reading(place: Place) -> None:
    payment_id = await authenticating(place)
    await place.stripe.authenticate(await place.payments.intent_id(payment_id), succeed=True)
    reads = await place.reads(payment_id)
    event = await place.event(payment_id, "payment_intent.succeeded", api_version="2020-08-27")
    event["data"]["object"] = {"id": event["data"]["object"]["id"], "state_of_old": "paid"}

    assert await place.sender.send(event) == "ACCEPTED"

    await place.sink.hears(payment_id, lambda seen: seen.intent_state == SUCCEEDED)
    assert await place.reads(payment_id) == reads + 1


async def test_an_event_before_the_answer_that_names_its_intent_waits_for_it(place: Place) -> None:
    request = place.payments.create_request()
    await place.stripe.fault(Kind.TIMEOUT, route=CREATE, after=True, times=2)
    creating = asyncio.ensure_future(place.payments.gateway.CreateIntent(request))
    await until_struck(place.stripe)
    (intent,) = await place.payments.intents(request.payment_id)
    paid = await place.stripe.succeed(intent["id"])
    event = event_of(paid, "payment_intent.succeeded", at=place.clock.now())

    assert await place.sender.send(event) == "ACCEPTED"
    answer = await creating  # read anew, since what Stripe replays is as old as its first answer

    assert answer.observation.intent_state == SUCCEEDED
    assert answer.observation.amounts.captured_minor == AMOUNT_MINOR
    await place.idle()
    assert await place.state_of(event) == "DONE"


async def received(place: Place, event: dict[str, Any], *, ago: timedelta) -> None:
    """Have an event received, as if that had been a while ago."""
    await place.sender.send(event)
    async with place.gateway.parts.engine.begin() as connection:
        await connection.execute(
            sa.text(
                "UPDATE events SET receive_time = receive_time - CAST(:ago AS interval) WHERE event_id = :event_id"
            ),
            {"ago": ago, "event_id": event["id"]},
        )


async def given_up(place: Place, event: dict[str, Any]) -> None:
    """Have an operator give up what was never to be done."""
    async with place.gateway.parts.engine.begin() as connection:
        await connection.execute(sa.text("DELETE FROM event_runs"))
        await connection.execute(
            sa.text("UPDATE events SET state = 'PARKED' WHERE event_id = :event_id"), {"event_id": event["id"]}
        )


async def test_an_intent_of_somebody_else_is_given_up_quietly(place: Place) -> None:
    intent = {"id": f"pi_{secrets.token_hex(8)}", "object": "payment_intent", "status": "succeeded", "metadata": {}}
    event = event_of(intent, "payment_intent.succeeded", at=place.clock.now())
    await place.sender.send(event)

    with pytest.raises(RetryLater):
        await place.process(intent["id"])
    await received(place, event, ago=EARLY_MAX)
    await place.process(intent["id"])

    row = await stored(place.gateway.parts.engine, event["id"])
    assert (row.state, row.note) == ("IGNORED", "no payment of ours")


async def test_an_intent_that_claims_to_be_ours_becomes_a_dead_letter(place: Place) -> None:
    claimed = {"payment_id": new_id("pay")}
    intent = {"id": f"pi_{secrets.token_hex(8)}", "object": "payment_intent", "metadata": claimed}
    event = event_of(intent, "payment_intent.succeeded", at=place.clock.now())
    await received(place, event, ago=EARLY_MAX)

    with pytest.raises(PaymentUnknown, match=claimed["payment_id"]):
        await place.process(intent["id"])

    assert await place.state_of(event) == "WAITING"
    await given_up(place, event)


async def test_events_that_were_given_up_are_worked_on_with_the_next_one(place: Place) -> None:
    payment_id = await place.payments.paid()
    await place.stripe.refund(await place.payments.intent_id(payment_id), amount=100)
    first, second = [await place.refund_event(payment_id, "refund.created") for _ in range(2)]
    engine = place.gateway.parts.engine
    await place.stripe.fault(Kind.SERVER_ERROR, route=READ, times=None, should_retry=False)
    await place.sender.send(first)
    await until_struck(place.stripe)
    async with engine.begin() as connection:
        await connection.execute(sa.text("UPDATE event_runs SET due_time = NULL, dead_time = now(), fence = fence + 1"))
    await place.stripe.clear_faults()

    await place.sender.send(second)
    await place.idle()

    assert [await place.state_of(event) for event in (first, second)] == ["DONE", "DONE"]


@pytest.mark.parametrize(
    "kind", [Kind.SERVER_ERROR, Kind.UNAUTHORIZED, Kind.FORBIDDEN, Kind.UNKNOWN_ENDPOINT, Kind.MISSING, Kind.HTML]
)
async def test_stripe_being_away_or_not_taking_our_key_is_waited_out(place: Place, kind: Kind) -> None:
    payment_id = await place.payments.paid()
    await place.stripe.refund(await place.payments.intent_id(payment_id), amount=700)
    await place.stripe.fault(kind, route=READ, times=None, should_retry=False)
    event = await place.refund_event(payment_id, "refund.created")
    await place.sender.send(event)
    await until_struck(place.stripe)

    with pytest.raises(RetryLater):
        await place.process(event["data"]["object"]["payment_intent"])
    assert await place.state_of(event) == "WAITING"
    await place.stripe.clear_faults()

    await place.sink.hears(payment_id, lambda seen: seen.amounts.refunded_minor == 700)
    await place.idle()
    assert await place.state_of(event) == "DONE"


async def test_stripe_being_away_for_days_counts_as_failure(place: Place) -> None:
    payment_id = await place.payments.paid()
    await place.stripe.refund(await place.payments.intent_id(payment_id), amount=700)
    await place.stripe.fault(Kind.SERVER_ERROR, route=READ, times=None, should_retry=False)
    event = await place.refund_event(payment_id, "refund.created")
    await received(place, event, ago=WAIT_MAX)

    with pytest.raises(Exception, match="Stripe"):
        await place.process(event["data"]["object"]["payment_intent"])


async def test_a_payment_hears_of_its_success_though_the_wrong_endpoint_was_told_first(place: Place) -> None:
    payment_id = await place.payments.created()
    await place.stripe.succeed(await place.payments.intent_id(payment_id))
    event = await place.event(payment_id, "payment_intent.succeeded")

    assert await place.sender.send(event, path=CONNECT_PATH, secret=CONNECT_SECRET) == "PARKED"
    assert await place.sender.send(event) == "ACCEPTED"

    await place.sink.hears(payment_id, lambda seen: seen.intent_state == SUCCEEDED)
    await place.idle()
    assert await place.state_of(event) == "DONE"


async def test_a_sellers_account_is_mirrored_as_it_is_at_stripe_now(place: Place) -> None:
    account = await place.payments.prepare_seller(new_id("seller"))
    shown = {"id": account.stripe_account_id, "object": "account", "charges_enabled": True}
    await place.stripe.enable_account(account.stripe_account_id, enabled=False)
    event = event_of(shown, "account.updated", at=place.clock.now(), account=account.stripe_account_id)
    stranger = event_of(shown | {"id": "acct_9"}, "account.updated", at=place.clock.now(), account="acct_9")

    for one in (event, stranger):
        assert await place.sender.send(one, path=CONNECT_PATH, secret=CONNECT_SECRET) == "ACCEPTED"
    await place.idle()

    request = sellers_pb2.GetSellerAccountRequest(seller_id=account.seller_id)
    seen = (await place.payments.gateway.GetSellerAccount(request)).account
    assert not seen.charges_enabled
    assert [await place.state_of(one) for one in (event, stranger)] == ["DONE", "IGNORED"]


async def test_a_seller_who_takes_our_access_away_is_not_paid_any_more(place: Place) -> None:
    account = await place.payments.prepare_seller(new_id("seller"))
    await place.stripe.disconnect_account(account.stripe_account_id)
    application = {"id": "ca_1", "object": "application", "name": "Batzen"}
    events = [
        event_of(application, "account.application.deauthorized", at=place.clock.now(), account=account_id)
        for account_id in (account.stripe_account_id, "acct_9")
    ]

    for event in events:
        assert await place.sender.send(event, path=CONNECT_PATH, secret=CONNECT_SECRET) == "ACCEPTED"
    await place.idle()

    request = sellers_pb2.GetSellerAccountRequest(seller_id=account.seller_id)
    assert not (await place.payments.gateway.GetSellerAccount(request)).account.transfers_enabled
    assert [await place.state_of(event) for event in events] == ["DONE", "IGNORED"]


async def test_a_payment_in_the_browser_is_heard_of_by_webhook_alone(live: Place) -> None:
    request = live.payments.create_request()
    secret = (await live.payments.gateway.CreateIntent(request)).client_secret

    await live.stripe.browser_confirm(secret, payment_method="pm_card_visa", return_url=RETURN_URL)

    heard = await live.sink.hears(request.payment_id, lambda seen: seen.intent_state == SUCCEEDED)
    assert heard.observation.method.last4 == "4242"


async def test_whatever_happens_to_webhooks_each_payment_ends_once_and_as_stripe_has_it(live: Place) -> None:
    await live.stripe.webhooks(duplicate=2, reorder=True)
    payment_ids = [await authenticating(live) for _ in range(10)]

    async def finish(number: int, payment_id: str) -> None:
        intent_id = await live.payments.intent_id(payment_id)
        await live.stripe.authenticate(intent_id, succeed=number % 5 != 0)
        if number % 2 and number % 5:
            await live.stripe.refund(intent_id, amount=1_000)

    await asyncio.gather(*(finish(number, payment_id) for number, payment_id in enumerate(payment_ids)))
    await live.stripe.drain()
    await live.idle()

    for number, payment_id in enumerate(payment_ids):
        seen = await live.payments.seen(payment_id)
        state = SUCCEEDED if number % 5 else REQUIRES_PAYMENT_METHOD
        refunded_minor = 1_000 if number % 2 and number % 5 else 0
        assert (seen.intent_state, seen.amounts.refunded_minor) == (state, refunded_minor)
        versions = live.versions(payment_id)
        assert versions == sorted(set(versions))
        assert live.sink.of(payment_id)[-1].observation == seen
        assert (await live.payments.synced(payment_id)).mirror_version == seen.mirror_version
    assert await count(live.gateway.parts.engine, "events WHERE state = 'WAITING'") == 0
