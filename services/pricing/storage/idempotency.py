"""Answers a request that changes something once, and its repeats alike."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.errors import RequestIdReused
from services.pricing.storage.tables import requests
from services.runtime.database.connections import transaction

# Deletes requests from before an instant, a batch at a time.
FORGET: Final = """
DELETE FROM requests WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM requests WHERE create_time < $1 ORDER BY create_time LIMIT $2 FOR UPDATE SKIP LOCKED))
RETURNING 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request that changes something, by what makes it and its repeats one."""

    tenant_id: str
    caller: str
    method: str
    request_id: uuid.UUID
    request_hash: bytes
    """Of what is set in it, without its id."""


async def answer_once(
    engine: AsyncEngine,
    point: str,
    *,
    request: Request,
    now: datetime,
    act: Callable[[AsyncConnection], Awaitable[bytes]],
) -> bytes:
    """Return what `act` answers, in one transaction with what it does, or what it answered to this request before.

    A repeat that runs at the same time waits for the first. What `act` raises undoes everything and leaves the id free.
    Raises `RequestIdReused` for another body.
    """
    key = sa.and_(
        requests.c.tenant_id == request.tenant_id,
        requests.c.caller == request.caller,
        requests.c.method == request.method,
        requests.c.request_id == request.request_id,
    )
    claim = insert(requests).values(
        tenant_id=request.tenant_id,
        caller=request.caller,
        method=request.method,
        request_id=request.request_id,
        request_hash=request.request_hash,
        answer=b"",
        create_time=now,
    )
    async with transaction(engine, point) as connection:
        claimed = await connection.execute(claim.on_conflict_do_nothing().returning(sa.true()))
        if claimed.one_or_none() is None:
            known = sa.select(requests.c.request_hash, requests.c.answer).where(key)
            kept_hash, answer = (await connection.execute(known)).one()
            if kept_hash != request.request_hash:
                raise RequestIdReused(field="request_id")
            return answer
        answer = await act(connection)
        await connection.execute(sa.update(requests).where(key).values(answer=answer))
        return answer
