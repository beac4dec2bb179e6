"""The statements on disputes beside the mirror's, which writes them. What they mean is said where `store` runs them."""

from __future__ import annotations

from typing import Final

_ROW: Final = "d.payment_id, d.attempt, d.mirrored"

PAYMENT: Final = """
SELECT payment_id FROM disputes WHERE tenant_id = $1 AND dispute_id = $2"""

_WANTED: Final = """(NOT $3::boolean OR d.is_open)
    AND ($4::text[] IS NULL OR d.state = ANY($4))
    AND ($5::timestamptz IS NULL OR d.answer_due_time < $5)
    AND ($6::timestamptz IS NULL OR (d.create_time, d.dispute_id) < ($6, $7::text))
ORDER BY d.create_time DESC, d.dispute_id DESC
LIMIT $8"""

PAGE: Final = f"""
SELECT {_ROW} FROM disputes d WHERE d.tenant_id = $1 AND $2::text IS NULL AND {_WANTED}"""  # noqa: S608 our own columns

PAGE_OF_PAYMENT: Final = f"""
SELECT {_ROW} FROM disputes d WHERE d.tenant_id = $1 AND d.payment_id = $2 AND {_WANTED}"""  # noqa: S608 our own columns

FIGURES: Final = """
SELECT count(*) AS open, min(answer_due_time) AS due_time FROM disputes WHERE tenant_id = $1 AND is_open"""
