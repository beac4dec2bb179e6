"""Adds what moves add to the figures, in the transaction that hears the moves."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

import asyncpg

from services.orchestrator.facts.rules import Move
from services.orchestrator.figures.domain import added, moves_money
from services.shared import codec
from services.shared.split import Split

ADDED_AT_ONCE: Final = 5_000
"""Numbers in one statement, of some 100 ms: a payment of a hundred sellers adds to some hundreds."""


class FigureSink:
    """Takes moves, each once, of which one process hears at a time."""

    async def take(self, connection: asyncpg.Connection, tenant_id: str, moves: Sequence[Move]) -> None:
        """Add what they add."""
        of_money = sorted({move.after.payment_id for move in moves if moves_money(move)})
        splits = await self._splits(connection, tenant_id, of_money) if of_money else {}
        numbers = list(added([(move, splits.get(move.after.payment_id)) for move in moves]).items())
        for at in range(0, len(numbers), ADDED_AT_ONCE):
            rows = [(*place, amount) for place, amount in numbers[at : at + ADDED_AT_ONCE]]
            await connection.execute(ADD, tenant_id, *(list(column) for column in zip(*rows, strict=True)))

    async def _splits(
        self, connection: asyncpg.Connection, tenant_id: str, payment_ids: Sequence[str]
    ) -> dict[str, Split]:
        rows = await connection.fetch(SPLITS, tenant_id, payment_ids)
        return {row["payment_id"]: codec.from_json(Split, json.loads(row["split"])) for row in rows}


SPLITS: Final = """
SELECT payment_id, split FROM payments WHERE tenant_id = $1 AND payment_id = ANY ($2::text[])"""

ADD: Final = """
INSERT INTO payment_figures AS f (tenant_id, dimension, subject, day, currency_code, figure, amount)
SELECT $1, a.dimension, a.subject, a.day, a.currency_code, a.figure, a.amount
FROM unnest($2::text[], $3::text[], $4::date[], $5::text[], $6::text[], $7::bigint[])
    AS a (dimension, subject, day, currency_code, figure, amount)
ON CONFLICT ON CONSTRAINT payment_figures_pkey DO UPDATE SET amount = f.amount + excluded.amount"""
