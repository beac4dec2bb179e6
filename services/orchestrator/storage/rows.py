"""Rows as values of the domain."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from typing import Final, TypeVar

import asyncpg

from services.orchestrator.domain.course import Course
from services.orchestrator.domain.errors import StartsPaused
from services.orchestrator.domain.payment import Snapshot
from services.orchestrator.domain.plan import (
    DueFor,
    NextStep,
    Plan,
    QuoteEnd,
    Request,
    RequestKey,
    Stage,
    Transition,
)
from services.orchestrator.domain.quote import QuoteState
from services.orchestrator.domain.terms import Terms
from services.shared import codec
from services.shared.split import Split
from services.shared.states import AttemptKind, State

W = TypeVar("W", State, QuoteState)
CHOICE: Final = ("timing", "timing_time", "timing_asked_time", "timing_attempt")
"""The terms that a payer's choice changes."""


def request(row: asyncpg.Record) -> Request:
    """Return a caller's request."""
    return Request(
        key=RequestKey(
            tenant_id=row["tenant_id"], caller=row["caller"], method=row["method"], request_id=row["request_id"]
        ),
        request_hash=row["request_hash"],
        payment_id=row["payment_id"],
        command=row["command"],
        is_urgent=row["is_urgent"],
        calling=row["state"] == "CALLING",
        accept_time=row["create_time"],
        send_before_time=row["send_before_time"],
        actor_id=row["actor_id"],
        answer=row["answer"],
        refusal=json.loads(row["refusal"]) if row["refusal"] is not None else None,
    )


def starts_paused(row: asyncpg.Record) -> StartsPaused:
    """Return why no payment is started, with what an operator said of it."""
    said = {"public_message": row["public_message"]} if row["public_message"] else {}
    end: datetime | None = row["expected_end_time"]
    if end is not None:
        said["expected_end_time"] = end.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return StartsPaused(**said)


def quote_end(row: asyncpg.Record) -> QuoteEnd:
    """Return what pricing has to hear of a quote."""
    return QuoteEnd(
        tenant_id=row["tenant_id"],
        payment_id=row["payment_id"],
        quote_id=row["quote_id"],
        quote_state=QuoteState(row["quote_state"]),
    )


def plan(row: asyncpg.Record) -> Plan:
    """Return a plan with its outbox; raises for what another version wrote that this one does not know."""
    outbox = json.loads(row["outbox"])
    quote_pending, quote_problem = outbox["quote"] or (None, None)
    return Plan(
        tenant_id=row["tenant_id"],
        payment_id=row["payment_id"],
        payer_id=row["payer_id"],
        quote_request=row["quote_request"],
        session_type=row["session_type"],
        session_name=row["session_name"],
        client_reference=row["client_reference"],
        return_url=row["return_url"],
        seller_ids=tuple(row["seller_ids"]),
        booking_ids=tuple(row["booking_ids"]),
        labels=json.loads(row["labels"]),
        terms=codec.from_json(Terms, json.loads(row["terms"])),
        course=codec.from_json(Course, json.loads(row["course"])),
        stage=Stage(row["stage"]),
        quote_id=row["quote_id"],
        currency_code=row["currency_code"],
        total_minor=row["total_minor"],
        split=codec.from_json(Split, json.loads(row["split"])),
        attempt=row["attempt"],
        attempt_kind=AttemptKind(row["attempt_kind"]),
        cancel_outcome=_word(State, row["cancel_outcome"]),
        observed_version=row["observed_version"],
        observation=row["observation"],
        mirror_version=row["mirror_version"],
        latest_snapshot=Snapshot.from_json(json.loads(row["latest_snapshot"])),
        revision=row["revision"],
        fence=row["fence"],
        work_class=DueFor(row["work_class"]),
        failures=row["failures"],
        next_step=None if row["next_step"] is None else NextStep(row["next_step"]),
        next_time=row["next_time"],
        create_time=row["create_time"],
        request_count=row["request_count"],
        quote_state=_word(QuoteState, row["quote_state"]),
        quote_holds_uses=row["quote_holds_uses"],
        trace_context=row["trace_context"],
        quote_pending=_word(QuoteState, quote_pending),
        quote_problem=quote_problem,
        has_urgent_request=outbox["has_urgent_request"],
        pending=[
            Transition(request_id=uuid.UUID(request_id), fact=fact, snapshot=Snapshot.from_json(snapshot))
            for request_id, fact, snapshot in outbox["pending"]
        ],
        rejected=outbox["rejected"],
    )


def choice(terms: Terms) -> str | None:
    """Return what a payer's choice changes of stored terms; None where they made none.

    The rest is never written again, so that a process of an older release drops nothing that it does not know.
    """
    if terms.timing_time is None and terms.timing_asked_time is None:
        return None
    stored = codec.to_json(terms)
    return json.dumps({name: stored[name] for name in CHOICE if name in stored})


def _word(kind: type[W], stored: str | None) -> W | None:
    return None if stored is None else kind(stored)
