"""Uses of limited discounts: a quote holds one of each until it expires, is redeemed or is released.

A discount's counter row is locked by whoever takes or gives back one of its uses, several discounts in the order of
their ids. Uses of expired quotes are given back by the next one who comes, so nothing has to run for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.pricing.domain.errors import QuoteRedeemed
from services.pricing.domain.terms import Discount
from services.pricing.metrics import UNCOUNTED, PricingMetrics
from services.pricing.storage.statements import (
    COUNT,
    COUNTS,
    EXPIRE,
    HOLD,
    KEEP_OUTCOME,
    LOCK_COUNTER,
    LOCK_OUTCOME,
    OPEN_COUNTER,
    OPEN_OUTCOME,
    OUTCOME,
    OVER_LIMIT,
    SET_STATE,
    TAKEN,
    TAKEN_BY_PAYER,
    USES_OF_QUOTE,
)
from services.runtime.database.connections import after_commit, reading

OPEN, HELD, REDEEMED, RELEASED, EXPIRED = "OPEN", "HELD", "REDEEMED", "RELEASED", "EXPIRED"


class NoUseLeft(Exception):
    """Every use of a discount, or every one that the payer may have, is held or spent."""

    def __init__(self, discount: Discount, *, of_payer: bool) -> None:
        super().__init__(self.__doc__)
        self.discount = discount
        self.of_payer = of_payer


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What has become of a quote."""

    state: str
    """OPEN, REDEEMED or RELEASED."""
    over_limit: bool
    """Whether redeeming it took a discount over one of its limits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """The quote that takes uses."""

    tenant_id: str
    quote_id: str
    payer_id: str
    expire_time: datetime


class Uses:
    """The uses in PostgreSQL."""

    def __init__(self, engine: AsyncEngine, *, metrics: PricingMetrics = UNCOUNTED) -> None:
        self._engine = engine
        self._metrics = metrics

    async def hold(
        self, connection: AsyncConnection, discounts: Iterable[Discount], *, holder: Holder, now: datetime
    ) -> None:
        """Take one use of each discount for the quote; raises `NoUseLeft`."""
        for discount in sorted(discounts, key=lambda discount: discount.discount_id):
            key = (holder.tenant_id, discount.discount_id)
            await _lock(connection, key, now=now)
            await _check(connection, discount, key=key, payer_id=holder.payer_id, now=now)
            limits = (discount.uses_max, discount.uses_per_payer_max)
            await connection.exec_driver_sql(
                HOLD, (*key, holder.quote_id, holder.payer_id, *limits, holder.expire_time)
            )
            await connection.exec_driver_sql(COUNT, (*key, 1, 0))

    async def check(self, discounts: Sequence[Discount], *, tenant_id: str, payer_id: str, now: datetime) -> None:
        """Raise `NoUseLeft` if a quote made now could not hold one of the discounts; holds nothing."""
        if not discounts:
            return
        async with reading(self._engine) as connection:
            for discount in discounts:
                key = (tenant_id, discount.discount_id)
                await _check(connection, discount, key=key, payer_id=payer_id, now=now)

    async def redeem(self, connection: AsyncConnection, *, tenant_id: str, quote_id: str, now: datetime) -> Outcome:
        """Spend what the quote holds, also what it has given back before: the payer was promised the price."""
        earlier = await _lock_outcome(connection, tenant_id, quote_id)
        if earlier.state == REDEEMED:
            return earlier
        over_limit = False
        discount_ids = await _discounts_of(connection, tenant_id, quote_id)
        for discount_id in discount_ids:
            key = (tenant_id, discount_id)
            await _lock(connection, key, now=now)
            before = await _set_state(connection, key, quote_id, to=REDEEMED)
            await connection.exec_driver_sql(COUNT, (*key, -1 if before == HELD else 0, 1))
            if before != HELD:
                found = await connection.exec_driver_sql(OVER_LIMIT, (*key, quote_id))
                over_limit |= bool(found.scalar_one())
        outcome = Outcome(state=REDEEMED, over_limit=over_limit)
        await connection.exec_driver_sql(KEEP_OUTCOME, (tenant_id, quote_id, REDEEMED, over_limit))
        if discount_ids:
            after_commit(connection, partial(self._metrics.redeemed, over_limit=over_limit))
        return outcome

    async def release(
        self, connection: AsyncConnection, *, tenant_id: str, quote_id: str, expire_time: datetime, now: datetime
    ) -> str:
        """Give back what the quote holds and return its state then; raises `QuoteRedeemed`.

        An expired quote has given everything back by itself, and stays expired.
        """
        earlier = await _lock_outcome(connection, tenant_id, quote_id)
        if earlier.state == REDEEMED:
            raise QuoteRedeemed
        if earlier.state == RELEASED:
            return RELEASED
        if now >= expire_time:
            return EXPIRED
        discount_ids = await _discounts_of(connection, tenant_id, quote_id)
        for discount_id in discount_ids:
            key = (tenant_id, discount_id)
            await _lock(connection, key, now=now)
            before = await _set_state(connection, key, quote_id, to=RELEASED)
            if before == HELD:  # or somebody whose clock is later has given it back as expired
                await connection.exec_driver_sql(COUNT, (*key, -1, 0))
        await connection.exec_driver_sql(KEEP_OUTCOME, (tenant_id, quote_id, RELEASED, False))
        if discount_ids:
            after_commit(connection, self._metrics.released)
        return RELEASED

    async def outcome(self, *, tenant_id: str, quote_id: str) -> Outcome:
        """Return what has become of a quote."""
        async with reading(self._engine) as connection:
            row: Any = (await connection.exec_driver_sql(OUTCOME, (tenant_id, quote_id))).one_or_none()
        return Outcome(state=OPEN, over_limit=False) if row is None else Outcome(state=row[0], over_limit=row[1])

    async def counts(self, discount_ids: Sequence[str], *, tenant_id: str, now: datetime) -> dict[str, tuple[int, int]]:
        """Return how many uses of each discount are held and redeemed now; one that was never used is not in it."""
        async with reading(self._engine) as connection:
            rows: Any = await connection.exec_driver_sql(COUNTS, (tenant_id, list(discount_ids), now))
            return {discount_id: (held, redeemed) for discount_id, held, redeemed in rows}


async def _lock(connection: AsyncConnection, key: tuple[str, str], *, now: datetime) -> None:
    """Lock the discount's counter until the transaction ends, and give back what has expired."""
    await connection.exec_driver_sql(OPEN_COUNTER, key)
    await connection.exec_driver_sql(LOCK_COUNTER, key)
    await connection.exec_driver_sql(EXPIRE, (*key, now))


async def _check(
    connection: AsyncConnection, discount: Discount, *, key: tuple[str, str], payer_id: str, now: datetime
) -> None:
    if discount.uses_max is not None:
        taken = (await connection.exec_driver_sql(TAKEN, (*key, now))).scalar_one_or_none()
        if (taken or 0) >= discount.uses_max:
            raise NoUseLeft(discount, of_payer=False)
    if discount.uses_per_payer_max is not None:
        taken = (await connection.exec_driver_sql(TAKEN_BY_PAYER, (*key, payer_id, now))).scalar_one()
        if taken >= discount.uses_per_payer_max:
            raise NoUseLeft(discount, of_payer=True)


async def _lock_outcome(connection: AsyncConnection, tenant_id: str, quote_id: str) -> Outcome:
    await connection.exec_driver_sql(OPEN_OUTCOME, (tenant_id, quote_id))
    row: Any = (await connection.exec_driver_sql(LOCK_OUTCOME, (tenant_id, quote_id))).one()
    return Outcome(state=row[0], over_limit=row[1])


async def _discounts_of(connection: AsyncConnection, tenant_id: str, quote_id: str) -> list[str]:
    return [row[0] for row in await connection.exec_driver_sql(USES_OF_QUOTE, (tenant_id, quote_id))]


async def _set_state(connection: AsyncConnection, key: tuple[str, str], quote_id: str, *, to: str) -> str:
    """Return the state that the use had before."""
    changed = await connection.exec_driver_sql(SET_STATE, (*key, quote_id, to))
    before: str = changed.scalar_one()
    return before
