"""What is kept for 90 days alone, and that nothing is done twice once it is gone."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from grpc import StatusCode

from batzen.gateway.v1 import payer_pb2, payment_methods_pb2, refunds_pb2
from local.databases import ServiceDatabase
from sandbox.control import SandboxControl
from services.gateway.retention import FORGET
from services.runtime.database.connections import DirectConnections, plain_dsn
from services.runtime.database.request_expiry import REQUESTS_KEPT, forget
from tests.clock import Clock
from tests.gateway.samples import (
    AMOUNT_MINOR,
    CANCELED,
    REFUND,
    RETURN_URL,
    SUCCEEDED,
    Payments,
    new_id,
    new_request_id,
    refusal,
)
from tests.gateway.stubs import GatewayStubs
from tests.gateway.test_payment_methods import Wallet

Rows = list[dict[str, Any]]


class Keeper:
    """Forgets as a process does every hour, and looks at what is left."""

    def __init__(self, held: DirectConnections, owner: asyncpg.Connection, clock: Clock) -> None:
        self.held = held
        self.owner = owner
        self.clock = clock

    async def forget(self, *, after: timedelta) -> None:
        for statement in FORGET:
            await forget(self.held, statement, now=self.clock.now() + after)

    async def calls(self, payment_id: str) -> list[str]:
        rows = await self.owner.fetch("SELECT operation FROM calls WHERE subject_id = $1", payment_id)
        return sorted(row["operation"] for row in rows)

    async def of_methods(self, wallet: Wallet) -> tuple[dict[str, str], set[str]]:
        """Return the states of a payer's methods, and for which of them a consent is kept."""
        methods = await self.owner.fetch(
            "SELECT payment_method_id, state FROM payment_methods WHERE payer_id = $1", wallet.payer_id
        )
        consents = await self.owner.fetch(
            "SELECT payment_method_id FROM method_consents WHERE payer_id = $1", wallet.payer_id
        )
        states = {row["payment_method_id"]: row["state"] for row in methods}
        return states, {row["payment_method_id"] for row in consents}

    async def details(self, method_id: str) -> dict[str, str]:
        """Return what is kept of a method itself."""
        row = await self.owner.fetchval("SELECT mirrored FROM payment_methods WHERE payment_method_id = $1", method_id)
        mirrored = json.loads(row)
        method = {name: mirrored["method"][name] for name in ("payment_method_id", "type", "last4")}
        return method | {"fingerprint": mirrored["fingerprint"]}


@pytest.fixture
async def keeper(database: ServiceDatabase, clock: Clock) -> AsyncIterator[Keeper]:
    owner = await asyncpg.connect(plain_dsn(database.owner_url))
    async with DirectConnections(database.runtime_url, application_name="retention", size=1) as held:
        yield Keeper(held, owner, clock)
    await owner.close()


OLD = REQUESTS_KEPT + timedelta(days=1)


async def test_a_repeat_that_is_older_than_what_is_kept_of_it_never_refunds_twice(
    gateway: GatewayStubs, payments: Payments, keeper: Keeper
) -> None:
    payment_id = await payments.paid()
    request = payments.borne_refund_request(payment_id, 4_000)  # nothing else is called for it
    given = await gateway.CreateRefund(request)
    await keeper.forget(after=OLD)
    assert await keeper.calls(payment_id) == []

    reused = (StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED")
    assert await refusal(gateway.CreateRefund(request)) == reused
    request.expected_refundable.amount_minor = 6_000  # as somebody would who has read the balance again
    assert await refusal(gateway.CreateRefund(request)) == reused
    assert len(await payments.refunds(payment_id)) == 1
    kept = (await gateway.GetRefund(refunds_pb2.GetRefundRequest(refund_id=given.refund.refund_id))).refund
    assert kept == given.refund


async def test_other_repeats_of_that_age_are_refused_by_what_became_of_the_intent(
    gateway: GatewayStubs, payments: Payments, keeper: Keeper
) -> None:
    create = payments.create_request()
    await gateway.CreateIntent(create)
    confirm, cancel = payments.confirm_request(create.payment_id), payments.create_request()
    await gateway.ConfirmIntent(confirm)
    await gateway.CreateIntent(cancel)
    call_off = payments.cancel_request(cancel.payment_id)
    await gateway.CancelIntent(call_off)
    await keeper.forget(after=OLD)

    for repeat, reason in (
        (gateway.CreateIntent(create), "ATTEMPT_OPEN"),
        (gateway.ConfirmIntent(confirm), "INTENT_STATE"),
        (gateway.CreateIntent(cancel), "FIELD_INVALID"),
    ):
        assert (await refusal(repeat))[1] == reason
    assert (await gateway.CancelIntent(call_off)).observation.intent_state == CANCELED
    assert [len(await payments.intents(one.payment_id)) for one in (create, cancel)] == [1, 1]
    assert len(await payments.charges(create.payment_id)) == 1


async def test_the_calls_of_an_intent_that_may_still_take_money_are_kept(
    gateway: GatewayStubs, payments: Payments, keeper: Keeper
) -> None:
    declined = await payments.created()
    await gateway.ConfirmIntent(payments.confirm_request(declined, "chargeDeclined"))

    await keeper.forget(after=OLD)

    assert await keeper.calls(declined) == ["intent.confirm", "intent.create"]


async def test_a_call_of_unknown_outcome_is_never_forgotten(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl, keeper: Keeper
) -> None:
    payment_id = await payments.paid()
    await stripe.fault("server_error", route=REFUND, after=True, times=None, should_retry=False)
    await gateway.CreateRefund(payments.refund_request(payment_id, 4_000))

    await keeper.forget(after=OLD)

    kept = await keeper.calls(payment_id)
    assert "refund.create" in kept
    assert not {"intent.create", "intent.confirm"} & set(kept)
    await stripe.clear_faults()


async def test_what_is_not_old_yet_is_kept_and_money_facts_are_kept_for_ever(
    gateway: GatewayStubs, payments: Payments, keeper: Keeper
) -> None:
    payment_id = await payments.paid()
    await gateway.CreateRefund(payments.refund_request(payment_id, AMOUNT_MINOR))
    await keeper.forget(after=REQUESTS_KEPT - timedelta(hours=1))
    # What its seller gives back may have been asked for meanwhile, too.
    assert {"intent.confirm", "intent.create", "refund.create"} <= set(await keeper.calls(payment_id))

    await keeper.forget(after=timedelta(days=3_650))

    seen = await payments.seen(payment_id)
    assert (seen.intent_state, seen.amounts.refunded_minor) == (SUCCEEDED, AMOUNT_MINOR)


@pytest.mark.parametrize(
    ("state", "is_kept"), [("DONE", False), ("IGNORED", False), ("PARKED", True), ("WAITING", True)]
)
async def test_raw_events_go_once_nobody_has_to_look_at_them(keeper: Keeper, state: str, is_kept: bool) -> None:
    event_id = f"evt_kept_{state}"
    await keeper.owner.execute(
        "INSERT INTO events (tenant_id, event_id, type, subject, body, holder, state, create_time, receive_time)"
        " VALUES ('main', $1, 'x', 'x', ''::bytea, '', $2, $3, $3)", event_id, state, keeper.clock.now(),
    )  # fmt: skip
    await keeper.forget(after=REQUESTS_KEPT - timedelta(hours=1))
    kept = "SELECT count(*) FROM events WHERE event_id = $1"
    assert await keeper.owner.fetchval(kept, event_id) == 1

    await keeper.forget(after=OLD)

    assert (await keeper.owner.fetchval(kept, event_id) == 1) is is_kept
    await keeper.owner.execute("DELETE FROM events WHERE event_id = $1", event_id)


@pytest.mark.parametrize(
    ("delivered", "due", "dead", "is_kept"),
    [(7, False, False, False), (7, True, False, True), (6, False, False, True), (6, False, True, True)],
)
async def test_deliveries_go_once_they_are_made(
    keeper: Keeper, delivered: int, due: bool, dead: bool, is_kept: bool
) -> None:
    payment_id, now = new_id("pay"), keeper.clock.now()
    far = now + timedelta(days=3_650)  # nobody works on it meanwhile
    await keeper.owner.execute(
        "INSERT INTO deliveries (tenant_id, payment_id, wanted_version, delivered_version, observation, origin,"
        " record_time, due_time, dead_time) VALUES ('other', $1, 7, $2, '{}', '', $3, $4, $5)",
        payment_id, delivered, now, far if due else None, now if dead else None,
    )  # fmt: skip
    kept = "SELECT count(*) FROM deliveries WHERE payment_id = $1"
    await keeper.forget(after=REQUESTS_KEPT - timedelta(hours=1))
    assert await keeper.owner.fetchval(kept, payment_id) == 1

    await keeper.forget(after=OLD)

    assert (await keeper.owner.fetchval(kept, payment_id) == 1) is is_kept
    await keeper.owner.execute("DELETE FROM deliveries WHERE payment_id = $1", payment_id)


@pytest.mark.parametrize("is_delivered", [True, False])
async def test_notices_go_once_they_are_delivered(keeper: Keeper, is_delivered: bool) -> None:
    notice_id, now = uuid.uuid4(), keeper.clock.now()
    await keeper.owner.execute(
        "INSERT INTO notices (tenant_id, notice_id, kind, payment_id, seller_ids, \"values\", occur_time, create_time,"
        " delivered_time) VALUES ('other', $1, 'PAYOUT_FAILED', '', '{}', '{}', $2, $2, $3)",
        notice_id, now, now if is_delivered else None,
    )  # fmt: skip
    kept = "SELECT count(*) FROM notices WHERE notice_id = $1"
    await keeper.forget(after=REQUESTS_KEPT - timedelta(hours=1))
    assert await keeper.owner.fetchval(kept, notice_id) == 1

    await keeper.forget(after=OLD)

    assert (await keeper.owner.fetchval(kept, notice_id) == 0) is is_delivered
    await keeper.owner.execute("DELETE FROM notices WHERE notice_id = $1", notice_id)


@pytest.mark.parametrize(("due", "dead", "is_kept"), [(False, False, False), (True, False, True), (False, True, True)])
async def test_subjects_of_events_go_once_nothing_waits(keeper: Keeper, due: bool, dead: bool, is_kept: bool) -> None:
    subject, now = new_id("pi"), keeper.clock.now()
    await keeper.owner.execute(
        "INSERT INTO event_runs (tenant_id, subject, create_time, due_time, dead_time)"
        " VALUES ('other', $1, $2, $3, $4)",
        subject, now, now + timedelta(days=3_650) if due else None, now if dead else None,
    )  # fmt: skip
    await keeper.forget(after=OLD)

    kept = await keeper.owner.fetchval("SELECT count(*) FROM event_runs WHERE subject = $1", subject)
    assert (kept == 1) is is_kept
    await keeper.owner.execute("DELETE FROM event_runs WHERE subject = $1", subject)


CONTESTED = timedelta(days=400)
"""For so long after a method was detached somebody may ask by whose consent it was charged."""


async def test_consent_outlives_the_method_until_nobody_may_contest_what_it_paid(
    gateway: GatewayStubs, keeper: Keeper
) -> None:
    wallet = Wallet(gateway)
    visa, amex = (await wallet.attach()).payment_method_id, (await wallet.attach("amex")).payment_method_id
    await wallet.detach(visa)
    await keeper.forget(after=CONTESTED - timedelta(days=1))
    assert await keeper.of_methods(wallet) == ({visa: "DETACHED", amex: "KEPT"}, {visa, amex})
    assert await keeper.details(visa) == {"payment_method_id": visa, "type": "", "last4": "", "fingerprint": ""}

    await keeper.forget(after=CONTESTED + timedelta(days=1))

    assert await keeper.of_methods(wallet) == ({amex: "KEPT"}, {amex})
    assert await wallet.ids() == [amex]


async def test_setup_intents_go_and_what_they_kept_stays(gateway: GatewayStubs, keeper: Keeper) -> None:
    wallet = Wallet(gateway)
    request = payment_methods_pb2.CreateSetupIntentRequest(
        request_id=new_request_id(),
        payer=payer_pb2.Payer(payer_id=wallet.payer_id),
        payment_method_id="pm_card_visa",
        return_url=RETURN_URL,
    )
    setup = (await gateway.CreateSetupIntent(request)).setup_intent
    kept = await wallet.ids()

    await keeper.forget(after=OLD)

    get = payment_methods_pb2.GetSetupIntentRequest(setup_intent_id=setup.setup_intent_id)
    assert await refusal(gateway.GetSetupIntent(get)) == (StatusCode.NOT_FOUND, "SETUP_INTENT_NOT_FOUND")
    assert await wallet.ids() == kept == [setup.payment_method.payment_method_id]
