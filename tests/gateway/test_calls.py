"""What comes of a call when Stripe answers late, twice, wrongly or never: one effect, nothing concluded too early."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from grpc import StatusCode, aio

from batzen.gateway.v1 import intents_pb2, refunds_pb2
from local.databases import ServiceDatabase
from sandbox.control import SandboxControl
from sandbox.faults import Kind
from services.errors import FieldInvalid
from services.gateway.call_log import backoff
from services.gateway.call_log.call import IDEMPOTENCY_KEY_TTL, call_id_of
from services.gateway.call_log.execution import IN_FLIGHT_MAX, KEPT_FAILURE_REST
from services.gateway.errors import StripeUnavailable
from services.gateway.refunds.operations import CreateRefund
from services.gateway.stripe_api.client import Provider
from services.runtime.database.connections import plain_dsn
from services.runtime.database.lease import LEASE
from services.runtime.work import loops
from tests.clock import Clock
from tests.eventually import WITHIN_S, eventually
from tests.gateway.conftest import TRY_TIMEOUT_S, Gateway, Sink
from tests.gateway.samples import (
    AMOUNT_MINOR,
    CANCEL,
    CONFIRM,
    CREATE,
    READ,
    REFUND,
    REQUIRES_PAYMENT_METHOD,
    SUCCEEDED,
    Payments,
    new_id,
    refusal,
)
from tests.gateway.stubs import GatewayStubs

pytestmark = pytest.mark.usefixtures("settles_late")

LIST = "GET /v1/payment_intents"
TRIES = 5
"""Of one call, see services/gateway/stripe_api/transport.py."""


@pytest.mark.parametrize("kind", [Kind.TIMEOUT, Kind.RESET, Kind.SERVER_ERROR])
@pytest.mark.parametrize("after", [False, True], ids=["before the effect", "after the effect"])
async def test_one_lost_answer_is_asked_for_again_and_there_is_one_charge(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl, kind: Kind, after: bool
) -> None:
    payment_id = await payments.created()
    await stripe.fault(kind, route=CONFIRM, after=after)

    seen = (await gateway.ConfirmIntent(payments.confirm_request(payment_id))).observation

    assert (seen.intent_state, seen.outcome_unknown) == (SUCCEEDED, False)
    assert seen.amounts.captured_minor == AMOUNT_MINOR
    assert len(await payments.charges(payment_id)) == 1


@pytest.mark.parametrize("kind", [Kind.TIMEOUT, Kind.RESET, Kind.SERVER_ERROR])
async def test_a_create_whose_answer_is_lost_makes_one_intent(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl, kind: Kind
) -> None:
    await stripe.fault(kind, route=CREATE, after=True)
    request = payments.create_request()

    answer = await gateway.CreateIntent(request)

    (intent,) = await payments.intents(request.payment_id)
    assert answer.client_secret == intent["client_secret"]
    assert answer.observation.intent_state == REQUIRES_PAYMENT_METHOD


async def test_an_answer_that_never_comes_leaves_the_outcome_unknown_until_it_is_settled(
    replica: Gateway,
    payments: Payments,
    stripe: SandboxControl,
    clock: Clock,
    delivered: Sink,
) -> None:
    payment_id = await payments.created()
    await stripe.fault(Kind.RESET, route=CONFIRM, after=True, times=TRIES)
    request = payments.confirm_request(payment_id)

    answer = await payments.gateway.ConfirmIntent(request)
    assert answer.observation.outcome_unknown
    assert answer.observation.amounts.captured_minor == 0
    assert (await payments.seen(payment_id)).outcome_unknown

    clock.advance(backoff.SETTLE_FIRST)
    await replica.parts.work.once()
    heard = await delivered.hears(payment_id, lambda seen: seen.intent_state == SUCCEEDED)
    assert not heard.observation.outcome_unknown
    assert heard.observation.mirror_version > answer.observation.mirror_version
    assert heard.observation.method.last4 == "4242"
    assert (await payments.gateway.ConfirmIntent(request)).observation == heard.observation
    assert len(await payments.charges(payment_id)) == 1


async def test_a_repeat_settles_what_is_unknown(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl, delivered: Sink
) -> None:
    payment_id = await payments.created()
    await stripe.fault(Kind.RESET, route=CONFIRM, after=True, times=TRIES)
    request = payments.confirm_request(payment_id)
    assert (await gateway.ConfirmIntent(request)).observation.outcome_unknown

    seen = (await gateway.ConfirmIntent(request)).observation

    assert (seen.intent_state, seen.outcome_unknown) == (SUCCEEDED, False)
    assert len(await payments.charges(payment_id)) == 1
    assert delivered.of(payment_id) == []  # the caller knows


async def test_a_reading_settles_what_is_unknown_before_it_concludes_anything(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl, delivered: Sink
) -> None:
    payment_id = await payments.created()
    await stripe.fault(Kind.RESET, route=CONFIRM, times=TRIES)  # it never reached Stripe, and nobody knows
    assert (await gateway.ConfirmIntent(payments.confirm_request(payment_id))).observation.outcome_unknown

    seen = await payments.synced(payment_id)

    assert (seen.intent_state, seen.outcome_unknown) == (SUCCEEDED, False)
    await delivered.hears(payment_id, lambda one: one.intent_state == SUCCEEDED)


async def test_a_reading_does_not_take_silence_for_an_outcome(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl
) -> None:
    payment_id = await payments.created()
    await stripe.fault(Kind.SERVER_ERROR, route=CONFIRM, times=None, should_retry=False)
    assert (await gateway.ConfirmIntent(payments.confirm_request(payment_id))).observation.outcome_unknown

    assert (await payments.synced(payment_id)).outcome_unknown


async def test_another_card_waits_until_the_first_is_settled(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl, delivered: Sink
) -> None:
    payment_id = await payments.created()
    await stripe.fault(Kind.RESET, route=CONFIRM, after=True, times=TRIES)
    await gateway.ConfirmIntent(payments.confirm_request(payment_id))

    another = payments.confirm_request(payment_id, "mastercard")

    assert await refusal(gateway.ConfirmIntent(another)) == (StatusCode.FAILED_PRECONDITION, "INTENT_STATE")
    (charge,) = await payments.charges(payment_id)
    assert charge["payment_method_details"]["card"]["last4"] == "4242"
    await delivered.hears(payment_id, lambda one: one.intent_state == SUCCEEDED)  # of which the refusal says nothing


async def test_no_other_card_is_tried_while_the_outcome_of_the_first_is_not_known(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl
) -> None:
    payment_id = await payments.created()
    await stripe.fault(Kind.SERVER_ERROR, route=CONFIRM, times=None, should_retry=False)
    first = payments.confirm_request(payment_id)
    assert (await gateway.ConfirmIntent(first)).observation.outcome_unknown

    another = payments.confirm_request(payment_id, "mastercard")

    assert await refusal(gateway.ConfirmIntent(another)) == (StatusCode.UNAVAILABLE, "STRIPE_UNAVAILABLE")
    await stripe.clear_faults()
    assert (await gateway.ConfirmIntent(first)).observation.intent_state == SUCCEEDED


async def test_a_stored_failure_is_looked_up_and_the_charge_is_found(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl
) -> None:
    payment_id = await payments.created()
    await stripe.fault(Kind.SERVER_ERROR, route=CONFIRM, after=True, stored=True)

    seen = (await gateway.ConfirmIntent(payments.confirm_request(payment_id))).observation

    assert (seen.intent_state, seen.amounts.captured_minor) == (SUCCEEDED, AMOUNT_MINOR)
    assert len(await payments.charges(payment_id)) == 1


async def test_a_stored_failure_of_a_create_is_looked_up_by_the_customers_list(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl
) -> None:
    await stripe.fault(Kind.SERVER_ERROR, route=CREATE, after=True, stored=True)
    request = payments.create_request()

    answer = await gateway.CreateIntent(request)

    (intent,) = await payments.intents(request.payment_id)
    assert answer.client_secret == intent["client_secret"]


async def test_a_stored_failure_of_a_create_whose_customer_is_gone_stands_in_nobodys_way(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl
) -> None:
    await stripe.fault(Kind.SERVER_ERROR, route=CREATE, stored=True)
    await stripe.fault(Kind.MISSING, route=LIST, status=400, code="resource_missing", param="customer", times=None)

    assert (await gateway.CreateIntent(payments.create_request())).client_secret


async def test_a_list_that_stripe_refuses_says_nothing_of_a_create(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl
) -> None:
    request = payments.create_request()
    await stripe.fault(Kind.SERVER_ERROR, route=CREATE, after=True, stored=True)
    await stripe.fault(Kind.INVALID, route=LIST, times=None)
    assert await refusal(gateway.CreateIntent(request)) == (StatusCode.UNAVAILABLE, "STRIPE_UNAVAILABLE")
    await stripe.clear_faults()

    assert (await gateway.CreateIntent(request)).client_secret
    assert len(await payments.intents(request.payment_id)) == 1


async def test_a_stored_failure_without_effect_is_forgotten_and_the_call_is_made_anew(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl
) -> None:
    payment_id = new_id("pay")
    await stripe.fault(Kind.SERVER_ERROR, route=CREATE, stored=True)

    await gateway.CreateIntent(
        payments.create_request(payment_id=payment_id)
    )  # the channel repeats what is UNAVAILABLE

    assert len(await payments.intents(payment_id)) == 1


async def test_a_refund_of_which_stripe_keeps_a_failure_is_made_anew_once_nothing_of_it_can_come(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl, clock: Clock
) -> None:
    payment_id = await payments.paid()
    await stripe.fault(Kind.SERVER_ERROR, route=REFUND, stored=True)
    request = payments.refund_request(payment_id, 100)
    for _ in range(2):  # neither there yet nor ruled out
        assert (await gateway.CreateRefund(request)).refund.state == refunds_pb2.Refund.STATE_PENDING
    assert await payments.refunds(payment_id) == []

    clock.advance(KEPT_FAILURE_REST)

    assert await succeeds(gateway, request)
    assert len(await payments.refunds(payment_id)) == 1


async def succeeds(gateway: GatewayStubs, request: refunds_pb2.CreateRefundRequest) -> bool:
    """Whether a refund that has no answer yet is made by one of two repeats: the first finds that there is none."""
    answers = [await gateway.CreateRefund(request) for _ in range(2)]
    return answers[-1].refund.state == refunds_pb2.Refund.STATE_SUCCEEDED


async def test_a_refund_that_stripe_may_still_be_at_work_on_when_its_key_ends_is_not_made_anew(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl, clock: Clock
) -> None:
    payment_id = await payments.paid()
    await stripe.fault(Kind.RESET, route=REFUND, times=TRIES)  # it never gets there
    request = payments.refund_request(payment_id, 4_000)
    await gateway.CreateRefund(request)
    await stripe.fault(Kind.PAUSE, route=REFUND)  # Stripe works on the next one, and says nothing
    clock.advance(IDEMPOTENCY_KEY_TTL - timedelta(seconds=30))
    await gateway.CreateRefund(request)

    clock.advance(timedelta(minutes=1))
    for _ in range(2):  # neither there yet nor ruled out
        assert (await gateway.CreateRefund(request)).refund.state == refunds_pb2.Refund.STATE_PENDING

    await stripe.resume()
    await eventually(lambda: succeeds(gateway, request))
    assert len(await payments.refunds(payment_id)) == 1


@pytest.mark.parametrize("kind", [Kind.RATE_LIMIT, Kind.LOCK_TIMEOUT])
async def test_a_limit_is_waited_out(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl, kind: Kind
) -> None:
    payment_id = await payments.created()
    await stripe.fault(kind, route=CONFIRM, times=2)

    seen = (await gateway.ConfirmIntent(payments.confirm_request(payment_id))).observation

    assert seen.intent_state == SUCCEEDED


async def test_a_limit_that_lasts_is_said_and_nothing_happens_behind_the_callers_back(
    replica: Gateway, gateway: GatewayStubs, payments: Payments, stripe: SandboxControl, clock: Clock
) -> None:
    payment_id = await payments.paid()
    await stripe.fault(Kind.RATE_LIMIT, route=REFUND, times=TRIES)
    request = payments.refund_request(payment_id, 600)

    assert await refusal(gateway.CreateRefund(request)) == (StatusCode.RESOURCE_EXHAUSTED, "STRIPE_RATE_LIMITED")

    assert (await payments.seen(payment_id)).refundable_minor == AMOUNT_MINOR
    clock.advance(timedelta(minutes=1))
    await replica.parts.work.once()
    assert await payments.refunds(payment_id) == []
    assert (await gateway.CreateRefund(request)).observation.amounts.refunded_minor == 600


async def test_a_call_that_runs_at_stripe_is_waited_for(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl
) -> None:
    """The first try times out while Stripe still works: the second meets the key in use, and then the answer."""
    payment_id = await payments.created()
    await stripe.fault(Kind.SLOW, route=CONFIRM, seconds=TRY_TIMEOUT_S + 0.3)

    seen = (await gateway.ConfirmIntent(payments.confirm_request(payment_id))).observation

    assert seen.intent_state == SUCCEEDED
    assert len(await payments.charges(payment_id)) == 1


async def test_stripe_being_away_is_unavailable_and_nothing_is_concluded(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl
) -> None:
    payment_id = await payments.created()
    await stripe.fault(Kind.SERVER_ERROR, route=READ, times=None, should_retry=False)

    assert await refusal(gateway.SyncIntent(intents_pb2.SyncIntentRequest(payment_id=payment_id))) == (
        StatusCode.UNAVAILABLE,
        "STRIPE_UNAVAILABLE",
    )


async def test_a_stripe_that_cannot_be_reached_was_asked_nothing() -> None:
    provider = Provider("sk_test_nowhere", api_base="http://127.0.0.1:9")

    with pytest.raises(StripeUnavailable):
        await provider.intents.confirm("pi_1", {}, key="one")

    await provider.close()


async def test_a_create_that_stays_unknown_is_unavailable_and_ends_in_one_intent(
    replica: Gateway,
    payments: Payments,
    stripe: SandboxControl,
    clock: Clock,
    delivered: Sink,
) -> None:
    await stripe.fault(Kind.SERVER_ERROR, route=CREATE, times=None, should_retry=False)
    request = payments.create_request()
    assert await refusal(payments.gateway.CreateIntent(request)) == (StatusCode.UNAVAILABLE, "STRIPE_UNAVAILABLE")
    assert await refusal(payments.gateway.GetIntent(intents_pb2.GetIntentRequest(payment_id=request.payment_id))) == (
        StatusCode.NOT_FOUND,
        "INTENT_NOT_FOUND",
    )
    second = payments.create_request(payment_id=request.payment_id, attempt=2)
    assert (await refusal(payments.gateway.CreateIntent(second)))[1] in ("ATTEMPT_OPEN", "STRIPE_UNAVAILABLE")

    await stripe.clear_faults()
    clock.advance(backoff.SETTLE_MAX)
    await replica.parts.work.once()

    await delivered.hears(request.payment_id, lambda seen: seen.attempt == 1)
    assert (await payments.gateway.CreateIntent(request)).observation.attempt == 1
    assert len(await payments.intents(request.payment_id)) == 1


async def test_an_attempt_whose_intent_is_not_there_yet_has_no_secret(
    payments: Payments, stripe: SandboxControl
) -> None:
    payment_id = await payments.created()
    await payments.gateway.CancelIntent(payments.cancel_request(payment_id))
    await stripe.fault(Kind.SERVER_ERROR, route=CREATE, times=None, should_retry=False)
    second = payments.create_request(payment_id=payment_id, attempt=2)
    assert (await refusal(payments.gateway.CreateIntent(second)))[1] == "STRIPE_UNAVAILABLE"

    asked = intents_pb2.GetIntentRequest(payment_id=payment_id, with_secret=True)

    assert (await payments.gateway.GetIntent(asked)).client_secret == ""
    await stripe.clear_faults()
    assert (await payments.gateway.CreateIntent(second)).observation.attempt == 2


async def test_an_unanswered_refund_keeps_its_reservation_until_it_is_settled(
    replica: Gateway,
    payments: Payments,
    stripe: SandboxControl,
    clock: Clock,
    delivered: Sink,
) -> None:
    payment_id = await payments.paid()
    await stripe.fault(Kind.RESET, route=REFUND, after=True, times=TRIES)

    answer = await payments.gateway.CreateRefund(payments.refund_request(payment_id, 4_000))
    assert (answer.refund.state, answer.refund.stripe_refund_id) == (refunds_pb2.Refund.STATE_PENDING, "")
    assert answer.observation.amounts.refund_pending_minor == 4_000
    assert answer.observation.refundable_minor == AMOUNT_MINOR - 4_000

    clock.advance(backoff.SETTLE_FIRST)
    await replica.parts.work.once()
    heard = await delivered.hears(payment_id, lambda seen: seen.amounts.refunded_minor == 4_000)
    assert heard.observation.amounts.refund_pending_minor == 0
    assert len(await payments.refunds(payment_id)) == 1


async def test_a_process_that_may_not_ask_stripe_yet_frees_no_reservation_of_an_unanswered_refund(
    start_gateway: Callable[[], Any], payments: Payments, stripe: SandboxControl
) -> None:
    payment_id = await payments.paid()
    await stripe.fault(Kind.SERVER_ERROR, route=REFUND, times=None, should_retry=False)
    request = payments.refund_request(payment_id, 4_000)
    await payments.gateway.CreateRefund(request)
    await stripe.fault(Kind.SERVER_ERROR, route="GET /v1/account", times=None)

    async with start_gateway() as begun, begun.connect() as gateway:
        answer = await gateway.CreateRefund(request)

    assert answer.refund.state == refunds_pb2.Refund.STATE_PENDING
    assert answer.observation.amounts.refund_pending_minor == 4_000
    await stripe.clear_faults()
    assert (await payments.gateway.CreateRefund(request)).refund.state == refunds_pb2.Refund.STATE_SUCCEEDED


async def test_a_refund_that_was_promised_stays_promised_while_why_it_is_refused_cannot_be_read(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl
) -> None:
    payment_id = await payments.paid()
    await stripe.dispute(await payments.intent_id(payment_id))
    await stripe.fault(Kind.SERVER_ERROR, route=READ, times=None, should_retry=False)
    await stripe.fault(Kind.RESET, route=REFUND, times=TRIES)
    request = payments.refund_request(payment_id, 4_000)
    assert (await gateway.CreateRefund(request)).refund.state == refunds_pb2.Refund.STATE_PENDING

    assert (await gateway.CreateRefund(request)).refund.state == refunds_pb2.Refund.STATE_PENDING

    await stripe.clear_faults()
    assert (await refusal(gateway.CreateRefund(request)))[1] == "CHARGE_DISPUTED"


@pytest.mark.parametrize("kind", [Kind.UNAUTHORIZED, Kind.FORBIDDEN, Kind.MISSING, Kind.INVALID, Kind.RATE_LIMIT])
async def test_what_is_said_before_the_key_is_looked_at_frees_no_reservation_of_an_unanswered_refund(
    payments: Payments, stripe: SandboxControl, clock: Clock, delivered: Sink, kind: Kind
) -> None:
    payment_id = await payments.paid()
    await stripe.fault(Kind.RESET, route=REFUND, after=True, times=TRIES)
    request = payments.refund_request(payment_id, 5_000)
    assert (await payments.gateway.CreateRefund(request)).refund.state == refunds_pb2.Refund.STATE_PENDING

    await stripe.fault(kind, route=REFUND, times=None)
    clock.advance(backoff.SETTLE_FIRST)
    await until_struck(stripe)
    again = payments.refund_request(payment_id, 5_000, expected_minor=AMOUNT_MINOR)
    assert (await refusal(payments.gateway.CreateRefund(again)))[0] in (
        StatusCode.UNAVAILABLE,  # while the first is unknown
        StatusCode.FAILED_PRECONDITION,
    )
    assert (await payments.seen(payment_id)).refundable_minor == 5_000

    await stripe.clear_faults()
    clock.advance(backoff.SETTLE_MAX)
    await delivered.hears(payment_id, lambda seen: seen.amounts.refunded_minor == 5_000)
    assert len(await payments.refunds(payment_id)) == 1


@pytest.mark.parametrize("failures", [1, 2])
async def test_a_refund_that_was_promised_and_never_made_is_made_anew(
    replica: Gateway, payments: Payments, stripe: SandboxControl, clock: Clock, delivered: Sink, *, failures: int
) -> None:
    payment_id = await payments.paid()
    await stripe.fault(Kind.SERVER_ERROR, route=REFUND, stored=True, should_retry=False)
    request = payments.refund_request(payment_id, 4_000)
    promised = (await payments.gateway.CreateRefund(request)).refund
    assert promised.state == refunds_pb2.Refund.STATE_PENDING

    for number in range(failures):  # each time Stripe repeats the failure, and has no such refund
        if number:
            await stripe.fault(Kind.SERVER_ERROR, route=REFUND, stored=True, should_retry=False)
            clock.advance(backoff.SETTLE_MAX)
            await replica.parts.work.once()
        clock.advance(backoff.SETTLE_MAX)
        await replica.parts.work.once()
        kept = (await payments.gateway.GetRefund(refunds_pb2.GetRefundRequest(refund_id=promised.refund_id))).refund
        assert kept.state in (
            refunds_pb2.Refund.STATE_PENDING,
            refunds_pb2.Refund.STATE_SUCCEEDED,
        )  # never given up in between
    clock.advance(backoff.SETTLE_MAX)
    await replica.parts.work.once()

    await delivered.hears(payment_id, lambda seen: seen.amounts.refunded_minor == 4_000)
    [refund] = await payments.refunds(payment_id)
    assert refund["metadata"]["refund_id"] == promised.refund_id
    assert (await payments.gateway.CreateRefund(request)).refund.state == refunds_pb2.Refund.STATE_SUCCEEDED


async def test_an_unanswered_cancel_is_settled(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl
) -> None:
    payment_id = await payments.created()
    await stripe.fault(Kind.RESET, route=CANCEL, after=True, times=TRIES)
    request = payments.cancel_request(payment_id)
    assert (await gateway.CancelIntent(request)).observation.outcome_unknown

    seen = (await gateway.CancelIntent(request)).observation

    assert (seen.intent_state, seen.outcome_unknown) == (intents_pb2.Intent(state="INTENT_STATE_CANCELED").state, False)


async def test_a_key_that_stripe_may_have_forgotten_is_looked_up_and_not_used_again(
    replica: Gateway,
    payments: Payments,
    stripe: SandboxControl,
    clock: Clock,
    delivered: Sink,
) -> None:
    payment_id = await payments.paid()
    await stripe.fault(Kind.RESET, route=REFUND, after=True, times=TRIES)
    await payments.gateway.CreateRefund(payments.refund_request(payment_id, 4_000))

    await stripe.advance(timedelta(days=2).total_seconds())
    clock.advance(IDEMPOTENCY_KEY_TTL)
    await replica.parts.work.once()

    await delivered.hears(payment_id, lambda seen: seen.amounts.refunded_minor == 4_000)
    assert len(await payments.refunds(payment_id)) == 1


async def test_a_caller_that_goes_away_does_not_stop_the_call(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl
) -> None:
    payment_id = await payments.created()
    await stripe.fault(Kind.PAUSE, route=CONFIRM)
    request = payments.confirm_request(payment_id)
    going = asyncio.ensure_future(gateway.ConfirmIntent(request))
    await until_struck(stripe)

    going.cancel()
    await stripe.resume()

    seen = (await gateway.ConfirmIntent(request)).observation
    assert seen.intent_state == SUCCEEDED
    assert len(await payments.charges(payment_id)) == 1


async def test_a_lease_that_ran_out_is_taken_over_and_the_late_answer_is_thrown_away(
    replica: Gateway,
    payments: Payments,
    stripe: SandboxControl,
    clock: Clock,
    start_gateway: Callable[[], Any],
) -> None:
    payment_id = await payments.created()
    request = payments.confirm_request(payment_id)
    async with start_gateway() as other, other.connect() as stub:  # before Stripe is silent, which no call bears long
        await stripe.fault(Kind.PAUSE, route=CONFIRM)
        late = asyncio.ensure_future(payments.gateway.ConfirmIntent(request))
        await until_struck(stripe)
        held = await replica.parts.store.read("main", payment_id)
        assert held is not None

        clock.advance(LEASE)  # as if the first process had stalled
        taken_over = asyncio.ensure_future(stub.ConfirmIntent(request))
        await until_fence(replica, payment_id, above=held.fence)
        await stripe.resume()
        answers = await asyncio.gather(late, taken_over)

    assert answers[0].observation == answers[1].observation
    assert answers[0].observation.intent_state == SUCCEEDED
    assert len(await payments.charges(payment_id)) == 1


async def until_struck(stripe: SandboxControl) -> None:
    """Wait until the last ordered fault was met."""
    async with asyncio.timeout(WITHIN_S):
        while not (await stripe.faults())[-1]["hits"]:
            continue


async def until_fence(replica: Gateway, payment_id: str, *, above: int) -> None:
    """Wait until the payment was taken under another lease."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            held = await replica.parts.store.read("main", payment_id)
            if held is not None and held.fence > above:
                return


async def test_an_engine_that_cannot_look_once_looks_again(
    payments: Payments, stripe: SandboxControl, clock: Clock, delivered: Sink, database: ServiceDatabase
) -> None:
    payment_id = await payments.created()
    await stripe.fault(Kind.RESET, route=CONFIRM, after=True, times=TRIES)
    assert (await payments.gateway.ConfirmIntent(payments.confirm_request(payment_id))).observation.outcome_unknown

    said = Said("due_work failed")
    logging.getLogger(loops.__name__).addHandler(said)
    owner = await asyncpg.connect(plain_dsn(database.owner_url))
    await owner.execute("ALTER TABLE calls RENAME TO calls_away")  # no outage: nothing that an engine reckons with
    try:
        async with asyncio.timeout(WITHIN_S):
            await said.event.wait()
    finally:
        await owner.execute("ALTER TABLE calls_away RENAME TO calls")
        await owner.close()
        logging.getLogger(loops.__name__).removeHandler(said)

    clock.advance(backoff.SETTLE_FIRST)
    await delivered.hears(payment_id, lambda seen: seen.intent_state == SUCCEEDED)


class Said(logging.Handler):
    """Sets its event when a line holds some words."""

    def __init__(self, words: str) -> None:
        super().__init__()
        self._words = words
        self.event = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if self._words in record.getMessage():
            self.event.set()


async def test_what_one_call_comes_to_is_not_taken_for_the_answer_of_another(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl
) -> None:
    payment_id = await payments.paid()
    await stripe.fault(Kind.RESET, route=REFUND, times=TRIES)
    refund = (await gateway.CreateRefund(payments.refund_request(payment_id, 4_000))).refund
    await stripe.dispute(await payments.intent_id(payment_id))

    await payments.synced(payment_id)  # settles the refund before it begins, and is no refund itself

    kept = (await gateway.GetRefund(refunds_pb2.GetRefundRequest(refund_id=refund.refund_id))).refund
    assert kept.state == refunds_pb2.Refund.STATE_FAILED
    assert (await payments.seen(payment_id)).amounts.refund_pending_minor == 0


async def test_the_same_request_reaches_stripe_under_the_same_key_after_the_last_commits_were_lost(
    gateway: GatewayStubs, payments: Payments, database: ServiceDatabase
) -> None:
    payment_id = await payments.created()
    confirming = payments.confirm_request(payment_id)
    async with last_commits_lost(database, payment_id):
        await gateway.ConfirmIntent(confirming)
    assert (await gateway.ConfirmIntent(confirming)).observation.amounts.captured_minor == AMOUNT_MINOR
    assert len(await payments.charges(payment_id)) == 1

    refunding = payments.refund_request(payment_id, 4_000)
    async with last_commits_lost(database, payment_id):
        await gateway.CreateRefund(refunding)
    assert (await gateway.CreateRefund(refunding)).observation.amounts.refunded_minor == 4_000
    assert len(await payments.refunds(payment_id)) == 1

    another = new_id("pay")
    creating = payments.create_request(payment_id=another)
    async with last_commits_lost(database, another):
        await gateway.CreateIntent(creating)
    await gateway.CreateIntent(creating)
    assert len(await payments.intents(another)) == 1


async def test_a_create_whose_payment_is_lost_while_stripe_works_is_made_again_under_the_same_key(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl, database: ServiceDatabase
) -> None:
    await payments.created()  # the seller's account is known from here on
    await stripe.fault(Kind.PAUSE, route=CREATE)
    request = payments.create_request()
    async with last_commits_lost(database, request.payment_id):
        creating = asyncio.ensure_future(gateway.CreateIntent(request))
        await until_struck(stripe)
    await stripe.resume()

    assert (await creating).client_secret
    assert len(await payments.intents(request.payment_id)) == 1


async def test_a_call_whose_answer_is_refused_by_a_rule_of_ours_is_asked_for_again(
    replica: Gateway, payments: Payments, clock: Clock, database: ServiceDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No answer was kept, so the call is not done: it fails, and in the end an operator hears of it."""
    payment_id, stripe = await payments.paid(), payments.stripe
    await stripe.fault(Kind.RESET, route=REFUND, after=True, times=TRIES)
    request = payments.refund_request(payment_id, 4_000)
    await payments.gateway.CreateRefund(request)
    with monkeypatch.context() as patch:
        patch.setattr(CreateRefund, "record", refusing)
        clock.advance(backoff.SETTLE_FIRST)
        await replica.parts.work.once()
        owner = await asyncpg.connect(plain_dsn(database.owner_url))
        async with asyncio.timeout(WITHIN_S):
            while not (row := await owner.fetchrow(OF_REQUEST, uuid.UUID(request.request_id)))["failures"]:
                continue
        await owner.close()

    assert row["state"] == "UNKNOWN"
    assert row["due_time"] is not None


OF_REQUEST = "SELECT state, due_time, failures FROM calls WHERE request_id = $1"


def refusing(*_: object) -> Any:
    raise FieldInvalid(field="amount", detail="must be above 0")


@pytest.mark.parametrize("kind", [Kind.SERVER_ERROR, Kind.LOCK_TIMEOUT, Kind.RATE_LIMIT])
async def test_what_a_key_keeps_and_what_says_nothing_is_settled_by_reading(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl, clock: Clock, kind: Kind
) -> None:
    """Asked again by the same key, Stripe would say the same for as long as it remembers."""
    payment_id = await payments.paid()
    request = payments.refund_request(payment_id, 4_000)
    await stripe.fault(kind, route=REFUND, stored=True)

    async with asyncio.timeout(WITHIN_S):
        refund = refunds_pb2.Refund()
        while refund.state != refunds_pb2.Refund.STATE_SUCCEEDED:  # asked again and again, as the orchestrator does
            with suppress(aio.AioRpcError):
                refund = (await gateway.CreateRefund(request)).refund
            clock.advance(IN_FLIGHT_MAX)

    assert len(await payments.refunds(payment_id)) == 1


async def test_a_key_that_was_spent_before_the_last_commits_were_lost_is_settled_by_reading(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl, database: ServiceDatabase, clock: Clock
) -> None:
    payment_id = await payments.paid()
    request = payments.borne_refund_request(payment_id, 4_000)  # nothing else goes on meanwhile
    async with last_commits_lost(database, payment_id):
        await stripe.fault(Kind.SERVER_ERROR, route=REFUND, stored=True)
        await gateway.CreateRefund(request)
        clock.advance(IN_FLIGHT_MAX)
        assert await succeeds(gateway, request)  # made under the next key
    assert len(await payments.refunds(payment_id)) == 1

    answer = await gateway.CreateRefund(request)  # asks by the first key, which brings the failure again

    assert answer.refund.state == refunds_pb2.Refund.STATE_SUCCEEDED
    assert len(await payments.refunds(payment_id)) == 1


async def test_a_replayed_answer_does_not_turn_back_what_was_seen_since(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl
) -> None:
    payment_id = await payments.created()
    await stripe.fault(Kind.RESET, route=CONFIRM, after=True, times=TRIES)
    request = payments.confirm_request(payment_id, "threeDSecure2Required")
    assert (await gateway.ConfirmIntent(request)).observation.outcome_unknown
    await stripe.authenticate(await payments.intent_id(payment_id), succeed=True)

    seen = (await gateway.ConfirmIntent(request)).observation  # Stripe replays that the payer has to authenticate

    assert (seen.intent_state, seen.amounts.captured_minor) == (SUCCEEDED, AMOUNT_MINOR)


async def test_a_call_that_was_withdrawn_is_taken_up_again_under_its_key_however_late(
    gateway: GatewayStubs, replica: Gateway, payments: Payments, stripe: SandboxControl, clock: Clock
) -> None:
    payment_id = await payments.paid()
    request = payments.refund_request(payment_id, 600)
    key = f"refund.create:{call_id_of('main', 'refund.create', uuid.UUID(request.request_id))}"
    for passed in (timedelta(0), IDEMPOTENCY_KEY_TTL):
        clock.advance(passed)
        await stripe.fault(Kind.RATE_LIMIT, route=REFUND, times=TRIES)
        assert (await refusal(gateway.CreateRefund(request)))[1] == "STRIPE_RATE_LIMITED"
        call = await replica.parts.call_store.call("main", "refund.create", uuid.UUID(request.request_id))
        assert call is not None
        assert (call.state, call.key) == ("WITHDRAWN", key)

    other = payments.refund_request(payment_id, 700, request_id=request.request_id)
    assert (await refusal(gateway.CreateRefund(other)))[1] == "REQUEST_ID_REUSED"
    assert (await gateway.CreateRefund(request)).observation.amounts.refunded_minor == 600
    assert len(await payments.refunds(payment_id)) == 1


@asynccontextmanager
async def last_commits_lost(database: ServiceDatabase, payment_id: str) -> AsyncIterator[None]:
    """Put what the database holds of a payment back as it was before; as a standby does that had not got the last."""
    keys = dict.fromkeys(("payments", "intents", "refunds", "looks", "ledger_entries"), "payment_id")
    tables = keys | {"calls": "subject_id"}
    owner = await asyncpg.connect(plain_dsn(database.owner_url))
    async with owner.transaction(isolation="repeatable_read"):
        kept = {
            table: await owner.fetch(f"SELECT t FROM {table} t WHERE {key} = $1", payment_id)
            for table, key in tables.items()
        }
    yield
    async with owner.transaction():
        # The payment's row first: whoever is saving it books in the same statement, and has to be done with both.
        for one, key in tables.items():
            await owner.execute(f"DELETE FROM {one} WHERE {key} = $1", payment_id)
        for one in tables:
            await owner.executemany(f"INSERT INTO {one} SELECT ($1::{one}).*", [(row["t"],) for row in kept[one]])
    await owner.close()
