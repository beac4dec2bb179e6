"""Stripe's events as they came in, page by page, and what became of each. Their bodies stay where they are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

import asyncpg

from services.gateway.errors import PageTokenInvalid
from services.runtime.database.connections import DirectConnections
from services.shared.paging import position_in, token_for

LOOKED_AT_MAX: Final = 2_000
"""Events that one page looks at: some 10 ms. What a filter passes over is among them."""

Place = tuple[datetime, str]
"""When it was received, and its id: where a page ends."""


class EventState(StrEnum):
    """How an event stands, in the words of its row."""

    WAITING = "WAITING"
    DONE = "DONE"
    IGNORED = "IGNORED"
    PARKED = "PARKED"


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFilter:
    """Which are looked for; what is empty narrows nothing."""

    payment_id: str = ""
    subject_id: str = ""
    types: tuple[str, ...] = ()
    states: tuple[EventState, ...] = ()
    start_time: datetime
    end_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedEvent:
    """One of them."""

    event_id: str
    type: str
    subject_id: str
    payment_id: str
    account_id: str
    state: EventState
    note: str
    create_time: datetime
    receive_time: datetime
    done_time: datetime | None


class EventList:
    """Reads them. Raises `DependencyUnavailable` when the database is away."""

    def __init__(self, connections: DirectConnections) -> None:
        self._connections = connections

    async def page(
        self, tenant_id: str, wanted: EventFilter, *, size: int, page_token: str
    ) -> tuple[Sequence[ListedEvent], str]:
        """Return what came in, the newest first, and the token of the next page."""
        walk, before = f"events {tenant_id} {wanted}", None
        if page_token:
            before = position_in(page_token, walk=walk, parse=_parsed, invalid=PageTokenInvalid)
        async with self._connections.statement(None) as connection:
            rows = await connection.fetch(
                OF_SUBJECTS if wanted.payment_id or wanted.subject_id else BY_TIME,
                tenant_id,
                wanted.start_time,
                wanted.end_time,
                *(before or (wanted.end_time, "")),
                list(wanted.types),
                list(wanted.states),
                size + 1,
                LOOKED_AT_MAX,
                *((wanted.payment_id, wanted.subject_id) if wanted.payment_id or wanted.subject_id else ()),
            )
        found = [_listed(row) for row in rows if row["event_id"] is not None]
        if len(found) > size:
            return found[:size], token_for(_position(found[size - 1].receive_time, found[size - 1].event_id), walk=walk)
        if rows[0]["looked_at"] == LOOKED_AT_MAX:  # there may be more behind
            return found, token_for(_position(rows[0]["last_time"], rows[0]["last_id"]), walk=walk)
        return found, ""


def _listed(row: asyncpg.Record) -> ListedEvent:
    return ListedEvent(
        event_id=row["event_id"],
        type=row["type"],
        subject_id=row["subject"],
        payment_id=row["payment_id"] or "",
        account_id=row["account"] or "",
        state=EventState(row["state"]),
        note=row["note"],
        create_time=row["create_time"],
        receive_time=row["receive_time"],
        done_time=row["done_time"],
    )


def _position(receive_time: datetime, event_id: str) -> str:
    return json.dumps([receive_time.isoformat(), event_id])


def _parsed(position: str) -> Place:
    """Read a place in the list; raises ValueError for what is none."""
    match json.loads(position):
        case [str() as time, str() as event_id] if (
            event_id.isprintable() and datetime.fromisoformat(time).tzinfo is not None
        ):
            return datetime.fromisoformat(time), event_id
    raise ValueError("not a place")


_SHOWN: Final = """event_id, type, subject, account, state, note, create_time, receive_time, done_time, tenant_id = $1
            AND ($6::text[] = '{}' OR type = ANY($6)) AND ($7::text[] = '{}' OR state = ANY($7)) AS matches"""
_BEHIND: Final = """receive_time >= $2 AND receive_time < $3 AND receive_time <= $4
            AND (receive_time < $4 OR event_id < $5)
        ORDER BY receive_time DESC, event_id DESC LIMIT $9"""
_CHOSEN: Final = """
    chosen AS (SELECT * FROM looked_at WHERE matches ORDER BY receive_time DESC, event_id DESC LIMIT $8)
    SELECT chosen.*, last.*, coalesce(
        (SELECT i.payment_id FROM intents i WHERE i.tenant_id = $1 AND i.intent_id = chosen.subject),
        (SELECT i.payment_id FROM intents i WHERE i.tenant_id = $1 AND i.charge_id = chosen.subject LIMIT 1),
        (SELECT i.payment_id FROM intents i WHERE i.tenant_id = $1 AND i.session_id = chosen.subject),
        (SELECT r.payment_id FROM refunds r WHERE r.tenant_id = $1 AND r.stripe_refund_id = chosen.subject),
        (SELECT m.payment_id FROM movements m WHERE m.tenant_id = $1 AND m.stripe_id = chosen.subject),
        (SELECT d.payment_id FROM disputes d WHERE d.tenant_id = $1 AND d.dispute_id = chosen.subject)) AS payment_id
    FROM (SELECT count(*) AS looked_at, (array_agg(event_id ORDER BY receive_time, event_id))[1] AS last_id,
        min(receive_time) AS last_time FROM looked_at) AS last
    LEFT JOIN chosen ON true
    ORDER BY chosen.receive_time DESC, chosen.event_id DESC"""
"""Always a row: it says where the page ended that had none."""

# In the order of the index that forgetting takes, too: of a database with several tenants it passes over the others'.
BY_TIME: Final = f"""
    WITH looked_at AS MATERIALIZED (SELECT {_SHOWN} FROM events WHERE {_BEHIND}),
    {_CHOSEN}"""  # noqa: S608 our own statement

OF_SUBJECTS: Final = f"""
    WITH looked_at AS MATERIALIZED (SELECT {_SHOWN} FROM events
        WHERE tenant_id = $1 AND subject = ANY(ARRAY(
            SELECT $11::text WHERE $10 = '' UNION ALL
            SELECT unnest(ARRAY[intent_id, charge_id, session_id]) FROM intents
            WHERE tenant_id = $1 AND payment_id = $10 UNION ALL
            SELECT stripe_refund_id FROM refunds WHERE tenant_id = $1 AND payment_id = $10 UNION ALL
            SELECT stripe_id FROM movements WHERE tenant_id = $1 AND payment_id = $10 UNION ALL
            SELECT dispute_id FROM disputes WHERE tenant_id = $1 AND payment_id = $10)) AND {_BEHIND}),
    {_CHOSEN}"""  # noqa: S608 our own statement
