"""Stripe's events are read where none is sent here: each that concerns us arrives once, whoever dies, whenever."""

from __future__ import annotations

import json
import logging
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from local.databases import ServiceDatabase
from local.issuer import Issuer
from sandbox.control import SandboxControl
from sandbox.faults import Kind
from sandbox.serving import running
from services.gateway.errors import StripeUnavailable
from services.gateway.polling import poller as polling
from services.gateway.polling.metrics import PollMetrics
from services.gateway.polling.poller import EventPolls
from services.gateway.polling.store import PLATFORM, PollStore
from services.gateway.stripe_api.breaker import FAILURES_MAX
from services.gateway.stripe_api.calls.events import NotPermitted
from services.gateway.stripe_api.client import Provider
from services.gateway.stripe_api.limits import Share, StripeLimits
from services.gateway.webhooks.events import Action, read
from services.runtime.database.connections import plain_dsn
from services.runtime.observability.metrics import OFF, Meter
from services.runtime.rpc.call_context import acting_for
from services.runtime.work.kinds import RetryLater, Work
from tests.clock import Clock
from tests.conftest import Databases
from tests.gateway.conftest import Gateway, Sink, running_gateway
from tests.gateway.samples import SUCCEEDED, Payments
from tests.gateway.test_checkout_crashes import Died, Life, Mortal
from tests.gateway.test_refund_crashes import KINDS, lives
from tests.metrics import Figures

TENANT = "main"
EVERY = timedelta(seconds=2)
EVENTS = "GET /v1/events"
POLLED = "batzen_events_polled_total"


@dataclass(slots=True, kw_only=True)
class Polled:
    """A gateway to which no event is sent."""

    replica: Gateway
    payments: Payments
    stripe: SandboxControl
    connection: asyncpg.Connection
    clock: Clock

    def polls(self, *, life: Life | None = None, meter: Meter = OFF) -> EventPolls:
        """Return what reads events in another process, which may die."""
        parts = self.replica.parts
        store: Any = PollStore(parts.connections, clock=parts.clock)
        return EventPolls(
            Mortal(store, life) if life else store,
            parts.provider,
            Mortal(parts.inbox, life) if life else parts.inbox,  # type: ignore[arg-type]
            parts.sellers,
            every=EVERY,
            now=parts.clock.now,
            metrics=PollMetrics(meter),
        )

    async def read_on(self, account: str = PLATFORM, polls: EventPolls | None = None) -> bool:
        """Read what is new, as far as one step goes."""
        with acting_for(TENANT):
            return await (polls or self.replica.parts.polls).read_on(TENANT, account)

    async def poll(self, account: str = PLATFORM) -> timedelta | None:
        """Do one row's work; return when it is done again."""
        polls = self.replica.parts.polls
        work = Work(kind=polls.work[0], tenant_id=TENANT, key=(account,), fence=0, failures=0)
        try:
            with acting_for(TENANT):
                await polls.poll(work)
        except RetryLater as again:
            return again.delay
        return None

    async def go_on(self, by: timedelta) -> None:
        """Let time pass, here and at Stripe."""
        self.clock.advance(by)
        await self.stripe.advance(by.total_seconds())

    async def worked(self) -> None:
        """Do all that is due, until nothing is."""
        while await self.connection.fetchval("SELECT count(*) FROM event_runs WHERE due_time IS NOT NULL"):
            await self.replica.parts.work.once()
            self.clock.advance(timedelta(seconds=1))

    async def paid_elsewhere(self) -> str:
        """Return a payment whose payer paid by no call of ours."""
        payment_id = await self.payments.created()
        [intent] = await self.stripe.objects("payment_intent", **{"metadata.payment_id": payment_id})
        await self.stripe.succeed(str(intent["id"]))
        await self.stripe.settle()
        return payment_id

    async def accounts(self) -> list[str]:
        """Return the sellers' accounts whose events are read."""
        rows = await self.connection.fetch("SELECT account FROM event_polls WHERE account <> ''")
        return [row["account"] for row in rows]

    async def kept(self) -> list[str]:
        """Return the events that are in the inbox."""
        return [row["event_id"] for row in await self.connection.fetch("SELECT event_id FROM events")]

    async def at_stripe(self) -> list[str]:
        """Return the platform's events at Stripe that concern us."""
        found = await self.stripe.objects("event")
        return [str(one["id"]) for one in found if "account" not in one and is_acted_on(one)]


def is_acted_on(shown: dict[str, Any]) -> bool:
    """Whether an event concerns us."""
    return read(json_of(shown)).action is not Action.IGNORE


def json_of(shown: dict[str, Any]) -> bytes:
    return json.dumps(shown).encode()


@pytest.fixture(scope="module")
async def stand_in() -> AsyncIterator[SandboxControl]:
    """One whose clock is this module's alone."""
    async with running() as sandbox, SandboxControl(sandbox.base_url) as control:
        yield control


@asynccontextmanager
async def polled_gateway(
    database: ServiceDatabase, stand_in: SandboxControl, sink: tuple[Sink, str], folder: Path, *, meter: Meter = OFF
) -> AsyncIterator[Polled]:
    clock = Clock()
    clock.advance(timedelta(seconds=await stand_in.now() - clock.now().timestamp()))
    await stand_in.reset()
    async with (
        running_gateway(
            database.runtime_url,
            stripe_key=f"sk_test_{secrets.token_hex(16)}",
            stripe_base=stand_in.base_url,
            sink_address=sink[1],
            issuer=Issuer(folder / "keys", now=clock.now),
            clock=clock,
            meter=meter,
            works=False,
            polls_every=EVERY,
        ) as replica,
        replica.connect() as stubs,
    ):
        payments = Payments(stubs, stand_in)
        await payments.prepare_seller()
        connection = await asyncpg.connect(plain_dsn(database.owner_url))
        yield Polled(replica=replica, payments=payments, stripe=stand_in, connection=connection, clock=clock)
        await connection.close()


@pytest.fixture
async def polled(
    databases: Databases, stand_in: SandboxControl, sink: tuple[Sink, str], tmp_path: Path
) -> AsyncIterator[Polled]:
    database = await databases.create("gateway")
    async with polled_gateway(database, stand_in, sink, tmp_path) as made:
        yield made
    await databases.drop(database)


async def test_what_is_read_goes_the_way_of_a_webhook_and_arrives_once(polled: Polled) -> None:
    payment_id = await polled.paid_elsewhere()

    await polled.replica.parts.work.once()  # the engine reads, and makes due what it read
    await polled.worked()

    assert (await polled.payments.seen(payment_id)).intent_state == SUCCEEDED
    kept = await polled.kept()
    assert sorted(kept) == sorted(await polled.at_stripe())
    assert "payment_intent.succeeded" in {
        row["type"] for row in await polled.connection.fetch("SELECT type FROM events WHERE state = 'DONE'")
    }
    meter = Meter()
    assert await polled.read_on(polls=polled.polls(meter=meter))
    assert Figures.read(await meter.text()).total(POLLED) == 0  # they are here
    assert sorted(await polled.kept()) == sorted(kept)


async def test_what_was_sent_here_is_not_taken_a_second_time(polled: Polled) -> None:
    payment_id = await polled.paid_elsewhere()
    parts, meter = polled.replica.parts, Meter()
    [sent] = [one for one in await polled.stripe.objects("event") if one["type"] == "payment_intent.succeeded"]
    with acting_for(TENANT):
        await parts.inbox.receive(
            read(json_of(sent)), body=json_of(sent), tenant_id=TENANT, is_connect=False, now=polled.clock.now()
        )

    assert await polled.read_on(polls=polled.polls(meter=meter))
    await polled.worked()

    figures = Figures.read(await meter.text())
    assert figures.total(POLLED) == len(await polled.at_stripe()) - 1
    assert figures.of(POLLED, outcome="duplicate") == 0
    assert (await polled.payments.seen(payment_id)).intent_state == SUCCEEDED


@KINDS
async def test_a_process_that_dies_anywhere_loses_no_event(
    kind: type[Life], polled: Polled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.gateway.stripe_api.calls.events.PAGE_SIZE", 3)
    monkeypatch.setattr(polling, "LATE_FOR", 2 * polling.OVERLAP)  # or all lives before are read again
    monkeypatch.setattr(polling, "SWEEP_EVERY", timedelta(0))
    monkeypatch.setattr(polling, "SWEEP_PAGES_MAX", polling.PAGES_MAX)
    for life in lives(kind):
        await polled.go_on(2 * polling.OVERLAP)
        payment_id = await polled.paid_elsewhere()
        with suppress(Died):
            await polled.read_on(polls=polled.polls(life=life))
        assert await polled.read_on(), life.place
        assert sorted(await polled.kept()) == sorted(await polled.at_stripe()), life.place
    await polled.worked()
    assert (await polled.payments.seen(payment_id)).intent_state == SUCCEEDED


async def test_reading_goes_on_in_bounded_steps_while_more_happens(
    polled: Polled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.gateway.stripe_api.calls.events.PAGE_SIZE", 2)
    monkeypatch.setattr(polling, "PAGES_MAX", 1)
    await polled.paid_elsewhere()
    steps = 0

    while not await polled.read_on():
        steps += 1
        if steps == 1:
            await polled.paid_elsewhere()  # above what is being read
    while not await polled.read_on():
        steps += 1

    assert steps > 2
    assert sorted(await polled.kept()) == sorted(await polled.at_stripe())


async def test_what_stripe_lists_late_is_found_within_the_hour(polled: Polled) -> None:
    await polled.paid_elsewhere()
    assert await polled.read_on()
    late = (await polled.at_stripe())[0]
    await polled.go_on(timedelta(minutes=30))
    await polled.paid_elsewhere()
    assert await polled.read_on()
    await polled.connection.execute("DELETE FROM events WHERE event_id = $1", late)  # as if it had not been listed

    assert await polled.read_on()
    assert late not in await polled.kept()  # a minute back is as far as one goes each time
    polled.clock.advance(polling.SWEEP_EVERY)
    assert await polled.read_on()

    assert late in await polled.kept()


async def test_a_review_that_was_closed_meanwhile_is_never_open_here_though_the_newest_is_read_first(
    polled: Polled, monkeypatch: pytest.MonkeyPatch
) -> None:
    payment_id = await polled.paid_elsewhere()
    assert await polled.read_on()
    await polled.worked()
    intent_id = await polled.payments.intent_id(payment_id)
    review = await polled.stripe.open_review(intent_id)  # while nobody reads
    await polled.paid_elsewhere()
    await polled.stripe.close_review(str(review["id"]))

    monkeypatch.setattr("services.gateway.stripe_api.calls.events.PAGE_SIZE", 3)
    monkeypatch.setattr(polling, "PAGES_MAX", 1)
    while not await polled.read_on():
        await polled.worked()  # on what is newer, before what is older is read
    await polled.worked()

    types = [row["type"] for row in await polled.connection.fetch("SELECT type FROM events WHERE state = 'DONE'")]
    assert {"review.opened", "review.closed"} <= set(types)
    seen = await polled.payments.seen(payment_id)
    assert (seen.is_held_back, seen.HasField("attention")) == (False, False)


async def test_what_is_new_does_not_wait_for_a_look_at_the_last_hour(
    polled: Polled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.gateway.stripe_api.calls.events.PAGE_SIZE", 10)
    for _ in range(4):
        await polled.paid_elsewhere()
    while not await polled.read_on():
        pass
    await polled.go_on(polling.SWEEP_EVERY)
    await polled.paid_elsewhere()
    while not await polled.read_on():
        pass
    late = (await polled.at_stripe())[0]
    await polled.connection.execute("DELETE FROM events WHERE event_id = $1", late)  # as if it had not been listed
    await polled.go_on(polling.SWEEP_EVERY)
    monkeypatch.setattr(polling, "SWEEP_PAGES_MAX", 1)
    assert not await polled.read_on()  # the look has begun, and there is more of it
    payment_id = await polled.paid_elsewhere()

    assert not await polled.read_on()
    await polled.worked()

    assert (await polled.payments.seen(payment_id)).intent_state == SUCCEEDED
    while not await polled.read_on():
        pass
    assert late in await polled.kept()


async def test_what_was_listed_late_before_nobody_read_is_found_by_who_reads_again(polled: Polled) -> None:
    await polled.paid_elsewhere()
    assert await polled.read_on()
    await polled.go_on(timedelta(minutes=30))
    await polled.paid_elsewhere()
    assert await polled.read_on()
    late = (await polled.at_stripe())[0]
    await polled.connection.execute("DELETE FROM events WHERE event_id = $1", late)
    await polled.go_on(timedelta(hours=5))
    await polled.paid_elsewhere()

    assert await polled.read_on()

    assert late in await polled.kept()


async def test_clocks_that_differ_leave_nothing_out(polled: Polled) -> None:
    await polled.paid_elsewhere()
    assert await polled.read_on()
    polled.clock.advance(timedelta(hours=3))  # ahead of Stripe's
    await polled.paid_elsewhere()

    assert await polled.read_on()

    assert sorted(await polled.kept()) == sorted(await polled.at_stripe())


async def test_who_did_not_read_for_longer_than_stripe_lists_is_told_what_may_be_missing(
    polled: Polled, caplog: pytest.LogCaptureFixture
) -> None:
    meter = Meter()
    began = polled.clock.now()
    assert await polled.read_on()
    long = timedelta(days=33)
    await polled.go_on(long)
    await polled.paid_elsewhere()
    polls = polled.polls(meter=meter)
    await polls.look(TENANT)
    assert Figures.read(await meter.text())["batzen_event_poll_age_seconds"] >= long.total_seconds()

    with caplog.at_level(logging.ERROR, logger=polling.__name__):
        assert await polled.read_on(polls=polls)

    for account in await polled.accounts():
        assert await polled.read_on(account, polls)
    said, *_ = [record.getMessage() for record in caplog.records if record.name == polling.__name__]
    assert f"of {began:%Y-%m-%dT%H}" in said
    assert "may be missing" in said
    await polls.look(TENANT)
    figures = Figures.read(await meter.text())
    assert timedelta(days=2.9) < timedelta(seconds=figures["batzen_event_poll_gap_seconds"]) < timedelta(days=3.1)
    assert figures["batzen_event_poll_age_seconds"] < 60
    polled.clock.advance(timedelta(days=31))
    await polls.look(TENANT)
    assert Figures.read(await meter.text())["batzen_event_poll_gap_seconds"] == 0  # said for long enough


async def test_a_place_that_stripe_does_not_list_any_more_is_left(
    polled: Polled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.gateway.stripe_api.calls.events.PAGE_SIZE", 2)
    with monkeypatch.context() as short:
        short.setattr(polling, "PAGES_MAX", 1)
        await polled.paid_elsewhere()
        assert not await polled.read_on()
    await polled.go_on(timedelta(days=31))
    await polled.paid_elsewhere()
    oldest = await polled.stripe.now() - timedelta(days=30).total_seconds()

    assert await polled.read_on()

    listed = {str(one["id"]) for one in await polled.stripe.objects("event") if one["created"] >= oldest}
    assert listed & set(await polled.at_stripe()) <= set(await polled.kept())


async def test_events_of_sellers_are_read_account_by_account_until_one_is_closed_to_us(polled: Polled) -> None:
    account_id = (await polled.payments.prepare_seller()).stripe_account_id
    await polled.read_on()
    assert await polled.connection.fetchval(
        "SELECT count(*) FROM event_polls WHERE account = $1 AND due_time IS NOT NULL", account_id
    )
    await polled.stripe.enable_account(account_id, enabled=False)

    assert await polled.poll(account_id) >= polling.ACCOUNTS_EVERY_MIN  # type: ignore[operator]
    await polled.worked()

    row = await polled.connection.fetchrow(
        "SELECT charges_enabled, gone FROM seller_accounts WHERE stripe_account_id = $1", account_id
    )
    assert (row["charges_enabled"], row["gone"]) == (False, False)
    accounts = await polled.connection.fetch("SELECT account, state FROM events WHERE subject = $1", account_id)
    assert {tuple(one) for one in accounts} == {(account_id, "DONE")}

    await polled.stripe.disconnect_account(account_id)
    assert await polled.poll(account_id) is None  # done for good
    assert await polled.connection.fetchval("SELECT gone FROM seller_accounts WHERE stripe_account_id = $1", account_id)


async def test_an_account_that_is_taken_over_is_read_from_when_it_became_ours(polled: Polled) -> None:
    await polled.connection.execute("UPDATE stripe_accounts SET pin_time = pin_time - interval '20 days'")
    await polled.go_on(2 * polling.LATE_FOR)
    account_id = (await polled.payments.prepare_seller()).stripe_account_id
    await polled.read_on()
    await polled.stripe.enable_account(account_id, enabled=False)
    before = await polled.stripe.now()
    await polled.go_on(timedelta(days=2))
    taken_over = polled.clock.now()
    await polled.connection.execute(
        "UPDATE seller_accounts SET create_time = $2 WHERE stripe_account_id = $1", account_id, taken_over
    )
    await polled.stripe.enable_account(account_id, enabled=True)

    assert await polled.read_on(account_id)

    times = [
        row["create_time"].timestamp()
        for row in await polled.connection.fetch("SELECT create_time FROM events WHERE account = $1", account_id)
    ]
    assert times
    assert min(times) > before


async def test_accounts_that_the_key_may_not_read_hold_up_nobody(
    polled: Polled, caplog: pytest.LogCaptureFixture
) -> None:
    account_id = (await polled.payments.prepare_seller()).stripe_account_id
    await polled.read_on()
    limits = StripeLimits(None, clock=time.monotonic)
    await polled.stripe.fault(Kind.FORBIDDEN, route=EVENTS, times=FAILURES_MAX + 1)

    assert (await polled.poll(account_id) or timedelta()) >= polling.NOT_PERMITTED_REST / 2

    assert f"may not read the events of {account_id}" in caplog.text
    provider = Provider(f"rk_test_{secrets.token_hex(16)}", api_base=polled.stripe.base_url, limits=limits)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(provider.close)
        for _ in range(FAILURES_MAX):
            with pytest.raises(NotPermitted):
                await provider.events.page(account_id=account_id, since=polled.clock.now())
        assert not limits.is_silent(Share.READ)
        assert (await provider.events.page(account_id="", since=polled.clock.now()))["object"] == "list"
        await polled.stripe.fault(Kind.FORBIDDEN, times=None)
        for _ in range(FAILURES_MAX):
            with pytest.raises(StripeUnavailable):
                await provider.events.page(account_id="", since=polled.clock.now())
        assert not limits.is_silent(Share.READ)  # who is sent all events needs no permission to read them
        for _ in range(FAILURES_MAX):
            with pytest.raises(StripeUnavailable):
                await provider.refunds.retrieve("re_1")
        assert limits.is_silent(Share.READ)  # without this reading nothing goes


async def test_while_stripe_is_away_it_is_tried_again_and_shown(polled: Polled) -> None:
    meter = Meter()
    await polled.stripe.fault("server_error", route=EVENTS, times=None)
    polled.clock.advance(timedelta(minutes=7))

    assert (await polled.poll() or timedelta()) >= polling.RETRY.first_delay

    await polled.polls(meter=meter).look(TENANT)
    assert Figures.read(await meter.text())["batzen_event_poll_age_seconds"] >= 7 * 60
    await polled.stripe.clear_faults()
    assert EVERY <= (await polled.poll() or timedelta()) <= 2 * EVERY


async def test_what_is_no_event_is_passed_over_and_counted(polled: Polled, caplog: pytest.LogCaptureFixture) -> None:
    await polled.paid_elsewhere()
    body = await _listed_without_type(polled)
    await polled.stripe.fault(Kind.EMPTY, route=EVENTS, times=1, body=body)
    meter = Meter()

    assert await polled.read_on(polls=polled.polls(meter=meter))

    assert Figures.read(await meter.text()).of(POLLED, outcome="refused") == 1
    assert "an event of Stripe's cannot be read" in caplog.text


async def _listed_without_type(polled: Polled) -> str:
    one = dict((await polled.stripe.objects("event"))[0], type="")
    listed = {"object": "list", "data": [one], "has_more": False, "url": "/v1/events"}
    return json_of(listed).decode()
