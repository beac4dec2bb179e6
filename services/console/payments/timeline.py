"""What happened to a payment, in one list across all services, the newest first. Pure: messages in, entries out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from batzen.gateway.v1 import ops_pb2 as gateway_pb
from batzen.orchestrator.v1 import ops_pb2 as orchestrator_pb
from batzen.orchestrator.v1.mails_pb2 import Mail, MailState
from batzen.orchestrator.v1.webhooks_pb2 import WebhookDelivery
from batzen.status.v1.status_pb2 import Transition
from batzen.type.v1.payment_pb2 import PaymentSnapshot
from services.console.amounts import sum_of, written
from services.console.payments.shown import Moment, fact_words, moment_of, span, state_of, words

JSON_CHARACTERS_MAX: Final = 2_000
"""Of a payload that is shown; it has no personal data, and may be long."""
LATE_S: Final = 60
"""A webhook that came later than that after Stripe made it is marked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing that happened."""

    at: datetime
    service: str
    """Who says so."""
    title: str
    detail: str = ""
    tone: str = "quiet"
    ids: Sequence[str] = ()
    """Under which it is found in logs and at Stripe."""
    more: Sequence[tuple[str, str]] = field(default_factory=tuple)
    """What is shown once it is asked for, by name."""

    @property
    def moment(self) -> Moment:
        """When, as it is shown."""
        return moment_of(self.at)


def in_order(*lists: Iterable[Entry]) -> Sequence[Entry]:
    """Return all of it, the newest first; of what happened at once, what was said last comes first."""
    together = [entry for entries in lists for entry in entries]
    return sorted(together, key=lambda entry: entry.at)[::-1]


def of_history(transitions: Iterable[Transition], currency: str) -> Iterator[Entry]:
    """Yield what status recorded."""
    for one in transitions:
        badge, snapshot = state_of(one), one.snapshot
        cause = words(PaymentSnapshot.Cause.Name(snapshot.cause).removeprefix("CAUSE_")).lower()
        error = snapshot.last_error
        told = [words(snapshot.reason), error.message and f"{error.message} ({error.decline_code or error.code})"]
        yield Entry(
            at=_time(one.record_time),
            service="status",
            title=f"{badge.word} (revision {one.revision})",
            detail=" · ".join(part for part in told if part),
            tone=badge.tone,
            ids=(one.request_id,) if one.request_id else (),
            more=(("Cause", cause), ("Attempt", str(snapshot.attempt)), *_amounts(snapshot.amounts, currency)),
        )


def of_calls(calls: Iterable[gateway_pb.StripeCall]) -> Iterator[Entry]:
    """Yield what the gateway asked of Stripe and has no answer to."""
    for one in calls:
        state = "given up" if one.given_up else "outcome not known" if one.outcome_unknown else "on its way"
        yield Entry(
            at=_time(one.create_time),
            service="gateway",
            title=f"Call to Stripe: {one.operation}, {state}",
            detail=one.problem,
            tone="bad" if one.given_up else "warn" if one.outcome_unknown else "busy",
            ids=(one.request_id,),
            more=(("Tries", str(one.tries)),),
        )


def of_events(events: Iterable[gateway_pb.WebhookEvent]) -> Iterator[Entry]:
    """Yield Stripe's events as they came in, and how late."""
    for one in events:
        state = gateway_pb.WebhookEvent.State.Name(one.state).removeprefix("STATE_")
        delay = _time(one.receive_time) - _time(one.create_time)
        is_late = delay.total_seconds() > LATE_S
        late = f"{span(delay)} after Stripe made it" if is_late else ""
        yield Entry(
            at=_time(one.receive_time),
            service="gateway",
            title=f"Webhook {one.type}, {words(state).lower()}",
            detail=" · ".join(part for part in (late, one.note) if part),
            tone="warn" if is_late or state == "PARKED" else "quiet",
            ids=(one.event_id, one.subject_id),
        )


def of_ledger(entries: Iterable[gateway_pb.LedgerEntry]) -> Iterator[Entry]:
    """Yield what was booked, one entry of the list for each transaction of the ledger."""
    transactions: dict[str, list[gateway_pb.LedgerEntry]] = {}
    for one in entries:
        transactions.setdefault(one.transaction_id, []).append(one)
    for transaction_id, sides in transactions.items():
        first = sides[0]
        yield Entry(
            at=_time(first.record_time),
            service="ledger",
            title=f"Booked: {fact_words(first.fact).lower()}",
            detail=f"{len(sides)} entries that sum to zero",
            ids=tuple(one for one in (transaction_id, first.stripe_id) if one),
            more=tuple((side.account, sum_of(side.amount)) for side in sides),
        )


def of_mails(mails: Iterable[Mail]) -> Iterator[Entry]:
    """Yield who was written to. No address is known here."""
    for one in mails:
        state = MailState.Name(one.state).removeprefix("MAIL_STATE_")
        yield Entry(
            at=_time(one.create_time),
            service="notifications",
            title=f"Mail {words(one.kind).lower()}, {words(state).lower()}",
            detail=" · ".join(part for part in (words(one.end_reason), one.problem) if part),
            tone={"SENT": "quiet", "WAITING": "busy", "GIVEN_UP": "bad", "REFUSED": "warn"}.get(state, "quiet"),
            ids=(one.fact_id,),
        )


def of_deliveries(deliveries: Iterable[WebhookDelivery]) -> Iterator[Entry]:
    """Yield which subscribers were told, and what came of it."""
    for one in deliveries:
        state = WebhookDelivery.State.Name(one.state).removeprefix("STATE_")
        last = one.tries[-1] if one.tries else None
        answered = f"{words(last.outcome)} {last.status or ''}".strip() if last is not None else ""
        yield Entry(
            at=_time(one.create_time),
            service="webhooks",
            title=f"Webhook {one.kind} to {one.subscription_id}, {words(state).lower()}",
            detail=" · ".join(
                part for part in (answered, f"{one.try_count} tries" if one.try_count > 1 else "") if part
            ),
            tone={"DELIVERED": "quiet", "WAITING": "busy", "DEAD": "bad"}.get(state, "quiet"),
            ids=(one.delivery_id,),
        )


def of_operators(
    actions: Iterable[orchestrator_pb.OperatorAction], of_gateway: Iterable[gateway_pb.OperatorAction]
) -> Iterator[Entry]:
    """Yield what operators did."""
    for one in actions:
        yield Entry(
            at=_time(one.create_time),
            service="operator",
            title=f"{one.method} by {one.actor_id}" + (f": refused, {one.refusal}" if one.refusal else ""),
            detail=one.reason,
            tone="bad" if one.refusal else "busy",
            ids=(one.request_id,),
            more=tuple((name, _shortened(text)) for name, text in (("Asked for", one.asked_json),) if text),
        )
    for other in of_gateway:
        yield Entry(
            at=_time(other.create_time),
            service="operator",
            title=f"{other.method} by {other.actor_id}",
            detail=other.reason,
            tone="busy",
            ids=(other.subject_id,),
            more=tuple((name, _shortened(text)) for name, text in (("Asked for", other.asked_json),) if text),
        )


def _amounts(amounts: PaymentSnapshot.Amounts, currency: str) -> Iterator[tuple[str, str]]:
    for descriptor, value in amounts.ListFields():
        yield words(descriptor.name.removesuffix("_minor")), written(value, currency)


def _shortened(text: str) -> str:
    shown = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    return shown if len(shown) <= JSON_CHARACTERS_MAX else f"{shown[:JSON_CHARACTERS_MAX]}…"


def _time(stamp: Timestamp) -> datetime:
    return stamp.ToDatetime(UTC)
