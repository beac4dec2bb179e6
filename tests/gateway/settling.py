"""Carts of several sellers to test settling with: paid through the gateway, their transfers looked up at Stripe."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import sqlalchemy as sa

from batzen.gateway.v1 import split_pb2
from sandbox.control import Refused, SandboxControl
from services.gateway.wiring import Parts
from services.runtime.rpc import call_context
from services.runtime.work.kinds import RetryLater, Work
from tests.eventually import eventually
from tests.gateway.conftest import Gateway
from tests.gateway.samples import Payments, chf, new_id

TENANT = "main"


async def emptied(stripe: SandboxControl, account: str) -> None:
    """Have all francs of an account paid out; it may have none."""
    with suppress(Refused):
        await stripe.empty_account(account, currency="chf")


class Carts:
    """Pays carts and says what their sellers got."""

    def __init__(self, replica: Gateway, payments: Payments, stripe: SandboxControl) -> None:
        self.replica, self.payments, self.stripe = replica, payments, stripe
        self.accounts: dict[str, str] = {}

    async def seller(self) -> str:
        """Return a seller who can be paid."""
        seller_id = new_id("seller")
        self.accounts[seller_id] = (await self.payments.prepare_seller(seller_id)).stripe_account_id
        return seller_id

    async def sellers(self, number: int) -> list[str]:
        return [await self.seller() for _ in range(number)]

    def asked(self, *parts: split_pb2.SellerPart, **fields: Any) -> dict[str, Any]:
        """Return what an intent with these parts is asked for with."""
        total = sum(line.gross_minor for part in parts for line in part.lines)
        ours = {"amount": chf(total), "seller_id": "", "application_fee": chf(0), "seller_parts": parts}
        return {**ours, **fields}

    async def paid(self, *parts: split_pb2.SellerPart, **fields: Any) -> str:
        """Return a payment of a cart with these parts."""
        return await self.payments.paid(**self.asked(*parts, **fields))

    async def refunded_by_hand(self, payment_id: str, amount_minor: int) -> None:
        """Give a payer back so much as from Stripe's dashboard, which moves nothing of a seller's; and see it."""
        await self.stripe.refund(await self.payments.intent_id(payment_id), amount=amount_minor)
        await self.payments.synced(payment_id)

    async def run(self, payment_id: str, parts: Parts | None = None) -> None:
        """Take a payment's next steps as the due work does."""
        settler = (parts or self.replica.parts).settler
        work = Work(kind=settler.work, tenant_id=TENANT, key=(payment_id,), fence=0, failures=0)
        with call_context.acting_for(TENANT), suppress(RetryLater):
            await settler.settle(work)

    async def book(self, payment_id: str) -> None:
        """Let a payment's charges be booked at Stripe, of which the gateway is told."""
        await self.stripe.settle()
        with call_context.acting_for(TENANT):
            for charge in await self.payments.charges(payment_id):
                await self.replica.parts.reader.apply_booked(TENANT, payment_id, charge, origin="test")

    async def transfers(self, payment_id: str) -> list[dict[str, Any]]:
        """Return the transfers of a payment at Stripe, the oldest first."""
        return await self.stripe.objects("transfer", transfer_group=payment_id)

    async def got(self, payment_id: str) -> dict[str, int]:
        """Return what each seller has of a payment, by Stripe."""
        names = {account_id: seller_id for seller_id, account_id in self.accounts.items()}
        sums: dict[str, int] = {}
        for one in await self.transfers(payment_id):
            seller_id = names[one["destination"]]
            sums[seller_id] = sums.get(seller_id, 0) + one["amount"] - one["amount_reversed"]
        return sums

    async def is_at_rest(self, payment_id: str) -> bool:
        """Whether nothing of a payment is left to be settled."""
        async with self.replica.parts.engine.connect() as connection:
            found = await connection.execute(
                sa.text("SELECT count(*) FROM settlements WHERE payment_id = :payment_id"), {"payment_id": payment_id}
            )
            rows = found.scalar_one()
        payment = await self.replica.parts.store.require(TENANT, payment_id)
        return not rows and not payment.open_calls and payment.missing is None

    async def settled(self, payment_id: str) -> dict[str, int]:
        """Return what each seller has once nothing is left to be settled."""
        await self.book(payment_id)

        async def rests() -> bool:
            return await self.is_at_rest(payment_id)

        await eventually(rests, what=f"{payment_id} comes to rest")
        return await self.got(payment_id)


def part(seller_id: str, gross_minor: int, *, fee_minor: int = -1, line_id: str = "", **fields: Any) -> Any:
    """Return a seller's part of one line, with a fee of 15 % unless it says another."""
    fee = gross_minor * 15 // 100 if fee_minor < 0 else fee_minor
    line: dict[str, Any] = {
        "line_id": line_id or new_id("line"),
        "gross_minor": gross_minor,
        "seller_minor": gross_minor - fee,
        "platform_fee_minor": fee,
    }
    return split_pb2.SellerPart(seller_id=seller_id, lines=[split_pb2.LinePart(**{**line, **fields})])
