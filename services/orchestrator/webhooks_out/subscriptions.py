"""Who is sent what, and the secrets that sign it: put, listed, deleted, rotated, each with who decided and why."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Final, TypeVar

import asyncpg

from services.errors import DependencyUnavailable
from services.orchestrator.domain.errors import (
    TooManyWebhookSubscriptions,
    WebhookSubscriptionDeleted,
    WebhookSubscriptionNotFound,
)
from services.orchestrator.webhooks_out import actions
from services.orchestrator.webhooks_out.actions import Action
from services.orchestrator.webhooks_out.domain import SECRETS_MAX, SUBSCRIPTIONS_MAX, Receiver, Secret, Subscription
from services.orchestrator.webhooks_out.metrics import COUNTED_MAX
from services.orchestrator.webhooks_out.secrets import SecretBox
from services.orchestrator.webhooks_out.signing import new_secret
from services.orchestrator.webhooks_out.sink import receiver_of
from services.runtime.database.connections import DirectConnections
from services.runtime.process.clock import Clock

TRIES_MAX: Final = 3
"""Of a change that meets the same request, or another one on the same subscription, at the same moment."""

T = TypeVar("T")


class SubscriptionStore:
    """Reads and writes them. Raises `DependencyUnavailable` when the database is away."""

    def __init__(self, held: DirectConnections, secrets: SecretBox, *, clock: Clock) -> None:
        self._held = held
        self._secrets = secrets
        self._clock = clock

    async def put(self, action: Action, receiver: Receiver) -> tuple[Subscription, str]:
        """Make a subscription, or change it as a whole; return it, and its secret if the request made it.

        A receiver that is put anew rests no longer. Raises `WebhookSubscriptionDeleted`, `TooManyWebhookSubscriptions`,
        `WebhooksNotConfigured`.
        """

        async def change(connection: asyncpg.Connection) -> None:
            names = (action.key.tenant_id, receiver.subscription_id)
            before = await connection.fetchrow(LOCK, *names)
            if await actions.answer_of(connection, action) is not None:
                return
            if before is None:
                if await connection.fetchval(COUNT, action.key.tenant_id) >= SUBSCRIPTIONS_MAX:
                    raise TooManyWebhookSubscriptions
                await self._make_secret(connection, action, receiver.subscription_id)
            elif before["delete_time"] is not None:
                raise WebhookSubscriptionDeleted
            of_receiver = (receiver.url, sorted(receiver.kinds), receiver.form, receiver.paused)
            await connection.execute(PUT, *names, *of_receiver, action.time)
            was = {} if before is None else _said(receiver_of(before))
            await actions.keep(connection, action, before=was, after=_said(receiver))

        await self._changed("hook.put", change)
        subscription = await self.find(action.key.tenant_id, receiver.subscription_id)
        return subscription, await self._secret_of(action, receiver.subscription_id)

    async def delete(self, action: Action, subscription_id: str) -> None:
        """Delete one; what waits is canceled lane by lane. Raises `WebhookSubscriptionNotFound`."""

        async def change(connection: asyncpg.Connection) -> None:
            names = (action.key.tenant_id, subscription_id)
            row = await connection.fetchrow(LOCK, *names)
            if await actions.answer_of(connection, action) is not None:
                return
            before = _there(row)
            await connection.execute(DELETE, *names, action.time)
            await connection.execute(DELETE_SECRETS, *names)
            after = {"subscription_id": subscription_id, "deleted": True}
            await actions.keep(connection, action, before=_said(before), after=after)

        await self._changed("hook.delete", change)

    async def rotate(self, action: Action, subscription_id: str, *, overlap: timedelta) -> tuple[Subscription, str]:
        """Make a new secret, beside which the others sign for `overlap`; return it.

        Raises `WebhookSubscriptionNotFound`, `WebhooksNotConfigured`.
        """

        async def change(connection: asyncpg.Connection) -> None:
            names = (action.key.tenant_id, subscription_id)
            row = await connection.fetchrow(LOCK, *names)
            if await actions.answer_of(connection, action) is not None:
                return
            _there(row)
            await connection.execute(EXPIRE, *names, action.time + overlap)
            await self._make_secret(connection, action, subscription_id)
            await connection.execute(DROP_OLD, *names, action.time, SECRETS_MAX)
            after = {"subscription_id": subscription_id, "overlap_s": int(overlap.total_seconds())}
            await actions.keep(connection, action, after=after)

        await self._changed("hook.rotate", change)
        subscription = await self.find(action.key.tenant_id, subscription_id)
        return subscription, await self._secret_of(action, subscription_id)

    async def find(self, tenant_id: str, subscription_id: str) -> Subscription:
        """Return one. Raises `WebhookSubscriptionNotFound`."""
        found = await self._listed(tenant_id, after="", limit=1, subscription_id=subscription_id)
        if not found:
            raise WebhookSubscriptionNotFound
        return found[0]

    async def page(self, tenant_id: str, *, after: str, limit: int) -> list[Subscription]:
        """Return those after one, by their names."""
        return await self._listed(tenant_id, after=after, limit=limit, subscription_id=None)

    async def signing(self, tenant_id: str, subscription_id: str) -> tuple[str, list[str]]:
        """Return the URL of one, and the secrets that sign now.

        Raises `WebhookSubscriptionNotFound`, `WebhooksNotConfigured`.
        """
        async with self._held.statement(None) as connection:
            rows = await connection.fetch(SIGNING, tenant_id, subscription_id, self._clock.now())
        if not rows:
            raise WebhookSubscriptionNotFound
        opened = [
            self._secrets.open(row["wrapped_secret"], tenant_id, subscription_id, row["secret_id"]) for row in rows
        ]
        return rows[0]["url"], opened

    async def _listed(
        self, tenant_id: str, *, after: str, limit: int, subscription_id: str | None
    ) -> list[Subscription]:
        asked = (self._clock.shift, tenant_id, after, limit, subscription_id, self._clock.now(), COUNTED_MAX)
        async with self._held.statement(None) as connection:
            rows = await connection.fetch(PAGE, *asked)
        return [_subscription(row) for row in rows]

    async def _make_secret(self, connection: asyncpg.Connection, action: Action, subscription_id: str) -> None:
        tenant_id, secret_id = action.key.tenant_id, action.key.request_id
        wrapped = self._secrets.wrap(new_secret(), tenant_id, subscription_id, secret_id)
        of_secret = (secret_id, wrapped, self._secrets.key_id, action.time)
        await connection.execute(ADD_WRAPPED, tenant_id, subscription_id, *of_secret)

    async def _secret_of(self, action: Action, subscription_id: str) -> str:
        """Return the secret that a request made, for its repeats too; empty where it made none, or that is gone."""
        tenant_id, secret_id = action.key.tenant_id, action.key.request_id
        async with self._held.statement(None) as connection:
            wrapped = await connection.fetchval(WRAPPED, tenant_id, subscription_id, secret_id)
        return "" if wrapped is None else self._secrets.open(wrapped, tenant_id, subscription_id, secret_id)

    async def _changed(self, point: str, change: Callable[[asyncpg.Connection], Awaitable[None]]) -> None:
        """Make a change in a transaction, anew where another one of the same was quicker."""
        for _ in range(TRIES_MAX):
            try:
                async with self._held.transaction(point) as connection:
                    await change(connection)
            except asyncpg.UniqueViolationError:
                continue
            return
        raise DependencyUnavailable(dependency="database")


def _there(row: asyncpg.Record | None) -> Receiver:
    if row is None or row["delete_time"] is not None:
        raise WebhookSubscriptionNotFound
    return receiver_of(row)


def _said(receiver: Receiver) -> Mapping[str, object]:
    """Return what an action keeps of a subscription."""
    return {
        "subscription_id": receiver.subscription_id,
        "url": receiver.url,
        "kinds": sorted(receiver.kinds),
        "form": receiver.form,
        "paused": receiver.paused,
    }


def _subscription(row: asyncpg.Record) -> Subscription:
    secrets: list[tuple[uuid.UUID, datetime, datetime | None]] = row["secrets"]
    return Subscription(
        receiver=receiver_of(row),
        create_time=row["create_time"],
        update_time=row["update_time"],
        secrets=[Secret(secret_id=one[0], create_time=one[1], expire_time=one[2]) for one in secrets],
        failures=row["failures"],
        failing_time=row["failing_time"],
        rest_end_time=row["rest_end_time"],
        waiting_count=row["waiting_count"],
        dead_count=row["dead_count"],
    )


LOCK: Final = """
SELECT * FROM webhook_subscriptions WHERE tenant_id = $1 AND subscription_id = $2 FOR UPDATE"""

COUNT: Final = "SELECT count(*) FROM webhook_subscriptions WHERE tenant_id = $1 AND delete_time IS NULL"

PUT: Final = """
INSERT INTO webhook_subscriptions (tenant_id, subscription_id, url, kinds, form, paused, create_time, update_time)
VALUES ($1, $2, $3, $4, $5, $6, $7, $7)
ON CONFLICT ON CONSTRAINT webhook_subscriptions_pkey DO UPDATE SET url = $3, kinds = $4, form = $5, paused = $6,
    update_time = $7, failures = 0, failing_time = NULL, last_failure_time = NULL, rests = 0, rest_until = NULL"""

DELETE: Final = """
UPDATE webhook_subscriptions SET delete_time = $3, update_time = $3 WHERE tenant_id = $1 AND subscription_id = $2"""

DELETE_SECRETS: Final = "DELETE FROM webhook_secrets WHERE tenant_id = $1 AND subscription_id = $2"

ADD_WRAPPED: Final = """
INSERT INTO webhook_secrets (tenant_id, subscription_id, secret_id, wrapped_secret, wrapping_key_id, create_time)
VALUES ($1, $2, $3, $4, $5, $6)"""

WRAPPED: Final = """
SELECT wrapped_secret FROM webhook_secrets WHERE tenant_id = $1 AND subscription_id = $2 AND secret_id = $3"""

EXPIRE: Final = """
UPDATE webhook_secrets SET expire_time = least(expire_time, $3) WHERE tenant_id = $1 AND subscription_id = $2"""

DROP_OLD: Final = """
DELETE FROM webhook_secrets WHERE tenant_id = $1 AND subscription_id = $2 AND (expire_time <= $3 OR secret_id NOT IN (
    SELECT secret_id FROM webhook_secrets WHERE tenant_id = $1 AND subscription_id = $2
    ORDER BY create_time DESC, expire_time DESC NULLS FIRST LIMIT $4))"""

SIGNING: Final = """
SELECT s.url, k.secret_id, k.wrapped_secret
FROM webhook_subscriptions s JOIN webhook_secrets k USING (tenant_id, subscription_id)
WHERE s.tenant_id = $1 AND s.subscription_id = $2 AND s.delete_time IS NULL
    AND (k.expire_time IS NULL OR k.expire_time > $3)
ORDER BY k.create_time DESC, k.secret_id"""

PAGE: Final = """
SELECT s.*, CASE WHEN s.rest_until > now() + $1::interval THEN s.rest_until END AS rest_end_time,
    ARRAY(SELECT (k.secret_id, k.create_time, k.expire_time) FROM webhook_secrets k
        WHERE k.tenant_id = s.tenant_id AND k.subscription_id = s.subscription_id
            AND (k.expire_time IS NULL OR k.expire_time > $6)
        ORDER BY k.create_time DESC, k.secret_id) AS secrets,
    (SELECT count(*) FROM (SELECT FROM webhook_deliveries d WHERE d.tenant_id = s.tenant_id
        AND d.subscription_id = s.subscription_id AND d.state = 'WAITING' LIMIT $7) w) AS waiting_count,
    (SELECT count(*) FROM (SELECT FROM webhook_deliveries d WHERE d.tenant_id = s.tenant_id
        AND d.subscription_id = s.subscription_id AND d.state = 'DEAD' AND d.kind <> 'TEST' LIMIT $7) w) AS dead_count
FROM webhook_subscriptions s
WHERE s.tenant_id = $2 AND s.delete_time IS NULL AND s.subscription_id > $3
    AND ($5::text IS NULL OR s.subscription_id = $5)
ORDER BY s.subscription_id LIMIT $4"""
