"""A real PgBouncer between a service and its database; tests that need one are left out where there is none."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from local.databases import ServiceDatabase
from local.ports import free_ports
from services.runtime.database.check import TIMEOUTS_MS

STOP_TIMEOUT_S = 30
PROGRAM = shutil.which("pgbouncer")
needs_pooler = pytest.mark.skipif(PROGRAM is None, reason="no pgbouncer on this machine")


@contextmanager
def pooler(
    database: ServiceDatabase, *, ignore: str = ",".join(TIMEOUTS_MS), owner: bool = False, **settings: str
) -> Iterator[str]:
    """Run a pooler while inside, and yield the URL of the runtime's or the owner's role through it."""
    folder = Path(tempfile.mkdtemp(prefix="batzen-pooler-"))
    port = free_ports()["sandbox"]
    urls = [make_url(url) for url in (database.runtime_url, database.owner_url)]
    (folder / "users.txt").write_text("".join(f'"{url.username}" "{url.password}"\n' for url in urls))
    lines = [
        "[databases]", f"{database.name} = host={urls[0].host} port={urls[0].port}",
        "[pgbouncer]", "listen_addr = 127.0.0.1", f"listen_port = {port}", "unix_socket_dir =", "auth_type = plain",
        f"auth_file = {folder}/users.txt", f"logfile = {folder}/log", "max_client_conn = 200",
        f"ignore_startup_parameters = {ignore}", *(f"{name} = {value}" for name, value in settings.items()),
    ]  # fmt: skip
    (folder / "pooler.ini").write_text("\n".join(lines) + "\n")
    for path in (folder, *folder.iterdir()):
        path.chmod(0o755)
        if os.geteuid() == 0:  # as which it does not run
            shutil.chown(path, "nobody")
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    process = subprocess.Popen([PROGRAM or "", "-q", *user, str(folder / "pooler.ini")])
    try:
        yield urls[owner].set(host="127.0.0.1", port=port).render_as_string(hide_password=False)
    finally:
        process.terminate()
        process.wait(STOP_TIMEOUT_S)
        shutil.rmtree(folder, ignore_errors=True)
