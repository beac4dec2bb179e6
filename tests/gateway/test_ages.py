"""A call that is too old is not sent to Stripe for a first time; one that was sent is settled, with no late effect."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from grpc import StatusCode

from sandbox.control import SandboxControl
from sandbox.faults import Kind
from services.gateway.call_log.execution import IN_FLIGHT_MAX
from tests.clock import Clock
from tests.gateway.conftest import Gateway, Sink
from tests.gateway.samples import (
    CONFIRM,
    CREATE,
    REQUIRES_PAYMENT_METHOD,
    SUCCEEDED,
    Payments,
    refusal,
    refused,
)
from tests.gateway.stubs import GatewayStubs

pytestmark = pytest.mark.usefixtures("settles_late")

EXPIRED = (StatusCode.FAILED_PRECONDITION, "REQUEST_EXPIRED")
AGE_MAX = timedelta(minutes=5)
TRIES = 5
"""Of one call, see services/gateway/stripe_api/transport.py."""


def at(instant: datetime) -> Timestamp:
    message = Timestamp()
    message.FromDatetime(instant)
    return message


async def test_a_confirm_that_comes_too_late_is_refused_and_stays_so(
    gateway: GatewayStubs, payments: Payments, clock: Clock
) -> None:
    payment_id = await payments.created()
    request = payments.confirm_request(payment_id, send_before_time=at(clock.now()))
    for _ in range(2):
        assert await refusal(gateway.ConfirmIntent(request)) == EXPIRED
    request.send_before_time.CopyFrom(at(clock.now() + AGE_MAX))  # the first that was heard holds
    assert await refusal(gateway.ConfirmIntent(request)) == EXPIRED
    assert await payments.charges(payment_id) == []

    # Another one finds the intent as it was.
    request = payments.confirm_request(payment_id, send_before_time=at(clock.now() + AGE_MAX))
    assert (await gateway.ConfirmIntent(request)).observation.intent_state == SUCCEEDED


async def test_a_create_that_comes_too_late_makes_no_intent(
    gateway: GatewayStubs, payments: Payments, clock: Clock
) -> None:
    request = payments.create_request(send_before_time=at(clock.now()))
    assert await refusal(gateway.CreateIntent(request)) == EXPIRED
    assert await payments.intents(request.payment_id) == []


async def test_what_was_answered_is_answered_at_any_age(
    gateway: GatewayStubs, payments: Payments, clock: Clock
) -> None:
    create = payments.create_request(send_before_time=at(clock.now() + AGE_MAX))
    first = await gateway.CreateIntent(create)
    confirm = payments.confirm_request(create.payment_id, send_before_time=at(clock.now() + AGE_MAX))
    await gateway.ConfirmIntent(confirm)
    clock.advance(2 * AGE_MAX)
    assert (await gateway.ConfirmIntent(confirm)).observation.intent_state == SUCCEEDED
    assert (await gateway.CreateIntent(create)).client_secret == first.client_secret
    assert len(await payments.charges(create.payment_id)) == 1


async def test_a_call_that_certainly_had_no_effect_is_not_made_anew_when_it_is_too_late(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl, clock: Clock
) -> None:
    payment_id = await payments.created()
    await stripe.fault(Kind.RATE_LIMIT, route=CONFIRM, times=None)
    request = payments.confirm_request(payment_id, send_before_time=at(clock.now() + AGE_MAX))
    assert (await refusal(gateway.ConfirmIntent(request)))[0] is StatusCode.RESOURCE_EXHAUSTED
    await stripe.clear_faults()
    clock.advance(AGE_MAX)
    assert await refusal(gateway.ConfirmIntent(request)) == EXPIRED
    assert await payments.charges(payment_id) == []


@pytest.mark.parametrize("after", [False, True], ids=["before the effect", "after the effect"])
async def test_a_confirm_that_was_sent_is_settled_by_what_is_found_and_not_sent_again_when_it_is_too_late(  # noqa: PLR0917 fixtures
    after: bool,
    replica: Gateway,
    payments: Payments,
    stripe: SandboxControl,
    clock: Clock,
    delivered: Sink,
) -> None:
    payment_id = await payments.created()
    await stripe.fault(Kind.RESET, route=CONFIRM, after=after, times=TRIES)
    request = payments.confirm_request(payment_id, send_before_time=at(clock.now() + AGE_MAX))
    assert (await payments.gateway.ConfirmIntent(request)).observation.outcome_unknown
    charges = len(await payments.charges(payment_id))
    assert charges == after

    clock.advance(AGE_MAX)
    assert (await payments.synced(payment_id)).outcome_unknown is not after  # what is not there may be on its way
    clock.advance(IN_FLIGHT_MAX)
    await replica.parts.work.once()
    state = SUCCEEDED if after else REQUIRES_PAYMENT_METHOD
    heard = await delivered.hears(payment_id, lambda seen: seen.intent_state == state and not seen.outcome_unknown)
    assert (await payments.gateway.ConfirmIntent(request)).observation == heard.observation
    assert len(await payments.charges(payment_id)) == charges


async def test_an_intent_whose_answer_was_lost_is_found_when_it_is_too_late_to_make_one(
    payments: Payments, stripe: SandboxControl, clock: Clock
) -> None:
    request = payments.create_request(send_before_time=at(clock.now() + AGE_MAX))
    await stripe.fault(Kind.RESET, route=CREATE, after=True, times=TRIES)
    assert (await refusal(payments.gateway.CreateIntent(request)))[0] is StatusCode.UNAVAILABLE
    clock.advance(AGE_MAX + IN_FLIGHT_MAX)
    (intent,) = await payments.intents(request.payment_id)
    assert (await payments.gateway.CreateIntent(request)).client_secret == intent["client_secret"]
    assert len(await payments.intents(request.payment_id)) == 1


async def test_an_intent_that_was_asked_for_and_never_made_is_not_made_when_it_is_too_late(
    payments: Payments, stripe: SandboxControl, clock: Clock
) -> None:
    request = payments.create_request(send_before_time=at(clock.now() + AGE_MAX))
    await stripe.fault(Kind.RESET, route=CREATE, times=TRIES)
    assert (await refusal(payments.gateway.CreateIntent(request)))[0] is StatusCode.UNAVAILABLE
    clock.advance(AGE_MAX + IN_FLIGHT_MAX)
    outcome = await refusal(payments.gateway.CreateIntent(request))
    if outcome[0] is StatusCode.UNAVAILABLE:  # it is found to have had no effect; the repeat hears what that means
        outcome = await refusal(payments.gateway.CreateIntent(request))
    assert outcome == EXPIRED
    assert await payments.intents(request.payment_id) == []


async def test_a_time_that_is_none_is_refused_by_its_field(gateway: GatewayStubs, payments: Payments) -> None:
    request = payments.confirm_request(await payments.created(), send_before_time=Timestamp(seconds=1 << 60))
    found = await refused(gateway.ConfirmIntent(request))
    assert found[:3] == (StatusCode.INVALID_ARGUMENT, "FIELD_INVALID", "send_before_time")
