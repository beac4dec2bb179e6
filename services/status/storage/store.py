"""Opening and reading payments: one statement each, on direct connections, since a payment waits for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

from services.runtime.database.batching import Batcher
from services.runtime.database.connections import DirectConnections
from services.status.domain.errors import PaymentExists, PaymentNotFound, RevisionCompacted
from services.status.domain.records import FirstTransition, Opening, Payment, Transition, open_month
from services.status.domain.snapshot import ENDS, OPENED, is_settled, state_of
from services.status.storage import statements
from services.status.storage.rows import labels_json, payment_from, snapshot_json, transition_from

READ_CONCURRENCY_MAX: Final = 2
"""Statements on their way at once when one takes long."""
READ_BATCH_MAX: Final = 256
"""Payments read by one statement, ~5 ms of the event loop."""

Key = tuple[str, str]
"""Tenant and payment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A place in the history of a payment."""

    tenant_id: str
    payment_id: str
    open_month: date
    revision: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What opening a payment came to."""

    payment: Payment
    is_new: bool
    """False when it was opened before."""


class StatusStore:
    """The payments of all tenants. Any method may raise DependencyUnavailable; the same call is safe to send again."""

    def __init__(self, held: DirectConnections) -> None:
        self._held = held
        self._read = Batcher(
            one=self._read_one, many=self.read_many, concurrency_max=READ_CONCURRENCY_MAX, batch_max=READ_BATCH_MAX
        )

    async def open(
        self, opening: Opening, *, tenant_id: str, request_id: str, now: datetime, first: FirstTransition | None = None
    ) -> Opened:
        """Open a payment at revision 1, or at 2 with its first transition in the same commit, which has to be legal.

        Return it; or as it stands now, if it was opened before with the same. Raises PaymentExists if it was opened
        with other content.
        """
        snapshot = OPENED if first is None else first.snapshot
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
                state_of(OPENED),
                snapshot_json(OPENED),
                None if first is None else first.request_id,
                snapshot.collection in ENDS,
            )
        if row is not None:
            return Opened(payment=payment_from(row, snapshot=snapshot), is_new=True)
        opened = await self._row(statements.READ_OPENED, tenant_id, opening.payment_id)
        assert opened is not None, "a payment is never deleted"  # noqa: S101
        if opened["open_digest"] != digest:
            raise PaymentExists(field="payment_id")
        return Opened(payment=payment_from(opened), is_new=False)

    async def read(self, payment_id: str, *, tenant_id: str) -> Payment:
        """Return a payment as it stands after the call began; raise PaymentNotFound."""
        payment = await self._read((tenant_id, payment_id))
        if payment is None:
            raise PaymentNotFound
        return payment

    async def read_many(self, keys: Sequence[Key]) -> list[Payment | None]:
        """Return payments as they stand, None for those that do not exist."""
        rows = await self._rows(
            statements.READ_MANY, [tenant_id for tenant_id, _ in keys], [payment_id for _, payment_id in keys]
        )
        found = {row["position"]: payment_from(row) for row in rows}
        return [found.get(position) for position in range(1, len(keys) + 1)]

    async def history(self, after: Place, *, current_revision: int, limit: int) -> list[Transition]:
        """Return the transitions after a place, at most `limit`, oldest first.

        Raises RevisionCompacted if the first one after it is not kept any more; `current_revision` is how far the
        payment has come at least.
        """
        rows = await self._rows(
            statements.HISTORY, after.tenant_id, after.payment_id, after.open_month, after.revision, limit
        )
        oldest_revision = rows[0]["revision"] if rows else current_revision + 1
        if after.revision < oldest_revision - 1:
            raise RevisionCompacted(field="after_revision", oldest_revision=oldest_revision)
        return [transition_from(row) for row in rows]

    async def follow(self, places: Sequence[Place], *, each: int, limit: int) -> list[tuple[str, Transition]]:
        """Return what comes after the places with the tenant's id, oldest first within each.

        At most `each` of one payment and `limit` in all.
        """
        if len(places) == 1:  # what is hinted at one by one: the statement for many takes four times as long
            (place,) = places
            rows = await self._rows(
                statements.HISTORY,
                place.tenant_id,
                place.payment_id,
                place.open_month,
                place.revision,
                min(each, limit),
            )
            return [(place.tenant_id, transition_from(row)) for row in rows]
        rows = await self._rows(
            statements.FOLLOW,
            [place.tenant_id for place in places],
            [place.payment_id for place in places],
            [place.open_month for place in places],
            [place.revision for place in places],
            each,
            limit,
        )
        return [(row["tenant_id"], transition_from(row)) for row in rows]

    async def horizon(self) -> int:
        """Return a transaction number before which nothing will commit any more."""
        row = await self._row(statements.HORIZON)
        assert row is not None, "it is one value"  # noqa: S101
        return int(row["horizon"])

    async def moved_since(self, horizon: int, tenant_ids: Sequence[str]) -> list[tuple[str, str, int]]:
        """Return tenant, payment and newest revision of what moved in transactions that are not before a horizon."""
        rows = await self._rows(statements.MOVED_SINCE, tenant_ids, str(horizon))
        return [(row["tenant_id"], row["payment_id"], row["revision"]) for row in rows]

    async def _read_one(self, key: Key) -> Payment | None:
        row = await self._row(statements.READ, *key)
        return None if row is None else payment_from(row)

    async def _row(self, query: str, *arguments: Any) -> Mapping[str, Any] | None:
        async with self._held.statement(None) as connection:
            row: Mapping[str, Any] | None = await connection.fetchrow(query, *arguments)
            return row

    async def _rows(self, query: str, *arguments: Any) -> list[Mapping[str, Any]]:
        async with self._held.statement(None) as connection:
            rows: list[Mapping[str, Any]] = await connection.fetch(query, *arguments)
            return rows
