"""Notices as rows: what a statement that keeps what was seen is given, and how it inserts them beside that."""

from __future__ import annotations

import json
from collections.abc import Iterable

from services.gateway.notices.domain import Notice

_TYPES = """notice_id uuid, kind text, payment_id text, seller_ids text[], "values" jsonb, occur_time timestamptz"""


def rows(notices: Iterable[Notice]) -> list[dict[str, object]]:
    """Return what `inserting` inserts, as JSON."""
    return [
        {
            "notice_id": str(one.notice_id),
            "kind": one.kind,
            "payment_id": one.payment_id,
            "seller_ids": one.seller_ids,
            "values": dict(one.values),
            "occur_time": one.occur_time.isoformat(),
        }
        for one in notices
    ]


def as_json(notices: Iterable[Notice]) -> str:
    """Return the same as one text."""
    return json.dumps(rows(notices))


def inserting(
    *, tenant: str, notices: str, shift: str, origin: str, when: str = "", payment: str = "n.payment_id"
) -> str:
    """Return a statement, or a part of one, that keeps `rows`, due at once; each argument is an expression of it.

    `when` names rows of the statement beside which it keeps them, such as `held`: nothing is kept where there are none.
    `payment` is the one that all of them are of, where there is one. What was noticed before is not kept again.
    """
    beside = f"{when}, " if when else ""
    return f"""
    INSERT INTO notices (tenant_id, notice_id, kind, payment_id, seller_ids, "values", occur_time, create_time,
        due_time, trace_context)
    SELECT {tenant}, n.notice_id, n.kind, {payment}, n.seller_ids, n."values", n.occur_time, now() + {shift},
        now() + {shift}, {origin}
    FROM {beside}jsonb_to_recordset({notices}) AS n ({_TYPES})
    ON CONFLICT ON CONSTRAINT notices_pkey DO NOTHING"""  # noqa: S608 our own column names
