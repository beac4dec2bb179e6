"""A gateway of its own to reconcile: its payments, its books, and what Stripe has."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import asyncpg
from typer.testing import CliRunner

from batzen.cli.app import app
from batzen.gateway.v1 import ops_pb2, split_pb2
from batzen.gateway.v1.ops_pb2_grpc import GatewayOpsServiceStub
from local.databases import ServiceDatabase
from sandbox.control import SandboxControl
from services.gateway.balance.importer import BalanceImport
from services.gateway.reconciliation.domain import YOUNG
from services.runtime.database.connections import plain_dsn
from services.runtime.observability.metrics import Meter
from services.runtime.rpc.call_context import acting_for
from services.runtime.work.kinds import WorkClass
from tests.clock import Clock
from tests.eventually import eventually
from tests.gateway.conftest import TOKEN_LIFE, Gateway
from tests.gateway.samples import Payments
from tests.gateway.settling import TENANT, Carts

FIGURE = re.compile(r'^batzen_reconciliation_(findings|clean)(?:{kind="(\w+)"})? (\S+)$', re.MULTILINE)
Report = ops_pb2.GetReconciliationResponse
Difference = ops_pb2.GetReconciliationResponse.Difference


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciling:
    """Pays, plants what is wrong, and reconciles."""

    replica: Gateway
    ops: GatewayOpsServiceStub
    payments: Payments
    carts: Carts
    stripe: SandboxControl
    account: str
    clock: Clock
    began: datetime
    database: ServiceDatabase
    owner: asyncpg.Connection
    meter: Meter
    another: Callable[..., AbstractAsyncContextManager[Gateway]]
    """Runs one more process on the same database."""

    @property
    def imports(self) -> BalanceImport:
        return self.replica.parts.imports

    async def read_on(self) -> None:
        """Let the balance transactions be read that there are."""
        with acting_for(TENANT):
            assert await self.imports.read_on(TENANT)

    async def synced(self, payment_id: str) -> None:
        """Let a payment be booked at Stripe, mirrored as it is there, and settled."""
        await self.stripe.settle()
        await self.payments.synced(payment_id)

        async def rests() -> bool:
            return await self.carts.is_at_rest(payment_id)

        await eventually(rests, what=f"{payment_id} comes to rest")

    def request(self, **fields: Any) -> ops_pb2.ReconcileRequest:
        """All that was since the gateway is there, as of a time when nothing of it is young any more."""
        request = ops_pb2.ReconcileRequest(request_id=str(uuid.uuid4()), actor_id="operator_1", **fields)
        if not request.HasField("start_time"):
            request.start_time.FromDatetime(self.began)
            request.end_time.FromDatetime(self.clock.now() + timedelta(minutes=1))
        return request

    async def run(self, *, repair: bool = False) -> Report:
        """Reconcile, and return what came of it."""
        begun = await self.ops.Reconcile(self.request(repair=repair))
        return await self.ended(begun.reconciliation_id)

    async def ended(self, reconciliation_id: str) -> Report:
        async def report() -> Report | None:
            found = await self.ops.GetReconciliation(
                ops_pb2.GetReconciliationRequest(reconciliation_id=reconciliation_id)
            )
            return found if found.done else None

        return await eventually(report, within_s=60, what="the run comes to its end")

    async def all_ended(self) -> None:
        """Wait until each run that was ever begun is at its end."""
        query = "SELECT NOT EXISTS (SELECT FROM reconciliations WHERE finish_time IS NULL)"
        self.replica.parts.work.wake(WorkClass.READS)
        await eventually(lambda: self.owner.fetchval(query), within_s=60, what="all runs come to their ends")

    async def by_command_line(self, *more: str) -> tuple[int, str]:
        """Reconcile as an operator does; return exit code and what was said."""
        token = self.replica.issuer.mint("anna", roles=["operator"], tenant=TENANT, life=TOKEN_LIFE)
        environment = {
            "BATZEN_TOKEN": token,
            "BATZEN_GATEWAY_ADDRESS": f"127.0.0.1:{self.replica.port}",
            "COLUMNS": "200",
        }
        until = self.clock.now() + timedelta(minutes=1)
        span = ["--since", self.began.isoformat(), "--until", until.isoformat()]
        done = await asyncio.to_thread(CliRunner().invoke, app, ["reconcile", *span, *more], env=environment)
        return done.exit_code, done.output

    async def stopped_at(self, reconciliation_id: str, list_name: str) -> Report:
        """Wait until a run stands at a list of Stripe's, and return what it has come to."""

        async def report() -> Report | None:
            asked = ops_pb2.GetReconciliationRequest(reconciliation_id=reconciliation_id)
            found = await self.ops.GetReconciliation(asked)
            return found if found.step.endswith(f" {list_name}") else None

        return await eventually(report, what=f"the run comes to {list_name}")

    async def put_back(self, reconciliation_id: str) -> None:
        """Wait until a run that cannot go on waits for its next try."""
        query = """SELECT held_until = '-infinity' AND due_time > create_time + interval '5 seconds'
            FROM reconciliations WHERE reconciliation_id = $1"""
        await eventually(lambda: self.owner.fetchval(query, reconciliation_id), what="the run waits")

    def paid_later(self, *, days: int) -> split_pb2.SettlementTerms:
        """Terms of a charge whose sellers are paid later."""
        terms = split_pb2.SettlementTerms()
        terms.pay_time.FromDatetime(self.clock.now() + timedelta(days=days))
        return terms

    async def execute(self, statement: str, *arguments: object) -> None:
        """Change what the database's rules let the owner change."""
        await self.owner.execute(statement, *arguments)

    async def pages(self, reconciliation_id: str, *, size: int) -> list[Difference]:
        """Return what a run found, page by page."""
        request = ops_pb2.GetReconciliationRequest(reconciliation_id=reconciliation_id, page_size=size)
        found: list[Difference] = []
        while True:
            page = await self.ops.GetReconciliation(request)
            found += page.differences
            assert len(page.differences) <= size
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token

    async def paid_elsewhere(self) -> dict[str, Any]:
        """Let a payer pay past us, with the same Stripe account; returns the intent."""
        params = {
            "amount": 4_200,
            "currency": "chf",
            "payment_method": "pm_card_visa",
            "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
            "confirm": True,
        }
        with acting_for(TENANT):
            made = await self.replica.parts.provider.intents.create(params, key=str(uuid.uuid4()))
        await self.stripe.settle()
        return dict(made)

    async def figures(self) -> dict[str, float]:
        """Return what the gateway shows of its last run, as far as that is above zero; and whether it is clean."""
        text = (await self.meter.text()).decode()
        found: dict[str, float] = {}
        for name, kind, value in FIGURE.findall(text):
            if name == "clean" or float(value):
                found[kind or name] = float(value)
        return found

    async def forget_entries(self, fact: str) -> None:
        """Let a fact be booked no more, past the rules of the database."""
        await self._past_rules("DELETE FROM ledger_entries WHERE fact = $1", fact)

    async def add_to_entry(self, fact: str, minor: int) -> None:
        """Let an entry say more than it does, past the rules of the database."""
        await self._past_rules(
            "UPDATE ledger_entries SET amount_minor = amount_minor + $2 WHERE fact = $1 AND place = 1", fact, minor
        )

    async def _past_rules(self, statement: str, *arguments: object) -> None:
        async with self.owner.transaction():
            await self.owner.execute("ALTER TABLE ledger_entries DISABLE TRIGGER USER")
            assert await self.owner.execute(statement, *arguments) not in ("UPDATE 0", "DELETE 0")
            await self.owner.execute("ALTER TABLE ledger_entries ENABLE TRIGGER USER")


@asynccontextmanager
async def reconciling(  # noqa: PLR0917 what a test has
    replica: Gateway,
    database: ServiceDatabase,
    stripe: SandboxControl,
    clock: Clock,
    meter: Meter,
    another: Callable[..., AbstractAsyncContextManager[Gateway]],
) -> AsyncIterator[Reconciling]:
    """Prepare a gateway that was just begun."""
    owner = await asyncpg.connect(plain_dsn(database.owner_url))
    try:
        async with replica.connect() as stubs, replica.connect_ops() as ops:
            payments = Payments(stubs, stripe)
            await payments.prepare_seller()
            began = clock.now() - timedelta(minutes=1)
            clock.advance(YOUNG * 2)  # Stripe's clock stays: what it makes from here on is old enough
            yield Reconciling(
                replica=replica,
                ops=ops,
                payments=payments,
                carts=Carts(replica, payments, stripe),
                stripe=stripe,
                account=await replica.parts.provider.own_account_id(),
                clock=clock,
                began=began,
                database=database,
                owner=owner,
                meter=meter,
                another=another,
            )
    finally:
        await owner.close()


def kinds(report: Report) -> dict[str, set[str]]:
    """Return what is different, by kind and what it is of; what was mended is not."""
    found: dict[str, set[str]] = {}
    for one in report.differences:
        if not one.repaired:
            found.setdefault(Difference.Kind.Name(one.kind).removeprefix("KIND_"), set()).add(one.stripe_id)
    return found


def remainder(report: Report) -> dict[str, int]:
    """Return the remainder of each currency."""
    return {one.currency_code: one.amount_minor for one in report.unexplained}
