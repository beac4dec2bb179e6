"""Disputes over the gateway's service: listed, shown, answered, given up, and told of before an answer is due."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from grpc import StatusCode, aio
from typer.testing import CliRunner

from batzen.cli.app import app
from batzen.gateway.v1 import disputes_pb2, ops_pb2
from batzen.gateway.v1.disputes_pb2 import Dispute
from batzen.type.v1 import money_pb2
from sandbox.faults import Kind
from services.gateway.call_log import backoff
from services.gateway.call_log.call import IDEMPOTENCY_KEY_TTL
from services.gateway.disputes import evidence
from services.gateway.disputes.watch import ORIGIN, DueWatch
from services.gateway.wiring import look_at_disputes
from services.runtime.rpc import call_context
from services.runtime.work.kinds import RetryLater, Work
from tests.gateway.conftest import TOKEN_LIFE
from tests.gateway.receiving import count, event_of
from tests.gateway.samples import AMOUNT_MINOR, new_request_id, refusal, refused
from tests.gateway.stubs import GatewayStubs
from tests.gateway.test_calls import TRIES
from tests.gateway.test_inbox import Place, place, quiet
from tests.metrics import Figures

__all__ = ["place", "quiet"]

pytestmark = pytest.mark.usefixtures("settles_late")

UPDATE = "POST /v1/disputes/{dispute}"
CLOSE = "POST /v1/disputes/{dispute}/close"
READ = "GET /v1/disputes/{dispute}"
SECRET = "Ada had her lesson on the second of November."
AWAITED = (Dispute.STATE_NEEDS_RESPONSE, Dispute.STATE_APPEAL_NEEDS_RESPONSE)
CLOSED = (StatusCode.FAILED_PRECONDITION, "DISPUTE_CLOSED")
A_MOMENT = timedelta(minutes=1)
"""More than our clock and Stripe's are apart, and no part of a day that matters."""


@pytest.fixture
async def operator(place: Place) -> AsyncIterator[GatewayStubs]:
    async with place.gateway.connect("anna", roles=["operator"]) as stub:
        yield stub


async def contested(place: Place, payment_id: str = "", **terms: Any) -> str:
    """Return a dispute that the gateway has seen, of a payment or of a new one."""
    payment_id = payment_id or await place.payments.paid()
    shown = await place.stripe.dispute(await place.payments.intent_id(payment_id), **terms)
    await told(place, shown, "charge.dispute.created")
    await place.stripe.advance(1)  # Stripe counts whole seconds
    return str(shown["id"])


async def told(place: Place, shown: dict[str, Any], event_type: str) -> None:
    await place.sender.send(event_of(shown, event_type, at=place.clock.now()))
    await place.idle()


async def shown(place: Place, dispute_id: str, **fields: bool) -> Dispute:
    request = disputes_pb2.GetDisputeRequest(dispute_id=dispute_id, **fields)
    return (await place.payments.gateway.GetDispute(request)).dispute


def evidence_request(dispute_id: str, **fields: Any) -> disputes_pb2.SubmitDisputeEvidenceRequest:
    ours: dict[str, Any] = {
        "request_id": new_request_id(),
        "dispute_id": dispute_id,
        "evidence": {"product_description": SECRET},
        "actor_id": "operator_a",
    }
    return disputes_pb2.SubmitDisputeEvidenceRequest(**{**ours, **fields})


def accept_request(dispute_id: str, **fields: str) -> disputes_pb2.AcceptDisputeRequest:
    ours = {"request_id": new_request_id(), "dispute_id": dispute_id, "actor_id": "operator_b"}
    return disputes_pb2.AcceptDisputeRequest(**{**ours, **fields})


def at(instant: datetime) -> Timestamp:
    message = Timestamp()
    message.FromDatetime(instant)
    return message


# Shown.


async def test_a_dispute_is_shown_with_what_its_balance_transactions_say(place: Place) -> None:
    payment_id = await place.payments.paid()
    dispute_id = await contested(place, payment_id, amount=6_000, returns_fee=True)

    found = await shown(place, dispute_id)

    (charge,) = await place.payments.charges(payment_id)
    assert (found.payment_id, found.charge_id, found.attempt) == (payment_id, charge["id"], 1)
    assert (found.amount.amount_minor, found.reason, found.network_reason_code) == (6_000, "fraudulent", "10.4")
    assert (found.state, found.stripe_status, found.inquiry) == (Dispute.STATE_NEEDS_RESPONSE, "needs_response", False)
    assert (found.outstanding.amount_minor, found.is_charge_refundable, found.has_evidence) == (6_000, False, False)
    assert found.evidence_due_time.seconds > found.create_time.seconds > 0
    (taken,) = found.movements
    assert (taken.amount.amount_minor, taken.fee.amount_minor, taken.amount.currency_code) == (-6_000, 1_500, "CHF")
    assert (taken.reporting_category, taken.exchange_rate) == ("dispute", "")

    await told(place, await place.stripe.move_dispute(dispute_id, "won"), "charge.dispute.closed")
    won = await shown(place, dispute_id)
    assert (won.state, won.outstanding.amount_minor) == (Dispute.STATE_WON, 0)
    assert [(one.amount.amount_minor, one.fee.amount_minor) for one in won.movements] == [
        (-6_000, 1_500),
        (6_000, -1_500),
    ]


async def test_money_that_moves_later_than_its_event_is_seen_when_it_does(place: Place) -> None:
    dispute_id = await contested(place, moves_after_s=3_600)
    early = await shown(place, dispute_id)
    assert (early.state, list(early.movements), early.outstanding.amount_minor) == (Dispute.STATE_NEEDS_RESPONSE, [], 0)
    assert (await place.payments.seen(early.payment_id)).amounts.disputed_open_minor == AMOUNT_MINOR
    await place.stripe.settle()
    (now,) = await place.stripe.objects("dispute", id=dispute_id)

    await told(place, now, "charge.dispute.funds_withdrawn")

    assert (await shown(place, dispute_id)).outstanding.amount_minor == AMOUNT_MINOR


@pytest.mark.usefixtures("exchanging")
async def test_what_is_settled_in_another_currency_is_shown_in_both(place: Place) -> None:
    eur = money_pb2.Money(amount_minor=AMOUNT_MINOR, currency_code="EUR")
    fee = money_pb2.Money(amount_minor=1_500, currency_code="EUR")
    account = await place.gateway.parts.provider.own_account_id()
    await place.stripe.settle_in(account, "chf", rates={"eur": "0.95"})
    payment_id = await place.payments.paid(amount=eur, application_fee=fee)
    dispute_id = await contested(place, payment_id, amount=6_000)
    await place.stripe.settle_in(account, "chf", rates={"eur": "0.9612"})
    await told(place, await place.stripe.move_dispute(dispute_id, "lost", reinstated=2_000), "charge.dispute.closed")

    found = await shown(place, dispute_id)

    assert [(one.amount.amount_minor, one.exchange_rate) for one in found.movements] == [
        (-5_700, "0.95"),
        (1_922, "0.9612"),
    ]
    assert {one.amount.currency_code for one in found.movements} == {"CHF"}
    assert (found.outstanding.amount_minor, found.outstanding.currency_code) == (4_000, "EUR")
    assert (await place.payments.seen(payment_id)).amounts.disputed_lost_minor == 4_000


@pytest.mark.parametrize(
    ("steps", "state"),
    [
        (("prevented",), Dispute.STATE_PREVENTED),
        (("lost", "appeal_needs_response"), Dispute.STATE_APPEAL_NEEDS_RESPONSE),
        (("lost", "appeal_needs_response", "appeal_under_review"), Dispute.STATE_APPEAL_UNDER_REVIEW),
    ],
)
async def test_new_kinds_of_states_are_shown(place: Place, steps: tuple[str, ...], state: int) -> None:
    dispute_id = await contested(place)
    for step in steps:
        moved = await place.stripe.move_dispute(dispute_id, step)
    await told(place, moved, "charge.dispute.updated")

    found = await shown(place, dispute_id)
    assert (found.state, found.stripe_status) == (state, steps[-1])


async def test_disputes_are_listed_by_what_is_asked_for_the_newest_first(place: Place) -> None:
    payment_id = await place.payments.paid()
    gateway = place.payments.gateway
    ours = [await contested(place, payment_id, amount=amount) for amount in (1_000, 2_000, 3_000)]
    await told(place, await place.stripe.move_dispute(ours[0], "lost"), "charge.dispute.closed")
    soon = await contested(place, due_in_s=3_600, inquiry=True)

    async def listed(**fields: Any) -> list[str]:
        answer = await gateway.ListDisputes(disputes_pb2.ListDisputesRequest(**fields))
        return [one.dispute_id for one in answer.disputes]

    assert await listed(payment_id=payment_id) == ours[::-1]
    assert await listed(payment_id=payment_id, open_only=True) == ours[:0:-1]
    assert await listed(payment_id=payment_id, states=[Dispute.STATE_LOST]) == ours[:1]
    stand_in_now = datetime.fromtimestamp(await place.stripe.now()).astimezone()
    due_before = at(stand_in_now + timedelta(hours=2))
    assert soon in await listed(due_before_time=due_before, open_only=True)
    assert not set(ours) & set(await listed(due_before_time=due_before))


async def test_a_list_goes_on_where_its_page_ended_and_with_the_same_filter_alone(place: Place) -> None:
    payment_id = await place.payments.paid()
    gateway = place.payments.gateway
    ours = [await contested(place, payment_id, amount=amount) for amount in (1_000, 2_000, 3_000)]
    found, token = [], ""
    while not found or token:
        request = disputes_pb2.ListDisputesRequest(payment_id=payment_id, page_size=2, page_token=token)
        page = await gateway.ListDisputes(request)
        found += [one.dispute_id for one in page.disputes]
        last, token = token or page.next_page_token, page.next_page_token
    assert found == ours[::-1]

    invalid = (StatusCode.INVALID_ARGUMENT, "PAGE_TOKEN_INVALID")
    for wrong in (
        disputes_pb2.ListDisputesRequest(page_token="nonsense"),
        disputes_pb2.ListDisputesRequest(page_token=last, open_only=True),
    ):
        assert await refusal(gateway.ListDisputes(wrong)) == invalid
    wrong_state = disputes_pb2.ListDisputesRequest(states=[99])  # type: ignore[list-item]
    assert (await refused(gateway.ListDisputes(wrong_state)))[1:3] == ("FIELD_INVALID", "states[0]")


async def test_a_dispute_that_is_not_there_is_refused_by_each_call(operator: GatewayStubs) -> None:
    nobody = f"dp_{secrets.token_hex(8)}"
    for call in (
        operator.GetDispute(disputes_pb2.GetDisputeRequest(dispute_id=nobody)),
        operator.SubmitDisputeEvidence(evidence_request(nobody)),
        operator.AcceptDispute(accept_request(nobody)),
    ):
        assert await refusal(call) == (StatusCode.NOT_FOUND, "DISPUTE_NOT_FOUND")


# Answered.


async def test_evidence_is_drafted_and_handed_in_and_kept_at_stripe_alone(place: Place) -> None:
    payment_id = await place.payments.paid()
    dispute_id = await contested(place, payment_id)
    gateway = place.payments.gateway

    draft = (await gateway.SubmitDisputeEvidence(evidence_request(dispute_id))).dispute
    assert (draft.state, draft.has_evidence, draft.submission_count) == (Dispute.STATE_NEEDS_RESPONSE, True, 0)
    files = evidence_request(dispute_id, evidence={"receipt": "file_1Kept"}, submit=True)
    handed_in = (await gateway.SubmitDisputeEvidence(files)).dispute
    assert (handed_in.state, handed_in.submission_count) == (Dispute.STATE_UNDER_REVIEW, 1)
    assert handed_in.evidence_actor_id == "operator_a"
    again = (await gateway.SubmitDisputeEvidence(files)).dispute
    assert again == handed_in

    assert (await shown(place, dispute_id)).evidence == {}
    read = await shown(place, dispute_id, with_evidence=True)
    assert dict(read.evidence) == {"product_description": SECRET, "receipt": "file_1Kept"}
    kept = f"calls WHERE operation = 'dispute.evidence' AND subject_id = '{payment_id}'"
    assert await count(place.gateway.parts.engine, kept) == 2
    assert await count(place.gateway.parts.engine, f"{kept} AND params::text LIKE '%second of November%'") == 0


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"no_field_of_stripes": "a"}, "evidence[no_field_of_stripes]"),
        ({"product_description": "x" * (evidence.TEXT_CHARACTERS_MAX + 1)}, "evidence[product_description]"),
        (dict.fromkeys(sorted(evidence.TEXTS)[:8], "x" * evidence.TEXT_CHARACTERS_MAX), "evidence"),
        ({"receipt": "not a file"}, "evidence[receipt]"),
    ],
)
async def test_evidence_that_stripe_has_no_place_for_is_refused_before_it_is_sent(
    place: Place, given: dict[str, str], field: str
) -> None:
    request = evidence_request(f"dp_{secrets.token_hex(8)}", evidence=given)

    assert (await refused(place.payments.gateway.SubmitDisputeEvidence(request)))[1:3] == ("FIELD_INVALID", field)


async def test_evidence_needs_somebody_who_gave_it_something_to_give_and_no_card_number(place: Place) -> None:
    dispute_id = f"dp_{secrets.token_hex(8)}"
    gateway = place.payments.gateway
    nobody = evidence_request(dispute_id, actor_id="")
    assert (await refused(gateway.SubmitDisputeEvidence(nobody)))[1:3] == ("FIELD_MISSING", "actor_id")
    nothing = evidence_request(dispute_id, evidence={})
    assert (await refused(gateway.SubmitDisputeEvidence(nothing)))[1:3] == ("FIELD_MISSING", "evidence")
    card = evidence_request(dispute_id, evidence={"uncategorized_text": "Paid with 4242 4242 4242 4242."})
    assert (await refusal(gateway.SubmitDisputeEvidence(card)))[1] == "CARD_NUMBER_REFUSED"


async def test_what_stripe_has_decided_takes_no_evidence_and_what_it_says_is_delivered(
    place: Place, operator: GatewayStubs
) -> None:
    payment_id = await place.payments.paid()
    dispute_id = await contested(place, payment_id)
    await place.stripe.move_dispute(dispute_id, "lost")  # and we have not seen it yet

    request = evidence_request(dispute_id)
    assert await refusal(place.payments.gateway.SubmitDisputeEvidence(request)) == CLOSED
    heard = await place.sink.hears(payment_id, lambda seen: seen.amounts.disputed_lost_minor == AMOUNT_MINOR)
    assert heard.origin == "refused dispute.evidence"
    assert await refusal(place.payments.gateway.SubmitDisputeEvidence(request)) == CLOSED
    assert await refusal(operator.AcceptDispute(accept_request(dispute_id))) == CLOSED


async def test_a_refusal_of_stripes_that_says_nothing_of_the_dispute_is_passed_on(
    place: Place, operator: GatewayStubs
) -> None:
    inquiry = await contested(place, inquiry=True)
    refused_by_stripe = (StatusCode.FAILED_PRECONDITION, "STRIPE_REFUSED")
    assert await refusal(operator.AcceptDispute(accept_request(inquiry))) == refused_by_stripe
    await place.stripe.fault(Kind.INVALID, route=UPDATE)
    request = evidence_request(inquiry, evidence={"receipt": "file_1Gone"})
    assert await refusal(place.payments.gateway.SubmitDisputeEvidence(request)) == refused_by_stripe


async def test_a_dispute_is_given_up_once_by_an_operator(place: Place, operator: GatewayStubs) -> None:
    payment_id = await place.payments.paid()
    dispute_id = await contested(place, payment_id)
    request = accept_request(dispute_id)
    assert await refusal(place.payments.gateway.AcceptDispute(request)) == (
        StatusCode.PERMISSION_DENIED,
        "PERMISSION_DENIED",
    )

    asked = place.gateway.parts.clock.now()
    given_up = (await operator.AcceptDispute(request)).dispute
    assert (given_up.state, given_up.accept_actor_id) == (Dispute.STATE_LOST, "operator_b")
    async with place.gateway.connect_ops("anna") as ops:
        [done] = (await ops.ListOperatorActions(ops_pb2.ListOperatorActionsRequest(payment_id=payment_id))).actions
        foreign = ops_pb2.ListOperatorActionsRequest(page_token="nonsense")
        assert (await refusal(ops.ListOperatorActions(foreign)))[1] == "PAGE_TOKEN_INVALID"
    assert (done.method, done.subject_id, done.actor_id) == ("AcceptDispute", dispute_id, "operator_b")
    assert done.create_time.ToDatetime(UTC) >= asked
    heard = await place.sink.hears(payment_id, lambda seen: seen.amounts.disputed_lost_minor == AMOUNT_MINOR)
    assert heard.origin == "called dispute.accept"
    assert (await operator.AcceptDispute(request)).dispute == given_up
    assert await refusal(operator.AcceptDispute(accept_request(dispute_id))) == CLOSED
    seen = await place.payments.seen(payment_id)
    assert (seen.amounts.disputed_lost_minor, seen.attention.reason) == (AMOUNT_MINOR, "DISPUTE_LOST")


@pytest.mark.parametrize("after", [False, True], ids=["before the effect", "after the effect"])
async def test_an_answer_of_stripes_that_is_lost_is_asked_for_again_and_evidence_goes_once(
    place: Place, after: bool
) -> None:
    dispute_id = await contested(place)
    await place.stripe.fault(Kind.RESET, route=UPDATE, after=after, times=TRIES)
    request = evidence_request(dispute_id, submit=True)
    away = (StatusCode.UNAVAILABLE, "STRIPE_UNAVAILABLE")
    assert await refusal(place.payments.gateway.SubmitDisputeEvidence(request)) == away

    answer = (await place.payments.gateway.SubmitDisputeEvidence(request)).dispute

    assert (answer.state, answer.submission_count) == (Dispute.STATE_UNDER_REVIEW, 1)


async def test_what_nobody_asks_for_again_is_settled_by_the_engine_and_delivered(
    place: Place, operator: GatewayStubs
) -> None:
    payment_id = await place.payments.paid()
    dispute_id = await contested(place, payment_id)
    await place.stripe.fault(Kind.RESET, route=CLOSE, after=True, times=TRIES)
    away = (StatusCode.UNAVAILABLE, "STRIPE_UNAVAILABLE")
    assert await refusal(operator.AcceptDispute(accept_request(dispute_id))) == away

    place.clock.advance(backoff.SETTLE_FIRST)

    await place.sink.hears(payment_id, lambda seen: seen.amounts.disputed_lost_minor == AMOUNT_MINOR)
    assert (await shown(place, dispute_id)).accept_actor_id == "operator_b"


@pytest.mark.parametrize(("route", "had_effect"), [(UPDATE, True), (UPDATE, False), (CLOSE, True), (CLOSE, False)])
async def test_a_call_whose_key_says_no_more_is_looked_up(
    place: Place, operator: GatewayStubs, route: str, had_effect: bool
) -> None:
    dispute_id = await contested(place, due_in_s=30 * 86_400)
    request = evidence_request(dispute_id, submit=True) if route == UPDATE else accept_request(dispute_id)
    answer = operator.SubmitDisputeEvidence if route == UPDATE else operator.AcceptDispute
    await place.stripe.fault(Kind.RESET, route=route, after=had_effect, times=TRIES)
    with pytest.raises(aio.AioRpcError):
        await answer(request)
    place.clock.advance(IDEMPOTENCY_KEY_TTL)
    await place.stripe.advance(IDEMPOTENCY_KEY_TTL.total_seconds())
    if not had_effect:
        with contextlib.suppress(aio.AioRpcError):  # the key is given up, by this or by the engine before it
            await answer(request)

    found = (await answer(request)).dispute

    state = Dispute.STATE_UNDER_REVIEW if route == UPDATE else Dispute.STATE_LOST
    assert (found.state, found.submission_count) == (state, int(route == UPDATE))


async def test_evidence_is_not_shown_while_stripe_is_away(place: Place) -> None:
    dispute_id = await contested(place)
    await place.stripe.fault(Kind.RESET, route=READ, times=None)
    request = disputes_pb2.GetDisputeRequest(dispute_id=dispute_id, with_evidence=True)
    away = (StatusCode.UNAVAILABLE, "STRIPE_UNAVAILABLE")
    assert await refusal(place.payments.gateway.GetDispute(request)) == away
    await place.stripe.clear_faults()
    assert (await shown(place, dispute_id)).dispute_id == dispute_id
    for call in (
        place.payments.gateway.SubmitDisputeEvidence(evidence_request("dp")),
        place.payments.gateway.GetDispute(disputes_pb2.GetDisputeRequest()),
    ):
        assert (await refused(call))[2] == "dispute_id"


# Refunds around a dispute.


async def test_what_was_refunded_stays_refunded_when_the_rest_is_lost(place: Place) -> None:
    payment_id = await place.payments.paid()
    await place.payments.gateway.CreateRefund(place.payments.refund_request(payment_id, 3_000))
    dispute_id = await contested(place, payment_id, amount=7_000)
    disputed = place.payments.refund_request(payment_id, 1, expected_minor=0)
    assert (await refusal(place.payments.gateway.CreateRefund(disputed)))[1] == "CHARGE_DISPUTED"

    await told(place, await place.stripe.move_dispute(dispute_id, "lost"), "charge.dispute.closed")

    seen = await place.payments.seen(payment_id)
    assert (seen.amounts.refunded_minor, seen.amounts.disputed_lost_minor, seen.refundable_minor) == (3_000, 7_000, 0)


async def test_what_is_won_can_be_refunded(place: Place) -> None:
    payment_id = await place.payments.paid()
    await place.payments.gateway.CreateRefund(place.payments.refund_request(payment_id, 3_000))
    dispute_id = await contested(place, payment_id, amount=7_000)
    await told(place, await place.stripe.move_dispute(dispute_id, "won"), "charge.dispute.funds_reinstated")

    back = place.payments.refund_request(payment_id, 5_000, expected_minor=7_000)
    seen = (await place.payments.gateway.CreateRefund(back)).observation

    assert (seen.amounts.refunded_minor, seen.refundable_minor) == (8_000, 2_000)


# Told of in time.


async def test_an_operator_is_told_once_at_each_date_until_it_is_answered(place: Place) -> None:
    payment_id = await place.payments.paid()
    due_in = timedelta(days=6) - A_MOMENT
    dispute_id = await contested(place, payment_id, due_in_s=int(due_in.total_seconds()))

    for days, passing in ((7, 0), (3, 3), (1, 2)):
        place.clock.advance(timedelta(days=passing))
        words = f"less than {days} day"
        heard = await place.sink.hears(payment_id, lambda seen, words=words: words in seen.attention.detail)
        assert (heard.origin, heard.observation.attention.reason) == (ORIGIN, "DISPUTE_DUE")
    versions = [one.observation.mirror_version for one in place.sink.of(payment_id) if one.origin == ORIGIN]
    assert len(versions) == len(set(versions)) == 3
    asked = evidence_request(dispute_id, submit=True)
    await place.payments.gateway.SubmitDisputeEvidence(asked)

    seen = await place.payments.seen(payment_id)
    assert seen.attention.reason == "DISPUTE_OPEN"
    assert await count(place.gateway.parts.engine, f"disputes WHERE dispute_id = '{dispute_id}' AND due_time IS NULL")


async def test_a_warning_is_kept_by_a_process_whose_clock_is_behind_the_databases(place: Place) -> None:
    payment_id = await place.payments.paid()
    due_in = timedelta(days=8) - A_MOMENT
    dispute_id = await contested(place, payment_id, due_in_s=int(due_in.total_seconds()))
    watch = DueWatch(place.gateway.parts.reader, clock=place.clock)
    work = Work(kind=watch.work, tenant_id="main", key=(payment_id, dispute_id), fence=1, failures=0)

    with call_context.acting_for("main"), pytest.raises(RetryLater) as later:
        await watch.warn(work)

    assert timedelta(hours=23) < later.value.delay <= timedelta(days=1)
    assert (await place.payments.seen(payment_id)).attention.reason == "DISPUTE_OPEN"


async def test_an_operator_answers_from_the_command_line(place: Place, tmp_path: Path) -> None:
    payment_id = await place.payments.paid()
    dispute_id = await contested(place, payment_id)
    answer = tmp_path / "answer.txt"
    answer.write_text(SECRET)
    (tmp_path / "connection.json").write_text("{}")
    issuer = place.gateway.issuer
    environment = {
        "BATZEN_CONNECTION": str(tmp_path / "connection.json"),
        "BATZEN_GATEWAY_ADDRESS": f"127.0.0.1:{place.gateway.port}",
        "BATZEN_TOKEN": issuer.mint("anna", roles=["operator"], tenant="main", life=TOKEN_LIFE),
    }

    async def batzen(*arguments: str) -> tuple[int, str]:
        done = await asyncio.to_thread(CliRunner().invoke, app, ["disputes", *arguments], env=environment)
        return done.exit_code, done.output

    code, said = await batzen("list", "--payment", payment_id, "--open", "--state", "needs_response", "--json")
    assert (code, [one["dispute_id"] for one in json.loads(said)]) == (0, [dispute_id])
    assert dispute_id[:8] in (await batzen("list", "--due-before", "99d"))[1]
    drafted = await batzen("evidence", dispute_id, "--set", f"uncategorized_text=@{answer}", "--set", "receipt=file_1")
    assert (drafted[0], "drafted" in drafted[1]) == (0, True)
    code, said = await batzen("submit", dispute_id, "--actor", "bo", "--json")
    assert (code, json.loads(said)["evidence_actor_id"]) == (0, "bo")
    code, said = await batzen("get", dispute_id, "--evidence")
    assert code == 0
    assert all(words in said for words in (SECRET, "withdrawn 100.00 CHF, fee 15.00 CHF", "under_review", "file_1"))
    assert (await batzen("accept", dispute_id))[0] != 0  # nobody says yes
    code, said = await batzen("accept", dispute_id, "--yes", "--json")
    assert (code, json.loads(said)["stripe_status"]) == (0, "lost")
    for wrong in ("no_equals_sign", "uncategorized_text=@/nowhere"):
        assert (await batzen("evidence", dispute_id, "--set", wrong))[0] == 2


async def test_how_many_are_open_and_when_the_first_is_due_is_shown(place: Place) -> None:
    disputes, metrics = place.gateway.parts.disputes, place.gateway.parts.metrics.disputes
    open_ones = disputes_pb2.ListDisputesRequest(open_only=True, page_size=200)

    async def check() -> int:
        found = (await place.payments.gateway.ListDisputes(open_ones)).disputes
        due = [one.evidence_due_time.seconds for one in found if one.state in AWAITED]
        await look_at_disputes(disputes, metrics, tenant_id="main")
        now = Figures.read(await place.meter.text())
        assert now["batzen_disputes_open"] == len(found)
        assert now["batzen_dispute_due_timestamp_seconds"] == min(due, default=0)
        return len(found)

    before = await check()
    dispute_id = await contested(place, due_in_s=60)
    assert await check() == before + 1
    await told(place, await place.stripe.move_dispute(dispute_id, "lost"), "charge.dispute.closed")
    assert await check() == before
