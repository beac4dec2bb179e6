"""Where plan, status, quote and mirror of a payment disagree. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Final

from services.orchestrator.diagnosis import checks
from services.orchestrator.diagnosis.domain import Attempt, Examination, Recorded, Sources
from services.orchestrator.domain.payment import Snapshot
from services.orchestrator.domain.plan import Stage
from services.orchestrator.domain.quote import next_state
from services.shared.diagnosis import Check, Disagreement, Keeper, Saying, differ, money, said
from services.shared.payment import Amounts
from services.shared.states import IntentState, State

IS_MOVING: Final = "The payment is being moved right now."
IS_DUE: Final = "The payment is due, and moved on any moment."
IS_DELIVERED: Final = "A newer observation is on its way."
AWAITED: Final = frozenset(
    {State.INITIALIZED, State.REQUIRES_PAYMENT_METHOD, State.SCHEDULED, State.REQUIRES_ACTION, State.PROCESSING}
)
"""Money may still come."""
OVER: Final = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELED, State.EXPIRED})


def disagreements(sources: Sources) -> tuple[Disagreement, ...]:
    """Return where the records disagree, the gateway's own included; while the payment moves each may end by itself."""
    found = [one for compare in _COMPARE for one in compare(sources)]
    if sources.examination is not None:
        found += sources.examination.disagreements
    waits_for = _waits_for(sources)
    return tuple(replace(one, waits_for=one.waits_for or waits_for) for one in found)


def without_plan(recorded: Recorded | None, examination: Examination | None) -> tuple[Disagreement, ...]:
    """Return what disagrees where there is no plan, and somebody else has the payment."""
    others = [
        *([Saying(Keeper.STATUS, f"revision {recorded.revision}, {recorded.state}")] if recorded else []),
        *([Saying(Keeper.MIRROR, f"attempt {examination.observation.attempt}")] if examination else []),
    ]
    found = _one(checks.PLAN_MISSING, Saying(Keeper.PLAN, said(None)), *others)
    return (found, *(examination.disagreements if examination else ()))


def _waits_for(sources: Sources) -> str:
    """Return what is on its way for the payment as a whole; empty where nothing is."""
    standing = sources.standing
    if sources.is_moving or standing.is_held:
        return IS_MOVING
    return IS_DUE if standing.is_due else ""


def _missing(sources: Sources) -> Iterator[Disagreement]:
    if sources.answered(Keeper.STATUS) and sources.recorded is None and sources.plan.revision:
        said_by_plan = Saying(Keeper.PLAN, f"revision {sources.plan.revision}")
        yield _one(checks.STATUS_MISSING, said_by_plan, Saying(Keeper.STATUS, said(None)))


def _revision(sources: Sources) -> Iterator[Disagreement]:
    plan, recorded = sources.plan, sources.recorded
    if recorded is None:
        return
    yield from differ(checks.STATUS_REVISION, (Keeper.PLAN, plan.revision), (Keeper.STATUS, recorded.revision))
    if plan.revision == recorded.revision and not plan.pending:
        for name, ours, theirs in _differing(sources.told, recorded.snapshot):
            yield from differ(checks.STATUS_SNAPSHOT, (Keeper.PLAN, ours), (Keeper.STATUS, theirs), about=name)


def _identity(sources: Sources) -> Iterator[Disagreement]:
    plan, recorded = sources.plan, sources.recorded
    if recorded is None:
        return
    total = money(plan.total_minor or 0, plan.currency_code or "")
    for name, ours, theirs in (
        ("payer", plan.payer_id, recorded.payer_id),
        ("sellers", sorted(set(plan.seller_ids)), sorted(set(recorded.seller_ids))),
        ("bookings", sorted(set(plan.booking_ids)), sorted(set(recorded.booking_ids))),
        ("client reference", plan.client_reference, recorded.client_reference),
        ("quote", plan.quote_id or "", recorded.quote_id),
        ("total", total, money(recorded.total_minor, recorded.currency_code)),
    ):
        yield from differ(checks.STATUS_IDENTITY, (Keeper.PLAN, ours), (Keeper.STATUS, theirs), about=name)


def _history(sources: Sources) -> Iterator[Disagreement]:
    recorded = sources.recorded
    if recorded is None or recorded.history is None:
        return
    revisions = [one.revision for one in recorded.history]
    if revisions != list(range(1, len(revisions) + 1)):
        yield _one(checks.HISTORY_GAP, Saying(Keeper.STATUS, f"its history has {_spans(revisions)}"))
    yield from _end(recorded)


def _end(recorded: Recorded) -> Iterator[Disagreement]:
    last = recorded.history[-1] if recorded.history else None
    if last is None or last.revision != recorded.revision:
        stands = Saying(Keeper.STATUS, f"stands at revision {recorded.revision}")
        end = last.revision if last is not None else None
        yield _one(checks.HISTORY_END, stands, Saying(Keeper.STATUS, f"its history ends with {said(end)}"))
        return
    pairs = [("state", recorded.state, last.state), *_differing(recorded.snapshot, last.snapshot)]
    for name, stands_at, ends_with in pairs:
        if stands_at != ends_with:
            stands = Saying(Keeper.STATUS, f"stands at {said(stands_at)}")
            yield _one(checks.HISTORY_END, stands, Saying(Keeper.STATUS, f"ends with {said(ends_with)}"), about=name)


def _spans(revisions: Iterable[int]) -> str:
    """Return numbers as people read them: `1 to 3, 5`."""
    spans: list[list[int]] = []
    for one in revisions:
        if spans and one == spans[-1][-1] + 1:
            spans[-1].append(one)
        else:
            spans.append([one])
    return ", ".join(str(each[0]) if len(each) == 1 else f"{each[0]} to {each[-1]}" for each in spans) or said(None)


def _refused(sources: Sources) -> Iterator[Disagreement]:
    for fact, refusal in sources.standing.refusals:
        yield _one(checks.TRANSITION_REFUSED, Saying(Keeper.STATUS, f"refuses it: {refusal}"), about=fact)


def _due(sources: Sources) -> Iterator[Disagreement]:
    plan, standing = sources.plan, sources.standing
    if standing.has_due_time or standing.is_held:
        return
    to_do = [
        *(f"record {one.fact}" for one in plan.pending),
        *([f"carry on {standing.open_requests} requests"] if standing.open_requests else []),
        *([str(plan.next_step)] if plan.next_step is not None and plan.next_time is not None else []),
    ]
    problem = f" ({standing.problem})" if standing.problem else ""
    for one in to_do:
        yield _one(checks.NOT_DUE, Saying(Keeper.PLAN, f"is to {one}{problem}"), about=one)


def _stage(sources: Sources) -> Iterator[Disagreement]:
    plan, latest = sources.plan, sources.plan.latest_snapshot
    is_over = latest.collection in OVER and not latest.amounts.capturable_minor
    is_awaited = latest.collection in AWAITED
    if (plan.stage is Stage.ENDED and is_awaited) or (plan.stage is Stage.COLLECTING and is_over):
        yield _one(checks.STAGE, Saying(Keeper.PLAN, f"{plan.stage}, and the collection is {latest.collection}"))


def _claims(sources: Sources) -> Iterator[Disagreement]:
    plan = sources.plan
    if plan.stage not in (Stage.STARTING, Stage.COLLECTING):
        return
    for booking_id in plan.booking_ids:
        claimed_by = sources.standing.claims.get(booking_id)
        if claimed_by != plan.payment_id:
            both = (Saying(Keeper.PLAN, plan.payment_id), Saying(Keeper.PLAN, f"claimed by {said(claimed_by)}"))
            yield _one(checks.BOOKING_CLAIM, *both, about=booking_id)


def _quote(sources: Sources) -> Iterator[Disagreement]:
    plan, price = sources.plan, sources.price
    follows = next_state(plan.quote_state, plan.latest_snapshot)
    if plan.quote_holds_uses and follows is not plan.quote_state:
        tells = Saying(Keeper.PLAN, f"tells pricing {said(plan.quote_state)}")
        yield _one(checks.QUOTE_END, tells, Saying(Keeper.PLAN, f"it is {said(follows)}"))
    if not plan.quote_id or not sources.answered(Keeper.QUOTE):
        return
    if price is None:
        yield _one(checks.QUOTE_MISSING, Saying(Keeper.PLAN, plan.quote_id), Saying(Keeper.QUOTE, said(None)))
        return
    ours, theirs = (plan.total_minor or 0, plan.currency_code or ""), (price.total_minor, price.currency_code)
    yield from differ(checks.QUOTE_TOTAL, (Keeper.PLAN, money(*ours)), (Keeper.QUOTE, money(*theirs)))
    mine = {line.line_id: line for line in plan.split.lines}
    quoted = {line.line_id: line for line in price.split.lines}
    for line_id in dict.fromkeys((*mine, *quoted)):
        for name, one, other in _differing(mine.get(line_id), quoted.get(line_id)):
            about = f"line {line_id} {name}".strip()
            yield from differ(checks.QUOTE_SPLIT, (Keeper.PLAN, one), (Keeper.QUOTE, other), about=about)


def _mirror(sources: Sources) -> Iterator[Disagreement]:
    plan, seen = sources.plan, sources.examination
    if not sources.answered(Keeper.MIRROR):
        return
    if seen is None:
        if plan.attempt:
            attempts = Saying(Keeper.PLAN, f"attempt {plan.attempt}")
            yield _one(checks.MIRROR_MISSING, attempts, Saying(Keeper.MIRROR, said(None)))
        return
    for name, ours, theirs in (
        ("payer", plan.payer_id, seen.payer_id),
        ("currency", plan.currency_code or "", seen.currency_code),
    ):
        yield from differ(checks.MIRROR_IDENTITY, (Keeper.PLAN, ours), (Keeper.MIRROR, theirs), about=name)
    version = seen.observation.mirror_version
    is_here = plan.observed_version > plan.mirror_version and sources.standing.has_due_time
    yield from differ(
        checks.MIRROR_VERSION,
        (Keeper.PLAN, plan.mirror_version),
        (Keeper.MIRROR, version),
        waits_for=IS_DELIVERED if seen.is_delivering or is_here else "",
    )
    yield from _attempts(sources, seen.attempts)
    if plan.mirror_version == version and not plan.pending:
        yield from _observed(sources)


def _attempts(sources: Sources, attempts: Iterable[Attempt]) -> Iterator[Disagreement]:
    plan, by_number = sources.plan, {one.attempt: one for one in attempts}
    newest = max(by_number, default=0)
    yield from differ(checks.ATTEMPT, (Keeper.PLAN, plan.attempt), (Keeper.MIRROR, newest))
    current = by_number.get(plan.attempt)
    if current is not None and current.taken_minor:
        ours, theirs = plan.total_minor or 0, current.amount_minor
        currency_code = plan.currency_code or ""
        yield from differ(
            checks.ATTEMPT_AMOUNT,
            (Keeper.PLAN, money(ours, currency_code)),
            (Keeper.MIRROR, money(theirs, currency_code)),
            about=f"attempt {plan.attempt}",
        )


def _observed(sources: Sources) -> Iterator[Disagreement]:
    """Compare what callers are told with what was observed, where both are about the same."""
    recorded, seen = sources.recorded, sources.examination
    if recorded is None or seen is None:
        return
    told, observed = recorded.snapshot, seen.observation
    for name in Amounts.__slots__:
        ours, theirs = (money(getattr(one, name), seen.currency_code) for one in (told.amounts, observed.amounts))
        about = name.removesuffix("_minor")
        yield from differ(checks.AMOUNTS, (Keeper.STATUS, ours), (Keeper.MIRROR, theirs), about=about)
    if not _fits(told, observed.intent_state, is_setup=observed.is_setup, taken=observed.amounts.captured_minor):
        kind = "setup " if observed.is_setup else ""
        both = (Saying(Keeper.STATUS, told.collection), Saying(Keeper.MIRROR, f"{kind}{observed.intent_state}"))
        yield _one(checks.COLLECTION, *both)


def _fits(told: Snapshot, intent: IntentState, *, is_setup: bool, taken: int) -> bool:
    """Whether how far the collection has come can be, given how its attempt stands."""
    if is_setup:
        return told.collection is not State.AUTHORIZED and (told.collection is not State.SUCCEEDED or not taken)
    if intent is IntentState.SUCCEEDED:
        return told.collection is State.SUCCEEDED
    if intent is IntentState.REQUIRES_CAPTURE:
        return told.collection in (State.AUTHORIZED, State.SUCCEEDED, State.PROCESSING)
    return told.collection is not State.AUTHORIZED and (told.collection is not State.SUCCEEDED or taken > 0)


def _differing(one: object, other: object, name: str = "") -> Iterator[tuple[str, object, object]]:
    """Yield the fields in which two values differ, each under the path to it, and what both have there."""
    if is_dataclass(one) and is_dataclass(other) and type(one) is type(other):
        for field in fields(one):
            path = f"{name}.{field.name}" if name else field.name
            yield from _differing(getattr(one, field.name), getattr(other, field.name), path)
    elif one != other:
        yield name, one, other


def _one(check: Check, *sayings: Saying, about: str = "") -> Disagreement:
    return Disagreement(check=check, sayings=sayings, about=about)


_COMPARE: Final[tuple[Callable[[Sources], Iterable[Disagreement]], ...]] = (
    _missing,
    _revision,
    _identity,
    _history,
    _refused,
    _due,
    _stage,
    _claims,
    _quote,
    _mirror,
)
