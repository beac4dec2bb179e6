"""A release beside the one before it, on the schema of each, while payments go on: no call fails, nothing is lost, and
no browser misses anything, of the services and of both fronts.

The next release is the same code with migrations of its own: columns, a table and an index to begin with, and one that
takes a column away in the end. So what is shown is the mechanism: pods that wait for their schema, statements that live
through a change of it, locks that are short. That a release reads both schemas is for its own tests to show.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final, Self

import asyncpg
import pytest

from local.databases import ServiceDatabase
from local.environments import migration_environment
from local.processes import ROOT, Child
from local.suite import Suite
from services.runtime.database.connections import plain_dsn
from services.runtime.database.migrations import load
from tests.eventually import eventually
from tests.suite.cluster import DEPLOYED, Cluster
from tests.suite.cluster_load import Say, under_load
from tests.suite.cluster_payers import Load
from tests.suite.journeys import Traveller
from tests.suite.pods import Pod, as_the_manifest_says

SEED: Final = int(os.environ.get("BATZEN_ROLLING_SEED") or random.SystemRandom().randrange(1_000_000))
WRITTEN_MOST: Final = {
    "orchestrator": "payments",
    "gateway": "payments",
    "status": "payments",
    "pricing": "quotes",
    "bff": "sessions",
    "console": "sessions",
}
"""The table of each service that each payment writes, and of each front that each request reads."""
EXPAND: Final = """-- expand
ALTER TABLE {table} ADD COLUMN next_note text, ADD COLUMN next_flag boolean;
CREATE INDEX {table}_by_next_note ON {table} (tenant_id, next_note) WHERE next_note IS NOT NULL;
CREATE TABLE next_notes (
    tenant_id text NOT NULL,
    note_id   text NOT NULL,
    CONSTRAINT next_notes_pkey PRIMARY KEY (tenant_id, note_id)
);
"""
CONTRACT: Final = """-- contract
ALTER TABLE {table} DROP COLUMN next_flag;
ALTER TABLE {table} ADD CONSTRAINT {table}_next_note CHECK (next_note <> '') NOT VALID;
"""
UNDO: Final = """
ALTER TABLE {table} DROP COLUMN IF EXISTS next_note, DROP COLUMN IF EXISTS next_flag;
DROP TABLE IF EXISTS next_notes;
DELETE FROM schema_migrations WHERE name LIKE 'next_%';
"""
JOB_TRIES: Final = 6
"""The Job's `backoffLimit`, and its first."""
WAITS_WITHIN_S: Final = 60.0
"""A pod says after 5 s that it waits; this machine may be busy."""


class NextRelease:
    """The tree of the next release, and its migrations."""

    def __init__(self, suite: Suite, root: Path) -> None:
        self.root = root
        self._suite = suite

    @classmethod
    def made(cls, suite: Suite, root: Path) -> Self:
        """Make the tree."""
        for part in ("services", "batzen"):
            shutil.copytree(ROOT / part, root / part)
        for service in DEPLOYED:
            migrations = root / "services" / service / "migrations"
            number = len(load(migrations)) + 1
            table = WRITTEN_MOST[service]
            (migrations / f"{number:04}_next_expand.sql").write_text(EXPAND.format(table=table))
            (migrations / f"{number + 1:04}_next_contract.sql").write_text(CONTRACT.format(table=table))
        return cls(suite, root)

    async def migrate(self, service: str, *options: str) -> None:
        """Run the migration's Job, which is tried again where a table was in use for too long."""
        suite = self._suite
        database = ServiceDatabase(name="", owner_url=suite.owner_url(service), runtime_url=suite.database_url(service))
        job = Child(
            *("python", "-m", f"services.{service}", "migrate", *options),
            environment=migration_environment(database),
            log_file=suite.logs / f"{service}.log",
            spawn=partial(as_the_manifest_says, root=self.root),
        )
        for _ in range(JOB_TRIES):
            await job.start()
            if await job.wait() == 0:
                return
        raise AssertionError(f"the migration of {service} was not done in {JOB_TRIES} tries")

    async def undo(self) -> None:
        """Give the suite its own schema back."""
        for service in DEPLOYED:
            owner = await asyncpg.connect(plain_dsn(self._suite.owner_url(service)))
            try:
                await owner.execute(UNDO.format(table=WRITTEN_MOST[service]))
            finally:
                await owner.close()


@pytest.mark.soak
async def test_two_releases_side_by_side_on_both_schemas_fail_no_call(
    suite: Suite, traveller: Traveller, say: Say, tmp_path: Path
) -> None:
    say(f"BATZEN_ROLLING_SEED={SEED}\n")
    load = Load(SEED)
    async with released(suite, tmp_path) as following:
        wrongs = await under_load(suite, traveller, load, lambda cluster: upgrade(suite, cluster, following), say)
    assert load.failures == []
    assert wrongs == []
    assert load.came_back > 0, "no browser's stream met the end of a pod: nothing was shown of streams"


@asynccontextmanager
async def released(suite: Suite, root: Path) -> AsyncIterator[NextRelease]:
    following = await asyncio.to_thread(NextRelease.made, suite, root)
    try:
        yield following
    finally:
        await following.undo()


async def upgrade(suite: Suite, cluster: Cluster, following: NextRelease) -> None:
    """Bring the next release, go back once, bring it again, and take away what only the one before needed."""
    for service in DEPLOYED:
        cluster.roots[service] = following.root
        first = await waits_for_its_schema(suite, cluster, service)
        await following.migrate(service)
        await cluster.replace(service, first)  # one after the other: both releases serve
        cluster.roots[service] = ROOT
        await cluster.roll(service)  # back, on the new schema
        cluster.roots[service] = following.root
        await cluster.roll(service)
    for service in DEPLOYED:
        await following.migrate(service, "--contract")
        await cluster.roll(service)


async def waits_for_its_schema(suite: Suite, cluster: Cluster, service: str) -> Pod:
    """Start a pod of the next release before its migration, and return it as it waits for that."""
    log = suite.logs / f"{service}.log"
    before = log.stat().st_size
    pod = await cluster.launch(service)
    said = "Waiting for the migration that runs beside us; missing: next_expand"
    await eventually(lambda: said in log.read_bytes()[before:].decode(errors="replace"), within_s=WAITS_WITHIN_S)
    assert not await pod.asked(cluster.manifests[service].startup)
    assert pod.address not in cluster.ready(service)
    return pod
