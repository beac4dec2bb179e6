"""What was given up is listed with what went wrong, and done again when an operator says so."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from grpc import StatusCode
from typer.testing import CliRunner

from batzen.cli.app import app
from batzen.gateway.v1 import ops_pb2 as pb
from batzen.gateway.v1.ops_pb2_grpc import GatewayOpsServiceStub
from local.databases import ServiceDatabase
from sandbox.control import SandboxControl
from sandbox.faults import Kind
from services.gateway.dead_letters import listing, replays
from services.gateway.webhooks.bodies import FIELD
from services.gateway.wire.dead_letters import KINDS
from services.runtime.database.connections import plain_dsn
from tests.eventually import eventually
from tests.gateway.conftest import TOKEN_LIFE, Gateway, Sink
from tests.gateway.receiving import event_of, receiving
from tests.gateway.samples import CONFIRM, SUCCEEDED, Payments, new_id, new_request_id, refusal, refused


@pytest.fixture
async def ops(replica: Gateway) -> AsyncIterator[GatewayOpsServiceStub]:
    async with replica.connect_ops() as stub:
        yield stub


@pytest.fixture
async def owner(database: ServiceDatabase) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(plain_dsn(database.owner_url))
    yield connection
    await connection.close()


async def letters(ops: GatewayOpsServiceStub, **fields: Any) -> dict[str, pb.DeadLetter]:
    found: dict[str, pb.DeadLetter] = {}
    request = pb.ListDeadLettersRequest(page_size=2, **fields)
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
    await given_up(owner, intent["id"])
    return str(intent["id"])


async def given_up(owner: asyncpg.Connection, subject: str) -> None:
    """Have the last try of the events of a subject made, as if they had waited for its payment until now."""
    # In one statement and while nobody works on it, or the engine counts a try of its own on top.
    await eventually(
        lambda: owner.fetchval(
            """WITH run AS (
                   UPDATE event_runs SET failures = 11, due_time = now() - interval '1 s'
                   WHERE subject = $1 AND held_until = '-infinity' AND due_time IS NOT NULL RETURNING subject)
               UPDATE events SET receive_time = receive_time - interval '11 minutes' FROM run
               WHERE events.subject = run.subject AND state = 'WAITING' RETURNING true""",
            subject,
        )
    )
    await eventually(lambda: owner.fetchval("SELECT dead_time IS NOT NULL FROM event_runs WHERE subject = $1", subject))


async def state_of(owner: asyncpg.Connection, event_id: str) -> str:
    return str(await owner.fetchval("SELECT state FROM events WHERE event_id = $1", event_id))


async def is_done(owner: asyncpg.Connection, event_id: str) -> bool:
    return await state_of(owner, event_id) == "DONE"


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


async def test_an_event_that_always_fails_is_left_alone_by_those_of_the_same_subject(  # noqa: PLR0917 fixtures
    replica: Gateway,
    ops: GatewayOpsServiceStub,
    owner: asyncpg.Connection,
    payments: Payments,
    stripe: SandboxControl,
    delivered: Sink,
) -> None:
    payment_id = await payments.created()
    intent_id = await payments.intent_id(payment_id)
    now = replica.parts.clock.now()
    poison = event_of(  # of a warning of fraud that has no id
        {"object": "radar.early_fraud_warning", "payment_intent": intent_id, "actionable": True},
        "radar.early_fraud_warning.created",
        at=now,
    )
    async with receiving(replica.parts.inbox, clock=replica.parts.clock) as sender:
        assert await sender.send(poison) == "ACCEPTED"
        paid = await stripe.succeed(intent_id)
        good = event_of(paid, "payment_intent.succeeded", at=now)
        await sender.send(good)
        await delivered.hears(payment_id, lambda seen: seen.intent_state == SUCCEEDED)
        await eventually(lambda: is_done(owner, good["id"]))
        await given_up(owner, intent_id)
        late = event_of(await stripe.refund(intent_id, amount=100), "refund.created", at=now)
        await sender.send(late)
        await delivered.hears(payment_id, lambda seen: seen.amounts.refunded_minor == 100)
        await eventually(lambda: is_done(owner, late["id"]))
    assert await state_of(owner, poison["id"]) == "WAITING"
    await given_up(owner, intent_id)
    letter = (await letters(ops))[f"events/{intent_id}"]
    assert (letter.payment_id, letter.subject_id, letter.subject_type) == (payment_id, poison["id"], poison["type"])
    assert {one.error_class for one in letter.tries} == {"KeyError"}


async def test_each_try_and_the_payload_where_asked_for_are_shown_and_never_logged(
    replica: Gateway, ops: GatewayOpsServiceStub, owner: asyncpg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    subject = await dead_event(replica, owner, claim := new_id("pay"))

    without = (await letters(ops))[f"events/{subject}"]
    with_payload = (await letters(ops, with_payload=True))[f"events/{subject}"]

    (payload,) = with_payload.payloads
    assert not without.payloads
    assert json.loads(payload.body)["data"]["object"]["metadata"]["payment_id"] == claim
    assert payload.subject_id == with_payload.subject_id
    assert (without.tries[-1].error_class, claim in without.tries[-1].error) == ("PaymentUnknown", True)
    shown = [record for record in caplog.records if record.getMessage() == "payloads of dead letters are shown"]
    assert any(without.dead_letter_id in record.fields["ids"] for record in shown)  # type: ignore[attr-defined]
    assert not any('"metadata"' in record.getMessage() for record in caplog.records)


async def test_what_does_not_fit_a_page_is_counted(
    replica: Gateway, ops: GatewayOpsServiceStub, owner: asyncpg.Connection
) -> None:
    subject = await dead_event(replica, owner, new_id("pay"))
    holder, key = await replica.parts.keys.of_day("main")
    sealed = [
        (subject, name, key.encrypt(b" " * 100_000, "main", holder, FIELD, name), holder)
        for name in (new_id("evt") for _ in range(70))
    ]
    await owner.executemany(
        """INSERT INTO events (tenant_id, event_id, type, subject, body, holder, state, create_time, receive_time)
           VALUES ('main', $2, 'x', $1, $3, $4, 'WAITING', now(), now() + interval '1 h')""",
        sealed,
    )
    letter = (await letters(ops, with_payload=True))[f"events/{subject}"]

    assert 1 < len(letter.payloads) <= listing.PAYLOAD_BYTES_MAX // 100_000 + 1
    assert len(letter.payloads) + letter.payloads_left_out_count == 71


async def test_a_filter_narrows_the_list_and_its_pages_are_of_it_alone(
    replica: Gateway, ops: GatewayOpsServiceStub, owner: asyncpg.Connection
) -> None:
    claim = new_id("pay")
    ids = {f"events/{await dead_event(replica, owner, claim)}" for _ in range(3)}
    matching = pb.DeadLetterFilter(
        kinds=[pb.DeadLetter.KIND_WEBHOOK_EVENT], subject_types=["payment_intent.succeeded"], error=f"Claims {claim}"
    )

    assert set(await letters(ops, filter=matching)) == ids
    for nothing in (
        pb.DeadLetterFilter(error=claim, kinds=[pb.DeadLetter.KIND_DELIVERY]),
        pb.DeadLetterFilter(error=claim, subject_types=["payment_intent.canceled"]),
        pb.DeadLetterFilter(error=claim, hold_before_time=Timestamp(seconds=1)),
    ):
        assert await letters(ops, filter=nothing) == {}
    token = (await ops.ListDeadLetters(pb.ListDeadLettersRequest(page_size=1, filter=matching))).next_page_token
    other = pb.ListDeadLettersRequest(page_size=1, page_token=token)
    assert token
    assert await refusal(ops.ListDeadLetters(other)) == (StatusCode.INVALID_ARGUMENT, "PAGE_TOKEN_INVALID")


async def test_what_a_filter_finds_is_replayed_up_to_a_limit_and_more_is_hinted_at(
    replica: Gateway, ops: GatewayOpsServiceStub, owner: asyncpg.Connection
) -> None:
    claim = new_id("pay")
    oldest, second, last = [await dead_event(replica, owner, claim) for _ in range(3)]
    await owner.execute("DELETE FROM events WHERE subject = $1", oldest)  # nothing is left to be done for it
    now = Timestamp()
    # By the database's clock, which other tests move.
    now.FromDatetime(await owner.fetchval("SELECT max(dead_time) + interval '1 ms' FROM event_runs"))
    request = replay_request(filter=pb.DeadLetterFilter(error=claim, hold_before_time=now), limit=2)

    answer = await ops.ReplayDeadLetters(request)

    assert [(one.dead_letter_id, one.succeeded) for one in answer.outcomes] == [
        (f"events/{oldest}", True),
        (f"events/{second}", False),
    ]
    assert answer.more_waiting
    assert await ops.ReplayDeadLetters(request) == answer
    newest = (await ops.ListOperatorActions(pb.ListOperatorActionsRequest(page_size=1))).actions
    assert [(one.method, one.subject_id) for one in newest] == [("ReplayDeadLetters", request.request_id)]
    request.request_id = new_request_id()
    rest = await ops.ReplayDeadLetters(request)
    assert ([one.dead_letter_id for one in rest.outcomes], rest.more_waiting) == ([f"events/{last}"], False)
    request.request_id = new_request_id()
    assert not (await ops.ReplayDeadLetters(request)).outcomes


async def test_an_operator_lists_and_replays_from_the_command_line(
    replica: Gateway, owner: asyncpg.Connection, tmp_path: Path
) -> None:
    claim = new_id("pay")
    mended, broken = [await dead_event(replica, owner, claim) for _ in range(2)]
    await owner.execute("DELETE FROM events WHERE subject = $1", mended)
    # By this machine's clock, as the command line has it; other tests move the database's.
    await owner.execute(
        "UPDATE event_runs SET dead_time = now() - interval '1 h' WHERE subject = ANY($1)", [mended, broken]
    )
    (tmp_path / "connection.json").write_text("{}")
    environment = {
        "BATZEN_CONNECTION": str(tmp_path / "connection.json"),
        "BATZEN_GATEWAY_ADDRESS": f"127.0.0.1:{replica.port}",
        "BATZEN_TOKEN": replica.issuer.mint("anna", roles=["operator"], tenant="main", life=TOKEN_LIFE),
    }

    async def batzen(*arguments: str) -> tuple[int, Any]:
        command = ["dead-letters", *arguments, "--error", claim, "--json"]
        done = await asyncio.to_thread(CliRunner().invoke, app, command, env=environment)
        return done.exit_code, json.loads(done.output)

    code, listed = await batzen("list", "--kind", "event", "--payload")
    assert (code, {one["dead_letter_id"] for one in listed}) == (0, {f"events/{mended}", f"events/{broken}"})
    assert claim in base64.b64decode(next(one for one in listed if one["payloads"])["payloads"][0]["body"]).decode()
    assert await batzen("list", "--older", "2h") == (0, [])
    code, answer = await batzen("replay", "--type", "payment_intent.succeeded")
    assert (code, [one["succeeded"] for one in answer["outcomes"]]) == (1, [False])  # what is mended has no type
    code, answer = await batzen("replay", "--kind", "event")
    assert (code, [one["succeeded"] for one in answer["outcomes"]]) == (0, [True])  # the other one is tried again


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
        ({"limit": 5}, "limit"),
        ({"filter": pb.DeadLetterFilter()}, "filter"),
        ({"dead_letter_ids": [], "filter": pb.DeadLetterFilter(), "limit": -1}, "limit"),
        ({"dead_letter_ids": [], "filter": pb.DeadLetterFilter(), "limit": 101}, "limit"),
        ({"dead_letter_ids": [], "filter": pb.DeadLetterFilter(kinds=[0])}, "filter.kinds[0]"),
        ({"dead_letter_ids": [], "filter": pb.DeadLetterFilter(subject_types=["x"] * 51)}, "filter.subject_types"),
        ({"dead_letter_ids": [], "filter": pb.DeadLetterFilter(error="x" * 201)}, "filter.error"),
        (
            {"dead_letter_ids": [], "filter": pb.DeadLetterFilter(hold_before_time=Timestamp(seconds=2**62))},
            "filter.hold_before_time",
        ),
        ({"dead_letter_ids": [f"events/{n}" for n in range(replays.REPLAYED_AT_ONCE_MAX + 1)]}, "dead_letter_ids"),
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


async def test_a_page_with_payloads_is_short(ops: GatewayOpsServiceStub) -> None:
    listing_ = ops.ListDeadLetters(pb.ListDeadLettersRequest(page_size=21, with_payload=True))
    assert (await refused(listing_))[2] == "page_size"


def test_every_kind_of_work_that_may_be_given_up_has_a_name_in_the_contract(replica: Gateway) -> None:
    assert {kind.name for kind in replica.parts.work.kinds if kind.retry.tries_max is not None} == set(KINDS)
