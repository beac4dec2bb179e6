"""Setup intents without a payment: a method is kept once the payer has authenticated, and by nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from grpc import StatusCode

from batzen.gateway.v1 import payer_pb2
from batzen.gateway.v1 import payment_methods_pb2 as pb
from local.databases import ServiceDatabase
from sandbox.control import SandboxControl
from sandbox.faults import Kind
from services.gateway.call_log import backoff
from services.gateway.payment_methods.domain import METHODS_MAX
from tests.clock import Clock
from tests.gateway.conftest import Gateway
from tests.gateway.receiving import event_of, receiving
from tests.gateway.samples import (
    CANCELED,
    REQUIRES_ACTION,
    REQUIRES_PAYMENT_METHOD,
    RETURN_URL,
    SUCCEEDED,
    new_request_id,
    refusal,
    refused,
)
from tests.gateway.stubs import GatewayStubs
from tests.gateway.test_calls import TRIES
from tests.gateway.test_payment_method_events import Place
from tests.gateway.test_payment_methods import Wallet, as_payer, at_stripe
from tests.gateway.test_races import connected

pytestmark = pytest.mark.usefixtures("settles_late")

SETUPS = "POST /v1/setup_intents"
CANCEL = "POST /v1/setup_intents/{intent}/cancel"
NOT_FOUND = (StatusCode.NOT_FOUND, "SETUP_INTENT_NOT_FOUND")


@pytest.fixture
def wallet(gateway: GatewayStubs) -> Wallet:
    return Wallet(gateway)


@pytest.fixture
async def place(replica: Gateway, stripe: SandboxControl, clock: Clock) -> AsyncIterator[Place]:
    async with receiving(replica.parts.inbox, clock=clock) as sender:
        yield Place(gateway=replica, stripe=stripe, sender=sender, clock=clock)


def create_request(wallet: Wallet, card: str = "", **fields: Any) -> pb.CreateSetupIntentRequest:
    ours: dict[str, Any] = {
        "request_id": new_request_id(),
        "payer": payer_pb2.Payer(payer_id=wallet.payer_id, email="ada@example.org", name="Ada"),
    }
    if card:
        ours |= {"payment_method_id": f"pm_card_{card}", "return_url": RETURN_URL}
    return pb.CreateSetupIntentRequest(**{**ours, **fields})


def cancel_request(setup_intent_id: str) -> pb.CancelSetupIntentRequest:
    return pb.CancelSetupIntentRequest(request_id=new_request_id(), setup_intent_id=setup_intent_id)


async def created(wallet: Wallet, card: str = "", **fields: Any) -> pb.CreateSetupIntentResponse:
    return await wallet.gateway.CreateSetupIntent(create_request(wallet, card, **fields))


async def got(wallet: Wallet, setup_intent_id: str, *, with_secret: bool = False) -> pb.GetSetupIntentResponse:
    request = pb.GetSetupIntentRequest(setup_intent_id=setup_intent_id, with_secret=with_secret)
    return await wallet.gateway.GetSetupIntent(request)


async def setup_event(place: Place, setup_intent_id: str, what: str) -> dict[str, Any]:
    (shown,) = await place.stripe.objects("setup_intent", id=setup_intent_id)
    return event_of(shown, f"setup_intent.{what}", at=place.clock.now())


async def test_a_browser_gets_what_it_needs_to_confirm(wallet: Wallet) -> None:
    answer = await created(wallet)

    setup = answer.setup_intent
    assert setup.setup_intent_id.startswith("seti_")
    assert (setup.payer_id, setup.state) == (wallet.payer_id, REQUIRES_PAYMENT_METHOD)
    assert answer.client_secret.startswith(setup.setup_intent_id)
    assert not answer.HasField("next_action")
    plain, secret = await got(wallet, setup.setup_intent_id), await got(wallet, setup.setup_intent_id, with_secret=True)
    assert (plain.setup_intent, plain.client_secret) == (setup, "")
    assert secret.client_secret == answer.client_secret
    assert await wallet.listed() == []


async def test_a_card_that_needs_nothing_is_kept_at_once_with_consent(wallet: Wallet, stripe: SandboxControl) -> None:
    answer = await created(wallet, "visa", consent_actor_id="agent_7")

    assert (answer.setup_intent.state, answer.client_secret) == (SUCCEEDED, "")
    (visa,) = await wallet.listed()
    assert visa.payment_method_id == answer.setup_intent.payment_method.payment_method_id
    assert (visa.default, visa.consent_actor_id, visa.last4) == (True, "agent_7", "4242")
    assert [visa.payment_method_id] == await at_stripe(stripe, wallet)


@pytest.mark.parametrize("succeed", [True, False])
@pytest.mark.parametrize("by", ["event", "get"])
async def test_a_card_with_3d_secure_is_kept_once_the_payer_has_passed(
    wallet: Wallet, place: Place, succeed: bool, by: str
) -> None:
    answer = await created(wallet, "threeDSecure2Required")
    setup_intent_id = answer.setup_intent.setup_intent_id
    assert answer.setup_intent.state == REQUIRES_ACTION
    assert answer.next_action.redirect_url
    assert await wallet.listed() == []
    assert (await got(wallet, setup_intent_id, with_secret=True)).next_action == answer.next_action

    await place.stripe.authenticate(setup_intent_id, succeed=succeed)
    if by == "event":
        await place.applied(await setup_event(place, setup_intent_id, "succeeded" if succeed else "setup_failed"))
    else:
        await got(wallet, setup_intent_id, with_secret=True)

    seen = (await got(wallet, setup_intent_id)).setup_intent
    assert seen.state == (SUCCEEDED if succeed else REQUIRES_PAYMENT_METHOD)
    assert bool(seen.last_error.code) is not succeed
    kept = await wallet.listed()
    assert [one.consent_actor_id for one in kept] == ([wallet.payer_id] if succeed else [])


async def test_a_declined_card_is_no_error_and_not_kept(wallet: Wallet) -> None:
    answer = await created(wallet, "chargeDeclined")

    assert answer.setup_intent.state == REQUIRES_PAYMENT_METHOD
    assert answer.setup_intent.last_error.decline_code == "generic_decline"
    assert answer.client_secret  # a browser may try another card
    assert await wallet.listed() == []


async def test_events_of_a_setup_come_in_any_order_and_twice(wallet: Wallet, place: Place) -> None:
    setup_intent_id = (await created(wallet, "threeDSecure2Required")).setup_intent.setup_intent_id
    asked = await setup_event(place, setup_intent_id, "requires_action")
    await place.stripe.authenticate(setup_intent_id, succeed=True)
    done = await setup_event(place, setup_intent_id, "succeeded")
    (visa,) = await at_stripe(place.stripe, wallet)
    attached = await place.event(visa, "attached")

    for event in (attached, done, asked, done):
        await place.applied(event)

    assert (await got(wallet, setup_intent_id)).setup_intent.state == SUCCEEDED
    (kept,) = await wallet.listed()
    assert (kept.payment_method_id, kept.consent_actor_id) == (visa, wallet.payer_id)


async def test_a_cancelled_setup_keeps_nothing_and_is_cancelled_once(wallet: Wallet, stripe: SandboxControl) -> None:
    setup_intent_id = (await created(wallet)).setup_intent.setup_intent_id
    request = cancel_request(setup_intent_id)

    answers = [await wallet.gateway.CancelSetupIntent(each) for each in (request, request)]
    answers.append(await wallet.gateway.CancelSetupIntent(cancel_request(setup_intent_id)))

    assert {answer.setup_intent.state for answer in answers} == {CANCELED}
    (shown,) = await stripe.objects("setup_intent", id=setup_intent_id)
    assert shown["status"] == "canceled"


@pytest.mark.parametrize("is_known", [True, False])
async def test_a_setup_that_kept_a_method_is_not_cancelled(
    wallet: Wallet, stripe: SandboxControl, is_known: bool
) -> None:
    if is_known:
        setup_intent_id = (await created(wallet, "visa")).setup_intent.setup_intent_id
    else:
        setup_intent_id = (await created(wallet, "threeDSecure2Required")).setup_intent.setup_intent_id
        await stripe.authenticate(setup_intent_id, succeed=True)

    code, reason, _, metadata = await refused(wallet.gateway.CancelSetupIntent(cancel_request(setup_intent_id)))

    assert (code, reason) == (StatusCode.FAILED_PRECONDITION, "INTENT_STATE")
    assert metadata["intent_state"] == "SUCCEEDED"
    assert len(await wallet.listed()) == 1  # what was found is kept


async def test_a_payer_sees_and_cancels_their_own_setups_alone(replica: Gateway) -> None:
    async with as_payer(replica) as ada, as_payer(replica) as bob:
        setup_intent_id = (await created(ada)).setup_intent.setup_intent_id
        get = pb.GetSetupIntentRequest(setup_intent_id=setup_intent_id, with_secret=True)
        assert await refusal(bob.gateway.GetSetupIntent(get)) == NOT_FOUND
        assert await refusal(bob.gateway.CancelSetupIntent(cancel_request(setup_intent_id))) == NOT_FOUND
        assert await refusal(bob.gateway.CreateSetupIntent(create_request(ada))) == (
            StatusCode.PERMISSION_DENIED,
            "PERMISSION_DENIED",
        )
        assert (await ada.gateway.GetSetupIntent(get)).client_secret


async def test_a_method_of_anothers_or_of_nobodys_is_not_found(wallet: Wallet, gateway: GatewayStubs) -> None:
    visa = (await Wallet(gateway).attach()).payment_method_id
    for method_id in (visa, "pm_1nothing"):
        request = create_request(wallet, payment_method_id=method_id, return_url=RETURN_URL)
        assert await refusal(gateway.CreateSetupIntent(request)) == (StatusCode.NOT_FOUND, "PAYMENT_METHOD_NOT_FOUND")
    assert await wallet.listed() == []


async def test_what_is_not_known_is_not_found(wallet: Wallet) -> None:
    get = pb.GetSetupIntentRequest(setup_intent_id="seti_nothing")
    assert await refusal(wallet.gateway.GetSetupIntent(get)) == NOT_FOUND
    assert await refusal(wallet.gateway.CancelSetupIntent(cancel_request("seti_nothing"))) == NOT_FOUND


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"payment_id": "pay_1"}, "payment_id"),
        ({"payment_method_id": "pm_card_visa"}, "return_url"),
        ({"payment_method_id": "seti_1", "return_url": RETURN_URL}, "payment_method_id"),
        ({"confirmation_token_id": "pm_1", "return_url": RETURN_URL}, "confirmation_token_id"),
        ({"return_url": RETURN_URL}, "return_url"),
        ({"payer": payer_pb2.Payer()}, "payer.payer_id"),
        ({"request_id": ""}, "request_id"),
    ],
)
async def test_a_wrong_field_is_named(wallet: Wallet, fields: dict[str, Any], field: str) -> None:
    code, _, named, _ = await refused(wallet.gateway.CreateSetupIntent(create_request(wallet, **fields)))
    assert (code, named) == (StatusCode.INVALID_ARGUMENT, field)


async def test_a_setup_is_refused_where_no_more_methods_may_be_kept(wallet: Wallet, database: ServiceDatabase) -> None:
    await wallet.attach()
    async with connected(database) as connection:
        await connection.execute(
            """INSERT INTO payment_methods
               SELECT tenant_id, 'pm_1also' || n || payer_id, payer_id, state, mirrored, keep_time
               FROM payment_methods, generate_series(2, $2) AS n WHERE payer_id = $1""",
            wallet.payer_id,
            METHODS_MAX,
        )
        await connection.execute(
            """UPDATE payment_methods SET mirrored = jsonb_set(
                   mirrored, '{method,payment_method_id}', to_jsonb(payment_method_id))
               WHERE payer_id = $1""",
            wallet.payer_id,
        )
    assert await refusal(wallet.gateway.CreateSetupIntent(create_request(wallet))) == (
        StatusCode.FAILED_PRECONDITION,
        "METHOD_LIMIT_REACHED",
    )


async def test_a_customer_that_was_deleted_is_made_anew_for_a_setup(wallet: Wallet, stripe: SandboxControl) -> None:
    await created(wallet)
    (customer,) = await stripe.objects("customer", **{"metadata.payer_id": wallet.payer_id})
    await stripe.delete_customer(str(customer["id"]))

    assert (await created(wallet, "visa")).setup_intent.state == SUCCEEDED
    assert await wallet.ids() == await at_stripe(stripe, wallet)


@pytest.mark.parametrize("after", [False, True])
async def test_a_setup_without_an_answer_is_settled_by_itself_and_made_once(
    wallet: Wallet, replica: Gateway, stripe: SandboxControl, clock: Clock, after: bool
) -> None:
    await wallet.attach("amex")
    await stripe.fault(Kind.RESET, route=SETUPS, after=after, times=TRIES)
    request = create_request(wallet, "visa")
    assert (await refusal(wallet.gateway.CreateSetupIntent(request)))[1] == "STRIPE_UNAVAILABLE"

    clock.advance(backoff.SETTLE_FIRST)
    await replica.parts.work.once()

    setup = (await wallet.gateway.CreateSetupIntent(request)).setup_intent
    assert setup.state == SUCCEEDED
    assert len(await stripe.objects("setup_intent", **{"metadata.payer_id": wallet.payer_id})) == 1
    assert len(await wallet.listed()) == 2


async def test_a_setup_whose_key_says_no_more_is_found_at_stripe(wallet: Wallet, stripe: SandboxControl) -> None:
    await stripe.fault(Kind.SERVER_ERROR, route=SETUPS, after=True, stored=True)

    answer = await created(wallet, "visa")

    assert answer.setup_intent.state == SUCCEEDED
    assert len(await stripe.objects("setup_intent", **{"metadata.payer_id": wallet.payer_id})) == 1
    assert len(await wallet.listed()) == 1


async def test_a_setup_that_stripe_refuses_is_refused(wallet: Wallet, stripe: SandboxControl) -> None:
    await stripe.fault(Kind.INVALID, route=SETUPS, code="parameter_invalid", param="usage", stored=True)

    code, reason, _, metadata = await refused(wallet.gateway.CreateSetupIntent(create_request(wallet)))

    assert (code, reason) == (StatusCode.FAILED_PRECONDITION, "STRIPE_REFUSED")
    assert (metadata["code"], metadata["param"]) == ("parameter_invalid", "usage")


async def test_a_cancellation_that_stripe_refuses_is_refused(wallet: Wallet, stripe: SandboxControl) -> None:
    setup_intent_id = (await created(wallet)).setup_intent.setup_intent_id
    await stripe.fault(Kind.INVALID, route=CANCEL, code="parameter_invalid", stored=True)

    code, reason, _, metadata = await refused(wallet.gateway.CancelSetupIntent(cancel_request(setup_intent_id)))

    assert (code, reason, metadata["code"]) == (StatusCode.FAILED_PRECONDITION, "STRIPE_REFUSED", "parameter_invalid")
    assert (await got(wallet, setup_intent_id)).setup_intent.state == REQUIRES_PAYMENT_METHOD


async def test_copies_of_a_request_in_two_processes_make_one_setup(
    wallet: Wallet, gateway: GatewayStubs, stripe: SandboxControl, start_gateway: Any
) -> None:
    request = create_request(wallet)
    async with start_gateway() as other, other.connect() as stub:
        answers = await asyncio.gather(*(each.CreateSetupIntent(request) for _ in range(6) for each in (gateway, stub)))
    assert all(answer == answers[0] for answer in answers)
    assert len(await stripe.objects("setup_intent", **{"metadata.payer_id": wallet.payer_id})) == 1
