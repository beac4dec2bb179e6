"""Writing and reading one payment: one statement each, straight on held connections, since everybody waits for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

import asyncpg

from services.errors import RequestIdReused
from services.runtime.database import HeldConnections, violated_constraint
from services.status import statements
from services.status.domain import (
    ENDS,
    AmountsInconsistent,
    PaymentExists,
    PaymentNotFound,
    RevisionCompacted,
    RevisionConflict,
    Snapshot,
    State,
    TransitionIllegal,
    is_settled,
    legal_from,
    state_of,
)
from services.status.records import Opening, Payment, Transition, open_month
from services.status.rows import (
    labels_json,
    payment_from,
    snapshot_json,
    transition_from,
)

WRITE_TRIES: Final = 3
"""How often a transition is tried again because the payment moved between the write and the look at why it failed."""
REQUEST_KEY: Final = "transitions_request_key"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What RecordTransition comes to."""

    transition: Transition
    payment: Payment
    """As it stands after the call."""
    is_new: bool
    """False when an earlier call with the same request id wrote the transition."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A place in the history of a payment."""

    tenant_id: str
    payment_id: str
    open_month: date
    revision: int


class StatusStore:
    """The payments of all tenants. Any method may raise DependencyUnavailable; the same call is safe to send again."""

    def __init__(self, held: HeldConnections) -> None:
        self._held = held

    async def open(
        self, opening: Opening, *, tenant_id: str, request_id: str, snapshot: Snapshot, now: datetime
    ) -> Payment:
        """Open a payment at revision 1, and return it; or as it stands now, if it was opened before with the same.

        Raises PaymentExists if it was opened with other content.
        """
        digest = opening.digest()
        async with self._held.statement("status.open") as connection:
            row = await connection.fetchrow(
                statements.OPEN,
                tenant_id,
                opening.payment_id,
                open_month(now),
                snapshot.collection,
                state_of(snapshot),
                is_settled(snapshot),
                snapshot_json(snapshot),
                opening.payer_id,
                opening.seller_ids,
                opening.booking_ids,
                opening.client_reference,
                opening.quote_id,
                opening.total_amount_minor,
                opening.currency_code,
                labels_json(opening.labels),
                digest,
                now,
                request_id,
            )
        if row is not None:
            return payment_from(row, snapshot=snapshot)
        opened = await self._row(statements.READ_OPENED, tenant_id, opening.payment_id)
        assert opened is not None, "a payment is never deleted"  # noqa: S101
        if opened["open_digest"] != digest:
            raise PaymentExists(field="payment_id")
        return payment_from(opened)

    async def record(
        self,
        snapshot: Snapshot,
        *,
        tenant_id: str,
        payment_id: str,
        request_id: str,
        expected_revision: int,
        now: datetime,
    ) -> Recorded:
        """Write the next revision, or return what an earlier call with this request id wrote.

        Raises PaymentNotFound, RequestIdReused, RevisionConflict, AmountsInconsistent (against the payment's total),
        TransitionIllegal, in this order.
        """
        arguments = (
            tenant_id,
            payment_id,
            expected_revision,
            snapshot.collection,
            state_of(snapshot),
            is_settled(snapshot),
            snapshot_json(snapshot),
            now,
            snapshot.collection in ENDS,
            legal_from(snapshot, total_is_zero=True),
            legal_from(snapshot, total_is_zero=False),
            request_id,
        )
        current_revision = expected_revision
        for _ in range(WRITE_TRIES):
            moved = await self._moved(arguments)
            if moved is not None:
                payment = payment_from(moved, snapshot=snapshot)
                transition = Transition(
                    payment_id=payment_id,
                    revision=payment.revision,
                    snapshot=snapshot,
                    record_time=payment.update_time,
                    request_id=request_id,
                )
                return Recorded(transition=transition, payment=payment, is_new=True)
            # In a snapshot of its own: whoever was quicker has committed, or we would still be waiting for them.
            row = await self._row(statements.LOOK_UP, tenant_id, payment_id, request_id)
            if row is None:
                raise PaymentNotFound
            if row["written_revision"] is not None:
                return _replayed(row, snapshot=snapshot, request_id=request_id)
            current_revision = row["revision"]
            if current_revision != expected_revision:
                raise RevisionConflict(current_revision=current_revision)
            _refuse_illegal(row, snapshot)
        raise RevisionConflict(current_revision=current_revision)

    async def read(self, payment_id: str, *, tenant_id: str) -> Payment:
        """Return a payment as it stands; raise PaymentNotFound."""
        row = await self._row(statements.READ, tenant_id, payment_id)
        if row is None:
            raise PaymentNotFound
        return payment_from(row)

    async def history(self, after: Place, *, limit: int) -> list[Transition]:
        """Return the transitions after a place, at most `limit`, oldest first.

        Raises RevisionCompacted if the first one after it is not kept any more.
        """
        rows = await self._rows(
            statements.HISTORY, after.tenant_id, after.payment_id, after.open_month, after.revision, limit
        )
        if rows and rows[0]["revision"] != after.revision + 1:
            raise RevisionCompacted(oldest_revision=rows[0]["revision"])
        return [transition_from(row) for row in rows]

    async def newest(self, after: Place) -> list[Transition]:
        """Return the newest transition if there is one after the place."""
        rows = await self._rows(statements.NEWEST, after.tenant_id, after.payment_id, after.open_month, after.revision)
        return [transition_from(row) for row in rows]

    async def follow(self, places: Sequence[Place], *, limit: int) -> list[tuple[str, Transition]]:
        """Return what comes after the places with the tenant's id, oldest first within each, at most `limit` in all."""
        rows = await self._rows(
            statements.FOLLOW,
            [place.tenant_id for place in places],
            [place.payment_id for place in places],
            [place.open_month for place in places],
            [place.revision for place in places],
            limit,
        )
        return [(row["tenant_id"], transition_from(row)) for row in rows]

    async def _moved(self, arguments: tuple[Any, ...]) -> Mapping[str, Any] | None:
        try:
            async with self._held.statement("status.record") as connection:
                row: Mapping[str, Any] | None = await connection.fetchrow(statements.RECORD, *arguments)
                return row
        except asyncpg.UniqueViolationError as error:
            # The same request again, at a revision it has read since; the whole statement was undone.
            if violated_constraint(error) != REQUEST_KEY:
                raise
            return None

    async def _row(self, query: str, *arguments: Any) -> Mapping[str, Any] | None:
        async with self._held.statement(None) as connection:
            row: Mapping[str, Any] | None = await connection.fetchrow(query, *arguments)
            return row

    async def _rows(self, query: str, *arguments: Any) -> list[Mapping[str, Any]]:
        async with self._held.statement(None) as connection:
            rows: list[Mapping[str, Any]] = await connection.fetch(query, *arguments)
            return rows


def _replayed(row: Mapping[str, Any], *, snapshot: Snapshot, request_id: str) -> Recorded:
    written = transition_from(
        {
            "payment_id": row["payment_id"],
            "revision": row["written_revision"],
            "snapshot": row["written_snapshot"],
            "record_time": row["written_time"],
            "request_id": request_id,
        }
    )
    if written.snapshot != snapshot:
        raise RequestIdReused(field="request_id")
    return Recorded(transition=written, payment=payment_from(row), is_new=False)


def _refuse_illegal(row: Mapping[str, Any], snapshot: Snapshot) -> None:
    total = row["total_amount_minor"]
    if row["collection"] in legal_from(snapshot, total_is_zero=total == 0):
        return
    if snapshot.collection is State.SUCCEEDED and total and not snapshot.amounts.captured_minor:
        raise AmountsInconsistent(field="snapshot.amounts", detail="A success has captured something.")
    raise TransitionIllegal(**{"from": row["collection"], "to": snapshot.collection})
