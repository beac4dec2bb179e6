"""Lists of payments and changes of their labels: off the path of a payment, so in SQLAlchemy Core."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from services.runtime.database.connections import reading, transaction
from services.shared.paging import position_in, token_for
from services.status.domain.errors import PageTokenInvalid, PaymentNotFound
from services.status.domain.filters import Filter
from services.status.domain.records import PAYER, PAYMENT_ID, SELLER, Payment
from services.status.domain.snapshot import NEVER_SETTLED
from services.status.storage.rows import PAYMENT_COLUMNS, payment_from
from services.status.storage.tables import payment_bookings, payment_sellers, payments

LOOKED_AT_MAX: Final = 10_000
"""Payments that one page looks at where a currency or a total is wanted, which have no index: some 30 ms."""
_COLUMNS: Final = tuple(payments.c[name] for name in PAYMENT_COLUMNS)


class PaymentList:
    """The payments of all tenants, as lists."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def page(self, wanted: Filter, *, size: int, token: str) -> tuple[list[Payment], str]:
        """Return at most `size` payments, newest first, and the token of the next page, empty if there is none.

        Of a currency or a total a page may be short. Raises PageTokenInvalid.
        """
        after = _position(token, wanted) if token else None
        query = _query(wanted, after=after)
        async with reading(self._engine) as connection:
            last = None
            if (looked_at := _without_amount(wanted)) != wanted:
                place = _query(looked_at, after=after).offset(LOOKED_AT_MAX - 1).limit(1)
                last = (await connection.execute(place)).mappings().one_or_none()
                query = query.where(*_on_total(wanted), *_down_to(last, wanted))
            rows = (await connection.execute(query.limit(size + 1))).mappings().all()
        page = [payment_from(row) for row in rows[:size]]
        if len(rows) > size:
            return page, _token(page[-1], wanted)
        return page, "" if last is None else _token(payment_from(last), wanted)

    async def set_labels(
        self, payment_id: str, *, tenant_id: str, labels: Mapping[str, str], booking_ids: Sequence[str]
    ) -> Payment:
        """Replace labels and bookings, and return the payment; raise PaymentNotFound."""
        its = sa.and_(payments.c.tenant_id == tenant_id, payments.c.payment_id == payment_id)
        async with transaction(self._engine, "status.set_labels") as connection:
            before = (
                await connection.execute(
                    sa.select(payments.c.booking_ids, payments.c.open_time).where(its).with_for_update()
                )
            ).one_or_none()
            if before is None:
                raise PaymentNotFound
            await connection.execute(
                sa.delete(payment_bookings).where(
                    payment_bookings.c.tenant_id == tenant_id,
                    payment_bookings.c.booking_id.in_(before.booking_ids),
                    payment_bookings.c.open_time == before.open_time,
                    payment_bookings.c.payment_id == payment_id,
                )
            )
            if booking_ids:
                links = [
                    {
                        "tenant_id": tenant_id,
                        "booking_id": booking_id,
                        "open_time": before.open_time,
                        "payment_id": payment_id,
                    }
                    for booking_id in booking_ids
                ]
                await connection.execute(sa.insert(payment_bookings), links)
            changed = await connection.execute(
                sa.update(payments)
                .where(its)
                .values(labels=dict(labels), booking_ids=list(booking_ids))
                .returning(*_COLUMNS)
            )
            return payment_from(changed.mappings().one())


@dataclass(frozen=True, slots=True)
class Covered:
    """The payments that a filter covers, as a query can be made of, driven by the index that narrows most."""

    source: sa.FromClause
    conditions: list[sa.ColumnElement[bool]]
    order: tuple[sa.ColumnElement[Any], sa.ColumnElement[Any]]


def covered_by(wanted: Filter) -> Covered:
    """Return the payments for which `wanted.covers` holds: found by booking, by seller, or by an index of their own."""
    seller_ids = {wanted.seller_id} if wanted.seller_id else set()
    conditions: list[sa.ColumnElement[bool]] = [payments.c.tenant_id == wanted.tenant_id]
    if wanted.own_as:
        is_payer, is_seller = payments.c.payer_id == wanted.own_of, _sells(wanted.own_of)
        if wanted.own_as == (SELLER,):
            seller_ids.add(wanted.own_of)
        elif wanted.own_as == (PAYER,):
            conditions.append(is_payer)
        else:
            conditions.append(sa.or_(is_payer, is_seller))
    order: tuple[sa.ColumnElement[Any], sa.ColumnElement[Any]] = (payments.c.open_time, payments.c.payment_id)
    source: sa.FromClause = payments
    if wanted.booking_id:
        links = payment_bookings
        source = links.join(payments, _same_payment(links))
        order = (links.c.open_time, links.c.payment_id)
        conditions += [links.c.tenant_id == wanted.tenant_id, links.c.booking_id == wanted.booking_id]
    elif seller_ids:
        sellers = payment_sellers
        source = sellers.join(payments, _same_payment(sellers))
        order = (sellers.c.open_time, sellers.c.payment_id)
        conditions += [sellers.c.tenant_id == wanted.tenant_id, sellers.c.seller_id == seller_ids.pop()]
    conditions += [_sells(seller_id) for seller_id in sorted(seller_ids)]
    if wanted.payer_id:
        conditions.append(payments.c.payer_id == wanted.payer_id)
    if wanted.client_reference:
        is_there = payments.c.client_reference != sa.literal_column("''")  # or a prepared plan could not use its index
        conditions += [payments.c.client_reference == wanted.client_reference, is_there]
    if wanted.currency_code:
        conditions.append(payments.c.currency_code == wanted.currency_code)
    if wanted.opened_from is not None:
        conditions.append(order[0] >= wanted.opened_from)
    if wanted.opened_before is not None:
        conditions.append(order[0] < wanted.opened_before)
    return Covered(source, conditions, order)


def _query(wanted: Filter, *, after: tuple[datetime, str] | None) -> sa.Select[*tuple[Any, ...]]:
    covered = covered_by(wanted)
    conditions = list(covered.conditions)
    if wanted.states:
        conditions.append(payments.c.state.in_(wanted.states))
    if wanted.unsettled_only or (wanted.states and NEVER_SETTLED.issuperset(wanted.states)):
        conditions.append(sa.not_(payments.c.settled))
    if wanted.attention_only or wanted.attention_reasons:
        conditions.append(payments.c.needs_attention)
    if wanted.attention_reasons:
        held = payments.c.snapshot["attentions"]
        conditions.append(sa.or_(*(held.contains([{"reason": reason}]) for reason in wanted.attention_reasons)))
    if after is not None:
        conditions.append(sa.tuple_(*covered.order) < sa.tuple_(*(sa.literal(value) for value in after)))
    order = (column.desc() for column in covered.order)
    return sa.select(*_COLUMNS).select_from(covered.source).where(*conditions).order_by(*order)


def _without_amount(wanted: Filter) -> Filter:
    return replace(wanted, currency_code="", total_min_minor=None, total_max_minor=None)


def _on_total(wanted: Filter) -> list[sa.ColumnElement[bool]]:
    """A payment that was priced anew says so in its snapshot."""
    total_minor = sa.func.coalesce(
        sa.cast(payments.c.snapshot["total_minor"].astext, sa.BigInteger), payments.c.total_amount_minor
    )
    bounds = []
    if wanted.total_min_minor is not None:
        bounds.append(total_minor >= wanted.total_min_minor)
    if wanted.total_max_minor is not None:
        bounds.append(total_minor <= wanted.total_max_minor)
    return bounds


def _down_to(last: Mapping[Any, Any] | None, wanted: Filter) -> list[sa.ColumnElement[bool]]:
    """What one page looks at: down to a place, which stays where it is, whatever is opened or moves meanwhile."""
    if last is None:
        return []
    place = sa.tuple_(sa.literal(last["open_time"]), sa.literal(last["payment_id"]))
    return [sa.tuple_(*covered_by(wanted).order) >= place]


def _sells(seller_id: str) -> sa.ColumnElement[bool]:
    return sa.literal(seller_id) == sa.any_(payments.c.seller_ids)


def _same_payment(links: sa.FromClause) -> sa.ColumnElement[bool]:
    return sa.and_(links.c.tenant_id == payments.c.tenant_id, links.c.payment_id == payments.c.payment_id)


def _token(last: Payment, wanted: Filter) -> str:
    return token_for(f"{last.open_time.isoformat()} {last.opening.payment_id}", walk=repr(wanted))


def _position(token: str, wanted: Filter) -> tuple[datetime, str]:
    return position_in(token, walk=repr(wanted), parse=_parsed, invalid=PageTokenInvalid)


def _parsed(position: str) -> tuple[datetime, str]:
    open_time, _, payment_id = position.partition(" ")
    instant = datetime.fromisoformat(open_time)
    if instant.tzinfo is None or not PAYMENT_ID.fullmatch(payment_id):
        raise ValueError("no position of ours")
    return instant, payment_id
