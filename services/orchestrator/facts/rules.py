"""What a revision of a payment says that somebody is told: what it holds, compared with what was heard before. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from services.orchestrator.facts.domain import Fact, FactKind, fact_id
from services.shared.states import State

Values = Mapping[str, str]

PAYERS_TURN: Final = frozenset({State.REQUIRES_PAYMENT_METHOD, State.REQUIRES_ACTION})
AUTHENTICATION: Final = "authentication_required"
"""Stripe's code where the payer has to confirm a charge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What is kept of a payment, to be compared with its next revision. A field that is added has a default.

    Words of states and reasons are as status says them: one of a later release is told of as a word that is not known.
    """

    collection: str = State.INITIALIZED.value
    captured_minor: int = 0
    refund_pending_minor: int = 0
    refunded_minor: int = 0
    decline_count: int = 0
    recovery_count: int = 0
    charge_time: datetime | None = None
    attentions: tuple[str, ...] = ()
    is_unattended: bool = False
    """It is charged, or will be, without its payer."""
    was_held: bool = False
    """Its amount was held at some time."""
    record_time: datetime | None = None
    """Of the revision."""
    plan_time: datetime | None = None
    """When its payer was told of the charge time, while it is scheduled for that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """A payment as one revision left it."""

    payment_id: str
    revision: int
    record_time: datetime
    open_time: datetime | None = None
    payer_id: str
    seller_ids: tuple[str, ...] = ()
    total_minor: int = 0
    currency_code: str = ""
    client_reference: str = ""
    is_imported: bool = False
    """It tells of what happened elsewhere before: nobody is told."""
    seen: Seen = field(default_factory=Seen)
    reason: str = ""
    error_code: str = ""
    decline_code: str = ""
    method: dict[str, str] = field(default_factory=dict)
    """What may be shown of the method, such as `method_last4`."""
    details: Values = field(default_factory=dict)
    """Of what needs an operator, by reason: a sentence."""
    payment: bytes = b""
    """As batzen.status.v1.Payment."""

    def money(self, amount_minor: int) -> dict[str, str]:
        """Return an amount as values say it."""
        return {"amount_minor": str(amount_minor), "currency_code": self.currency_code}


def now_seen(before: Seen | None, after: Revision) -> Seen:
    """Return what is kept once a revision was heard."""
    collection = after.seen.collection
    was_unattended = before is not None and before.is_unattended
    is_unattended = collection == State.SCHEDULED or (collection == State.PROCESSING and was_unattended)
    return replace(
        after.seen,
        is_unattended=is_unattended,
        was_held=collection == State.AUTHORIZED or (before is not None and before.was_held),
        record_time=after.record_time,
        plan_time=_plan_time(before, after),
    )


def _plan_time(before: Seen | None, after: Revision) -> datetime | None:
    """What else moves of a payment meanwhile plans nothing anew: its reminder would be lost."""
    if after.seen.collection != State.SCHEDULED:
        return None
    is_known = before is not None and before.plan_time is not None and before.charge_time == after.seen.charge_time
    return before.plan_time if before is not None and is_known else after.record_time


def facts_between(tenant_id: str, before: Seen | None, after: Revision) -> list[Fact]:
    """Return what happened between what was heard of a payment before and one of its revisions.

    Before the first, nothing had happened. Where revisions between the two are forgotten, what came of them is said of
    the later one.
    """
    if after.is_imported:
        return []
    known = before or Seen()
    is_first_heard = before is None and after.revision > 1  # its history is forgotten: when what happened is not known
    facts = []
    for kind, rule in RULES[:1] if is_first_heard else RULES:
        for what, values in rule(known, after):
            facts.append(
                Fact(
                    tenant_id=tenant_id,
                    fact_id=fact_id(kind, after.payment_id, str(after.revision), *what),
                    kind=kind,
                    occur_time=after.record_time,
                    payment_id=after.payment_id,
                    revision=after.revision,
                    payer_id=after.payer_id,
                    seller_ids=after.seller_ids,
                    values=_common(after) | values,
                    payment=after.payment,
                )
            )
    return facts


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A revision that was heard, beside what was heard of its payment before; of what happened here."""

    before: Seen | None
    """None for the first that is heard."""
    after: Revision


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What came of revisions that were heard at once."""

    facts: list[Fact]
    moves: list[Move]
    """Each once, in their order: what they differ by adds up to how each payment stands, whatever came twice."""
    last: dict[str, Revision]
    """The last of each payment that had not been heard, with what is kept of it."""
    gaps: dict[str, int]
    """Payments of which revisions before those were not heard, with the last that was."""


Known = Mapping[str, tuple[int, Seen]]
"""The last revision of each payment that was heard, and what was kept of it."""


def is_heard(known: Known, one: Revision) -> bool:
    """Whether a revision was heard. One that was recorded later under a number that was heard is another one: status
    lost its last commits, and was told again what is true. In one history no revision is older than those before it,
    whatever clocks say. Facts of what is the same have the same ids.
    """
    revision, seen = known.get(one.payment_id, (0, None))
    is_another = seen is not None and seen.record_time is not None and one.record_time > seen.record_time
    return one.revision <= revision and not is_another


def last_heard(known: Known, one: Revision) -> int:
    """Return after which revision a payment's history is to be read, up to one that was not heard."""
    revision, _ = known.get(one.payment_id, (0, None))
    return min(revision, one.revision - 1)


def hear(tenant_id: str, known: Known, revisions: Iterable[Revision]) -> Heard:
    """Return what revisions say beyond what is known, in their order; what was heard before says nothing."""
    now = dict(known)
    heard = Heard(facts=[], moves=[], last={}, gaps={})
    for one in revisions:
        if is_heard(now, one):
            continue
        revision, before = now.get(one.payment_id, (0, None))
        if one.revision > revision + 1:
            heard.gaps.setdefault(one.payment_id, revision)
        heard.facts.extend(facts_between(tenant_id, before, one))
        seen = now_seen(before, one)
        now[one.payment_id] = one.revision, seen
        heard.last[one.payment_id] = replace(one, seen=seen)
        if not one.is_imported:
            heard.moves.append(Move(before=before, after=heard.last[one.payment_id]))
    return heard


def reminder_time(last: Revision, *, before: timedelta) -> datetime | None:
    """Return when a payer is reminded of what is charged; None where that is no more ahead, or nobody is reminded."""
    charge_time = last.seen.charge_time
    if not before or charge_time is None or last.seen.collection != State.SCHEDULED:
        return None
    time = charge_time - before
    return time if time > (last.seen.plan_time or last.record_time) else None  # else they were told when it was planned


def upcoming_charge(tenant_id: str, now: Revision) -> Fact | None:
    """Return that a payment is charged soon, once for each time of a charge; None where none is planned any more."""
    charge_time = now.seen.charge_time
    if now.seen.collection != State.SCHEDULED or charge_time is None:
        return None
    return Fact(
        tenant_id=tenant_id,
        fact_id=fact_id(FactKind.CHARGE_UPCOMING, now.payment_id, written(charge_time)),
        kind=FactKind.CHARGE_UPCOMING,
        occur_time=now.record_time,
        payment_id=now.payment_id,
        revision=now.revision,
        payer_id=now.payer_id,
        seller_ids=now.seller_ids,
        values=_common(now) | _of_plan(now),
        payment=now.payment,
    )


def written(time: datetime) -> str:
    """Return a time as values say it: RFC 3339, in UTC."""
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


Found = Iterable[tuple[tuple[str, ...], dict[str, str]]]
"""Of each fact: what tells it from others of its kind and revision, and its values."""
Rule = Callable[[Seen, Revision], Found]


def _once(values: dict[str, str]) -> Found:
    return [((), values)]


def _came_to(state: State, before: Seen, after: Revision) -> bool:
    return after.seen.collection == state and before.collection != state


def _moved(_before: Seen, _after: Revision) -> Found:
    return _once({})


def _received(before: Seen, after: Revision) -> Found:
    if not _came_to(State.SUCCEEDED, before, after) or not after.seen.captured_minor:
        return ()
    return _once(after.money(after.seen.captured_minor) | after.method)


def _failed(before: Seen, after: Revision) -> Found:
    values = after.money(after.total_minor) | _of_decline(after)
    if _came_to(State.FAILED, before, after):
        return _once(values | {"is_final": "true", "reason": after.reason})
    is_declined = after.seen.decline_count > before.decline_count
    if before.is_unattended and is_declined and after.seen.collection == State.SCHEDULED:
        return _once(values | {"is_final": "false"} | _of_plan(after))
    return ()


def _expired(before: Seen, after: Revision) -> Found:
    if not _came_to(State.EXPIRED, before, after):
        return ()
    return _once(after.money(after.total_minor) | {"reason": after.reason})


def _action_required(before: Seen, after: Revision) -> Found:
    """A payer who takes a payment up again is there."""
    is_taken_up = after.seen.recovery_count > before.recovery_count
    if not before.is_unattended or is_taken_up or after.seen.collection not in PAYERS_TURN:
        return ()
    is_asked = after.seen.collection == State.REQUIRES_ACTION or AUTHENTICATION in (
        after.error_code,
        after.decline_code,
    )
    what = "AUTHENTICATE" if is_asked else "METHOD"
    return _once(after.money(after.total_minor) | {"action": what} | _of_decline(after) | after.method)


def _scheduled(before: Seen, after: Revision) -> Found:
    if after.seen.collection != State.SCHEDULED or after.seen.decline_count > before.decline_count:
        return ()
    if before.is_unattended and after.seen.charge_time == before.charge_time:
        return ()
    return _once(_of_plan(after))


def _refunded(before: Seen, after: Revision) -> Found:
    grown = after.seen.refunded_minor - before.refunded_minor
    if grown <= 0:
        return ()
    return _once(after.money(grown) | _of_refunds(after))


def _refund_failed(before: Seen, after: Revision) -> Found:
    """What stood and stands no more; or what was on its way, did not arrive, and is not on its way any more."""
    fallen = before.refunded_minor - after.seen.refunded_minor
    gone = before.refunded_minor + before.refund_pending_minor
    lost = gone - after.seen.refunded_minor - after.seen.refund_pending_minor
    amount_minor = max(fallen, lost)
    if amount_minor <= 0:
        return ()
    return _once(after.money(amount_minor) | {"stood": "true" if fallen > 0 else "false"} | _of_refunds(after))


def _attention_raised(before: Seen, after: Revision) -> Found:
    return [
        ((reason,), {"reason": reason, "detail": after.details.get(reason, "")})
        for reason in after.seen.attentions
        if reason not in before.attentions
    ]


def _attention_ended(before: Seen, after: Revision) -> Found:
    return [((reason,), {"reason": reason}) for reason in before.attentions if reason not in after.seen.attentions]


def _common(after: Revision) -> dict[str, str]:
    return {"client_reference": after.client_reference} if after.client_reference else {}


def _of_plan(after: Revision) -> dict[str, str]:
    planned = {} if after.seen.charge_time is None else {"charge_time": written(after.seen.charge_time)}
    return after.money(after.total_minor) | planned | after.method


def _of_decline(after: Revision) -> dict[str, str]:
    said = {"error_code": after.error_code, "decline_code": after.decline_code}
    return {name: word for name, word in said.items() if word}


def _of_refunds(after: Revision) -> dict[str, str]:
    return {
        "refunded_minor": str(after.seen.refunded_minor),
        "refund_pending_minor": str(after.seen.refund_pending_minor),
        "captured_minor": str(after.seen.captured_minor),
    }


RULES: Final[tuple[tuple[FactKind, Rule], ...]] = (
    (FactKind.PAYMENT_MOVED, _moved),
    (FactKind.PAYMENT_RECEIVED, _received),
    (FactKind.PAYMENT_FAILED, _failed),
    (FactKind.PAYMENT_EXPIRED, _expired),
    (FactKind.ACTION_REQUIRED, _action_required),
    (FactKind.PAYMENT_SCHEDULED, _scheduled),
    (FactKind.PAYMENT_REFUNDED, _refunded),
    (FactKind.REFUND_FAILED, _refund_failed),
    (FactKind.ATTENTION_RAISED, _attention_raised),
    (FactKind.ATTENTION_ENDED, _attention_ended),
)
"""What each kind says happened; in this order they are told."""
