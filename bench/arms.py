"""Who takes the payments that are compared: the suite of a checkout, or the plain shop.

Each has a database server and a stand-in for Stripe of its own, both with the settings of the others, so that arms can
take turns within seconds of each other and meet the same machine.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final, Protocol

import httpx
from sqlalchemy.engine import make_url

from batzen.client import Addresses, Client
from bench.database import Postgres, executed, running_postgres
from bench.machine import UsedSoFar, arguments_of, children, process, process_and_children
from bench.shop import CARD, TIMEOUT_S, Payer, Shop, clients_of_payers
from local.environments import SERVICES, Stripe, sandbox_environment, sandbox_url
from local.issuer import Issuer
from local.ports import HOST, free_ports, variable
from local.processes import Child, ProcessFailed, last_lines, own_interpreter
from sandbox.control import SandboxControl

SETTINGS: Final = ("checkpoint_timeout = '1h'", "max_wal_size = '8GB'", "autovacuum = off")
"""Of every arm's database server: what comes by the clock would meet one arm and not the other."""
LOOPS: Final = 16
"""Payments under way at once."""
UP_S: Final = 120.0
UP_TRIES: Final = 3
STATE: Final = ".batzen"
CONNECTION: Final = "connection.json"
"""In there; `batzen up` writes it once it is up."""
QUIET_WITHIN_S: Final = 60.0
LOOK_S: Final = 0.2
QUIET_CORES: Final = 0.06
"""Used by all processes of an arm together: more than when nothing is asked of it, less than any work."""
QUIET_LOOKS: Final = 2
LOG_TAIL_LINES: Final = 20
AMOUNT_MINOR: Final = 10_000
FEE_MINOR: Final = 1_000
SHOP: Final = "shop"
EVENTS: Final = "BATZEN_SANDBOX_WEBHOOK_EVENTS"


class Till(Protocol):
    """Where payments are started and submitted."""

    def new_payer(self) -> Payer: ...

    async def start(self, payer: Payer) -> str: ...

    async def submit(self, payer: Payer, payment_id: str) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One that takes payments, with all it takes."""

    name: str
    till: Till
    pids: Mapping[str, int]
    """By the name of the process: of a suite its services."""
    sandbox: SandboxControl
    sandbox_pid: int
    postgres: Postgres
    logs: Mapping[str, Path]
    issuer: Issuer | None = None

    def clocks(self) -> dict[str, UsedSoFar]:
        """Return the processor time of each of its processes, the database server's and the stand-in's too."""
        return {name: process(pid) for name, pid in self.pids.items()} | {
            "PostgreSQL": process_and_children(self.postgres.pid),
            "stand-in for Stripe": process(self.sandbox_pid),
        }

    async def pay(self, payers: Iterable[Payer]) -> None:
        """Take a payment of each, `LOOPS` at a time; returns once all that follows from them is done, too."""
        waiting: Iterator[Payer] = iter(payers)

        async def loop() -> None:
            for payer in waiting:
                await self.till.submit(payer, await self.till.start(payer))

        await asyncio.gather(*(loop() for _ in range(LOOPS)))
        await self.until_quiet()

    async def until_quiet(self) -> None:
        """Wait until every webhook has arrived and nobody works any more."""
        await self.sandbox.drain()
        clocks = [process(pid) for pid in self.pids.values()]
        quiet = 0
        async with asyncio.timeout(QUIET_WITHIN_S):
            while quiet < QUIET_LOOKS:
                before, began = sum(used() for used in clocks), time.perf_counter()
                await asyncio.sleep(LOOK_S)
                cores = (sum(used() for used in clocks) - before) / (time.perf_counter() - began)
                quiet = quiet + 1 if cores <= QUIET_CORES else 0


@asynccontextmanager
async def running_suite_of(
    tree: Path, *, name: str, folder: Path, environment: Mapping[str, str] | None = None
) -> AsyncIterator[Arm]:
    """Run the suite of a checkout while inside, by its own `batzen up`."""
    async with AsyncExitStack() as stack:
        postgres = await stack.enter_async_context(running_postgres(*SETTINGS))
        child, ports = await _up(tree, name=name, folder=folder, url=postgres.server.admin_url, more=environment or {})
        stack.push_async_callback(child.stop)
        state = tree / STATE
        connection = json.loads(await asyncio.to_thread((state / CONNECTION).read_text))
        issuer = Issuer(state / "issuer", now=lambda: datetime.now(UTC))
        addresses = Addresses(**connection["addresses"])
        shop = await stack.enter_async_context(Client(token=connection["tokens"]["service"], addresses=addresses))
        payers = await stack.enter_async_context(clients_of_payers(addresses))
        sandbox = await stack.enter_async_context(SandboxControl(sandbox_url(ports)))
        assert child.pid is not None
        pids = _services_below(child.pid)
        yield Arm(
            name=name,
            till=Shop(shop=shop, payers=payers, token_of=lambda payer_id: issuer.mint(payer_id, roles={"payer"})),
            pids={service: pids[service] for service in SERVICES},
            sandbox=sandbox,
            sandbox_pid=pids["sandbox"],
            postgres=postgres,
            logs={service: Path(connection["logs"]) / f"{service}.log" for service in SERVICES},
            issuer=issuer,
        )


async def _up(
    tree: Path, *, name: str, folder: Path, url: str, more: Mapping[str, str]
) -> tuple[Child, Mapping[str, int]]:
    """Start `batzen up` on free ports and wait until it is; on others if somebody takes one meanwhile."""
    for tries_left in reversed(range(UP_TRIES)):
        ports = free_ports()
        environment = {variable(port): str(number) for port, number in ports.items()}
        child = Child(
            "batzen",
            "up",
            environment={"PATH": os.environ["PATH"], "BATZEN_DATABASE_URL": url, **environment, **more},
            log_file=folder / f"{name}.log",
            spawn=partial(own_interpreter, root=tree),
        )
        await child.start()
        try:
            await child.until(asyncio.create_task(written(tree / STATE / CONNECTION, within_s=UP_S)))
        except BaseException as failure:
            await child.stop()
            if tries_left and isinstance(failure, ProcessFailed):
                continue
            raise
        return child, ports
    raise AssertionError  # the last try returns or raises


async def written(file: Path, *, within_s: float) -> None:
    """Wait until another process has written a file."""
    async with asyncio.timeout(within_s):
        while not file.exists():  # noqa: ASYNC110, ASYNC240 nobody tells us
            await asyncio.sleep(LOOK_S)


def _services_below(pid: int) -> dict[str, int]:
    """Return the processes that `batzen up` keeps up, by their modules' last names."""
    return {arguments_of(child)[-1].rpartition(".")[2]: child for child in children(pid)}


class PlainTill:
    """Pays at the plain shop, over HTTP."""

    def __init__(self, client: httpx.AsyncClient, *, log_file: Path) -> None:
        self._client = client
        self._log_file = log_file
        self._numbers = iter(range(10**9))

    def new_payer(self) -> Payer:
        return Payer(payer_id=f"payer_{next(self._numbers)}", token="")

    async def start(self, payer: Payer) -> str:
        new = {"payer_id": payer.payer_id, "amount": AMOUNT_MINOR, "fee": FEE_MINOR, "currency": "chf"}
        return str((await self._post("/payments", new))["payment_id"])

    async def submit(self, payer: Payer, payment_id: str) -> None:
        answer = await self._post(f"/payments/{payment_id}/submit", {"payment_method": CARD})
        assert answer["state"] == "succeeded", answer

    async def _post(self, path: str, body: Mapping[str, object]) -> dict[str, object]:
        answer = await self._client.post(path, json=body)
        assert answer.is_success, "\n".join(last_lines(self._log_file, count=LOG_TAIL_LINES))
        return dict(answer.json())


@asynccontextmanager
async def running_plain_shop(*, name: str, folder: Path, every_event: bool) -> AsyncIterator[Arm]:
    """Run the plain shop while inside; its webhooks are those that this checkout's suite gets, or `every_event`."""
    async with AsyncExitStack() as stack:
        postgres = await stack.enter_async_context(running_postgres(*SETTINGS))
        ports = free_ports()
        stripe = Stripe.stand_in()
        environment = {"PATH": os.environ["PATH"]}
        sandbox = Child(
            "sandbox",
            environment=sandbox_environment(ports, stripe) | ({EVENTS: "*"} if every_event else {}),
            log_file=folder / f"sandbox of {name}.log",
        )
        await executed(postgres.server.admin_url, f"CREATE DATABASE {SHOP}")
        shop = Child(
            "bench.plain_shop",
            str(ports["webhooks"]),
            environment=environment
            | {
                "STRIPE_API_KEY": stripe.api_key,
                "STRIPE_API_BASE": sandbox_url(ports),
                "SHOP_WEBHOOK_SECRET": stripe.webhook_secrets,
                "SHOP_DATABASE_URL": make_url(postgres.server.admin_url)
                .set(database=SHOP)
                .render_as_string(hide_password=False),
            },
            log_file=folder / f"{name}.log",
        )
        for child, port in ((sandbox, ports["sandbox"]), (shop, ports["webhooks"])):
            await child.start()
            stack.push_async_callback(child.stop)
            await child.until(asyncio.create_task(_listening(port)))
        client = httpx.AsyncClient(base_url=f"http://{HOST}:{ports['webhooks']}", timeout=TIMEOUT_S, trust_env=False)
        control = await stack.enter_async_context(SandboxControl(sandbox_url(ports)))
        assert shop.pid is not None
        assert sandbox.pid is not None
        yield Arm(
            name=name,
            till=PlainTill(await stack.enter_async_context(client), log_file=shop.log_file),
            pids={SHOP: shop.pid},
            sandbox=control,
            sandbox_pid=sandbox.pid,
            postgres=postgres,
            logs={SHOP: shop.log_file},
        )


async def _listening(port: int) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection(HOST, port)
        except OSError:
            await asyncio.sleep(LOOK_S)
        else:
            writer.close()
            return


def payers_of(till: Till, known: Sequence[Payer], count: int) -> list[Payer]:
    """Return so many payers, every other of whom pays for the first time."""
    return [till.new_payer() if number % 2 else known[number // 2 % len(known)] for number in range(count)]
