"""What was given up is listed with what went wrong, and done again when an operator says so."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from grpc import StatusCode

from batzen.gateway.v1 import ops_pb2 as pb
from batzen.gateway.v1.ops_pb2_grpc import GatewayOpsServiceStub
from local.databases import ServiceDatabase
from sandbox.control import SandboxControl
from sandbox.faults import Kind
from services.gateway import dead_letters
from services.gateway.servicers.ops import KINDS
from services.runtime.database.connections import plain_dsn
from tests.eventually import eventually
from tests.gateway.conftest import Gateway, Sink
from tests.gateway.receiving import event_of, receiving
from tests.gateway.samples import CONFIRM, SUCCEEDED, Payments, new_id, new_request_id, refusal, refused

PATIENCE_S = 30


@pytest.fixture
async def ops(replica: Gateway) -> AsyncIterator[GatewayOpsServiceStub]:
    async with replica.connect_ops() as stub:
        yield stub


@pytest.fixture
async def owner(database: ServiceDatabase) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(plain_dsn(database.owner_url))
    yield connection
    await connection.close()


async def letters(ops: GatewayOpsServiceStub) -> dict[str, pb.DeadLetter]:
    found: dict[str, pb.DeadLetter] = {}
    request = pb.ListDeadLettersRequest(page_size=2)
    while True:
        page = await ops.ListDeadLetters(request)
        found |= {letter.dead_letter_id: letter for letter in page.dead_letters}
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token


def replay_request(*ids: str, **fields: Any) -> pb.ReplayDeadLettersRequest:
    ours: dict[str, Any] = {"request_id": new_request_id(), "dead_letter_ids": ids, "actor_id": "anna"}
    return pb.ReplayDeadLettersRequest(**{**ours, **fields})


async def dead_event(replica: Gateway, owner: asyncpg.Connection, claim: str) -> str:
    """Have an event given up that claims a payment which is not here; return its subject."""
    intent = {"id": f"pi_{secrets.token_hex(8)}", "object": "payment_intent", "metadata": {"payment_id": claim}}
    async with receiving(replica.parts.inbox, clock=replica.parts.clock) as sender:
        event = event_of(intent, "payment_intent.succeeded", at=replica.parts.clock.now())
        assert await sender.send(event) == "ACCEPTED"
    # As if it had waited for its payment, and its last but one try had been.
    # In one statement and while nobody works on it, or the engine counts a try of its own on top.
    await eventually(
        lambda: owner.fetchval(
            """WITH run AS (
                   UPDATE event_runs SET failures = 11, due_time = now() - interval '1 s'
                   WHERE subject = $1 AND held_until = '-infinity' RETURNING subject)
               UPDATE events SET receive_time = receive_time - interval '11 minutes' FROM run
               WHERE events.subject = run.subject RETURNING true""",
            intent["id"],
        )
    )
    await eventually(
        lambda: owner.fetchval("SELECT dead_time IS NOT NULL FROM event_runs WHERE subject = $1", intent["id"])
    )
    return str(intent["id"])


@pytest.mark.parametrize("claim", ["pay_of_somebody", "pay\0nul", "half \ud83d of a pair", "long" * 5_000])
async def test_an_event_that_can_never_be_applied_is_listed_alone_and_stops_no_other(  # noqa: PLR0917 fixtures
    replica: Gateway,
    ops: GatewayOpsServiceStub,
    owner: asyncpg.Connection,
    payments: Payments,
    stripe: SandboxControl,
    delivered: Sink,
    claim: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("CRITICAL")  # pytest's own reports cannot hold such a text
    subject = await dead_event(replica, owner, claim)
    payment_id = await payments.created()
    paid = await stripe.succeed(await payments.intent_id(payment_id))
    async with receiving(replica.parts.inbox, clock=replica.parts.clock) as sender:
        await sender.send(event_of(paid, "payment_intent.succeeded", at=replica.parts.clock.now()))
    await delivered.hears(payment_id, lambda seen: seen.intent_state == SUCCEEDED)

    letter = (await letters(ops))[f"events/{subject}"]
    assert (letter.kind, letter.attempt_count) == (pb.DeadLetter.KIND_WEBHOOK_EVENT, 12)
    assert letter.subject_type == "payment_intent.succeeded"
    assert letter.last_error.startswith("PaymentUnknown: ")


async def test_a_replay_says_what_came_of_each_and_is_answered_once(
    replica: Gateway, ops: GatewayOpsServiceStub, owner: asyncpg.Connection
) -> None:
    mended, broken = [await dead_event(replica, owner, new_id("pay")) for _ in range(2)]
    await owner.execute("DELETE FROM events WHERE subject = $1", mended)  # nothing is left to be done for it
    ids = [f"events/{mended}", f"events/{broken}"]
    request = replay_request(*ids)

    answer = await ops.ReplayDeadLetters(request)

    assert [(one.dead_letter_id, one.succeeded) for one in answer.outcomes] == [(ids[0], True), (ids[1], False)]
    assert answer.outcomes[1].error.startswith("PaymentUnknown: ")
    assert await ops.ReplayDeadLetters(request) == answer
    kept = await owner.fetchrow(
        "SELECT actor_id, dead_letter_ids FROM replays WHERE request_id = $1", request.request_id
    )
    assert (kept["actor_id"], kept["dead_letter_ids"]) == ("anna", ids)


@pytest.mark.parametrize("state", ["STARTED", "UNKNOWN"])
async def test_a_call_that_cannot_be_settled_is_replayed_after_a_fix(  # noqa: PLR0917 fixtures
    ops: GatewayOpsServiceStub,
    owner: asyncpg.Connection,
    payments: Payments,
    stripe: SandboxControl,
    delivered: Sink,
    state: str,
) -> None:
    payment_id = await payments.created()
    await stripe.fault(Kind.RESET, route=CONFIRM, after=True, times=None)
    assert (await payments.gateway.ConfirmIntent(payments.confirm_request(payment_id))).observation.outcome_unknown
    # As a release leaves it that writes what this one cannot read, after the last but one try.
    params = await owner.fetchval(
        """UPDATE calls c SET params = '[]', failures = 1000, due_time = now(), state = $2 FROM calls b
           WHERE b.call_id = c.call_id AND c.subject_id = $1 AND c.state = 'UNKNOWN' RETURNING b.params""",
        payment_id,
        state,
    )
    await eventually(
        lambda: owner.fetchval(
            "SELECT dead_time IS NOT NULL FROM calls WHERE subject_id = $1 AND operation = 'intent.confirm'", payment_id
        )
    )
    (letter,) = [one for one in (await letters(ops)).values() if one.payment_id == payment_id]
    assert (letter.kind, letter.subject_type) == (pb.DeadLetter.KIND_UNSETTLED_CALL, "intent.confirm")
    await stripe.clear_faults()

    await owner.execute("UPDATE calls SET params = $2 WHERE call_id = $1", letter.subject_id, params)
    answer = await ops.ReplayDeadLetters(replay_request(letter.dead_letter_id))

    assert [one.succeeded for one in answer.outcomes] == [True]
    await delivered.hears(payment_id, lambda seen: seen.intent_state == SUCCEEDED)
    assert len(await payments.charges(payment_id)) == 1


async def test_a_call_that_was_given_up_and_is_settled_by_a_reading_is_no_dead_letter_any_more(
    ops: GatewayOpsServiceStub, owner: asyncpg.Connection, payments: Payments, stripe: SandboxControl
) -> None:
    payment_id = await payments.created()
    await stripe.fault(Kind.RESET, route=CONFIRM, after=True, times=None)
    assert (await payments.gateway.ConfirmIntent(payments.confirm_request(payment_id))).observation.outcome_unknown
    await stripe.clear_faults()
    await owner.execute(
        """UPDATE calls SET due_time = NULL, dead_time = now(), problem = 'TypeError'
           WHERE subject_id = $1 AND state = 'UNKNOWN'""",
        payment_id,
    )

    assert (await payments.synced(payment_id)).intent_state == SUCCEEDED

    assert not [one for one in (await letters(ops)).values() if one.payment_id == payment_id]


async def test_a_replay_that_a_process_did_not_survive_goes_on_with_its_repeat(
    replica: Gateway, ops: GatewayOpsServiceStub, owner: asyncpg.Connection
) -> None:
    subject = await dead_event(replica, owner, new_id("pay"))
    request = replay_request(f"events/{subject}")
    first = await ops.ReplayDeadLetters(request)
    await owner.execute("UPDATE replays SET outcomes = NULL WHERE request_id = $1", request.request_id)

    assert await ops.ReplayDeadLetters(request) == first


async def test_what_is_no_dead_letter_is_not_replayed(
    replica: Gateway, ops: GatewayOpsServiceStub, owner: asyncpg.Connection
) -> None:
    subject = await dead_event(replica, owner, new_id("pay"))
    for unknown in (
        "events/pi_unknown",
        "calls/no-uuid",
        f"calls/{new_request_id()}",
        "jobs/1",
        "events",
        "/",
        "events/a/b",
    ):
        replay = ops.ReplayDeadLetters(replay_request(f"events/{subject}", unknown))
        assert await refusal(replay) == (StatusCode.NOT_FOUND, "DEAD_LETTER_NOT_FOUND"), unknown
    assert await owner.fetchval("SELECT dead_time IS NOT NULL FROM event_runs WHERE subject = $1", subject)


async def test_one_tenants_dead_letters_are_not_anothers(replica: Gateway, owner: asyncpg.Connection) -> None:
    subject = await dead_event(replica, owner, new_id("pay"))
    async with replica.connect_ops(tenant="other") as other:
        assert await letters(other) == {}
        replay = other.ReplayDeadLetters(replay_request(f"events/{subject}"))
        assert await refusal(replay) == (StatusCode.NOT_FOUND, "DEAD_LETTER_NOT_FOUND")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"request_id": ""}, "request_id"),
        ({"actor_id": ""}, "actor_id"),
        ({"dead_letter_ids": []}, "dead_letter_ids"),
        ({"dead_letter_ids": ["events/a", "events/a"]}, "dead_letter_ids"),
        ({"dead_letter_ids": [f"events/{n}" for n in range(dead_letters.REPLAYED_AT_ONCE_MAX + 1)]}, "dead_letter_ids"),
    ],
)
async def test_a_replay_names_what_is_wrong_with_it(
    ops: GatewayOpsServiceStub, fields: dict[str, Any], field: str
) -> None:
    status, _, named, *_ = await refused(ops.ReplayDeadLetters(replay_request("events/a", **fields)))
    assert (status, named) == (StatusCode.INVALID_ARGUMENT, field)


@pytest.mark.parametrize("token", ["x", "e30=", "WyIyMDI2IiwgIngiXQ==", "A" * 2_000])
async def test_a_page_token_of_nobody_is_refused(ops: GatewayOpsServiceStub, token: str) -> None:
    listing = ops.ListDeadLetters(pb.ListDeadLettersRequest(page_token=token))
    assert await refusal(listing) == (StatusCode.INVALID_ARGUMENT, "PAGE_TOKEN_INVALID")


def test_every_kind_of_work_that_may_be_given_up_has_a_name_in_the_contract(replica: Gateway) -> None:
    assert {kind.name for kind in replica.parts.work.kinds if kind.retry.tries_max is not None} == set(KINDS)
