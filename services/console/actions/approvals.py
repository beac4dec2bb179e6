"""What waits for a second person: asked for by one operator, released by another. In the console's own database.

A row has the `request_id` of the call that it leads to, so that whoever carries it on makes the same call. It is
released once, by one statement; what came of the call is written after it. A process that dies between the two leaves
a row that is RELEASED: the one who released it sends the same call again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from batzen.type.v1.money_pb2 import Money
from services.console.actions.domain import APPROVAL_LIFE, Ask
from services.runtime.database.connections import DirectConnections

LISTED_MAX: Final = 100
UNDER_WAY_MAX: Final = timedelta(hours=1)
"""How long after its release a call may still be under way; one that is not known by then, nor before the approval
expired, is not made any more."""
_COLUMNS: Final = (
    "request_id, payment_id, action, fields, currency_code, amount_minor, reason, asked_by, ask_time, expire_time, "
    "state, decided_by, decide_time, outcome"
)
_ADD: Final = f"""
INSERT INTO approvals (tenant_id, {_COLUMNS})
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 'OPEN', '', NULL, '')
ON CONFLICT DO NOTHING
"""  # noqa: S608 names of columns, and nothing of a caller's
_GET: Final = f"SELECT {_COLUMNS} FROM approvals WHERE tenant_id = $1 AND request_id = $2"  # noqa: S608
_LIST: Final = f"""
SELECT {_COLUMNS} FROM approvals WHERE tenant_id = $1 ORDER BY ask_time DESC LIMIT {LISTED_MAX}
"""  # noqa: S608
_EXPIRE: Final = """
UPDATE approvals SET state = 'EXPIRED'
WHERE tenant_id = $1 AND payment_id = $2 AND action = $3 AND state = 'OPEN' AND expire_time <= $4
"""
_WAITING: Final = """
SELECT request_id FROM approvals
WHERE tenant_id = $1 AND (request_id = $2 OR payment_id = $3 AND action = $4 AND state IN ('OPEN', 'RELEASED'))
ORDER BY (request_id = $2) DESC LIMIT 1
"""
_DECIDE: Final = """
UPDATE approvals SET state = $3, decided_by = $4, decide_time = $5
WHERE tenant_id = $1 AND request_id = $2 AND state = 'OPEN' AND asked_by <> $4 AND expire_time > $5
"""
_WITHDRAW: Final = """
UPDATE approvals SET state = 'WITHDRAWN', decided_by = $3, decide_time = $4
WHERE tenant_id = $1 AND request_id = $2 AND state = 'OPEN' AND asked_by = $3
"""
_END: Final = """
UPDATE approvals SET state = $3, outcome = $4
WHERE tenant_id = $1 AND request_id = $2 AND state = 'RELEASED'
"""


class ApprovalState(StrEnum):
    """How far it has come."""

    OPEN = "OPEN"
    RELEASED = "RELEASED"
    """Somebody released it, and what came of the call is not written down."""
    DONE = "DONE"
    REFUSED = "REFUSED"
    """Released, and refused by the service."""
    DECLINED = "DECLINED"
    WITHDRAWN = "WITHDRAWN"
    EXPIRED = "EXPIRED"
    """Nobody released it in time; or somebody did, and nothing was done until it expired."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """One of them."""

    request_id: str
    ask: Ask
    reason: str
    asked_by: str
    ask_time: datetime
    expire_time: datetime
    state: ApprovalState
    decided_by: str
    decide_time: datetime | None
    outcome: str

    def is_open(self, *, now: datetime) -> bool:
        """Tell whether somebody may release it."""
        return self.state is ApprovalState.OPEN and now < self.expire_time

    def may_release(self, subject: str, *, now: datetime) -> bool:
        """Tell whether this person may, or may carry on what they released."""
        if self.state is ApprovalState.RELEASED:
            return self.decided_by == subject and now < self.expire_time
        return self.is_open(now=now) and self.asked_by != subject

    def is_given_up(self, *, now: datetime) -> bool:
        """Tell whether a release whose call is not known to any service leads to none any more."""
        if self.state is not ApprovalState.RELEASED or self.decide_time is None:
            return False
        return now >= max(self.expire_time, self.decide_time + UNDER_WAY_MAX)


class ApprovalStore:
    """Keeps them, for one front."""

    def __init__(self, held: DirectConnections, *, now: Callable[[], datetime]) -> None:
        self._held = held
        self._now = now

    async def add(self, tenant_id: str, request_id: str, ask: Ask, *, reason: str, asked_by: str) -> str | None:
        """Write down what is asked for, and return under which id it waits.

        The same form sent twice is one row. It is another's id where the same action on the same payment waits already:
        two releases of one wish would be two calls.
        """
        now, moved = self._now(), ask.moved or Money()
        async with self._held.transaction("console.approval.add") as connection:
            await connection.execute(_EXPIRE, tenant_id, ask.payment_id, ask.action, now)
            await connection.execute(
                _ADD,
                tenant_id,
                request_id,
                ask.payment_id,
                ask.action,
                json.dumps(dict(ask.fields), sort_keys=True),
                moved.currency_code,
                moved.amount_minor,
                reason,
                asked_by,
                now,
                now + APPROVAL_LIFE,
            )
            waiting: str | None = await connection.fetchval(_WAITING, tenant_id, request_id, ask.payment_id, ask.action)
        return waiting

    async def get(self, tenant_id: str, request_id: str) -> Approval | None:
        """Return one, or None."""
        async with self._held.statement(None) as connection:
            row = await connection.fetchrow(_GET, tenant_id, request_id)
        return None if row is None else _approval(row)

    async def newest(self, tenant_id: str) -> Sequence[Approval]:
        """Return the newest."""
        async with self._held.statement(None) as connection:
            return [_approval(row) for row in await connection.fetch(_LIST, tenant_id)]

    async def release(self, tenant_id: str, request_id: str, *, by: str) -> bool:
        """Release it for somebody else than who asked; False where it is not open, or theirs."""
        return await self._decide(tenant_id, request_id, ApprovalState.RELEASED, by=by)

    async def decline(self, tenant_id: str, request_id: str, *, by: str) -> bool:
        """Decline it, or withdraw what one asked for; False where it is not open any more."""
        if await self._decide(tenant_id, request_id, ApprovalState.DECLINED, by=by):
            return True
        async with self._held.statement("console.approval.withdraw") as connection:
            return _changed(await connection.execute(_WITHDRAW, tenant_id, request_id, by, self._now()))

    async def end(self, tenant_id: str, request_id: str, *, refusal: str) -> None:
        """Write down what came of the call; `refusal` is empty where it was done."""
        state = ApprovalState.REFUSED if refusal else ApprovalState.DONE
        await self._end(tenant_id, request_id, state, refusal)

    async def give_up(self, tenant_id: str, request_id: str) -> None:
        """Write down that it was released, and that nothing was done until it expired."""
        await self._end(tenant_id, request_id, ApprovalState.EXPIRED, "")

    async def _end(self, tenant_id: str, request_id: str, state: ApprovalState, refusal: str) -> None:
        async with self._held.statement("console.approval.end") as connection:
            await connection.execute(_END, tenant_id, request_id, state, refusal)

    async def _decide(self, tenant_id: str, request_id: str, state: ApprovalState, *, by: str) -> bool:
        async with self._held.statement("console.approval.decide") as connection:
            return _changed(await connection.execute(_DECIDE, tenant_id, request_id, state, by, self._now()))


def _changed(status: str) -> bool:
    return status.rpartition(" ")[2] == "1"


def _approval(row: Mapping[str, Any]) -> Approval:
    moved = Money(amount_minor=row["amount_minor"], currency_code=row["currency_code"])
    return Approval(
        request_id=row["request_id"],
        ask=Ask(
            action=row["action"],
            payment_id=row["payment_id"],
            fields=json.loads(row["fields"]),
            moved=moved if moved.currency_code else None,
        ),
        reason=row["reason"],
        asked_by=row["asked_by"],
        ask_time=row["ask_time"],
        expire_time=row["expire_time"],
        state=ApprovalState(row["state"]),
        decided_by=row["decided_by"],
        decide_time=row["decide_time"],
        outcome=row["outcome"],
    )
