"""Every secret of the whole suite is replaced in its mounted file while payments are taken: no call fails."""

from __future__ import annotations

import asyncio
import secrets
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy.engine import make_url

from batzen.client import Client, new_request_id
from batzen.errors import BatzenError
from batzen.orchestrator.v1 import orchestrator_pb2
from batzen.status.v1 import status_pb2
from batzen.type.v1 import money_pb2
from local.environments import SERVICES
from local.ports import free_ports
from local.storage import Storage
from local.suite import Suite, running_suite
from services.runtime.database.connections import role_of
from tests.eventually import eventually
from tests.mounts import Mount
from tests.quick_postgres import quick_postgres
from tests.suite.journeys import PAYER, REFUND_MINOR, TOTAL_MINOR, Traveller, state_name

pytestmark = pytest.mark.soak

MOUNTED = ("BATZEN_RUNTIME_DATABASE_URL", "STRIPE_API_KEY", "BATZEN_STRIPE_WEBHOOK_SECRETS")
PAYERS = 3
"""At once, each one payment after the other."""
IDLE_ENDED = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1 AND state = 'idle'"
"""Makes a service connect anew, as it does after a failover: what is connected asks for no password."""


@pytest.fixture(scope="module")
async def own_suite() -> AsyncIterator[tuple[Suite, str]]:
    """A suite on a server of its own, whose roles and keys nobody else uses afterwards, and the server's address."""
    with tempfile.TemporaryDirectory(prefix="batzen-rotated-") as name:
        folder = Path(name)
        folder.chmod(0o711)  # the database's own user may enter, unlike pytest's
        with quick_postgres(folder / "postgres") as server:
            storage = Storage(admin_url=server.admin_url, passwords=folder / "passwords.json", prefix="rotated_")
            async with running_suite(folder / "suite", ports=free_ports(), storage=storage) as running:
                yield running, server.admin_url


@dataclass(kw_only=True)
class Payments:
    """Payments as an impatient shop takes them: what is refused, or not answered in time, has failed."""

    traveller: Traveller
    done: int = 0
    failed: list[str] = field(default_factory=list)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self._pay_for_ever()) for _ in range(PAYERS)]
        yield
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert self.failed == []

    async def go_on(self) -> None:
        """Wait until each payer began and ended a payment after this."""
        until = self.done + 2 * PAYERS
        await eventually(lambda: self.failed or self.done >= until, within_s=60)
        assert self.failed == []

    async def _pay_for_ever(self) -> None:
        while True:
            try:
                await self._pay(self.traveller.shop)
                self.done += 1
            except BatzenError as error:
                self.failed.append(f"{error!r} {error.correlation_id}")

    async def _pay(self, shop: Client) -> None:
        session = (await shop.orchestrator.StartPayment(self.traveller.start_request())).session
        payment_id = session.payment.payment_id
        submitted = await shop.orchestrator.SubmitPayment(
            orchestrator_pb2.SubmitPaymentRequest(
                request_id=new_request_id(), payment_id=payment_id, payment_method_id="pm_card_visa"
            )
        )
        assert state_name(submitted.payment.state) == "SUCCEEDED"
        await shop.orchestrator.RefundPayment(
            orchestrator_pb2.RefundPaymentRequest(
                request_id=new_request_id(),
                payment_id=payment_id,
                amount=money_pb2.Money(amount_minor=REFUND_MINOR, currency_code="CHF"),
                expected_refundable=money_pb2.Money(amount_minor=TOTAL_MINOR, currency_code="CHF"),
                actor_id="clerk",
            )
        )
        await shop.status.GetPayment(status_pb2.GetPaymentRequest(payment_id=payment_id))


class Mounted:
    """A running suite whose services read their secrets from mounted files."""

    def __init__(self, suite: Suite, folder: Path, admin: asyncpg.Connection) -> None:
        self._suite = suite
        self._admin = admin
        self._values = {
            service: {name: value for name, value in suite.env_for(service).items() if name in MOUNTED}
            for service in SERVICES
        }
        self._mounts = {service: Mount(folder / service, self._values[service]) for service in SERVICES}

    async def begin(self) -> None:
        """Have all services read files."""
        for service in SERVICES:
            environment = self._suite.env_for(service)
            for name in self._values[service]:
                environment[f"{name}_FILE"] = str(self._mounts[service].path(name))
                del environment[name]
            await self._suite.restart(service)

    def put(self, service: str, name: str, value: str) -> None:
        """Replace one of a service's secrets, as the mount does: all files at once."""
        self._values[service][name] = value
        self._mounts[service].replace(self._values[service])

    def take_away(self, service: str) -> None:
        """Leave nothing in the mount, as in the middle of a replacement that takes long."""
        self._mounts[service].replace({})

    async def put_password(self, service: str) -> None:
        """Write a new password into the file and, some payments later, into the database."""
        url = make_url(self._values[service]["BATZEN_RUNTIME_DATABASE_URL"]).set(password=secrets.token_hex(16))
        self.put(service, "BATZEN_RUNTIME_DATABASE_URL", url.render_as_string(hide_password=False))

    async def alter_password(self, service: str) -> None:
        url = make_url(self._values[service]["BATZEN_RUNTIME_DATABASE_URL"])
        await self._admin.execute(f"ALTER ROLE {url.username} PASSWORD '{url.password}'")

    async def reconnect(self, service: str) -> None:
        await self._admin.execute(IDLE_ENDED, role_of(self._values[service]["BATZEN_RUNTIME_DATABASE_URL"]))

    def log_of(self, service: str) -> str:
        return (self._suite.logs / f"{service}.log").read_text(errors="replace")


async def test_every_secret_is_replaced_under_payments_and_no_call_fails(
    own_suite: tuple[Suite, str], tmp_path: Path
) -> None:
    suite, admin_url = own_suite
    admin = await asyncpg.connect(admin_url)
    mounted = Mounted(suite, tmp_path, admin)
    await mounted.begin()
    async with suite.client("service", sub="shop") as shop, suite.client("payer", sub=PAYER) as payer:
        traveller = Traveller(suite, shop, payer, suite.sandbox)
        await traveller.put_seller()
        await rotate_all(suite, mounted, Payments(traveller=traveller))
    await admin.close()


async def rotate_all(suite: Suite, mounted: Mounted, payments: Payments) -> None:
    key, hook = suite.stripe.api_key, suite.stripe.webhook_secrets
    async with payments.running():
        await payments.go_on()

        for service in SERVICES:  # the database's passwords: the file first, then the server
            await mounted.put_password(service)
            await mounted.reconnect(service)
            await payments.go_on()
            await mounted.alter_password(service)
            await mounted.reconnect(service)
            await payments.go_on()

        new_key = f"{key}_{secrets.token_hex(8)}"  # Stripe's key: a new one of the account, then the old expires
        mounted.put("gateway", "STRIPE_API_KEY", new_key)
        await eventually(lambda: "The new Stripe key is used" in mounted.log_of("gateway"))
        await payments.go_on()
        await suite.sandbox.revoke_key(key)
        await payments.go_on()

        new_hook = f"whsec_{secrets.token_hex(16)}"  # the webhook secret: both, then Stripe's, then the new one alone
        mounted.put("gateway", "BATZEN_STRIPE_WEBHOOK_SECRETS", f"{hook},{new_hook}")
        await payments.go_on()
        await suite.sandbox.endpoint(suite.webhook_url, secrets=[new_hook])
        await payments.go_on()
        mounted.put("gateway", "BATZEN_STRIPE_WEBHOOK_SECRETS", new_hook)
        await payments.go_on()

        suite.issuer.rotate()  # the key of tokens: published, used by the services' own, and by a new caller's
        suite.issuer.write_service_tokens(suite.directory / "tokens", services=SERVICES)
        await payments.go_on()
        async with suite.client("service", sub="shop") as shop:
            await shop.status.ListPayments(status_pb2.ListPaymentsRequest())

        for service in SERVICES:
            mounted.take_away(service)
            await mounted.reconnect(service)
        await payments.go_on()

    assert "SIGNATURE_MISMATCH" not in mounted.log_of("gateway")
