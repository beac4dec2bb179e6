"""A Patroni cluster of three PostgreSQL servers on this machine, whose leader can be killed, hung and switched over.

Patroni is in an environment of its own, since its requirements are none of ours: `.batzen/patroni`, which `make soak`
fills from `requirements/patroni.txt`. etcd is Debian's (`apt-get install etcd-server`). As root all of it runs as an
unprivileged user, by a Python that this user can reach.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from sqlalchemy.engine import URL

from local.place import as_user, environment, find_place, unprivileged_user
from local.ports import HOST, free_ports
from local.postgres import ADMIN
from local.processes import ROOT
from tests.eventually import eventually
from tests.suite.patroni_keeper import end, postmasters, send, with_descendants

SOFTWARE: Final = ROOT / ".batzen" / "patroni"
NAMES: Final = ("first", "second", "third")
TTL_S: Final = 20
"""How long a leader's lease lasts, the least that Patroni takes: the gap after a death is about as long."""
LOOP_WAIT_S: Final = 5
RETRY_TIMEOUT_S: Final = 5
UP_WITHIN_S: Final = 120.0
"""For an initdb, two base backups and the first leader on a busy machine."""
LED_WITHIN_S: Final = 120.0
LAG_MAX_BYTES: Final = 1 << 30
"""How far behind a standby may be and still be promoted, where replication is asynchronous."""
MISSING: Final = next(
    (
        reason
        for is_missing, reason in (
            (shutil.which("etcd") is None, "no etcd on this machine: apt-get install etcd-server"),
            (not (SOFTWARE / "patroni").is_dir(), "no Patroni in .batzen/patroni: make .batzen/patroni.stamp"),
        )
        if is_missing
    ),
    None,
)
needs_patroni = pytest.mark.skipif(MISSING is not None, reason=MISSING or "")


def interpreter() -> str:
    """Return the Python that Patroni runs by, and is installed for: root's own cannot be reached by another user."""
    return "/usr/bin/python3" if os.geteuid() == 0 else sys.executable


@dataclass(slots=True, kw_only=True)
class Node:
    """One server, with the Patroni that looks after it."""

    name: str
    folder: Path
    port: int
    api_port: int
    pid: int = 0
    """Of its Patroni."""

    def processes(self) -> list[int]:
        """Return all that runs of it."""
        return list(with_descendants([*([self.pid] if self.pid else []), *postmasters(self.folder)]))


class PatroniCluster:
    """The servers, by name, and what may be done to them."""

    def __init__(self, folder: Path, *, software: Path, binaries: Path, is_synchronous: bool) -> None:
        ports = iter(free_ports().values())
        self.nodes = {
            name: Node(name=name, folder=folder / name, port=next(ports), api_port=next(ports)) for name in NAMES
        }
        self.replication_ports: dict[str, int] = {}
        """Where the others find a server, if that is not its own port: set before it starts."""
        self._folder = folder
        self._software = software
        self._binaries = binaries
        self._is_synchronous = is_synchronous
        self._password = secrets.token_urlsafe(16)
        self._etcd_port, self._etcd_peer_port = next(ports), next(ports)
        self._keeper: subprocess.Popen[str] | None = None
        self._http = httpx.AsyncClient(timeout=2)

    @property
    def admin_url(self) -> str:
        """The URL of the superuser, of all servers."""
        query = {
            "host": ",".join(HOST for _ in self.nodes),
            "port": ",".join(str(node.port) for node in self.nodes.values()),
            "target_session_attrs": "read-write",
        }
        url = URL.create("postgresql", username=ADMIN, password=self._password, database="postgres", query=query)
        return url.render_as_string(hide_password=False)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run all servers while inside, and begin once each of them follows the leader."""
        with self._kept():
            try:
                self._start_etcd()
                for node in self.nodes.values():
                    self.start(node)
                await self.until_whole()
                yield
            finally:
                await self._http.aclose()

    @contextmanager
    def _kept(self) -> Iterator[None]:
        """Have a keeper of processes while inside: starting one forks, which a process that talks gRPC must not."""
        with subprocess.Popen(
            [sys.executable, "-m", "tests.suite.patroni_keeper", str(self._folder)],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        ) as self._keeper:  # fmt: skip
            yield

    def start(self, node: Node) -> None:
        """Start a server, for the first time or after its death."""
        node.folder.mkdir(exist_ok=True)
        self._give(node.folder)
        file = node.folder / "patroni.json"
        file.write_text(json.dumps(self._settings(node), indent=1))
        self._give(file)
        node.pid = self._spawn(node.name, [interpreter(), "-m", "patroni", str(file)])

    def kill(self, node: Node) -> None:
        """End all of a server at once, as the loss of its machine does."""
        end(node.processes())
        node.pid = 0

    def hang(self, node: Node) -> list[int]:
        """Have a server and its Patroni do nothing any more, and return what to `wake`."""
        pids = node.processes()
        send(signal.SIGSTOP, pids)
        return pids

    def wake(self, pids: list[int]) -> None:
        """Let what hangs go on."""
        send(signal.SIGCONT, pids)

    async def leader(self, *, other_than: Node | None = None) -> Node:
        """Wait for a server that leads, and takes writes, and return it."""
        found: list[Node] = []

        async def leads() -> bool:
            found[:] = [
                node for node in self.nodes.values() if node is not other_than and await self._says(node, "primary")
            ]
            return bool(found)

        await eventually(leads, within_s=LED_WITHIN_S, what="no server leads")
        return found[0]

    async def until_whole(self) -> None:
        """Wait until one server leads and all others stream from it, those that count for a commit among them."""

        async def is_whole() -> bool:
            members = await self._members()
            states = sorted(member.get("state", "") for member in members)
            roles = {member.get("role") for member in members}
            wanted = {"leader", "quorum_standby"} if self._is_synchronous else {"leader", "replica"}
            return states == ["running", "streaming", "streaming"] and roles == wanted

        await eventually(is_whole, within_s=UP_WITHIN_S, what=lambda: f"the cluster is not whole: {self.told()}")

    async def switch_over(self, leader: Node) -> None:
        """Have another server lead."""
        answer = await self._http.post(
            f"http://{HOST}:{leader.api_port}/switchover", json={"leader": leader.name}, timeout=LED_WITHIN_S
        )
        answer.raise_for_status()

    def direct_url(self, node: Node) -> str:
        """Return the URL of the superuser on one server, whatever it is just now."""
        url = URL.create("postgresql", ADMIN, self._password, HOST, node.port, "postgres")
        return url.render_as_string(hide_password=False)

    def told(self) -> str:
        """Return the last words of each Patroni."""
        logs = sorted(self._folder.glob("*.log"))
        return "\n".join(f"{log.name}: {' | '.join(log.read_text().splitlines()[-3:])}" for log in logs)

    async def _says(self, node: Node, role: str) -> bool:
        with suppress(httpx.HTTPError):
            return (await self._http.get(f"http://{HOST}:{node.api_port}/{role}")).status_code == httpx.codes.OK
        return False

    async def _members(self) -> Sequence[Mapping[str, Any]]:
        for node in self.nodes.values():
            with suppress(httpx.HTTPError):
                answer = await self._http.get(f"http://{HOST}:{node.api_port}/cluster")
                members: list[Mapping[str, Any]] = answer.json().get("members", [])
                return members
        return []

    def _settings(self, node: Node) -> Mapping[str, object]:
        place = f"{HOST}:{node.port}"
        api = f"{HOST}:{node.api_port}"
        login = {"username": ADMIN, "password": self._password}
        synchronous = {"synchronous_mode": "quorum", "synchronous_mode_strict": True, "synchronous_node_count": 1}
        parameters = {"max_connections": 300, "fsync": "off", "unix_socket_directories": "", "timezone": "UTC"}
        return {
            "scope": "batzen",
            "name": node.name,
            "restapi": {"listen": api, "connect_address": api},
            "etcd3": {"hosts": f"{HOST}:{self._etcd_port}"},
            "bootstrap": {
                "dcs": {
                    "ttl": TTL_S,
                    "loop_wait": LOOP_WAIT_S,
                    "retry_timeout": RETRY_TIMEOUT_S,
                    "maximum_lag_on_failover": LAG_MAX_BYTES,
                    **(synchronous if self._is_synchronous else {"synchronous_mode": False}),
                    "postgresql": {"use_pg_rewind": True, "parameters": parameters},
                },
                "initdb": [{"encoding": "UTF8"}, {"locale": "C"}, {"auth": "scram-sha-256"}, "no-sync"],
            },
            "postgresql": {
                "listen": place,
                "connect_address": f"{HOST}:{self.replication_ports.get(node.name, node.port)}",
                "data_dir": str(node.folder / "data"),
                "bin_dir": str(self._binaries),
                "pgpass": str(node.folder / "pgpass"),
                "authentication": {"superuser": login, "replication": login, "rewind": login},
                "pg_hba": [f"host {of} all {HOST}/32 scram-sha-256" for of in ("all", "replication")],
                "remove_data_directory_on_rewind_failure": True,
                "remove_data_directory_on_diverged_timelines": True,
            },
        }

    def _start_etcd(self) -> None:
        data = self._folder / "etcd"
        data.mkdir(mode=0o700)
        self._give(data)
        clients, peers = f"http://{HOST}:{self._etcd_port}", f"http://{HOST}:{self._etcd_peer_port}"
        self._spawn("etcd", [
            str(shutil.which("etcd")), "--data-dir", str(data), "--logger", "zap",
            "--listen-client-urls", clients, "--advertise-client-urls", clients,
            "--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers,
            "--initial-cluster", f"default={peers}",
        ])  # fmt: skip

    def _spawn(self, name: str, command: Sequence[str]) -> int:
        assert self._keeper is not None
        assert self._keeper.stdin is not None
        assert self._keeper.stdout is not None
        prefix = as_user(unprivileged_user()) if os.geteuid() == 0 else []
        known = environment() | {"PYTHONPATH": str(self._software), "HOME": str(self._folder)}
        wanted = {"command": [*prefix, *command], "environment": known, "log": str(self._folder / f"{name}.log")}
        self._keeper.stdin.write(json.dumps(wanted) + "\n")
        self._keeper.stdin.flush()
        return int(self._keeper.stdout.readline())

    def _give(self, path: Path) -> None:
        if os.geteuid() == 0:
            os.chown(path, unprivileged_user().pw_uid, unprivileged_user().pw_gid)


def make_cluster(folder: Path, *, is_synchronous: bool) -> PatroniCluster:
    """Return a cluster that keeps everything in a folder that its user may enter."""
    user = unprivileged_user() if os.geteuid() == 0 else None
    software = folder / "software"
    shutil.copytree(SOFTWARE, software)
    binaries = find_place(folder / "place", user=user).binaries
    return PatroniCluster(folder, software=software, binaries=binaries, is_synchronous=is_synchronous)


if __name__ == "__main__":
    sys.stdout.write(interpreter())
