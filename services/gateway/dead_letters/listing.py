"""What was given up, page by page: with what it is about, each try that failed, and what was stored where asked for."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from services.errors import FieldInvalid
from services.gateway.errors import PageTokenInvalid
from services.gateway.webhooks.bodies import Bodies
from services.runtime.database.connections import DirectConnections
from services.runtime.work import dead_letters as letters
from services.runtime.work.dead_letters import DeadLetter, Filter
from services.runtime.work.engine import Engine
from services.shared import fields
from services.shared.paging import position_in, token_for

PAGE_SIZE_DEFAULT: Final = 50
PAGE_SIZE_MAX: Final = 200
WITH_PAYLOAD_MAX: Final = 20
"""Dead letters of a page that says what was stored of them."""
KINDS: Final = ("events", "calls", "deliveries", "notices")
"""Kinds of due work of which the statements below know what each is about, in the order of their arguments."""
PAYLOADS_MAX: Final = 50
"""Of one dead letter: as many events as are read together."""
PAYLOAD_BYTES_MAX: Final = 2 * 1024 * 1024
"""Of all on a page: half of what a client takes in one message. One alone has 256 KB at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """What was stored to be processed or delivered."""

    subject_id: str
    subject_type: str
    receive_time: datetime
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A dead letter, and what it is about."""

    letter: DeadLetter
    payment_id: str = ""
    subject_id: str = ""
    payloads: Sequence[Payload] = field(default=())
    left_out: int = 0
    """Payloads that are there and are not among these."""


class DeadLetterList:
    """Lists what the engine of this service has given up."""

    def __init__(self, connections: DirectConnections, work: Engine, bodies: Bodies) -> None:
        self._connections = connections
        self._work = work
        self._bodies = bodies

    async def page(
        self, tenant_id: str, *, chosen: Filter, page_size: int, page_token: str, with_payload: bool
    ) -> tuple[list[Listed], str]:
        """Return the dead letters of a filter, the oldest first, and the token of the next page."""
        size = fields.page_size(page_size, default=PAGE_SIZE_DEFAULT, at_most=PAGE_SIZE_MAX)
        if with_payload:
            if page_size > WITH_PAYLOAD_MAX:
                raise FieldInvalid(field="page_size", detail=f"must be at most {WITH_PAYLOAD_MAX} with their payload")
            size = min(size, WITH_PAYLOAD_MAX)
        walk, after = f"dead letters {tenant_id} {chosen}", None
        if page_token:
            after = position_in(page_token, walk=walk, parse=_parsed, invalid=PageTokenInvalid)
        found = await letters.dead_letters(
            self._connections, self._work.kinds, tenant_id=tenant_id, after=after, limit=size + 1, chosen=chosen
        )
        listed = await self._listed(tenant_id, found[:size])
        if with_payload:
            listed = await self._with_payloads(tenant_id, listed)
        token = token_for(_position(listed[-1].letter), walk=walk) if len(found) > size else ""
        return listed, token

    async def _listed(self, tenant_id: str, page: Sequence[DeadLetter]) -> list[Listed]:
        async with self._connections.statement(None) as connection:
            rows = await connection.fetch(_SUBJECTS, tenant_id, *self._keys(page))
        by_id = {row["dead_letter_id"]: row for row in rows}
        listed = []
        for letter in page:
            row = by_id.get(letter.dead_letter_id, {})
            payment_id, subject_id = row.get("payment_id") or "", row.get("subject_id") or ""
            listed.append(Listed(letter=letter, payment_id=payment_id, subject_id=subject_id))
        return listed

    async def _with_payloads(self, tenant_id: str, page: Sequence[Listed]) -> list[Listed]:
        async with self._connections.statement(None) as connection:
            rows = await connection.fetch(_PAYLOADS, tenant_id, *self._keys([one.letter for one in page]), PAYLOADS_MAX)
        found: dict[str, list[Payload]] = defaultdict(list)
        left_out = {row["dead_letter_id"]: max(0, row["stored"] - PAYLOADS_MAX) for row in rows}
        room = PAYLOAD_BYTES_MAX
        for row in rows:
            body = await self._bodies.opened(tenant_id, row) if row["holder"] else row["body"]
            room -= len(body or b"")
            if room < 0:
                left_out[row["dead_letter_id"]] += 1
                continue
            payload = Payload(
                subject_id=row["subject_id"],
                subject_type=row["subject_type"],
                receive_time=row["receive_time"],
                body=body or b"",
            )
            found[row["dead_letter_id"]].append(payload)
        return [
            replace(one, payloads=found[of], left_out=left_out.get(of, 0))
            for one in page
            for of in (one.letter.dead_letter_id,)
        ]

    def _keys(self, page: Sequence[DeadLetter]) -> list[list[str]]:
        return [[one.key[0] for one in page if one.kind == kind] for kind in KINDS]


def _position(letter: DeadLetter) -> str:
    time, name = letters.place_of(letter)
    return json.dumps([time.isoformat(), name])


def _parsed(position: str) -> tuple[datetime, str]:
    """Read a place in the list; raises ValueError for what is none."""
    match json.loads(position):
        case [str() as time, str() as name] if name.isprintable() and datetime.fromisoformat(time).tzinfo is not None:
            return datetime.fromisoformat(time), name
    raise ValueError("not a place")


_SUBJECTS: Final = """
    SELECT 'events/' || s.subject AS dead_letter_id, e.event_id AS subject_id,
        coalesce((SELECT i.payment_id FROM intents i WHERE i.tenant_id = $1 AND i.intent_id = s.subject),
                 (SELECT i.payment_id FROM intents i WHERE i.tenant_id = $1 AND i.charge_id = s.subject LIMIT 1),
                 (SELECT r.payment_id FROM refunds r WHERE r.tenant_id = $1 AND r.stripe_refund_id = s.subject))
            AS payment_id
    FROM unnest($2::text[]) AS s (subject)
    LEFT JOIN LATERAL (
        SELECT event_id FROM events WHERE tenant_id = $1 AND subject = s.subject AND state = 'WAITING'
        ORDER BY create_time, receive_time LIMIT 1) AS e ON true
    UNION ALL
    SELECT 'calls/' || c.call_id, c.call_id::text,
        CASE WHEN c.subject_type = 'payment' THEN c.subject_id END
    FROM calls c WHERE c.tenant_id = $1 AND c.call_id = ANY($3::text[]::uuid[])
    UNION ALL
    SELECT 'deliveries/' || d.payment_id, d.payment_id, d.payment_id
    FROM deliveries d WHERE d.tenant_id = $1 AND d.payment_id = ANY($4::text[])
    UNION ALL
    SELECT 'notices/' || n.notice_id, n.notice_id::text, nullif(n.payment_id, '')
    FROM notices n WHERE n.tenant_id = $1 AND n.notice_id = ANY($5::text[]::uuid[])
"""

_PAYLOADS: Final = """
    SELECT * FROM (
        SELECT 'events/' || e.subject AS dead_letter_id, e.event_id AS subject_id, e.type AS subject_type,
            e.event_id, e.holder, e.receive_time, e.body, count(*) OVER (PARTITION BY e.subject) AS stored,
            row_number() OVER (PARTITION BY e.subject ORDER BY e.create_time, e.receive_time) AS place
        FROM events e WHERE e.tenant_id = $1 AND e.subject = ANY($2::text[]) AND e.state = 'WAITING'
        UNION ALL
        SELECT 'calls/' || c.call_id, c.call_id::text, c.operation, '', '', c.create_time,
            convert_to(c.params::text, 'UTF8'), 1, 1
        FROM calls c WHERE c.tenant_id = $1 AND c.call_id = ANY($3::text[]::uuid[])
        UNION ALL
        SELECT 'deliveries/' || d.payment_id, d.payment_id, d.origin, '', '', d.record_time,
            convert_to(d.observation::text, 'UTF8'), 1, 1
        FROM deliveries d WHERE d.tenant_id = $1 AND d.payment_id = ANY($4::text[])
        UNION ALL
        SELECT 'notices/' || n.notice_id, n.notice_id::text, n.kind, '', '', n.create_time,
            convert_to(n."values"::text, 'UTF8'), 1, 1
        FROM notices n WHERE n.tenant_id = $1 AND n.notice_id = ANY($5::text[]::uuid[])) AS stored
    WHERE place <= $6 ORDER BY dead_letter_id, place
"""
