"""What one would write instead of the suite: FastAPI, the objects of Stripe's SDK, asyncpg; a row for each payment.

`python -m bench.plain_shop PORT`. It makes none of the suite's promises: a process that dies between Stripe's answer
and its own statement knows nothing of the charge, a call that is repeated charges again, an event that comes twice or
late is written as it comes, and nobody can watch. Its prices are whatever the caller says.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg
import stripe
import uvicorn
from fastapi import FastAPI, HTTPException, Request
from pydantic import BaseModel

from local.ports import HOST

RETURN_URL: Final = "https://shop.example/back"
SELLER: Final[dict[str, Any]] = {
    "country": "CH",
    "email": "seller@example.ch",
    "controller": {
        "fees": {"payer": "application"},
        "losses": {"payments": "application"},
        "stripe_dashboard": {"type": "express"},
    },
    "capabilities": {"card_payments": {"requested": True}, "transfers": {"requested": True}},
}
TABLE: Final = """
CREATE TABLE payments (
  intent_id text PRIMARY KEY, payer_id text NOT NULL, amount integer NOT NULL, currency text NOT NULL,
  state text NOT NULL, paid_time timestamptz, create_time timestamptz NOT NULL DEFAULT now()
)
"""


class NewPayment(BaseModel):
    payer_id: str
    amount: int
    fee: int
    currency: str


class Submission(BaseModel):
    payment_method: str


class PlainShop:
    """The three routes, and what they share."""

    def __init__(self) -> None:
        stripe.enable_telemetry = False  # as in the gateway
        self._stripe = stripe.StripeClient(
            os.environ["STRIPE_API_KEY"],
            http_client=stripe.HTTPXClient(),
            base_addresses={"api": os.environ["STRIPE_API_BASE"]},
        )
        self._secret = os.environ["SHOP_WEBHOOK_SECRET"]
        self._pool: Any = None
        self._account_id = ""

    @asynccontextmanager
    async def opened(self, _: object) -> AsyncIterator[None]:
        """Have the table and the seller while inside."""
        async with asyncpg.create_pool(os.environ["SHOP_DATABASE_URL"]) as self._pool:
            await self._pool.execute(TABLE)
            account = await self._stripe.v1.accounts.create_async(SELLER)  # type: ignore[arg-type]
            self._account_id = account.id
            yield

    async def start(self, new: NewPayment) -> dict[str, str | None]:
        """Create the intent, then the row."""
        intent = await self._stripe.v1.payment_intents.create_async(
            {
                "amount": new.amount,
                "currency": new.currency,
                "application_fee_amount": new.fee,
                "transfer_data": {"destination": self._account_id},
                "automatic_payment_methods": {"enabled": True},
                "metadata": {"payer_id": new.payer_id},
            }
        )
        await self._pool.execute(
            "INSERT INTO payments (intent_id, payer_id, amount, currency, state) VALUES ($1, $2, $3, $4, $5)",
            intent.id,
            new.payer_id,
            new.amount,
            new.currency,
            intent.status,
        )
        return {"payment_id": intent.id, "client_secret": intent.client_secret}

    async def submit(self, payment_id: str, submission: Submission) -> dict[str, str]:
        """Confirm the intent, then write what it says."""
        try:
            intent = await self._stripe.v1.payment_intents.confirm_async(
                payment_id, {"payment_method": submission.payment_method, "return_url": RETURN_URL}
            )
        except stripe.CardError as error:
            raise HTTPException(402, error.user_message) from error
        await self._pool.execute("UPDATE payments SET state = $2 WHERE intent_id = $1", payment_id, intent.status)
        return {"state": intent.status}

    async def webhook(self, request: Request) -> dict[str, bool]:
        """Verify an event, and write it down if it says that a payment was paid."""
        try:
            event = stripe.Webhook.construct_event(
                await request.body(), request.headers["stripe-signature"], self._secret
            )
        except (KeyError, ValueError, stripe.SignatureVerificationError) as error:
            raise HTTPException(400) from error
        if event.type == "payment_intent.succeeded":
            intent = event.data.object
            await self._pool.execute(
                "UPDATE payments SET state = $2, paid_time = now() WHERE intent_id = $1", intent.id, intent.status
            )
        return {"received": True}


def _app() -> FastAPI:
    shop = PlainShop()
    app = FastAPI(lifespan=shop.opened)
    app.add_api_route("/payments", shop.start, methods=["POST"])
    app.add_api_route("/payments/{payment_id}/submit", shop.submit, methods=["POST"])
    app.add_api_route("/webhooks/stripe", shop.webhook, methods=["POST"])
    return app


if __name__ == "__main__":
    config = uvicorn.Config(
        _app(), host=HOST, port=int(sys.argv[1]), loop="uvloop", http="httptools", log_level="warning", access_log=False
    )
    uvicorn.Server(config).run()
