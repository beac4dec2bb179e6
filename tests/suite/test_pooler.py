"""A service behind a pooler that gives each transaction another connection does not start, and says why."""

from __future__ import annotations

import pytest

from local.databases import ServiceDatabase
from local.processes import ProcessFailed
from local.suite import Suite
from tests.pooling import needs_pooler, pooler

SETTING = "BATZEN_RUNTIME_DATABASE_URL"


@needs_pooler
@pytest.mark.parametrize("service", ["gateway", "pricing", "status", "orchestrator"])
async def test_a_service_behind_transaction_pooling_says_so_instead_of_serving(suite: Suite, service: str) -> None:
    environment = suite.env_for(service)
    before = environment[SETTING]
    name = before.rsplit("/", 1)[1]
    database = ServiceDatabase(name=name, owner_url=suite.owner_url(service), runtime_url=before)
    try:
        with (
            pooler(database, pool_mode="transaction") as environment[SETTING],
            pytest.raises(ProcessFailed, match=r"Not started: .*pooler .* use pool_mode = session"),
        ):
            await suite.restart(service)
    finally:
        environment[SETTING] = before
        await suite.start(service)
