"""How many rows a statement looks at, which says whether it reads what it asks for or all that there is."""

from __future__ import annotations

import json
from typing import Any

import asyncpg


async def rows_read(connection: asyncpg.Connection, statement: str, *arguments: object) -> int:
    """Return how many rows the scans of a statement looked at, those that they threw away as well."""
    [explained] = await connection.fetchrow(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", *arguments)
    return _rows_of(json.loads(explained)[0]["Plan"])


def _rows_of(plan: dict[str, Any]) -> int:
    scanned = 0
    if "Relation Name" in plan:
        looked_at = plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)
        scanned = int(looked_at * plan["Actual Loops"])
    return scanned + sum(_rows_of(child) for child in plan.get("Plans", []))
