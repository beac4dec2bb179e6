"""Takes records over: looked at by all who keep something of them, then kept by one after the other.

What happens if the process dies:
- before the gateway has kept a record: nothing is there;
- after that, before status has: the gateway mirrors a payment that nobody sees. What Stripe reports of it is delivered
  here, refused as of no known payment, and tried again; a repeat applies it as news where something is awaited by then;
- after status, before its plan is here: the payment is seen and does not move; what came to be at Stripe since then is
  applied by the plan, once it is here, as news;
- a repeat of the record goes on with what is missing in each case: all ids are derived from the record's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from batzen.gateway.v1 import imports_pb2 as gateway_pb
from batzen.orchestrator.v1 import imports_pb2 as pb
from batzen.status.v1 import status_pb2
from services.errors import FieldMissing, ServiceError
from services.orchestrator.booking_claims import BookingClaims
from services.orchestrator.domain.errors import BookingHasPayment
from services.orchestrator.imports.domain import (
    PaymentRecord,
    Revision,
    concluded,
    is_awaited,
    refuse_unfinished,
    revisions,
)
from services.orchestrator.imports.metrics import ImportMetrics
from services.orchestrator.imports.store import ImportStore, plan_row
from services.orchestrator.peers.imports import GatewayOutcome, ImportPeers
from services.orchestrator.storage.booking_claims import BookingClaimStore
from services.orchestrator.wire import imports as wire
from services.orchestrator.wire.payments import observation, snapshot
from services.runtime import crash_points

IMPORTED, UNCHANGED = gateway_pb.IMPORT_RESULT_IMPORTED, gateway_pb.IMPORT_RESULT_UNCHANGED
REFUSED = gateway_pb.IMPORT_RESULT_REFUSED

_WORDS = {IMPORTED: "imported", UNCHANGED: "unchanged", REFUSED: "refused"}
"""What a result is called in a figure."""

Outcome = pb.ImportRecordsResponse.Outcome
Problem = gateway_pb.ImportProblem


@dataclass(frozen=True, slots=True)
class _Read:
    """A record that can be read."""

    message: pb.ImportRecord
    payment: PaymentRecord | None
    """None of a customer, or of a seller."""
    history: tuple[Revision, ...] = ()


class Imports:
    """Takes records over."""

    def __init__(
        self,
        peers: ImportPeers,
        store: ImportStore,
        claims: BookingClaims,
        claim_store: BookingClaimStore,
        *,
        metrics: ImportMetrics,
        now: Callable[[], datetime],
    ) -> None:
        self._peers = peers
        self._store = store
        self._claims = claims
        self._claim_store = claim_store
        self._metrics = metrics
        self._now = now

    async def take(
        self, tenant_id: str, records: Sequence[pb.ImportRecord], *, dry_run: bool, actor_id: str
    ) -> list[Outcome]:
        """Take records over, and return what came of each, in their order."""
        problems: dict[int, Problem] = {}
        read: dict[int, _Read] = {}
        for place, message in enumerate(records):
            try:
                read[place] = _read(message, tenant_id)
            except ServiceError as error:
                problems[place] = wire.problem_of(error)
        problems |= await self._refused_by_status(read)
        left = {place: one for place, one in read.items() if place not in problems}
        at_gateway = await self._at_gateway(left, dry_run=dry_run, actor_id=actor_id)
        problems |= {place: one.problem for place, one in at_gateway.items() if one.result == REFUSED}
        new = {place for place, one in at_gateway.items() if one.result == IMPORTED}
        if not dry_run:
            good = {place: one for place, one in left.items() if place not in problems and one.payment is not None}
            refused, kept = await self._keep(tenant_id, _once(good), at_gateway)
            problems |= refused
            new |= kept
        outcomes = [
            Outcome(
                record_id=message.record_id,
                result=REFUSED if place in problems else IMPORTED if place in new else UNCHANGED,
                problem=problems.get(place),
                payment_id=_payment_id(read.get(place)),
            )
            for place, message in enumerate(records)
        ]
        if not dry_run:
            kinds = [message.WhichOneof("record") or "none" for message in records]
            self._metrics.took((kind, _WORDS[one.result]) for kind, one in zip(kinds, outcomes, strict=True))
        return outcomes

    async def _refused_by_status(self, read: Mapping[int, _Read]) -> dict[int, Problem]:
        """Return what status has against payments, before anybody keeps anything of them."""
        payments = {place: one for place, one in read.items() if one.payment is not None}
        sent = [wire.status_payment(one.payment, one.history) for one in payments.values() if one.payment is not None]
        outcomes = await self._peers.at_status(sent, dry_run=True)
        return {
            place: wire.problem_at_status(outcome)
            for place, outcome in zip(payments, outcomes, strict=True)
            if outcome.reason
        }

    async def _at_gateway(
        self, left: Mapping[int, _Read], *, dry_run: bool, actor_id: str
    ) -> dict[int, GatewayOutcome]:
        sent = [wire.gateway_record(one.message, one.payment) for one in left.values()]
        calling = self._peers.at_gateway(sent, dry_run=dry_run, actor_id=actor_id)
        return dict(zip(left, await crash_points.call("import.gateway", calling), strict=True))

    async def _keep(
        self, tenant_id: str, good: Mapping[int, _Read], at_gateway: Mapping[int, GatewayOutcome]
    ) -> tuple[dict[int, Problem], set[int]]:
        """Have status and this service keep payments that the gateway has kept; return what is refused, what is new."""
        payments = {place: one.payment for place, one in good.items() if one.payment is not None}
        seen = {
            place: observation(at_gateway[place].observation) if at_gateway[place].HasField("observation") else None
            for place in payments
        }
        histories = {place: concluded(good[place].history, seen[place]) for place in payments}
        sent = [wire.status_payment(one, histories[place]) for place, one in payments.items()]
        calling = self._peers.at_status(sent, dry_run=False)
        outcomes = dict(zip(payments, await crash_points.call("import.status", calling), strict=True))
        refused = {place: wire.problem_at_status(one) for place, one in outcomes.items() if one.reason}
        recorded = await self._recorded(
            tenant_id, [one.payment_id for place, one in payments.items() if not outcomes[place].is_new]
        )
        rows: dict[int, dict[str, object]] = {}
        for place, one in payments.items():
            if place in refused:
                continue
            held, known = recorded.get(one.payment_id), seen[place]
            has_news = known is not None and (held is not None or is_awaited(known))
            rows[place] = plan_row(
                one,
                latest=histories[place][-1].snapshot if held is None else snapshot(held.snapshot),
                revision=len(histories[place]) + 1 if held is None else held.revision,
                mirror_version=known.mirror_version if known is not None else 0,
                to_apply=at_gateway[place].observation.SerializeToString() if has_news else None,
            )
        kept = await self._store.keep(tenant_id, list(rows.values()), now=self._now()) if rows else set()
        await self._claim(tenant_id, [payments[place] for place, row in rows.items() if row["is_standing"]])
        new = {place for place, one in outcomes.items() if one.is_new}
        return refused, new | {place for place, one in payments.items() if one.payment_id in kept}

    async def _recorded(self, tenant_id: str, payment_ids: Sequence[str]) -> dict[str, status_pb2.Payment]:
        """Return payments that status had before, and of which no plan is here, as they stand there.

        Since then more may have come to be at Stripe. Status does not have it, so the plan is made of what it has.
        """
        here = await self._store.known(tenant_id, payment_ids) if payment_ids else set()
        return {one: await self._peers.recorded(one) for one in payment_ids if one not in here}

    async def _claim(self, tenant_id: str, paid: Sequence[PaymentRecord]) -> None:
        """Claim the bookings of payments whose money is there, also where one that has ended claimed them before."""
        booking_ids = [booking_id for one in paid for booking_id in one.booking_ids]
        if not booking_ids:
            return
        claims = await self._claim_store.claims(tenant_id, booking_ids)
        holders = {claim.booking_id: claim.payment_id for claim in claims}
        for one in paid:
            if any(holders.get(booking_id) != one.payment_id for booking_id in one.booking_ids):
                with suppress(BookingHasPayment):  # money of another is there for it, too, or a payment that is open
                    await self._claims.claim(tenant_id, one.payment_id, one.booking_ids)


def _read(message: pb.ImportRecord, tenant_id: str) -> _Read:
    match message.WhichOneof("record"):
        case "payment":
            payment = wire.payment_record(message, tenant_id=tenant_id)
            refuse_unfinished(payment)
            return _Read(message, payment, revisions(payment))
        case None:
            raise FieldMissing(field="record")
        case _:
            return _Read(message, None)


def _once(good: Mapping[int, _Read]) -> dict[int, _Read]:
    """Return each payment once: what stands in a call twice is the same, or the gateway had refused it."""
    places = {one.payment.payment_id: place for place, one in reversed(list(good.items())) if one.payment is not None}
    return {place: good[place] for place in sorted(places.values())}


def _payment_id(read: _Read | None) -> str:
    return read.payment.payment_id if read is not None and read.payment is not None else ""
