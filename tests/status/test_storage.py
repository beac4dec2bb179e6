"""The schema of status, what its runtime role may do, and what its process needs to start."""

from __future__ import annotations

import asyncpg
import pytest

from local.databases import ServiceDatabase
from services.runtime.database.connections import plain_dsn
from services.runtime.process.settings import SettingsError, settings_from
from services.shared.payment import Attention
from services.shared.states import State
from services.status.__main__ import read_settings
from services.status.domain.snapshot import Snapshot, is_settled, legal_from, state_of
from services.status.storage import statements, tables
from services.status.storage.rows import snapshot_json
from tests.schema import schema_differences
from tests.status.conftest import StatusServiceStub
from tests.status.samples import NOW, new_request_id, open_request, rules_snapshot

STUCK = Attention(reason="STUCK", detail="Look at it.")


async def test_the_tables_of_the_code_are_those_of_the_migrations(database: ServiceDatabase) -> None:
    assert await schema_differences(database.owner_url, tables.metadata) == []


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE transitions SET state = 'SUCCEEDED'",
        "DELETE FROM transitions",
        "TRUNCATE transitions",
        "DELETE FROM payments",
        "TRUNCATE payments",
        "DELETE FROM payment_sellers",
        "ALTER TABLE transitions ADD COLUMN more text",
    ],
)
async def test_the_runtime_role_cannot_change_history(database: ServiceDatabase, statement: str) -> None:
    connection = await asyncpg.connect(plain_dsn(database.runtime_url))
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)
    finally:
        await connection.close()


async def test_moving_a_payment_touches_no_index_unless_it_settles_or_needs_an_operator(
    status: StatusServiceStub, database: ServiceDatabase
) -> None:
    opened = (await status.OpenPayment(open_request())).payment
    connection = await asyncpg.connect(plain_dsn(database.runtime_url))

    async def move(to: Snapshot, *, expected: int) -> None:
        moved = await connection.fetchrow(
            statements.RECORD,
            "main",
            opened.payment_id,
            expected,
            to.collection,
            state_of(to),
            is_settled(to),
            snapshot_json(to),
            NOW,
            False,
            " ".join(legal_from(to, total_is_zero=True)),
            " ".join(legal_from(to, total_is_zero=False)),
            new_request_id(),
        )
        assert moved is not None

    async def updates() -> tuple[int, int]:
        """Updates in this transaction, and those of them that left all indexes alone."""
        row = await connection.fetchrow(
            "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_xact_user_tables WHERE relname = 'payments'"
        )
        return row["n_tup_upd"], row["n_tup_hot_upd"]

    try:
        async with connection.transaction():
            await move(rules_snapshot(State.REQUIRES_PAYMENT_METHOD), expected=1)
            await move(rules_snapshot(State.PROCESSING), expected=2)
            assert await updates() == (2, 2)
            await move(rules_snapshot(State.FAILED), expected=3)
            assert await updates() == (3, 2)
            await move(rules_snapshot(State.PROCESSING, attentions=(STUCK,)), expected=4)
            assert await updates() == (4, 2)
            await move(rules_snapshot(State.PROCESSING, attempt=2, attentions=(STUCK,)), expected=5)
            assert await updates() == (5, 3)
    finally:
        await connection.close()


def test_missing_settings_are_named_all_at_once() -> None:
    with pytest.raises(SettingsError) as refused:
        settings_from({}, read_settings)

    assert [problem.split()[0] for problem in refused.value.problems] == [
        "BATZEN_RUNTIME_DATABASE_URL",
        "BATZEN_JWKS",
        "BATZEN_TOKEN_ISSUER",
        "BATZEN_TOKEN_AUDIENCE",
        "BATZEN_ENVIRONMENT",
    ]
