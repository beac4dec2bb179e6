"""What people did at a front that no service knows of: log-ins, views of personal data, exports. Only ever added to."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

from services.runtime.database.connections import DirectConnections

DETAIL_CHARACTERS_MAX: Final = 500
_ADD: Final = """
INSERT INTO audit (tenant_id, subject, what, about, detail, client_ip, correlation_id, act_time)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
"""
_HAS: Final = """
SELECT EXISTS (
    SELECT FROM audit
    WHERE tenant_id = $1 AND subject = $2 AND what = $3 AND about = $4 AND starts_with(detail, $5)
)
"""


class Audit:
    """Writes what was done, before it is shown."""

    def __init__(self, held: DirectConnections, *, now: Callable[[], datetime]) -> None:
        self._held = held
        self._now = now

    async def has(self, *, tenant_id: str, subject: str, what: str, about: str, detail_begins: str) -> bool:
        """Tell whether this person did it, by how the detail of its entry begins."""
        async with self._held.statement(None) as connection:
            return bool(await connection.fetchval(_HAS, tenant_id, subject, what, about, detail_begins))

    async def add(
        self,
        *,
        tenant_id: str,
        subject: str,
        what: str,
        about: str = "",
        detail: str = "",
        client_ip: str = "",
        correlation_id: str = "",
    ) -> None:
        """Write one entry."""
        async with self._held.statement("web.audit.add") as connection:
            await connection.execute(
                _ADD,
                tenant_id,
                subject,
                what,
                about,
                detail[:DETAIL_CHARACTERS_MAX],
                client_ip,
                correlation_id,
                self._now(),
            )
