"""A payment as it was last known at Stripe, and how what Stripe shows changes it. Pure.

Whoever holds the payment's lease changes it in memory; nothing is kept until it is saved.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, Self

from services.gateway.checkout.domain import SessionFacts, with_session
from services.gateway.disputes.domain import Dispute
from services.gateway.intents.domain import ChargeFacts, Intent, IntentFacts, apply, noticed
from services.gateway.intents.needs import with_needs
from services.gateway.ledger.books import NOTHING, Books
from services.gateway.mirror.observation import Observation, conclude, left_minor
from services.gateway.receivables.domain import Receivable, receivables, written_off_less
from services.gateway.refunds.domain import Bearer, Refund, RefundFacts
from services.gateway.settlement.domain import Movement, MovementKind, MovementState
from services.gateway.settlement.moves import Step, digest, fee_too_much_minor, is_seen, steps
from services.gateway.settlement.positions import Position, allocated, positions, split_of
from services.gateway.settlement.rates import charged_minor
from services.gateway.settlement.seen import MovedFacts, came_with, seen, transferred_minor
from services.gateway.settlement.telling_apart import told_apart
from services.shared.split import LineAmount
from services.shared.states import IntentState

NEW: Final = 0
"""The fence of a payment that is not in the tables yet; of one that is it is made of a time."""


@dataclass(slots=True, kw_only=True)
class MirroredPayment:
    """A payment under its lease."""

    tenant_id: str
    payment_id: str
    payer_id: str
    seller_id: str
    currency_code: str
    observation: Observation
    fence: int
    intents: dict[int, Intent]
    refunds: dict[str, Refund]
    movements: dict[str, Movement]
    unsettled: bool
    """A call on an intent has no answer yet."""
    open_calls: list[tuple[str, uuid.UUID]]
    """Operation and request of the calls that were started and have no answer, the oldest first."""
    books: Books = NOTHING
    """What the ledger has booked of it; facts are booked with what is saved."""
    trace_context: str | None = None
    """Of the last call that was made on it."""
    saved_version: int = 0
    """The version in the tables."""
    saved_missing: str | None = None
    """What `missing` said then."""
    receivables: tuple[Receivable, ...] = ()
    """What sellers owe: derived from all else."""
    saved_receivables: tuple[Receivable, ...] = ()
    """The same in the tables."""
    written: dict[object, object] = field(default_factory=dict)
    """Intents, refunds and movements as they are in the tables, so that only what changed is written."""

    @classmethod
    def new(cls, tenant_id: str, payment_id: str, *, payer_id: str, seller_id: str, currency_code: str) -> Self:
        """Return a payment of which nothing was asked yet."""
        return cls(
            tenant_id=tenant_id,
            payment_id=payment_id,
            payer_id=payer_id,
            seller_id=seller_id,
            currency_code=currency_code,
            observation=Observation(payment_id=payment_id),
            fence=NEW,
            intents={},
            refunds={},
            movements={},
            unsettled=False,
            open_calls=[],
        )

    def copy(self) -> Self:
        """Return another of the same content, so that what is changed on one is not seen on the other."""
        return replace(
            self,
            intents=dict(self.intents),
            refunds=dict(self.refunds),
            movements=dict(self.movements),
            open_calls=list(self.open_calls),
            written=dict(self.written),
        )

    def mark_saved(self) -> None:
        """Take what it says now for what is in the tables."""
        kept: list[Mapping[int, Intent] | Mapping[str, Refund] | Mapping[str, Movement]]
        kept = [self.intents, self.refunds, self.movements]
        self.written = {key: value for each in kept for key, value in each.items()}
        self.saved_version = self.observation.mirror_version
        self.saved_missing = self.missing
        self.saved_receivables = self.receivables

    @property
    def subject_id(self) -> str:
        """What calls are made on."""
        return self.payment_id

    @property
    def is_changed(self) -> bool:
        """Whether its observation differs from the one in the tables."""
        return self.observation.mirror_version != self.saved_version

    @property
    def latest(self) -> Intent | None:
        """The attempt that was begun last, of those that came to be or still may."""
        begun = [number for number, one in self.intents.items() if not one.came_to_nothing]
        return self.intents[max(begun)] if begun else None

    def is_current(self, attempt: int) -> bool:
        """Whether an attempt is the last one that came to be: one that Stripe refused to make follows none."""
        followers = (one for one in self.intents.values() if one.attempt > attempt)
        return all(one.state == IntentState.CANCELED and not one.is_made for one in followers)

    @property
    def stripe_ids(self) -> list[str]:
        """Stripe's ids of all that belongs to it: intents, charges, sessions, refunds, transfers, fees."""
        attempts = self.intents.values()
        intents = [one for each in attempts for one in (each.intent_id, each.charge_id, each.session_id)]
        refunds = [one.stripe_refund_id for one in self.refunds.values()]
        movements = [one.stripe_id for one in self.movements.values()]
        return [one for one in (*intents, *refunds, *movements) if one]

    def intent_of(self, intent_id: str) -> Intent | None:
        """Return the attempt whose intent this is."""
        return next((one for one in self.intents.values() if one.intent_id == intent_id), None)

    def page_of(self, session_id: str) -> Intent | None:
        """Return the attempt whose hosted page this is."""
        return next((one for one in self.intents.values() if one.session_id == session_id), None)

    def refundable_minor(self, attempt: int) -> int:
        """What can still be given back of an attempt: what it took, without what goes back or is contested."""
        if attempt == self.observation.attempt:
            return self.observation.refundable_minor
        return left_minor(self.intents[attempt], list(self.refunds.values()))

    def positions(self, attempt: int) -> tuple[Position, ...]:
        """Return where the sellers of an attempt stand."""
        return positions(self.intents[attempt], self.refunds.values(), tuple(self.movements.values()))

    def steps(
        self, now: datetime | None, *, only_made: bool = False, at_once: Collection[str] = ()
    ) -> tuple[Step, ...]:
        """Return the next step of each seller who has not what it is to have; without `now` none waits for its time.

        Of the sellers `at_once` what Stripe refused is asked for again now. With `only_made` what was asked for and is
        not answered counts as not moved.
        """
        is_made = {MovementState.MADE} if only_made else set(MovementState)
        movements = tuple(one for one in self.movements.values() if one.state in is_made)
        refunds = tuple(self.refunds.values())
        return tuple(
            step
            for number, intent in sorted(self.intents.items())
            for step in steps(
                self.payment_id,
                intent,
                refunds,
                movements,
                counts=number == self.observation.attempt,
                now=now,
                at_once=at_once,
            )
        )

    @property
    def missing(self) -> str | None:
        """What sellers have not that they are to have, or too much; None where each has its part.

        What is on its way counts as not made. So it is the same before a call and after one that came to nothing, and
        whoever settles is woken by what is new alone.
        """
        return " ".join(digest(one, self.intents[one.attempt]) for one in self.steps(None, only_made=True)) or None

    @property
    def unsettled_sellers(self) -> list[str]:
        """The sellers of whom that is said."""
        return sorted({step.seller_id for step in self.steps(None, only_made=True)})

    def allocated(self, attempt: int, amount_minor: int, line_ids: Collection[str] = ()) -> tuple[LineAmount, ...]:
        """Return what of an amount that goes falls to each line of an attempt, or to each of those that are named."""
        return allocated(amount_minor, self.intents[attempt], self.refunds.values(), line_ids)

    def lacks_movements(self, attempt: int) -> bool:
        """Whether Stripe moved more with an attempt's charge than was seen, or will once it books the charge."""
        intent = self.intents[attempt]
        return intent.is_destination and transferred_minor(self.movements, attempt) < intent.captured_minor

    def assumes_movements(self, attempt: int) -> bool:
        """Whether of what Stripe moved with an attempt's charge some was not seen itself."""
        return any(one.is_assumed for one in self.movements.values() if one.attempt == attempt)

    def attempt_of_charge(self, charge_id: str) -> int:
        """Return the attempt that a charge is of; of none, the one that counts, or will if any does."""
        found = (one.attempt for one in self.intents.values() if charge_id and one.charge_id == charge_id)
        return next(found, self.observation.attempt or max(self.intents))

    def has_refunds(self, attempt: int) -> bool:
        """Whether a refund of an attempt is known."""
        return any(one.attempt == attempt for one in self.refunds.values())

    def apply_intent(self, attempt: int, facts: IntentFacts) -> None:
        """Mirror an attempt's intent."""
        self.intents[attempt] = apply(self.intents[attempt], facts, currency_code=self.currency_code)
        if facts.charge is not None:
            self._apply_charge(attempt, facts.charge)
        self.conclude()

    def apply_charge(self, attempt: int, facts: ChargeFacts) -> None:
        """Mirror what Stripe booked and moved with an attempt's charge."""
        self._apply_charge(attempt, facts)
        self.conclude()

    def apply_moved(self, attempt: int, seller_id: str, moved: MovedFacts) -> None:
        """Mirror a transfer to a seller or a fee of one, and what went back on it."""
        self._apply_moved(attempt, seller_id, moved)
        self.conclude()

    def apply_session(self, attempt: int, facts: SessionFacts) -> None:
        """Mirror an attempt's hosted page."""
        self.intents[attempt] = with_session(self.intents[attempt], facts, currency_code=self.currency_code)
        self.conclude()

    def apply_refund(self, attempt: int, facts: RefundFacts) -> None:
        """Mirror a refund, also one that was made in Stripe's dashboard."""
        known = self._refund_of(facts) or self._learned(attempt, facts)
        self.refunds[known.refund_id] = replace(
            known,
            stripe_refund_id=facts.stripe_refund_id,
            state=facts.state,
            failure_reason=facts.failure_reason,
        )
        self.conclude()

    def apply_disputes(self, attempt: int, shown: Iterable[Dispute]) -> None:
        """Mirror all disputes of an attempt's charge. Stripe never takes one back, so none is forgotten."""
        known = {one.dispute_id: one for one in self.intents[attempt].disputes}
        for one in shown:
            known[one.dispute_id] = one.shown_again(known.get(one.dispute_id))
        contested = tuple(known[dispute_id] for dispute_id in sorted(known))
        self.intents[attempt] = replace(self.intents[attempt], disputes=contested)
        self.conclude()

    def warn(self, dispute_id: str, now: datetime) -> None:
        """Let an operator be told that an answer to a dispute is due, as far as it is."""
        for intent in list(self.intents.values()):
            told = [one.warned(now) if one.dispute_id == dispute_id else one for one in intent.disputes]
            self.intents[intent.attempt] = replace(intent, disputes=tuple(told))
        self.conclude()

    def reserve(self, movement: Movement, *, asked: datetime) -> Movement:
        """Keep that something is asked for, which counts as moved from here on; one that was refused is asked again."""
        refused = self.movements.get(movement.movement_id)
        known = movement if refused is None else refused
        reserved = replace(
            movement,
            refusals=known.refusals,
            refusal_code=known.refusal_code,
            refuse_time=known.refuse_time,
            create_time=asked if refused is None else refused.create_time,
        )
        self.movements[movement.movement_id] = reserved
        self.conclude()
        return reserved

    def was_moved_by(self, call_id: uuid.UUID) -> bool:
        """Whether a call has made its movement, as it may have though nothing of the call is kept."""
        made = (one for one in self.movements.values() if one.state is MovementState.MADE)
        return any(one.call_id == str(call_id) for one in made)

    def made(self, movement_id: str, stripe_id: str) -> None:
        """Keep that something moved."""
        known = self.movements[movement_id]
        self.movements[movement_id] = replace(
            known, state=MovementState.MADE, stripe_id=stripe_id, refusal_code="", refuse_time=None
        )
        self.conclude()

    def refused(self, movement_id: str, *, code: str, now: datetime) -> None:
        """Keep that Stripe refused something, and why: the next try is another call."""
        known = self.movements[movement_id]
        self.movements[movement_id] = replace(
            known, state=MovementState.REFUSED, refusals=known.refusals + 1, refusal_code=code, refuse_time=now
        )
        self.conclude()

    def unreserve(self, movement_id: str) -> None:
        """Take back that something was asked for: it is refused as before, or was never asked for."""
        known = self.movements.pop(movement_id, None)
        if known is not None and known.refusals:
            self.movements[movement_id] = replace(known, state=MovementState.REFUSED)
        self.conclude()

    def notice(self, object_id: str, event_type: str, *, about: Iterable[str], is_over: bool) -> None:
        """Keep an event that nothing is done about, with the attempt whose ids are in `about`."""
        named = set(about)
        intent = next((one for one in self.intents.values() if {one.intent_id, one.charge_id} & named), self.latest)
        if intent is not None:
            self.intents[intent.attempt] = noticed(intent, object_id, event_type, is_over=is_over)
            self.conclude()

    def conclude(self) -> None:
        """Derive anew from all that is known: what falls to which line, which kept method is needed, what sellers owe,
        and the observation.
        """
        self.intents = with_needs(self.intents)
        self._tell_apart()
        self._reinstate()
        self.count_receivables()
        self.observation = conclude(
            self.observation,
            list(self.intents.values()),
            list(self.refunds.values()),
            currency_code=self.currency_code,
            concerns=[one.attention(self.currency_code) for one in self.receivables],
            movements=tuple(self.movements.values()),
            outcome_unknown=self.unsettled,
        )

    def count_receivables(self) -> None:
        """Derive anew what sellers owe: nothing where nothing went back, is contested or was refused."""
        goes_back = (
            bool(self.refunds)
            or any(one.disputes for one in self.intents.values())
            or any(one.refusals for one in self.movements.values())
        )
        self.receivables = tuple(self._owed()) if goes_back and self.movements else ()

    def _owed(self) -> Iterator[Receivable]:
        movements = tuple(self.movements.values())
        made = [one for one in movements if one.state is MovementState.MADE]
        steps = self.steps(None, only_made=True)
        for attempt in sorted({one.attempt for one in steps}):
            intent = self.intents[attempt]
            yield from receivables(
                [one for one in steps if one.attempt == attempt],
                positions(intent, self.refunds.values(), made),
                movements,
                paid_time=intent.create_time,
            )

    def _tell_apart(self) -> None:
        """Say anew what of each refund and dispute falls to which line."""
        of_refunds = {one.attempt for one in self.refunds.values()}
        for attempt, intent in list(self.intents.items()):
            if intent.disputes or attempt in of_refunds:
                told = told_apart(intent, self.refunds.values())
                self.refunds |= {one.refund_id: one for one in told.refunds}
                self.intents[attempt] = replace(intent, disputes=told.disputes)

    def _reinstate(self) -> None:
        """Undo what was written off and is not to be given back any more: the seller owes nothing for it.

        So of a refund that did not come to its payer, of a dispute that was won in the end, and of what the seller gave
        back all the same. Else it would be paid a second time what it never gave back.
        """
        forgiven = [one for one in self.movements.values() if one.kind is MovementKind.WRITE_OFF and one.is_out]
        if not forgiven:
            return
        # What is on its way may come to nothing, and what Stripe moves with a charge by itself may not be seen yet.
        had = [one for one in self.movements.values() if one.state is MovementState.MADE and one not in forgiven]
        for attempt in sorted({one.attempt for one in forgiven}):
            intent = self.intents[attempt]
            if intent.is_destination and not is_seen(intent, had):
                continue
            for position in positions(intent, self.refunds.values(), had):
                # What comes back of a destination charge is more, for the fee that is given back after it.
                fee_minor = fee_too_much_minor(intent, position, had)
                owed_minor = max(0, max(0, fee_minor) - position.due_minor)
                for one in (one for one in forgiven if (one.attempt, one.seller_id) == (attempt, position.seller_id)):
                    stands_minor = min(one.charge_minor, owed_minor)
                    owed_minor -= stands_minor
                    self.movements[one.movement_id] = written_off_less(one, stands_minor)

    def _apply_charge(self, attempt: int, facts: ChargeFacts) -> None:
        intent = self.intents[attempt]
        booked = facts.balance_transaction_id or intent.balance_transaction_id
        self.intents[attempt] = replace(intent, balance_transaction_id=booked)
        if intent.is_destination and facts.is_captured_once:
            for moved in came_with(facts):
                self._apply_moved(attempt, intent.seller_id, moved)

    def _apply_moved(self, attempt: int, seller_id: str, moved: MovedFacts) -> None:
        is_exchanged = moved.currency_code != self.currency_code
        known = self.movements.values()
        charge_minor = charged_minor(self.intents[attempt], known, moved) if is_exchanged else moved.amount_minor
        self.movements = seen(self.movements, moved, attempt=attempt, seller_id=seller_id, charge_minor=charge_minor)

    def _learned(self, attempt: int, facts: RefundFacts) -> Refund:
        """Return a refund of which nothing is kept: as its metadata says where a call of ours made it.

        We forgot it, as with a database that lost its last commits, or Stripe said of the call that it had no effect.
        """
        claimed = facts.refund_id if facts.refund_id not in self.refunds else ""
        lines = {one.line_id for one in split_of(self.intents[attempt]).lines}
        said_minor = sum(one.amount_minor for one in facts.parts)
        is_sound = said_minor <= facts.amount_minor and lines.issuperset(one.line_id for one in facts.parts)
        is_said = bool(claimed and facts.parts and is_sound)
        return Refund(
            refund_id=claimed or f"refund_{facts.stripe_refund_id.removeprefix('re_')}",
            attempt=attempt,
            amount_minor=facts.amount_minor,
            create_time=facts.create_time,
            reason=facts.reason,
            actor_id=facts.actor_id if claimed else "",
            bearer=facts.bearer if claimed else Bearer.SHARED,
            parts=facts.parts if is_said else (),
        )

    def _refund_of(self, facts: RefundFacts) -> Refund | None:
        for one in self.refunds.values():
            if one.stripe_refund_id == facts.stripe_refund_id:
                return one
        claimed = self.refunds.get(facts.refund_id)
        return claimed if claimed is not None and not claimed.stripe_refund_id else None
