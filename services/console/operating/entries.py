"""Reads back what this front wrote down of log-ins, views and exports."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from services.console.operating.views.audit import Entry
from services.runtime.database.connections import DirectConnections
from services.web.failures import Refusal

_BEFORE: Final = """
SELECT audit_id, subject, what, about, detail, client_ip, correlation_id, act_time
FROM audit
WHERE tenant_id = $1 AND audit_id < $2 AND ($3 = '' OR subject = $3) AND ($4 = '' OR about = $4)
ORDER BY audit_id DESC
LIMIT $5
"""
ID_MAX: Final = 2**63 - 1


async def entries_before(
    held: DirectConnections, *, tenant_id: str, token: str, size: int, subject: str, about: str
) -> tuple[Sequence[Entry], str]:
    """Return a page of entries, the newest first, and the token of the next; a token is the last id that was shown."""
    if token and not (token.isascii() and token.isdigit() and int(token) <= ID_MAX):
        raise Refusal(400, "PAGE_TOKEN_INVALID", field="page", explanation="Begin with the first page.")
    async with held.statement("console.audit.before") as connection:
        rows = await connection.fetch(_BEFORE, tenant_id, int(token or ID_MAX), subject, about, size + 1)
    found = [
        Entry(
            audit_id=row["audit_id"],
            subject=row["subject"],
            what=row["what"],
            about=row["about"],
            detail=row["detail"],
            client_ip=row["client_ip"],
            correlation_id=row["correlation_id"],
            act_time=row["act_time"],
        )
        for row in rows[:size]
    ]
    return found, str(found[-1].audit_id) if len(rows) > size else ""
