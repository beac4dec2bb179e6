"""Webhooks early, twice, in the wrong order, forged, and while somebody is away: never lost, never applied twice."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import asyncpg
import httpx
import pytest

from batzen import errors
from local.suite import Suite
from sandbox.delivery import sign
from sandbox.faults import Kind
from services.gateway.webhooks.signature import TOLERANCE_S
from services.runtime.database.connections import plain_dsn
from tests.eventually import WITHIN_S, eventually
from tests.suite.journeys import (
    REFUND_MINOR,
    RETURN_URL,
    TOTAL_MINOR,
    Ends,
    Traveller,
    call_off,
    pay,
    pay_in_browser,
)

CONFIRM: Final = "POST /v1/payment_intents/*/confirm"
SUCCEEDED: Final = "payment_intent.succeeded"
PAID: Final = Ends(state="SUCCEEDED", states=("INITIALIZED", "SUCCEEDED"))
SAID_IN_BROWSER: Final = ("payment_intent.payment_failed", "payment_intent.requires_action", SUCCEEDED)


async def events_of(traveller: Traveller, payment_id: str) -> list[dict[str, Any]]:
    """Return the events about a payment's intent, in the order in which they happened."""
    intent = await traveller.intent_of(payment_id)
    return await traveller.sandbox.objects("event", **{"data.object.id": intent["id"]})


async def outcomes(traveller: Traveller, payment_id: str, event_type: str) -> list[Any]:
    """Return how each delivery of a type of event about a payment ended."""
    wanted = {event["id"] for event in await events_of(traveller, payment_id) if event["type"] == event_type}
    return [one["outcome"] for one in await traveller.sandbox.deliveries() if one["event"] in wanted]


async def until_delivered(traveller: Traveller, payment_id: str, event_type: str, outcome: object = 200) -> None:
    async def is_delivered() -> bool:
        return outcome in await outcomes(traveller, payment_id, event_type)

    await eventually(is_delivered, what=f"{event_type} was delivered with {outcome}")


async def inbox(suite: Suite) -> set[str]:
    """Return the events the gateway holds."""
    connection = await asyncpg.connect(plain_dsn(suite.database_url("gateway")))
    try:
        return {row["event_id"] for row in await connection.fetch("SELECT event_id FROM events")}
    finally:
        await connection.close()


async def until_worked_on(traveller: Traveller) -> None:
    """Wait until every event that arrived was worked on and everything that follows was done."""
    await traveller.sandbox.drain()

    async def is_done() -> bool:
        return not await traveller.left_to_do()

    await eventually(is_done, what="all events were worked on")


async def test_a_webhook_that_overtakes_the_answer_is_no_second_success(traveller: Traveller) -> None:
    payment_id = (await traveller.start()).payment.payment_id
    await traveller.sandbox.fault(Kind.TIMEOUT, route=CONFIRM, after=True, times=None)

    submitting = asyncio.ensure_future(traveller.submit(payment_id, "pm_card_visa"))
    await until_delivered(traveller, payment_id, SUCCEEDED)
    assert not submitting.done()
    await traveller.sandbox.clear_faults()
    answer = await submitting

    assert answer.payment.snapshot.amounts.captured_minor == TOTAL_MINOR
    await traveller.until(payment_id, "SUCCEEDED")
    await traveller.check(payment_id, PAID)


async def test_a_browser_that_overtakes_a_submit_pays_and_the_submit_does_not(traveller: Traveller) -> None:
    session = await traveller.start()
    payment_id = session.payment.payment_id
    await traveller.sandbox.fault(Kind.PAUSE, route=CONFIRM)

    submitting = asyncio.ensure_future(traveller.submit(payment_id, "pm_card_mastercard"))
    await traveller.sandbox.until_paused()
    await traveller.sandbox.browser_confirm(session.client_secret, payment_method="pm_card_visa")
    await until_delivered(traveller, payment_id, SUCCEEDED)
    await traveller.sandbox.resume()
    with pytest.raises(errors.FailedPrecondition) as refused:
        await submitting

    assert (refused.value.reason, refused.value.metadata["state"]) == ("PAYMENT_STATE", "SUCCEEDED")
    await traveller.until(payment_id, "SUCCEEDED")
    await traveller.check(payment_id, PAID)


async def test_of_a_payment_stripe_sends_nothing_but_what_is_acted_on(traveller: Traveller) -> None:
    payment_id = await pay(traveller)
    await traveller.until(payment_id, "SUCCEEDED")
    await traveller.sandbox.drain()

    made = {event["id"] for event in await events_of(traveller, payment_id)}
    sent = {one["type"] for one in await traveller.sandbox.deliveries() if one["event"] in made}
    assert sent == {SUCCEEDED}


async def test_a_webhook_that_comes_four_times_counts_once(traveller: Traveller) -> None:
    await traveller.sandbox.webhooks(duplicate=3)

    payment_id = await pay_in_browser(traveller)
    await traveller.until(payment_id, "SUCCEEDED")
    await until_worked_on(traveller)

    assert await outcomes(traveller, payment_id, SUCCEEDED) == [200] * 4
    await traveller.check(payment_id, PAID)


async def test_a_webhook_that_comes_again_after_everything_changes_nothing(traveller: Traveller) -> None:
    payment_id = await pay(traveller)
    await traveller.refund(payment_id, amount_minor=REFUND_MINOR, refundable_minor=TOTAL_MINOR)
    await traveller.until(payment_id, "PARTIALLY_REFUNDED")
    before = await traveller.payment(payment_id)

    for event in await events_of(traveller, payment_id):
        await traveller.sandbox.redeliver(event["id"])
    await until_worked_on(traveller)

    assert await traveller.payment(payment_id) == before


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))), ids=str)
async def test_webhooks_in_any_order_come_to_the_same_and_nothing_goes_back(
    order: Sequence[int], traveller: Traveller
) -> None:
    await traveller.sandbox.webhooks(drop=1.0)
    session = await traveller.start()
    payment_id = session.payment.payment_id
    confirm = {"client_secret": session.client_secret, "return_url": RETURN_URL}
    await traveller.sandbox.browser_confirm(**confirm, payment_method="pm_card_chargeDeclined")
    intent = await traveller.sandbox.browser_confirm(**confirm, payment_method="pm_card_threeDSecure2Required")
    await traveller.sandbox.authenticate(intent["id"], succeed=True)
    said = {event["type"]: event["id"] for event in await events_of(traveller, payment_id)}

    seen = []
    for place in order:
        await traveller.sandbox.redeliver(said[SAID_IN_BROWSER[place]])
        await until_worked_on(traveller)
        seen.append((await traveller.states(payment_id))[-1])

    assert seen[-1] == "SUCCEEDED"
    assert seen[seen.index("SUCCEEDED") :] == ["SUCCEEDED"] * (len(seen) - seen.index("SUCCEEDED"))
    await traveller.check(payment_id, Ends(state="SUCCEEDED", states=("INITIALIZED", "SUCCEEDED")))


async def test_a_heap_of_webhooks_in_a_muddle_is_sorted_out(traveller: Traveller) -> None:
    await traveller.sandbox.webhooks(hold=True, reorder=True)
    paid = [await pay_in_browser(traveller) for _ in range(3)]
    refunded = [await pay(traveller) for _ in range(3)]
    for payment_id in refunded:
        intent = await traveller.intent_of(payment_id)
        for _ in range(2):
            await traveller.sandbox.refund(intent["id"], amount=REFUND_MINOR, reverse_transfer=True)
    dropped = [await call_off(traveller) for _ in range(2)]

    assert await traveller.sandbox.release() > len(paid) + len(refunded)
    await traveller.sandbox.webhooks()

    for payment_ids, ends in (
        (paid, PAID),
        (refunded, Ends(state="PARTIALLY_REFUNDED", refunds=2, states=("SUCCEEDED",))),
        (dropped, Ends(state="CANCELED", charges=0, states=("CANCELED",))),
    ):
        for payment_id in payment_ids:
            await traveller.until(payment_id, ends.state)
            await traveller.check(payment_id, ends)
    for payment_id in refunded:
        assert (await traveller.payment(payment_id)).snapshot.amounts.refunded_minor == 2 * REFUND_MINOR


def _forged(intent: Mapping[str, Any]) -> bytes:
    """Return what Stripe would say if the intent were paid, which it is not."""
    paid = {**intent, "status": "succeeded", "amount_received": intent["amount"]}
    event = {
        "id": "evt_forged",
        "object": "event",
        "api_version": "2026-01-01",
        "created": int(time.time()),
        "data": {"object": paid},
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "type": SUCCEEDED,
    }
    return json.dumps(event).encode()


REFUSED: Final = {
    "guessed secret": ("SIGNATURE_MISMATCH", {"secret": "whsec_guessed"}),
    "old": ("TIMESTAMP_OUTSIDE_TOLERANCE", {"skew_s": -TOLERANCE_S - 60}),
    "from the future": ("TIMESTAMP_OUTSIDE_TOLERANCE", {"skew_s": TOLERANCE_S + 60}),
    "unsigned": ("SIGNATURE_MISSING", {"header": b""}),
    "signature without a value": ("SIGNATURE_MALFORMED", {"header": b"t=,v1"}),
    "non-ASCII signature": ("SIGNATURE_MISMATCH", {"header": "t={now},v1=é€ß".encode()}),
    "non-ASCII timestamp": ("SIGNATURE_MALFORMED", {"header": "t=१२३४५६७८९०,v1=abc".encode()}),
    "bytes that are no text": ("SIGNATURE_MISMATCH", {"header": b"t={now},v1=\xff\xfe"}),
    "signed body that is not UTF-8": ("BODY_NOT_UTF8", {"body": b'{"id": "evt_\xff\xfe"}'}),
    "signed body that is not JSON": ("BODY_NOT_JSON", {"body": b"payment_intent=pi_1"}),
    "signed list": ("NOT_AN_OBJECT", {"body": b"[1, 2]"}),
    "signed text": ("NOT_AN_OBJECT", {"body": b'"evt_1"'}),
    "signed null": ("NOT_AN_OBJECT", {"body": b"null"}),
    "signed object that is no event": ("NOT_AN_EVENT", {"body": b'{"object": "payment_intent", "id": "pi_1"}'}),
    "signed nothing": ("BODY_NOT_JSON", {"body": b""}),
}


async def test_what_stripe_did_not_sign_now_is_refused_and_leaves_no_trace(suite: Suite, traveller: Traveller) -> None:
    session = await traveller.start()
    payment_id = session.payment.payment_id
    forged = _forged(await traveller.intent_of(payment_id))
    before, held = await traveller.payment(payment_id), await inbox(suite)

    answers = {}
    async with httpx.AsyncClient(trust_env=False, timeout=WITHIN_S) as stripe:
        for case, (_, how) in REFUSED.items():
            body, now = how.get("body", forged), int(time.time())
            secret = str(how.get("secret", suite.stripe.webhook_secrets))
            header = sign(body, secrets=(secret,), timestamp=now + how.get("skew_s", 0)).encode()
            header = how.get("header", header).replace(b"{now}", str(now).encode())
            answer = await stripe.post(
                suite.webhook_url,
                content=body,
                headers={b"content-type": b"application/json", b"stripe-signature": header},
            )
            answers[case] = (answer.status_code, answer.json()["reason"])

    assert answers == {case: (400, reason) for case, (reason, _) in REFUSED.items()}
    came = await inbox(suite) - held  # what Stripe tells of other payments meanwhile is taken
    assert came <= {event["id"] for event in await traveller.sandbox.objects("event")}
    assert await traveller.payment(payment_id) == before
    await traveller.sandbox.browser_confirm(session.client_secret, payment_method="pm_card_visa")
    await traveller.until(payment_id, "SUCCEEDED")
    await traveller.check(payment_id, PAID)


@pytest.mark.parametrize(
    "wrong",
    [{"tamper": True}, {"skew_s": -TOLERANCE_S - 60.0}, {"skew_s": TOLERANCE_S + 60.0}],
    ids=["tampered", "old", "future"],
)
async def test_an_event_that_was_refused_once_still_counts_when_it_comes_rightly(
    wrong: dict[str, Any], traveller: Traveller
) -> None:
    await traveller.sandbox.webhooks(**wrong)
    payment_id = await pay_in_browser(traveller)
    await until_delivered(traveller, payment_id, SUCCEEDED, 400)
    assert (await traveller.states(payment_id))[-1] == "REQUIRES_PAYMENT_METHOD"

    await traveller.sandbox.webhooks()

    await traveller.until(payment_id, "SUCCEEDED")
    await traveller.check(payment_id, PAID)


async def test_webhooks_while_the_orchestrator_is_down_are_kept_for_it(suite: Suite, traveller: Traveller) -> None:
    refunded = await pay(traveller)
    await traveller.until(refunded, "SUCCEEDED")
    session = await traveller.start()
    paid = session.payment.payment_id
    intent = await traveller.intent_of(refunded)

    await suite.stop("orchestrator")
    await traveller.sandbox.browser_confirm(session.client_secret, payment_method="pm_card_visa")
    await traveller.sandbox.refund(intent["id"], amount=REFUND_MINOR, reverse_transfer=True)
    await until_delivered(traveller, paid, SUCCEEDED)
    await traveller.sandbox.drain()

    async def waits_for_the_orchestrator() -> bool:
        left = await traveller.left_to_do()
        return "gateway: waiting events" not in left and "gateway: deliveries" in left

    await eventually(waits_for_the_orchestrator, what="the gateway wants to deliver")
    assert (await traveller.states(paid))[-1] == "REQUIRES_PAYMENT_METHOD"
    await suite.start("orchestrator")

    await traveller.until(paid, "SUCCEEDED")
    await traveller.check(paid, PAID)
    await traveller.until(refunded, "PARTIALLY_REFUNDED")
    await traveller.check(refunded, Ends(state="PARTIALLY_REFUNDED", refunds=1, states=("SUCCEEDED",)))


async def test_an_event_that_met_no_gateway_counts_when_stripe_comes_again(suite: Suite, traveller: Traveller) -> None:
    session = await traveller.start()
    payment_id = session.payment.payment_id

    await suite.kill("gateway")
    await traveller.sandbox.browser_confirm(session.client_secret, payment_method="pm_card_visa")
    await until_delivered(traveller, payment_id, SUCCEEDED, "ConnectError")
    await suite.start("gateway")
    for event in await events_of(traveller, payment_id):
        await traveller.sandbox.redeliver(event["id"])

    await traveller.until(payment_id, "SUCCEEDED")
    await until_worked_on(traveller)
    await traveller.check(payment_id, PAID)
