"""A tenant whose account was seen before: its gateway starts although Stripe is away."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime

import asyncpg

from local.databases import ServiceDatabase
from services.runtime.database.connections import plain_dsn


async def pin(database: ServiceDatabase, *, tenant_id: str = "main") -> None:
    """Write down which account of Stripe's test mode a tenant has."""
    connection = await asyncpg.connect(plain_dsn(database.owner_url))
    try:
        await connection.execute(
            "INSERT INTO stripe_accounts (tenant_id, stripe_account_id, livemode, pin_time) VALUES ($1, $2, false, $3)",
            tenant_id,
            f"acct_{secrets.token_hex(8)}",
            datetime.now(UTC),
        )
    finally:
        await connection.close()
