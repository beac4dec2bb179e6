"""pgbench with the very statement that records a transition: what PostgreSQL and a client in C can do with it.

Each client has payments of its own, walks through them, and knows at what revision each stands, as the service's
callers do. So every statement moves a payment.
"""

from __future__ import annotations

import asyncio
import os
import re
import resource
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.database import ID_DIGITS, TENANT, Postgres
from bench.figures import percentile
from bench.machine import process_and_children
from bench.sample import NOW, SNAPSHOT
from local.databases import ServiceDatabase
from services.runtime.database.connections import LOCK_TIMEOUT_MS, STATEMENT_TIMEOUT_MS, plain_dsn
from services.status.domain.snapshot import ENDS, is_settled, legal_from, state_of
from services.status.storage import statements
from services.status.storage.rows import snapshot_json

_PARAMETER: Final = re.compile(r"\$(\d+)")
_PAYMENT_ID: Final = f"('pay_' || lpad(:number::text, {ID_DIGITS}, '0'))"
_ARGUMENTS: Final = (
    ":tenant", _PAYMENT_ID, ":revision", ":collection", ":state", ":settled", ":snapshot", ":now", ":ends", ":legal",
    ":legal", "gen_random_uuid()",
)  # fmt: skip
"""In the place of $1, $2, …; a variable goes to the server as a parameter."""
_SCRIPT: Final = """\
\\set number :first + :client_id * :share + :walked % :share
\\set revision 1 + :walked / :share
\\set walked :walked + 1
{statement};
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """Transitions that were recorded for a while."""

    per_s: float
    p50_s: float
    p99_s: float
    client_cpu_s: float
    """Per transition."""
    postgres_cpu_s: float
    """Per transition."""


async def pgbench(
    postgres: Postgres, database: ServiceDatabase, *, clients: int, first: int = 0, payments: int, seconds: float
) -> Recorded:
    """Record transitions of some payments, all of which stand at revision 1, on so many connections."""
    statement = _PARAMETER.sub(lambda found: _ARGUMENTS[int(found[1]) - 1], statements.RECORD)
    variables = {
        "tenant": TENANT,
        "first": first,
        "share": payments // clients,
        "walked": 0,
        "collection": SNAPSHOT.collection,
        "state": state_of(SNAPSHOT),
        "settled": str(is_settled(SNAPSHOT)).lower(),
        "snapshot": snapshot_json(SNAPSHOT),
        "now": NOW.isoformat(),
        "ends": str(SNAPSHOT.collection in ENDS).lower(),
        "legal": " ".join(legal_from(SNAPSHOT, total_is_zero=False)),
    }
    timeouts = f"-c statement_timeout={STATEMENT_TIMEOUT_MS} -c lock_timeout={LOCK_TIMEOUT_MS}"
    postgres_used = process_and_children(postgres.pid)
    with tempfile.TemporaryDirectory(prefix="batzen-pgbench-") as folder:
        script = Path(folder) / "record.sql"
        script.write_text(_SCRIPT.format(statement=statement.strip()))
        before, used_before = resource.getrusage(resource.RUSAGE_CHILDREN), postgres_used()
        child = await asyncio.create_subprocess_exec(
            postgres.binaries / "pgbench", "--no-vacuum", "--protocol=prepared", f"--file={script}", "--jobs=1",
            f"--client={clients}", f"--time={round(seconds)}", "--log", f"--log-prefix={folder}/log",
            *(f"--define={name}={value}" for name, value in variables.items()), plain_dsn(database.runtime_url),
            env=os.environ | {"PGOPTIONS": timeouts}, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        output, errors = await child.communicate()
        after, postgres_s = resource.getrusage(resource.RUSAGE_CHILDREN), postgres_used() - used_before
        assert child.returncode == 0, errors.decode()
        logs = [log.read_text() for log in Path(folder).glob("log.*")]  # noqa: ASYNC240 once
    took_s = [int(line.split()[2]) / 1e6 for log in logs for line in log.splitlines()]
    found = re.search(r"tps = ([\d.]+)", output.decode())
    assert found is not None, output.decode()
    client_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Recorded(
        per_s=float(found[1]),
        p50_s=percentile(took_s, 0.5),
        p99_s=percentile(took_s, 0.99),
        client_cpu_s=client_s / len(took_s),
        postgres_cpu_s=postgres_s / len(took_s),
    )
