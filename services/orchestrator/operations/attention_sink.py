"""Raises and resolves attention items as facts say, in the transaction that keeps the facts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import asyncpg

from services.orchestrator.facts.domain import Fact, FactKind
from services.orchestrator.facts.sink import AfterCommit
from services.orchestrator.operations.wire import attention_in, cause_in


class AttentionSink:
    """Takes facts, in their order: of one payment a reason may be raised, ended and raised again at once."""

    async def take(self, connection: asyncpg.Connection, facts: Sequence[Fact]) -> AfterCommit | None:
        """Write down what is raised, says something else, or is gone. An acknowledgment is of what was said then."""
        for fact in facts:
            if fact.kind is FactKind.ATTENTION_RAISED:
                await connection.execute(
                    RAISE,
                    fact.tenant_id,
                    fact.fact_id,
                    fact.payment_id,
                    fact.values["reason"],
                    fact.values.get("detail", ""),
                    fact.occur_time,
                    fact.revision,
                )
            elif fact.kind is FactKind.ATTENTION_ENDED:
                await connection.execute(
                    RESOLVE,
                    fact.tenant_id,
                    fact.payment_id,
                    fact.values["reason"],
                    fact.occur_time,
                    fact.revision,
                    cause_in(fact.payment),
                )
            elif fact.kind is FactKind.PAYMENT_MOVED and (said := attention_in(fact.payment)):
                await connection.execute(
                    SAY, fact.tenant_id, fact.payment_id, list(said), list(said.values()), fact.occur_time
                )
        return None


# Neither the same fact twice, nor a reason that is open already.
RAISE: Final = """
INSERT INTO attention_items (tenant_id, item_id, payment_id, reason, detail, raise_time, raise_revision)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT DO NOTHING"""

RESOLVE: Final = """
UPDATE attention_items SET resolve_time = $4, resolve_revision = $5, resolve_cause = $6
WHERE tenant_id = $1 AND payment_id = $2 AND reason = $3 AND resolve_time IS NULL"""

SAY: Final = """
UPDATE attention_items i SET detail = said.detail, change_time = $5, acknowledge_time = NULL, acknowledged_by = '',
    note = ''
FROM unnest($3::text[], $4::text[]) AS said (reason, detail)
WHERE i.tenant_id = $1 AND i.payment_id = $2 AND i.reason = said.reason AND i.resolve_time IS NULL
    AND i.detail <> said.detail"""
