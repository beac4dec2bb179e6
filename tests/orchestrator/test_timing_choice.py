"""A payer chooses when their money is taken, among what the platform offers: one way to pay is open at any time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from batzen.orchestrator.v1.orchestrator_pb2_grpc import OrchestratorServiceStub
from local.databases import ServiceDatabase
from sandbox.control import Refused
from services.orchestrator.domain.charge_plan import PAST_MAX
from services.orchestrator.peers import Peers
from services.orchestrator.sessions import PaymentSessions, redact
from services.runtime.rpc import call_context
from services.shared.refusals import Refusal
from tests.eventually import eventually
from tests.orchestrator.conftest import Journeys, Orchestrator
from tests.orchestrator.crash_injection import ask, mortal_orchestrator, parts_of, shop_key
from tests.orchestrator.lives import Life, Lives
from tests.orchestrator.samples import (
    CANCEL,
    CANCEL_URL,
    CREATE,
    OPENED,
    TOTAL_MINOR,
    VISA,
    Clock,
    cancel,
    chf,
    new_id,
    refused,
    resume,
    retry,
    start,
    state_of,
    submit,
    update,
)

NOW, HOLD, LATER = pb.TIMING_IMMEDIATE, pb.TIMING_MANUAL_CAPTURE, pb.TIMING_SCHEDULED
ALL: Final = (NOW, HOLD, LATER)
FORM, PAGE = pb.COLLECTION_ELEMENTS, pb.COLLECTION_CHECKOUT
DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
PAID_AS: Final = {NOW: "SUCCEEDED", HOLD: "AUTHORIZED", LATER: "SCHEDULED"}
"""What a payment comes to whose payer submits a card."""
CHANGES: Final = [(one, other) for one in ALL for other in ALL if one is not other]
SOME_CHANGES: Final = [
    pytest.param(old, new, marks=[] if (old, new) in ((NOW, LATER), (LATER, NOW), (HOLD, NOW)) else pytest.mark.faults)
    for old, new in CHANGES
]
WAITS: Final = frozenset({"requires_payment_method", "requires_confirmation", "requires_action"})


def offering(at: datetime, timing: int = NOW, *timings: int, **changes: Any) -> pb.StartPaymentRequest:
    """Return the start of a payment whose payer may choose; all there are where none is named."""
    request = start(timing=timing, timings_offered=timings or ALL, cancel_url=CANCEL_URL, **changes)
    if LATER in request.timings_offered:
        request.charge_time.FromDatetime(at)
    return request


@pytest.fixture
def at(clock: Clock) -> datetime:
    """When what is scheduled is charged: after whatever another test made of the clock."""
    return (max(clock.now(), datetime.now(UTC)) + 3 * DAY).replace(microsecond=0)


async def open_ways(journeys: Journeys, payment_id: str) -> list[str]:
    """Return what can be paid with at Stripe, as the timing that it is of; of a page that takes money PAGE."""
    pages = await journeys.pages(payment_id)
    of_pages = {one[kind] for one in pages for kind in ("payment_intent", "setup_intent")}
    setups = await journeys.stripe.objects("setup_intent", **{"metadata.payment_id": payment_id})
    found = ["LATER" for one in setups if one["status"] in WAITS and one["id"] not in of_pages]
    for one in await journeys.intents(payment_id):
        if one["status"] in WAITS and one["id"] not in of_pages:
            found.append("HOLD" if one["capture_method"] == "manual" else "NOW")
    return found + ["LATER" if one["mode"] == "setup" else "PAGE" for one in pages if one["status"] == "open"]


NAMES: Final = {NOW: "NOW", HOLD: "HOLD", LATER: "LATER"}


@pytest.mark.parametrize(("old", "new"), CHANGES)
async def test_a_payer_chooses_another_timing_and_pays_by_it(
    old: int, new: int, at: datetime, journeys: Journeys, as_payer: OrchestratorServiceStub
) -> None:
    session = (await journeys.orchestrator.StartPayment(offering(at, old))).session
    payment_id = session.payment.payment_id
    assert (session.timing, [one.timing for one in session.timings_offered]) == (old, list(ALL))
    assert [one.charge_time.ToDatetime(UTC) for one in session.timings_offered if one.HasField("charge_time")] == [at]
    assert await open_ways(journeys, payment_id) == [NAMES[old]]
    asked = resume(payment_id, timing=new)
    answer = await as_payer.ResumePayment(asked)
    assert (answer.session.timing, answer.session.HasField("charge_time")) == (new, new == LATER)
    assert (answer.price_changed, answer.session.payment.snapshot.attempt) == (False, 2)
    assert answer.session.client_secret.startswith("seti_" if new == LATER else "pi_")
    again = await as_payer.ResumePayment(asked)
    assert (again.session.timing, again.session.client_secret) == (new, answer.session.client_secret)
    assert await open_ways(journeys, payment_id) == [NAMES[new]]
    plan = await journeys.plan(payment_id)
    assert (plan.timing, list(plan.timings_offered), plan.next_step) == (new, list(ALL), "EXPIRE")
    paid = (await as_payer.SubmitPayment(submit(payment_id, expected_timing=new))).payment
    assert (state_of(paid), await open_ways(journeys, payment_id)) == (PAID_AS[new], [])
    held = paid.snapshot.amounts
    assert (held.captured_minor, held.capturable_minor) == (
        TOTAL_MINOR if new == NOW else 0,
        TOTAL_MINOR if new == HOLD else 0,
    )
    assert not (await journeys.plan(payment_id)).timings_offered


async def test_what_was_chosen_to_be_charged_later_is_charged_once_at_its_time(
    at: datetime, replica: Orchestrator, journeys: Journeys
) -> None:
    payment_id = (await journeys.orchestrator.StartPayment(offering(at))).session.payment.payment_id
    await journeys.orchestrator.ResumePayment(resume(payment_id, timing=LATER))
    kept = (await journeys.orchestrator.SubmitPayment(submit(payment_id))).payment
    assert (state_of(kept), kept.snapshot.charge_time.ToDatetime(UTC)) == ("SCHEDULED", at)
    plan = await journeys.plan(payment_id)
    assert (plan.next_step, plan.next_time.ToDatetime(UTC)) == ("CHARGE", at)
    assert await journeys.charges(payment_id) == []
    replica.world.clock.advance(max(at + SECOND - replica.world.clock.now(), timedelta()))
    await replica.sweep()
    assert state_of(await journeys.payment(payment_id)) == "SUCCEEDED"
    assert len(await journeys.charges(payment_id)) == 1


async def test_the_turn_that_comes_back_after_a_charge_is_no_choice_any_more(
    at: datetime, replica: Orchestrator, journeys: Journeys
) -> None:
    payment_id = (await journeys.orchestrator.StartPayment(offering(at))).session.payment.payment_id
    await journeys.orchestrator.ResumePayment(resume(payment_id, timing=LATER))
    await journeys.orchestrator.SubmitPayment(submit(payment_id))
    await journeys.stripe.decline_charges(await journeys.kept_method(payment_id), "lost_card", times=None)
    replica.world.clock.advance(max(at + SECOND - replica.world.clock.now(), timedelta()))
    await replica.sweep()
    assert state_of(await journeys.payment(payment_id)) == OPENED[-1]
    refusal = await refused(journeys.orchestrator.ResumePayment(resume(payment_id, timing=NOW)))
    assert (refusal.reason, refusal.field) == ("FIELD_INVALID", "timing")
    session = (await journeys.orchestrator.ResumePayment(resume(payment_id))).session
    assert (session.timing, len(session.timings_offered)) == (LATER, 0)
    paid = (await journeys.orchestrator.SubmitPayment(submit(payment_id, expected_timing=LATER))).payment
    assert state_of(paid) == "SUCCEEDED"


async def test_a_choice_is_changed_back_and_its_old_secrets_are_worth_nothing(at: datetime, journeys: Journeys) -> None:
    session = (await journeys.orchestrator.StartPayment(offering(at))).session
    payment_id = session.payment.payment_id
    for timing in (LATER, HOLD, LATER, NOW):
        await journeys.orchestrator.ResumePayment(resume(payment_id, timing=timing))
        assert await open_ways(journeys, payment_id) == [NAMES[timing]]
    with pytest.raises(Refused):
        await journeys.stripe.browser_confirm(session.client_secret, payment_method=VISA)
    paid = (await journeys.orchestrator.SubmitPayment(submit(payment_id))).payment
    assert (state_of(paid), paid.snapshot.attempt, len(await journeys.charges(payment_id))) == ("SUCCEEDED", 5, 1)


async def test_a_repeat_whose_answer_says_another_timing_than_the_payment_has_by_now_lets_nobody_pay(
    at: datetime, journeys: Journeys, as_payer: OrchestratorServiceStub
) -> None:
    asked_start = offering(at)
    payment_id = (await journeys.orchestrator.StartPayment(asked_start)).session.payment.payment_id
    asked = resume(payment_id, timing=HOLD)
    assert (await as_payer.ResumePayment(asked)).session.client_secret
    await as_payer.ResumePayment(resume(payment_id, timing=LATER))
    started = (await journeys.orchestrator.StartPayment(asked_start)).session
    resumed = (await as_payer.ResumePayment(asked)).session
    assert [(one.timing, one.client_secret) for one in (started, resumed)] == [(NOW, ""), (HOLD, "")]
    back = (await as_payer.ResumePayment(resume(payment_id, timing=HOLD))).session
    assert (await as_payer.ResumePayment(asked)).session.client_secret == back.client_secret


@pytest.mark.parametrize("is_read", [True, False])
async def test_a_choice_that_overtakes_a_reading_leaves_it_nothing_to_pay_with(
    is_read: bool, at: datetime, replica: Orchestrator, journeys: Journeys
) -> None:
    """It says the timing that was read first, and the secret is of the attempt that was made since."""
    asked_start = offering(at)
    payment_id = (await journeys.orchestrator.StartPayment(asked_start)).session.payment.payment_id
    session = (
        await journeys.orchestrator.GetPaymentSession(pb.GetPaymentSessionRequest(payment_id=payment_id))
    ).session
    redact(session)
    await journeys.orchestrator.ResumePayment(resume(payment_id, timing=LATER))
    parts = replica.parts
    sessions = PaymentSessions(parts.store, parts.outbox, parts.peers)
    with call_context.acting_for("main"):
        await (sessions.fill(session) if is_read else sessions.refresh(session))
    assert (session.timing, session.client_secret) == (NOW, "")


async def test_the_timing_that_a_payment_has_is_no_change(at: datetime, journeys: Journeys) -> None:
    payment_id = (await journeys.orchestrator.StartPayment(offering(at))).session.payment.payment_id
    answer = await journeys.orchestrator.ResumePayment(resume(payment_id, timing=NOW))
    assert (answer.session.timing, answer.session.payment.snapshot.attempt) == (NOW, 1)
    plain = await journeys.started()  # nothing is offered
    answer = await journeys.orchestrator.ResumePayment(resume(plain, timing=NOW))
    assert (answer.session.timing, len(answer.session.timings_offered)) == (NOW, 0)


async def test_a_page_of_the_old_timing_is_ended_and_another_is_made(at: datetime, journeys: Journeys) -> None:
    session = (await journeys.orchestrator.StartPayment(offering(at, HOLD, collection=PAGE))).session
    payment_id = session.payment.payment_id
    chosen = (await journeys.orchestrator.ResumePayment(resume(payment_id, timing=LATER))).session
    assert [one["mode"] for one in await journeys.pages(payment_id)] == ["payment", "setup"]
    with pytest.raises(Refused):
        await journeys.stripe.pay_session(session.checkout_url)
    await journeys.stripe.pay_session(chosen.checkout_url)
    kept = (await journeys.orchestrator.SyncPayment(pb.SyncPaymentRequest(payment_id=payment_id))).payment
    assert (state_of(kept), kept.snapshot.charge_time.ToDatetime(UTC)) == ("SCHEDULED", at)
    assert await journeys.charges(payment_id) == []


@pytest.mark.parametrize(("old", "new"), [(NOW, LATER), (LATER, NOW), (HOLD, NOW)])
async def test_an_old_page_that_was_paid_just_then_is_settled_as_it_was_and_the_choice_is_refused(
    old: int, new: int, at: datetime, journeys: Journeys
) -> None:
    session = (await journeys.orchestrator.StartPayment(offering(at, old, collection=PAGE))).session
    payment_id = session.payment.payment_id
    await journeys.stripe.fault("pause", route="POST /v1/checkout/sessions/{session}/expire")
    choosing = asyncio.ensure_future(journeys.orchestrator.ResumePayment(resume(payment_id, timing=new)))
    await journeys.stripe.until_paused()
    await journeys.stripe.pay_session(session.checkout_url)
    await journeys.stripe.resume()
    refusal = await refused(choosing)
    assert (refusal.reason, refusal.metadata["state"]) == ("PAYMENT_STATE", PAID_AS[old])
    payment, plan = await journeys.payment(payment_id), await journeys.plan(payment_id)
    assert (state_of(payment), plan.timing, len(await journeys.pages(payment_id))) == (PAID_AS[old], old, 1)
    assert plan.next_step == ("CHARGE" if old == LATER else plan.next_step)
    assert len(await journeys.charges(payment_id)) == (0 if old == LATER else 1)


async def test_an_old_form_that_was_paid_just_then_is_settled_as_it_was(at: datetime, journeys: Journeys) -> None:
    session = (await journeys.orchestrator.StartPayment(offering(at))).session
    payment_id = session.payment.payment_id
    await journeys.stripe.fault("pause", route=CANCEL)
    choosing = asyncio.ensure_future(journeys.orchestrator.ResumePayment(resume(payment_id, timing=LATER)))
    await journeys.stripe.until_paused()
    await journeys.stripe.browser_confirm(session.client_secret, payment_method=VISA)
    await journeys.stripe.resume()
    refusal = await refused(choosing)
    assert (refusal.reason, refusal.metadata["state"]) == ("PAYMENT_STATE", "SUCCEEDED")
    assert (await journeys.plan(payment_id)).timing == NOW
    assert len(await journeys.charges(payment_id)) == 1


class Overtaken:
    """The gateway of a replica that hears of something right before it is asked to cancel."""

    def __init__(self, gateway: Any, hears: Callable[[], Awaitable[object]]) -> None:
        self._gateway = gateway
        self._hears = hears

    def __getattr__(self, name: str) -> Any:
        return getattr(self._gateway, name)

    async def cancel_intent(self, *arguments: Any, **named: Any) -> Any:
        await self._hears()
        return await self._gateway.cancel_intent(*arguments, **named)


@pytest.mark.parametrize("collection", [FORM, PAGE])
async def test_a_method_that_was_kept_after_the_look_stays_kept_and_the_choice_is_refused(
    collection: int, at: datetime, replica: Orchestrator, journeys: Journeys
) -> None:
    session = (await journeys.orchestrator.StartPayment(offering(at, LATER, collection=collection))).session
    payment_id, ours = session.payment.payment_id, replica.parts

    async def is_kept() -> None:
        if collection == PAGE:
            await journeys.stripe.pay_session(session.checkout_url)
        else:
            await journeys.stripe.browser_confirm(session.client_secret, payment_method=VISA)
        await journeys.synced(payment_id)

    gateway: Any = Overtaken(ours.peers.gateway, is_kept)
    peers = Peers(pricing=ours.peers.pricing, status=ours.peers.status, gateway=gateway)
    with pytest.raises(Refusal, match="SCHEDULED"):
        await ask(parts_of(replica, store=ours.store, peers=peers), resume(payment_id, timing=NOW))
    payment, plan = await journeys.payment(payment_id), await journeys.plan(payment_id)
    assert (state_of(payment), payment.snapshot.charge_time.ToDatetime(UTC)) == ("SCHEDULED", at)
    assert (plan.timing, plan.next_step, await open_ways(journeys, payment_id)) == (LATER, "CHARGE", [])


@pytest.mark.parametrize("is_swept", [True, pytest.param(False, marks=pytest.mark.soak)])
@pytest.mark.parametrize("collection", [FORM, pytest.param(PAGE, marks=pytest.mark.faults)])
@pytest.mark.parametrize(("old", "new"), SOME_CHANGES)
async def test_a_choice_that_died(  # noqa: PLR0917 its cases
    old: int,
    new: int,
    collection: int,
    is_swept: bool,
    at: datetime,
    replica: Orchestrator,
    journeys: Journeys,
    lives: Lives,
) -> None:
    for life in lives():
        asked_start = offering(at + DAY, old, collection=collection)
        payment_id = (await journeys.orchestrator.StartPayment(asked_start)).session.payment.payment_id
        asked = resume(payment_id, timing=new)
        async with mortal_orchestrator(replica, life) as (parts, _):
            await ask(parts, asked)
        assert len(await open_ways(journeys, payment_id)) <= 1, life.place
        if is_swept:
            await replica.sweep()
        session = (await journeys.orchestrator.ResumePayment(asked)).session
        way = "PAGE" if collection == PAGE and new != LATER else NAMES[new]
        assert (session.timing, await open_ways(journeys, payment_id)) == (new, [way]), life.place
        assert session.client_secret or session.checkout_url, life.place
        assert session.payment.snapshot.recovery_count == 1, life.place
        # What was made and not saved may have been made for somebody else: it is made anew.
        assert session.payment.snapshot.attempt in (2, 3), life.place
        assert set((await journeys.states(payment_id))[1:]) == {OPENED[-1]}, life.place
        plan = await journeys.plan(payment_id)
        assert (plan.timing, plan.pending_steps) == (new, []), life.place
        if collection == PAGE:
            await journeys.stripe.pay_session(session.checkout_url)
            synced = await journeys.orchestrator.SyncPayment(pb.SyncPaymentRequest(payment_id=payment_id))
            assert state_of(synced.payment) == PAID_AS[new], life.place


@pytest.mark.parametrize("dies", ["after cancel_intent", "after create_intent"])
async def test_whoever_comes_after_a_choice_that_died_chooses_anew(
    dies: str, at: datetime, replica: Orchestrator, journeys: Journeys
) -> None:
    """What may have been made for the choice that died is not offered as what was chosen since."""
    payment_id = (await journeys.orchestrator.StartPayment(offering(at))).session.payment.payment_id
    async with mortal_orchestrator(replica, Life(ends_at=dies)) as (parts, _):
        await ask(parts, resume(payment_id, timing=HOLD))
    session = (await journeys.orchestrator.ResumePayment(resume(payment_id, timing=LATER))).session
    assert (session.timing, await open_ways(journeys, payment_id)) == (LATER, ["LATER"])
    await replica.sweep()  # the choice that died is carried on, and was asked for before
    assert ((await journeys.plan(payment_id)).timing, await open_ways(journeys, payment_id)) == (LATER, ["LATER"])
    kept = (await journeys.orchestrator.SubmitPayment(submit(payment_id, expected_timing=LATER))).payment
    assert state_of(kept) == PAID_AS[LATER]


@pytest.mark.parametrize("dies", ["after accept", "after cancel_intent"])
async def test_whoever_chooses_what_a_payment_has_overrules_an_older_choice_that_is_carried_on_later(
    dies: str, at: datetime, replica: Orchestrator, journeys: Journeys
) -> None:
    payment_id = (await journeys.orchestrator.StartPayment(offering(at))).session.payment.payment_id
    older = resume(payment_id, timing=LATER)
    async with mortal_orchestrator(replica, Life(ends_at=dies)) as (parts, _):
        await ask(parts, older)
    await journeys.orchestrator.ResumePayment(resume(payment_id, timing=NOW))
    await replica.sweep()
    assert ((await journeys.plan(payment_id)).timing, await open_ways(journeys, payment_id)) == (NOW, ["NOW"])
    answer = (await journeys.orchestrator.ResumePayment(older)).session
    assert (answer.timing, answer.client_secret[:3]) == (NOW, "pi_")
    kept = await replica.parts.store.request(shop_key(older))
    assert kept is not None
    assert kept.done


async def test_a_choice_that_waits_for_an_older_one_stands_in_the_end(
    at: datetime, replica: Orchestrator, journeys: Journeys
) -> None:
    """It was asked for before the older one was carried out."""
    payment_id = (await journeys.orchestrator.StartPayment(offering(at))).session.payment.payment_id
    await journeys.stripe.fault("pause", route=CANCEL)
    older = asyncio.ensure_future(journeys.orchestrator.ResumePayment(resume(payment_id, timing=HOLD)))
    await journeys.stripe.until_paused()
    asked = resume(payment_id, timing=LATER)
    newer = asyncio.ensure_future(journeys.orchestrator.ResumePayment(asked))
    await eventually(lambda: replica.parts.store.request(shop_key(asked)), what="the newer choice waits")
    await journeys.stripe.resume()
    assert ((await older).session.timing, (await newer).session.timing) == (HOLD, LATER)
    assert await open_ways(journeys, payment_id) == ["LATER"]


async def test_an_attempt_that_came_late_of_a_timing_that_was_given_up_takes_no_submit_and_is_replaced(
    at: datetime, replica: Orchestrator, journeys: Journeys, database: ServiceDatabase
) -> None:
    """Somebody who was overtaken asked for the next attempt of the timing before, and Stripe made it."""
    payment_id = (await journeys.orchestrator.StartPayment(offering(at))).session.payment.payment_id
    async with mortal_orchestrator(replica, Life(ends_at="after create_intent")) as (parts, _):
        await ask(parts, resume(payment_id, timing=HOLD))
    later = '{"timing": "SCHEDULED", "timing_attempt": 3}'  # as another choice says that found no attempt
    await update(database, payment_id, f"terms = terms || '{later}'")
    await journeys.deliver(await journeys.synced(payment_id))
    assert await open_ways(journeys, payment_id) == ["HOLD"]
    hidden = (await journeys.orchestrator.GetPaymentSession(pb.GetPaymentSessionRequest(payment_id=payment_id))).session
    assert (hidden.timing, hidden.client_secret) == (LATER, "")
    for asked in (submit(payment_id, expected_timing=LATER), submit(payment_id)):
        assert (await refused(journeys.orchestrator.SubmitPayment(asked))).reason == "PAYMENT_STATE"
    answer = await journeys.orchestrator.RetryPayment(retry(payment_id))
    plan = await journeys.plan(payment_id)
    assert (answer.session.client_secret != "", await open_ways(journeys, payment_id)) == (True, [NAMES[plan.timing]])


async def test_stripe_does_not_say_that_the_old_attempt_is_over_and_the_timing_stays(
    at: datetime, replica: Orchestrator, journeys: Journeys
) -> None:
    payment_id = (await journeys.orchestrator.StartPayment(offering(at))).session.payment.payment_id
    await journeys.silence(CANCEL)
    asked = resume(payment_id, timing=LATER)
    assert (await refused(journeys.orchestrator.ResumePayment(asked))).reason == "ATTEMPT_OPEN"
    assert (await journeys.plan(payment_id)).timing == NOW
    await journeys.stripe.clear_faults()
    await journeys.deliver(await journeys.synced(payment_id))
    await replica.sweep()
    session = (await journeys.orchestrator.ResumePayment(resume(payment_id, timing=LATER))).session
    assert (session.timing, await open_ways(journeys, payment_id)) == (LATER, ["LATER"])


async def test_stripe_does_not_say_that_the_new_attempt_is_made_and_the_choice_stays(
    at: datetime, replica: Orchestrator, journeys: Journeys
) -> None:
    payment_id = (await journeys.orchestrator.StartPayment(offering(at))).session.payment.payment_id
    await journeys.silence(CREATE)
    await refused(journeys.orchestrator.ResumePayment(resume(payment_id, timing=HOLD)))
    await journeys.stripe.clear_faults()
    await replica.sweep()
    assert len(await open_ways(journeys, payment_id)) <= 1
    session = (await journeys.orchestrator.ResumePayment(resume(payment_id, timing=HOLD))).session
    assert (session.timing, await open_ways(journeys, payment_id)) == (HOLD, ["HOLD"])


@pytest.mark.parametrize("late", [HOLD, NOW])
async def test_an_attempt_that_stripe_makes_late_of_a_timing_that_was_given_up_plans_no_charge(
    late: int, at: datetime, replica: Orchestrator, journeys: Journeys
) -> None:
    """Nothing was kept, so nothing is charged at the time that was chosen: it is the payer's turn, and they go on."""
    first = HOLD if late == NOW else NOW
    payment_id = (await journeys.orchestrator.StartPayment(offering(at, first))).session.payment.payment_id
    await journeys.silence(CREATE)
    assert (await refused(journeys.orchestrator.ResumePayment(resume(payment_id, timing=late)))).code == "UNAVAILABLE"
    await journeys.stripe.clear_faults()
    refusal = await refused(journeys.orchestrator.ResumePayment(resume(payment_id, timing=LATER)))
    assert (refusal.reason, (await journeys.plan(payment_id)).timing) == ("ATTEMPT_OPEN", LATER)
    await journeys.orchestrator.SyncPayment(pb.SyncPaymentRequest(payment_id=payment_id))
    assert await open_ways(journeys, payment_id) == [NAMES[late]]
    payment, plan = await journeys.payment(payment_id), await journeys.plan(payment_id)
    assert (state_of(payment), plan.timing, plan.next_step) == (OPENED[-1], LATER, "EXPIRE")
    session = (await journeys.orchestrator.ResumePayment(resume(payment_id, timing=LATER))).session
    assert (session.timing, await open_ways(journeys, payment_id)) == (LATER, ["LATER"])
    kept = (await journeys.orchestrator.SubmitPayment(submit(payment_id, expected_timing=LATER))).payment
    assert (state_of(kept), kept.snapshot.charge_time.ToDatetime(UTC)) == ("SCHEDULED", at)
    replica.world.clock.advance(max(at + SECOND - replica.world.clock.now(), timedelta()))
    await replica.sweep()
    assert state_of(await journeys.payment(payment_id)) == "SUCCEEDED"
    assert len(await journeys.charges(payment_id)) == 1


async def test_nothing_is_asked_of_stripe_for_a_charge_of_which_no_method_was_kept(
    at: datetime, journeys: Journeys, database: ServiceDatabase
) -> None:
    payment_id = await journeys.scheduled(at)
    await update(database, payment_id, "course = course - 'kept_method_id'")
    assert (await refused(journeys.orchestrator.RetryPayment(retry(payment_id)))).reason == "PAYMENT_STATE"
    assert await journeys.intents(payment_id) == []
    await journeys.orchestrator.CancelPayment(cancel(payment_id))


async def test_a_tab_that_shows_the_timing_of_before_submits_nothing(
    at: datetime, journeys: Journeys, as_payer: OrchestratorServiceStub
) -> None:
    payment_id = (await journeys.orchestrator.StartPayment(offering(at))).session.payment.payment_id
    await as_payer.ResumePayment(resume(payment_id, timing=LATER))
    asked = submit(payment_id, expected_timing=NOW, expected_total=chf(TOTAL_MINOR))
    first, repeated = [await refused(as_payer.SubmitPayment(asked)) for _ in range(2)]
    told = ("FAILED_PRECONDITION", "TIMING_CHANGED", {"timing": "SCHEDULED"})
    assert [(one.code, one.reason, one.metadata) for one in (first, repeated)] == [told, told]
    other = pb.SubmitPaymentRequest()
    other.CopyFrom(asked)
    other.expected_timing = LATER
    assert (await refused(as_payer.SubmitPayment(other))).reason == "REQUEST_ID_REUSED"
    unknown = submit(payment_id, expected_timing=9)
    refusal = await refused(as_payer.SubmitPayment(unknown))
    assert (refusal.reason, refusal.field) == ("FIELD_INVALID", "expected_timing")
    silent = await refused(as_payer.SubmitPayment(submit(payment_id)))
    assert (silent.reason, silent.field) == ("FIELD_MISSING", "expected_timing")
    assert (await journeys.plan(payment_id)).pending_steps == []
    assert await open_ways(journeys, payment_id) == ["LATER"]
    kept = (await as_payer.SubmitPayment(submit(payment_id, expected_timing=LATER))).payment
    assert (state_of(kept), await journeys.charges(payment_id)) == ("SCHEDULED", [])


@pytest.mark.parametrize("dies", ["after accept", "before save"])
async def test_a_submit_for_another_timing_that_died_is_refused_by_whoever_carries_it_on(
    dies: str, at: datetime, replica: Orchestrator, journeys: Journeys
) -> None:
    payment_id = (await journeys.orchestrator.StartPayment(offering(at))).session.payment.payment_id
    await journeys.orchestrator.ResumePayment(resume(payment_id, timing=LATER))
    asked = submit(payment_id, expected_timing=NOW)
    async with mortal_orchestrator(replica, Life(ends_at=dies)) as (parts, _):
        await ask(parts, asked)
    kept = await replica.parts.store.request(shop_key(asked))
    assert kept is not None
    assert (kept.calling, kept.done) == (False, False)
    await replica.sweep()
    assert (await refused(journeys.orchestrator.SubmitPayment(asked))).reason == "TIMING_CHANGED"
    assert await open_ways(journeys, payment_id) == ["LATER"]


async def test_what_was_submitted_before_a_choice_without_naming_a_timing_is_not_sent_after_it(
    at: datetime, replica: Orchestrator, journeys: Journeys
) -> None:
    payment_id = (await journeys.orchestrator.StartPayment(offering(at, LATER))).session.payment.payment_id
    asked = submit(payment_id)
    await journeys.stripe.fault("pause", route="POST /v1/setup_intents/{intent}/cancel")
    choosing = asyncio.ensure_future(journeys.orchestrator.ResumePayment(resume(payment_id, timing=NOW)))
    await journeys.stripe.until_paused()
    submitting = asyncio.ensure_future(journeys.orchestrator.SubmitPayment(asked))
    await eventually(lambda: replica.parts.store.request(shop_key(asked)), what="the submit waits")
    await journeys.stripe.resume()
    assert (await choosing).session.timing == NOW
    assert (await refused(submitting)).reason == "PAYMENT_STATE"
    assert await journeys.charges(payment_id) == []


async def test_nobody_chooses_for_another_payer_or_once_it_is_submitted(
    at: datetime, replica: Orchestrator, journeys: Journeys
) -> None:
    payment_id = (await journeys.orchestrator.StartPayment(offering(at))).session.payment.payment_id
    async with replica.connect("payer_else", roles=["payer"]) as stranger:
        refusal = await refused(stranger.ResumePayment(resume(payment_id, timing=LATER)))
        assert (refusal.code, refusal.reason) == ("NOT_FOUND", "PAYMENT_NOT_FOUND")
    assert (await journeys.plan(payment_id)).timing == NOW
    await journeys.orchestrator.SubmitPayment(submit(payment_id))
    refusal = await refused(journeys.orchestrator.ResumePayment(resume(payment_id, timing=LATER)))
    assert (refusal.reason, refusal.metadata["state"]) == ("PAYMENT_STATE", "SUCCEEDED")
    called_off = (await journeys.orchestrator.StartPayment(offering(at))).session.payment.payment_id
    await journeys.orchestrator.CancelPayment(cancel(called_off))
    refusal = await refused(journeys.orchestrator.ResumePayment(resume(called_off, timing=LATER)))
    assert refusal.reason == "PAYMENT_STATE"


async def test_what_is_not_offered_cannot_be_chosen(at: datetime, journeys: Journeys) -> None:
    some = (await journeys.orchestrator.StartPayment(offering(at, NOW, NOW, LATER))).session.payment.payment_id
    for payment_id, timing in ((some, HOLD), (await journeys.started(), LATER)):
        refusal = await refused(journeys.orchestrator.ResumePayment(resume(payment_id, timing=timing)))
        assert (refusal.code, refusal.reason, refusal.field) == ("INVALID_ARGUMENT", "FIELD_INVALID", "timing")
        assert len(await open_ways(journeys, payment_id)) == 1
    refusal = await refused(journeys.orchestrator.ResumePayment(resume(some, timing=9)))
    assert (refusal.reason, refusal.field) == ("FIELD_INVALID", "timing")


async def test_a_timing_whose_time_has_passed_cannot_be_chosen_any_more(journeys: Journeys, clock: Clock) -> None:
    soon = clock.now() + timedelta(minutes=1)
    asked = offering(soon)
    asked.capture_time.FromDatetime(soon)
    payment_id = (await journeys.orchestrator.StartPayment(asked)).session.payment.payment_id
    clock.advance(PAST_MAX + timedelta(minutes=2))
    for timing in (LATER, HOLD):
        refusal = await refused(journeys.orchestrator.ResumePayment(resume(payment_id, timing=timing)))
        assert (refusal.reason, refusal.field) == ("FIELD_INVALID", "timing")
    assert await open_ways(journeys, payment_id) == ["NOW"]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"timings_offered": [NOW, LATER, NOW]}, "timings_offered[2]"),
        ({"timings_offered": [NOW, pb.TIMING_UNSPECIFIED]}, "timings_offered[1]"),
        ({"timings_offered": [9]}, "timings_offered[0]"),
        ({"timings_offered": [*ALL, NOW]}, "timings_offered"),
        ({"timings_offered": [LATER], "timing": NOW}, "timing"),
        ({"timings_offered": [LATER]}, "timing"),  # unspecified is at once
        ({"timings_offered": [NOW, HOLD], "charge_local_time": "2027-01-01T10:00"}, "charge_local_time"),
        ({"timings_offered": [NOW, LATER], "release_before_lapse": True}, "release_before_lapse"),
        ({"timings_offered": [NOW, LATER], "charge_local_time": "2027-02-30T10:00"}, "charge_local_time"),
        ({"timings_offered": [NOW, LATER], "charge_local_time": "2020-01-01T10:00"}, "charge_local_time"),
    ],
)
async def test_an_offer_that_makes_no_sense_is_refused(
    changes: dict[str, Any], field: str, orchestrator: OrchestratorServiceStub
) -> None:
    if field != "charge_local_time" and LATER in changes["timings_offered"]:
        changes = changes | {"charge_local_time": f"{datetime.now(UTC) + 9 * DAY:%Y-%m-%dT%H:%M}"}
    refusal = await refused(orchestrator.StartPayment(start(**changes)))
    assert (refusal.code, refusal.reason, refusal.field) == ("INVALID_ARGUMENT", "FIELD_INVALID", field)


async def test_an_offer_to_be_charged_later_says_when(orchestrator: OrchestratorServiceStub) -> None:
    refusal = await refused(orchestrator.StartPayment(start(timings_offered=[NOW, LATER])))
    assert (refusal.reason, refusal.field) == ("FIELD_MISSING", "charge_time")


async def test_the_same_start_is_asked_with_another_offer_under_another_id(
    at: datetime, orchestrator: OrchestratorServiceStub
) -> None:
    asked = offering(at, request_id=new_id())
    await orchestrator.StartPayment(asked)
    other = pb.StartPaymentRequest()
    other.CopyFrom(asked)
    del other.timings_offered[2]
    other.ClearField("charge_time")
    assert (await refused(orchestrator.StartPayment(other))).reason == "REQUEST_ID_REUSED"
