"""The feed of a tenant's payments: every transition, in an order that nothing commits into from behind.

The order is (transaction, payment, revision), and only transactions before the horizon are looked at, the oldest that
may still commit: nothing will ever come before a cursor that was given out. What it costs: while a transaction that
writes hangs open on the database server, feeds wait for it (watches of single payments do not).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from services.errors import DependencyUnavailable
from services.runtime.database.connections import reading
from services.status.changes.cursors import ONLY, Position
from services.status.domain.errors import CursorCompacted, CursorInvalid
from services.status.domain.filters import Filter, Relation
from services.status.domain.records import Payment
from services.status.domain.snapshot import ENDS, Snapshot
from services.status.listing.listing import covered_by
from services.status.storage.rows import PAYMENT_COLUMNS, payment_from, snapshot_from
from services.status.storage.tables import Xid8, compactions, payments, transitions

RETRY_S: Final = 0.2
"""Between two looks at a database that is away as the process begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """How far the feeds of a tenant can go at one moment."""

    horizon: int
    """The oldest transaction that may still commit: everything before it is known."""
    end: int
    """The next transaction that will begin."""
    last: int
    """The newest transaction before the horizon in the history that is kept; 0 if there is none."""
    compacted: int
    """The newest transaction in the history that was taken out; 0 if there is none."""

    @property
    def position(self) -> Position:
        """The place after everything before the horizon."""
        return Position.after(max(self.last, min(self.compacted, self.horizon - 1)))


@dataclass(slots=True, kw_only=True)
class Change:
    """A transition in the feed, written once for all streams."""

    position: Position
    payment: Payment
    """As the transition left it; labels and bookings are those of now."""
    before: Snapshot | None
    """What was true before; None for the first revision, and where that was taken out of the history."""
    _written: dict[Relation, bytes] = field(default_factory=dict)

    def relation(self, wanted: Filter) -> Relation | None:
        """Return how the payment relates to a filter that covers it, by this transition; None: not at all."""
        relation = wanted.relation(
            before=self.before,
            now=self.payment.snapshot,
            opened_minor=self.payment.opening.total_amount_minor,
        )
        if relation is None and self.before is None and self.payment.revision > 1:
            return Relation.LEFT  # it may have matched: to hear of it once too often is better than never
        return relation

    def in_form(self, relation: Relation, form: Callable[[Payment, Relation], bytes]) -> bytes:
        """Return the change as a message."""
        written = self._written.get(relation)
        if written is None:
            written = self._written[relation] = form(self.payment, relation)
        return written


class OrderBroken(Exception):
    """The history names transactions that this database server has not begun yet, as after a restore from a dump.

    New transitions would come before old ones, and feeds skip them. Stop the server and advance its numbers beyond
    those of the history with `pg_resetwal --epoch` and `--next-transaction-id`.
    """

    def __init__(self) -> None:
        super().__init__(self.__doc__)


class ChangeLog:
    """The transitions of all tenants, in the order of the feed. Any method may raise DependencyUnavailable."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def head(self, tenant_id: str) -> Head:
        async with reading(self._engine) as connection:
            horizon, end, last, compacted = (await connection.execute(_HEAD, {"tenant_id": tenant_id})).one()
        return Head(horizon=horizon, end=end, last=last or 0, compacted=compacted or 0)

    async def horizon(self) -> tuple[int, int]:
        """Return the oldest transaction that may still commit, and the next that will begin."""
        async with reading(self._engine) as connection:
            horizon, end = (await connection.execute(_HORIZON)).one()
        return horizon, end

    async def page(self, wanted: Filter, *, after: Position, horizon: int, limit: int) -> list[Change]:
        """Return the next changes that a filter covers below a horizon that was seen before, at most `limit`.

        Nor do they go beyond the horizon of now: it lies further back than one of before a crash, after which numbers
        are given again. Raises CursorCompacted.
        """
        covered = covered_by(wanted)
        place = sa.tuple_(transitions.c.xid, transitions.c.payment_id, transitions.c.revision)
        before = transitions.alias("before")
        query = (
            sa.select(
                *(payments.c[name] for name in PAYMENT_COLUMNS),
                transitions.c.xid,
                transitions.c.revision.label("changed_revision"),
                transitions.c.snapshot.label("changed_snapshot"),
                transitions.c.record_time,
                before.c.snapshot.label("before_snapshot"),
            )
            .select_from(
                covered.source.join(transitions, _same_payment(transitions)).outerjoin(
                    before, sa.and_(_same_payment(before), before.c.revision == transitions.c.revision - 1)
                )
            )
            .where(
                *covered.conditions,
                transitions.c.tenant_id == wanted.tenant_id,
                transitions.c.xid >= after.xid,
                transitions.c.xid < horizon,
                transitions.c.xid < _XMIN,
                place > sa.tuple_(sa.literal(after.xid, Xid8), after.payment_id, after.revision),
            )
            .order_by(*place)
            .limit(limit)
        )
        async with reading(self._engine) as connection:
            rows = (await connection.execute(query)).mappings().all()
            # After the rows: then none of them was taken out unseen.
            compacted = await connection.scalar(_COMPACTED, {"tenant_id": wanted.tenant_id})
        if compacted is not None and after.xid <= compacted:
            raise CursorCompacted(field="cursor")
        return [_change(row) for row in rows]


def begin_of(positions: Mapping[int, Position], head: Head) -> Position:
    """Return where a feed of this database goes on; raise CursorInvalid or CursorCompacted."""
    if set(positions) != {ONLY}:
        raise CursorInvalid(field="cursor")
    position = positions[ONLY]
    if position.xid > head.end:
        raise CursorInvalid(field="cursor")
    if position.xid <= head.compacted:
        raise CursorCompacted(field="cursor")
    return position


async def check_order(engine: AsyncEngine, *, timeout_s: float) -> None:
    """Raise OrderBroken if the history cannot be continued in order on this database server.

    Also waits for the database; raises DependencyUnavailable when that did not answer in time.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            async with reading(engine) as connection:
                is_broken = await connection.scalar(_IS_ORDER_BROKEN)
        except DependencyUnavailable:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(RETRY_S)
        else:
            break
    if is_broken:
        raise OrderBroken


_XMIN: Final = sa.func.pg_snapshot_xmin(sa.func.pg_current_snapshot(), type_=Xid8)
_XMAX: Final = sa.func.pg_snapshot_xmax(sa.func.pg_current_snapshot(), type_=Xid8)
_TENANT: Final = sa.bindparam("tenant_id", type_=sa.Text)
_LAST: Final = (
    sa.select(transitions.c.xid)
    .where(transitions.c.tenant_id == _TENANT, transitions.c.xid < _XMIN)
    .order_by(transitions.c.xid.desc())
    .limit(1)
)
_COMPACTED: Final = (
    sa.select(compactions.c.last_xid)
    .where(compactions.c.tenant_id == _TENANT)
    .order_by(compactions.c.last_xid.desc())
    .limit(1)
)
_HORIZON: Final = sa.select(_XMIN, _XMAX)
_HEAD: Final = sa.select(_XMIN, _XMAX, _LAST.scalar_subquery(), _COMPACTED.scalar_subquery())

_IS_ORDER_BROKEN: Final = sa.text(
    """
    WITH RECURSIVE tenants (tenant_id) AS (
      SELECT min(tenant_id) FROM payments
      UNION ALL
      SELECT (SELECT min(p.tenant_id) FROM payments p WHERE p.tenant_id > tenants.tenant_id)
      FROM tenants WHERE tenants.tenant_id IS NOT NULL
    )
    SELECT EXISTS (
      SELECT FROM tenants JOIN transitions USING (tenant_id)
      WHERE transitions.xid >= pg_snapshot_xmax(pg_current_snapshot())
    )
    """
)


def _same_payment(history: sa.FromClause) -> sa.ColumnElement[bool]:
    return sa.and_(
        history.c.tenant_id == payments.c.tenant_id,
        history.c.payment_id == payments.c.payment_id,
        history.c.open_month == payments.c.open_month,
    )


def _change(row: Mapping[Any, Any]) -> Change:
    payment = payment_from(row, snapshot=snapshot_from(row["changed_snapshot"]))
    ended_then = payment.complete_time is not None and (
        payment.complete_time < row["record_time"] or payment.snapshot.collection in ENDS
    )
    return Change(
        position=Position(row["xid"], payment.opening.payment_id, row["changed_revision"]),
        payment=replace(
            payment,
            revision=row["changed_revision"],
            update_time=row["record_time"],
            complete_time=payment.complete_time if ended_then else None,
        ),
        before=None if row["before_snapshot"] is None else snapshot_from(row["before_snapshot"]),
    )
