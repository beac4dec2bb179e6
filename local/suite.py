"""The whole suite on this machine, as in production: one process per service, each with its own database and roles.

    async with running_suite(directory, ports=free_ports()) as suite:
        async with suite.client("service", subject="shop") as batzen:
            …

What must be true before something starts is waited for, never slept for: the server before its databases, a schema
before its service, health before use. Leaving the block ends everything in order; if this process dies instead, its
children notice and end themselves.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

from batzen.client import Addresses, Client
from local.databases import ServiceDatabase
from local.environments import (
    FRONTS,
    SERVICES,
    Stripe,
    addresses,
    front_url,
    login_redirect,
    migration_environment,
    sandbox_environment,
    sandbox_url,
    service_environment,
    webhook_url,
)
from local.front_keys import front_key
from local.issuer import DEFAULT_TENANT, SERVICE_TOKEN_LIFE, Issuer
from local.login_page import serving_login
from local.ports import HOST
from local.postgres import PostgresError
from local.processes import ROOT, Child, ProcessFailed, Spawn, own_interpreter
from local.running import SuiteBusy, alone, begin_logs
from local.storage import Storage, check_server, running_storage
from sandbox.control import SandboxControl

__all__ = ["Suite", "SuiteBusy", "running_suite"]

SANDBOX: Final = "sandbox"
STOP_ORDER: Final = (FRONTS, ("orchestrator", "gateway"), ("status", "pricing"), (SANDBOX,))
"""Who calls goes before who is called; those that call each other go together."""
RENEW_S: Final = SERVICE_TOKEN_LIFE.total_seconds() / 4
CONNECT_RETRY_S: Final = 0.03

Report = Callable[[str, bool], None]
"""Told the name of each step as it begins (False) and as it is done (True)."""


class Suite:
    """A running suite: where its parts are, and the handles to kill and start them."""

    def __init__(
        self,
        directory: Path,
        *,
        ports: Mapping[str, int],
        issuer: Issuer,
        stripe: Stripe,
        databases: Mapping[str, ServiceDatabase],
        children: Mapping[str, Child],
        sandbox: SandboxControl | None,
    ) -> None:
        self.directory = directory
        self.ports = dict(ports)
        self.stripe = stripe
        self.issuer = issuer
        self._databases = dict(databases)
        self._children = dict(children)
        self._sandbox = sandbox

    @property
    def addresses(self) -> Addresses:
        return addresses(self.ports)

    @property
    def logs(self) -> Path:
        """The folder of `<process>.log`."""
        return self.directory / "logs"

    @property
    def sandbox_url(self) -> str:
        """Where the stand-in listens, unless Stripe's test mode is used."""
        return sandbox_url(self.ports)

    @property
    def sandbox(self) -> SandboxControl:
        """The controls of the stand-in; LookupError where Stripe's test mode is used."""
        if self._sandbox is None:
            raise LookupError("this suite talks to Stripe")
        return self._sandbox

    async def stripe_seconds(self) -> float | None:
        """Return how long the stand-in worked on requests so far, by its own clock; None for Stripe's test mode."""
        if self._sandbox is None:
            return None
        return sum(route["seconds"] for route in (await self._sandbox.metrics()).values())

    def front_url(self, front: str) -> str:
        """Return where browsers reach a front."""
        return front_url(front, self.ports)

    @property
    def webhook_url(self) -> str:
        """Where the gateway takes webhooks."""
        return webhook_url(self.ports)

    @property
    def processes(self) -> tuple[str, ...]:
        """The names of the processes there are."""
        return tuple(self._children)

    def token(self, role: str, *, sub: str, tenant: str = DEFAULT_TENANT) -> str:
        """Return a token that says: `sub` of `tenant` is a payer, seller, operator or service."""
        return self.issuer.mint(sub, roles={role}, tenant=tenant)

    def client(self, role: str, *, sub: str, tenant: str = DEFAULT_TENANT) -> Client:
        """Return a client of the suite for `sub`; use it with `async with`."""
        return Client(token=self.token(role, sub=sub, tenant=tenant), addresses=self.addresses)

    def database_url(self, service: str) -> str:
        """Return the URL of the service's runtime role. Holds the password."""
        return self._databases[service].runtime_url

    def owner_url(self, service: str) -> str:
        """Return the URL of the service's owner role. Holds the password."""
        return self._databases[service].owner_url

    def env_for(self, process: str) -> dict[str, str]:
        """Return the environment of a process. Changes count from its next start on."""
        return self._children[process].environment

    def pid(self, process: str) -> int | None:
        return self._children[process].pid

    async def launch(self, process: str) -> None:
        """Start what was stopped or killed; that it runs does not mean that it serves."""
        await self._children[process].start()

    async def start(self, process: str) -> None:
        """Start what was stopped or killed, and wait until it serves. Raises `ProcessFailed`."""
        await self.launch(process)
        await _until_ready(self._children[process], self.ports)

    async def stop(self, process: str) -> int:
        """End a process in order, and return its exit code."""
        return await self._children[process].stop()

    async def kill(self, process: str) -> None:
        """End a process with SIGKILL, as a crash would."""
        await self._children[process].kill()

    async def restart(self, process: str) -> None:
        """Stop a process in order and start it again."""
        await self.stop(process)
        await self.start(process)

    async def ended(self, process: str) -> int:
        """Wait until a process has ended, and return its exit code, negative for a signal."""
        return await self._children[process].wait()


@asynccontextmanager
async def running_suite(
    directory: Path,
    *,
    ports: Mapping[str, int],
    services: Sequence[str] = SERVICES,
    fronts: Sequence[str] = (),
    server_url: str | None = None,
    prefix: str = "batzen_",
    storage: Storage | None = None,
    stripe: Stripe | None = None,
    fresh: bool = True,
    extra: Mapping[str, Mapping[str, str]] | None = None,
    begin: Callable[[], None] = lambda: None,
    report: Report = lambda _name, _done: None,
    spawn: Spawn = own_interpreter,
) -> AsyncIterator[Suite]:
    """Run the suite while inside; everything it keeps is in `directory`.

    Its databases are `<prefix><service>` on the embedded server of `directory`, on the one at `server_url`, or on a
    given `storage`; `fresh` empties them first, which a stand-in that knows nothing needs. `fronts` are started beside
    the services. `extra` adds settings to the environment of a process, by its name; `begin` is called once the
    directory is ours, and before anything starts; `spawn` starts each process. Raises `PostgresError`, `ProcessFailed`
    or `SuiteBusy`.
    """
    directory = directory.absolute()  # noqa: ASYNC240 touches no disk
    stripe = stripe or Stripe.stand_in()
    directory.mkdir(mode=0o711, parents=True, exist_ok=True)
    databases: dict[str, ServiceDatabase] = {}
    children: dict[str, Child] = {}
    async with AsyncExitStack() as stack:
        stack.enter_context(alone(directory))
        if server_url is not None:
            await check_server(server_url)  # before anything is forgotten for it: a mistyped URL costs nothing
        begin()
        begin_logs(directory / "logs", names=(SANDBOX, *SERVICES, *fronts))
        issuer = Issuer(directory / "issuer", now=lambda: datetime.now(UTC))
        tokens = directory / "tokens"
        issuer.write_service_tokens(tokens, services=SERVICES, fronts=fronts)
        keys = {front: front_key(directory / "fronts", front) for front in fronts}
        login: Mapping[str, str] = {}
        if "console" in fronts:
            page = serving_login(directory / "fronts", port=ports["login"], redirect_uri=login_redirect(ports))
            login = (await stack.enter_async_context(page)).settings
        stack.push_async_callback(_stop_all, children)

        def add(name: str, module: str, environment: Mapping[str, str]) -> Child:
            environment = {**environment, **(extra or {}).get(name, {})}
            children[name] = Child(
                module, name=name, environment=environment, log_file=directory / "logs" / f"{name}.log", spawn=spawn
            )
            return children[name]

        async with _one_failure(), asyncio.TaskGroup() as group:
            stand_in: asyncio.Task[None] | None = None
            if stripe.is_stand_in:
                sandbox = add(SANDBOX, SANDBOX, sandbox_environment(ports, stripe))
                stand_in = group.create_task(_start(sandbox, ports, report))
            report("PostgreSQL", False)
            if storage is None:
                storage = await stack.enter_async_context(
                    running_storage(directory, server_url=server_url, prefix=prefix)
                )
                stack.push_async_callback(_stop_all, children)  # before the server they use
            report("PostgreSQL", True)

            async def bring_up(service: str, storage: Storage) -> None:
                report(f"{service} database", False)
                database = databases[service] = await storage.database(
                    service,
                    fresh=fresh,
                    migrations=ROOT / "services" / service / "migrations",
                    migrate=partial(_migrate, service, log_file=directory / "logs" / f"{service}.log", spawn=spawn),
                )
                report(f"{service} database", True)
                environment = service_environment(
                    service,
                    ports=ports,
                    database=database,
                    jwks=issuer.jwks,
                    tokens=tokens,
                    stripe=stripe,
                    personal_key=storage.personal_key(),
                    webhook_key=storage.webhook_key(),
                    fronts=keys,
                    login=login,
                )
                if service == "gateway" and stand_in is not None:
                    await stand_in  # a first start that does not reach Stripe ends
                await _start(add(service, f"services.{service}", environment), ports, report)

            for service in (*services, *fronts):
                group.create_task(bring_up(service, storage))
        renewing = asyncio.create_task(_renew(issuer, tokens, fronts))
        stack.callback(renewing.cancel)
        control = None
        if stripe.is_stand_in:
            control = await stack.enter_async_context(SandboxControl(sandbox_url(ports)))
        yield Suite(
            directory,
            ports=ports,
            issuer=issuer,
            stripe=stripe,
            databases=databases,
            children=children,
            sandbox=control,
        )


async def _migrate(service: str, database: ServiceDatabase, *, log_file: Path, spawn: Spawn) -> None:
    migration = Child(
        f"services.{service}",
        "migrate",
        name=f"the migration of {service}",
        environment=migration_environment(database),
        log_file=log_file,
        spawn=spawn,
    )
    await migration.run()


async def _start(child: Child, ports: Mapping[str, int], report: Report) -> None:
    report(child.name, False)
    await child.start()
    await _until_ready(child, ports)
    report(child.name, True)


async def _until_ready(child: Child, ports: Mapping[str, int]) -> None:
    if child.name == SANDBOX:
        await child.until(asyncio.create_task(_listening(ports[SANDBOX])))
    else:
        await child.until_serving(f"{HOST}:{ports[f'{child.name}-health']}")


async def _listening(port: int) -> None:
    while True:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection(HOST, port)
            writer.close()
            return
        await asyncio.sleep(CONNECT_RETRY_S)


async def _stop_all(children: Mapping[str, Child]) -> None:
    for names in STOP_ORDER:
        await asyncio.gather(*(children[name].stop() for name in names if name in children))


async def _renew(issuer: Issuer, tokens: Path, fronts: Sequence[str]) -> None:
    while True:
        await asyncio.sleep(RENEW_S)
        issuer.write_service_tokens(tokens, services=SERVICES, fronts=fronts)


@asynccontextmanager
async def _one_failure() -> AsyncIterator[None]:
    """Raise the first failure of a task group alone: the others follow from it, and a person reads one."""
    try:
        yield
    except* (ProcessFailed, PostgresError, OSError) as group:
        first: BaseException = group
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        failure = first
    else:
        return
    raise failure
