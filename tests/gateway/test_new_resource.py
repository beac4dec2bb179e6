"""A resource that is none of the gateway's: it brings its own subject and a call, and the engine does the rest."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

import asyncpg
import pytest

from local.databases import ServiceDatabase
from sandbox.control import SandboxControl
from sandbox.faults import Kind
from services.errors import NotFound, RequestIdReused
from services.gateway.call_log import store as call_rows
from services.gateway.call_log.call import Call, Params, StoredCall
from services.gateway.call_log.engine import Calls
from services.gateway.call_log.operation import Accepted, CallResult, Operation, SubjectStore
from services.gateway.call_log.sweep import CallSweep
from services.gateway.errors import StripeRateLimited, StripeUnavailable
from services.gateway.stripe_api.client import Provider
from services.gateway.stripe_api.objects import text
from services.runtime.database.connections import DirectConnections, plain_dsn
from services.runtime.database.lease import LEASE, LeaseLost, Leases
from services.runtime.rpc import call_context
from services.runtime.work.kinds import Work
from services.shared.codec import Json
from tests.gateway.conftest import Gateway
from tests.gateway.samples import new_id

CUSTOMERS = "POST /v1/customers"
TABLE = """
    CREATE TABLE IF NOT EXISTS wallets (
        tenant_id text NOT NULL, wallet_id text NOT NULL, customer_id text NOT NULL DEFAULT '',
        fence bigint NOT NULL DEFAULT 0, held_until timestamptz NOT NULL DEFAULT '-infinity',
        PRIMARY KEY (tenant_id, wallet_id));
"""


# Step 3: the value.


class WalletNotFound(NotFound):
    """There is no such wallet."""

    reason = "WALLET_NOT_FOUND"


@dataclass(slots=True, kw_only=True)
class Wallet:
    tenant_id: str
    wallet_id: str
    customer_id: str
    fence: int
    is_changed: bool = False
    open_calls: list[tuple[str, uuid.UUID]] = field(default_factory=list)

    @property
    def subject_id(self) -> str:
        return self.wallet_id


# Step 4: the operation, and the store of its subject.


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenWalletParams(Params):
    email: str
    body: Json | None = None


class OpenWallet(Operation[OpenWalletParams, Wallet]):
    """Opens a wallet, which at Stripe is a customer."""

    name = "wallet.open"
    params_type = OpenWalletParams

    def __init__(self, provider: Provider, wallets: Wallets) -> None:
        super().__init__(wallets)
        self._provider = provider

    async def prepare(self, subject: Wallet, call: Call[OpenWalletParams]) -> OpenWalletParams:
        return replace(call.params, body={"email": call.params.email, "metadata": {"wallet_id": subject.wallet_id}})

    async def send(self, subject: Wallet, call: Call[OpenWalletParams], *, is_repeat: bool) -> Json:
        return await self._provider.customers.create(call.params.body or {}, key=call.key, is_repeat=is_repeat)

    async def look_up(self, subject: Wallet, call: Call[OpenWalletParams]) -> Json | None:
        raise StripeUnavailable  # nothing of ours lists customers

    def record(self, subject: Wallet, call: Call[OpenWalletParams], answer: Json) -> Mapping[str, str]:
        subject.customer_id, subject.is_changed = text(answer, "id"), True
        return {"customer_id": subject.customer_id}


class Wallets(SubjectStore[Wallet]):
    """The table of wallets."""

    def __init__(self, connections: DirectConnections) -> None:
        self._connections = connections
        self.leases: Leases[Wallet] = Leases(self, key_of=lambda wallet: (wallet.tenant_id, wallet.wallet_id))

    async def accept(self, call: StoredCall, *, now: datetime) -> Accepted[Wallet]:
        async with self._connections.statement(None) as connection:
            created = await connection.fetchval(
                """INSERT INTO calls (tenant_id, call_id, operation, request_id, request_hash, subject_type, subject_id,
                       params, state, create_time)
                   SELECT $1, $2, $3, $4, $5, 'wallet', $6, $7, 'ACCEPTED', $8 FROM wallets
                   WHERE tenant_id = $1 AND wallet_id = $6
                   ON CONFLICT ON CONSTRAINT calls_request DO UPDATE SET state = 'ACCEPTED', tries = 0
                       WHERE calls.state = 'WITHDRAWN' AND calls.request_hash = excluded.request_hash
                   RETURNING create_time""",
                call.tenant_id,
                call.call_id,
                call.operation,
                call.request_id,
                call.request_hash,
                call.subject_id,
                json.dumps(call.params),
                now,
            )
        await self.require(call.tenant_id, call.subject_id)
        subject = await self.take(call.tenant_id, call.subject_id) if created else None
        return Accepted(call=replace(call, create_time=created) if created else None, subject=subject)

    async def take(self, tenant_id: str, wallet_id: str) -> Wallet | None:
        return await self._wallet(
            """UPDATE wallets SET fence = fence + 1, held_until = now() + $3::interval
               WHERE tenant_id = $1 AND wallet_id = $2 AND held_until <= now()
               RETURNING tenant_id, wallet_id, customer_id, fence""",
            tenant_id,
            wallet_id,
            LEASE,
        )

    async def require(self, tenant_id: str, wallet_id: str) -> Wallet:
        wallet = await self._wallet(
            "SELECT tenant_id, wallet_id, customer_id, fence FROM wallets WHERE tenant_id = $1 AND wallet_id = $2",
            tenant_id,
            wallet_id,
        )
        if wallet is None:
            raise WalletNotFound
        return wallet

    async def renew(self, wallet: Wallet) -> bool:
        return bool(await self._held("held_until = now() + $4::interval", wallet, LEASE))

    async def release(self, wallet: Wallet, error: BaseException | None = None) -> None:
        await self._held("held_until = '-infinity', fence = fence + 1", wallet)

    async def save(
        self,
        wallet: Wallet,
        *,
        point: str,
        now: datetime,
        call: StoredCall | None = None,
        release: bool = False,
        deliver: str | None = None,
    ) -> None:
        written = call_rows.arguments(call, now=now)
        async with self._connections.statement(point) as connection:
            saved = await connection.fetchval(
                """WITH held AS (
                       UPDATE wallets SET customer_id = $4, fence = fence + $5::boolean::integer,
                           held_until = CASE WHEN $5::boolean THEN '-infinity' ELSE held_until END
                       WHERE tenant_id = $1 AND wallet_id = $2 AND fence = $3 RETURNING 1),
                   call AS (
                       UPDATE calls SET state = $7, params = $8, answer = $12, tries = $13,
                           due_time = now() + $11::interval, generation = $9, key_time = $10
                       FROM held WHERE tenant_id = $1 AND call_id = $6)
                   SELECT count(*) FROM held""",
                wallet.tenant_id,
                wallet.wallet_id,
                wallet.fence,
                wallet.customer_id,
                release,
                *written.started,
                written.answer,
                written.tries,
            )
        if not saved:
            raise LeaseLost

    async def _held(self, change: str, wallet: Wallet, *arguments: object) -> object:
        async with self._connections.statement(None) as connection:
            return await connection.fetchval(
                f"UPDATE wallets SET {change} WHERE tenant_id = $1 AND wallet_id = $2 AND fence = $3 RETURNING 1",
                wallet.tenant_id,
                wallet.wallet_id,
                wallet.fence,
                *arguments,
            )

    async def _wallet(self, statement: str, *arguments: object) -> Wallet | None:
        async with self._connections.statement(None) as connection:
            row = await connection.fetchrow(statement, *arguments)
        return None if row is None else Wallet(**row)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    calls: Calls
    sweep: CallSweep
    wallets: Wallets
    owner: asyncpg.Connection
    stripe: SandboxControl

    async def wallet(self) -> str:
        wallet_id = new_id("wallet")
        await self.owner.execute("INSERT INTO wallets (tenant_id, wallet_id) VALUES ('main', $1)", wallet_id)
        return wallet_id

    async def open(self, wallet_id: str, request_id: uuid.UUID, *, request_hash: bytes = b"one") -> CallResult[Wallet]:
        with call_context.acting_for("main"):
            return await self.calls.make(
                OpenWallet,
                tenant_id="main",
                subject_id=wallet_id,
                request_id=request_id,
                request_hash=request_hash,
                params=OpenWalletParams(email="ada@example.org"),
            )


@pytest.fixture
async def place(replica: Gateway, database: ServiceDatabase, stripe: SandboxControl) -> AsyncIterator[Place]:
    owner = await asyncpg.connect(plain_dsn(database.owner_url))
    await owner.execute(TABLE)
    async with DirectConnections(database.runtime_url, application_name="wallets", size=2) as connections:
        wallets, parts = Wallets(connections), replica.parts
        # Step 5: the operation is registered.
        calls = Calls(parts.call_store, [OpenWallet(parts.provider, wallets)], now=parts.clock.now)
        sweep = CallSweep(calls, parts.call_store, is_away=lambda _: False)
        yield Place(calls=calls, sweep=sweep, wallets=wallets, owner=owner, stripe=stripe)
    await owner.execute("DELETE FROM calls WHERE operation = 'wallet.open'")
    await owner.close()


async def test_a_call_on_a_subject_of_its_own_is_made_once_and_answered_from_the_row_after(place: Place) -> None:
    wallet_id, request_id = await place.wallet(), uuid.uuid4()

    first = await place.open(wallet_id, request_id)
    again = await place.open(wallet_id, request_id)

    assert first.answer == again.answer == {"customer_id": first.subject.customer_id}
    assert (first.live is not None, again.live) == (True, None)
    assert (await place.wallets.require("main", wallet_id)).customer_id == first.subject.customer_id
    with pytest.raises(RequestIdReused):
        await place.open(wallet_id, request_id, request_hash=b"other")
    with pytest.raises(WalletNotFound):
        await place.open("nowhere", uuid.uuid4())


async def test_what_was_not_answered_is_unknown_and_settled_by_the_sweep_under_the_same_key(place: Place) -> None:
    wallet_id, request_id = await place.wallet(), uuid.uuid4()
    await place.stripe.fault(Kind.RESET, route=CUSTOMERS, after=True, times=None)
    assert (await place.open(wallet_id, request_id)).answer == {}
    await place.stripe.clear_faults()
    row = await place.owner.fetchrow("SELECT call_id, state, subject_type FROM calls WHERE request_id = $1", request_id)
    assert (row["state"], row["subject_type"]) == ("UNKNOWN", "wallet")

    with call_context.acting_for("main"):
        await place.sweep.settle(
            Work(tenant_id="main", kind=place.sweep.work, key=(str(row["call_id"]),), fence=0, failures=0)
        )

    settled = await place.open(wallet_id, request_id)
    assert settled.answer == {"customer_id": (await place.wallets.require("main", wallet_id)).customer_id}
    assert settled.subject.customer_id


async def test_what_was_not_sent_had_no_effect_and_a_repeat_makes_it(place: Place) -> None:
    wallet_id, request_id = await place.wallet(), uuid.uuid4()
    await place.stripe.fault(Kind.RATE_LIMIT, route=CUSTOMERS, times=5)
    with pytest.raises(StripeRateLimited):
        await place.open(wallet_id, request_id)
    await place.stripe.clear_faults()

    assert (await place.open(wallet_id, request_id)).answer["customer_id"].startswith("cus_")
