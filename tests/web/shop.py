"""A platform's back end and its payers, as they call the front."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import httpx

from local.start import add_seller
from local.suite import Suite
from tests.eventually import WITHIN_S

SELLER: Final = "seller_of_pages"
PAYER: Final = "payer_of_pages"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """The platform, and clients of the front in several names."""

    suite: Suite
    service: httpx.AsyncClient
    payer: httpx.AsyncClient
    other_payer: httpx.AsyncClient
    nobody: httpx.AsyncClient

    async def start(self, **changed: object) -> Any:
        """Start a payment of 60 francs, and return its session."""
        answer = await self.service.post("/v1/payments", json=a_start(**changed), headers=key())
        assert answer.status_code == 201, answer.text
        return answer.json()

    async def hand_over(self, payment_id: str, *, payer_id: str = PAYER, locale: str = "") -> str:
        """Return the one-time address for a payer's browser."""
        body = {"payer_id": payer_id, "payment_id": payment_id, "locale": locale}
        answer = await self.service.post("/v1/hand-overs", json=body)
        assert answer.status_code == 201, answer.text
        url: str = answer.json()["url"]
        return url

    @asynccontextmanager
    async def browser(self, payment_id: str = "", *, payer_id: str = PAYER) -> AsyncIterator[httpx.AsyncClient]:
        """Yield a browser without pages: with the cookie of a session if it is let in to a payment."""
        headers = {"accept": "text/html", "accept-language": "en", "sec-fetch-site": "same-origin"}
        async with httpx.AsyncClient(
            base_url=self.suite.front_url("bff"), headers=headers, timeout=WITHIN_S
        ) as browser:
            if payment_id:
                answer = await browser.get(await self.hand_over(payment_id, payer_id=payer_id))
                assert answer.status_code == 303, answer.text
            yield browser


@asynccontextmanager
async def a_shop(suite: Suite) -> AsyncIterator[Shop]:
    """Yield a shop with a seller."""
    async with suite.client("service", sub="shop") as batzen:
        await add_seller(batzen, SELLER)
    url = suite.front_url("bff")

    def client(role: str, sub: str) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=url, headers={"authorization": f"Bearer {suite.token(role, sub=sub)}"}, timeout=WITHIN_S
        )

    async with (
        client("service", "shop") as service,
        client("payer", PAYER) as payer,
        client("payer", "another_payer") as other_payer,
        httpx.AsyncClient(base_url=url, timeout=WITHIN_S) as nobody,
    ):
        yield Shop(suite=suite, service=service, payer=payer, other_payer=other_payer, nobody=nobody)


def a_start(**changed: object) -> dict[str, object]:
    """Return the body of a start."""
    body: dict[str, object] = {
        "payer": {"payer_id": PAYER},
        "lines": [{"line_id": "a", "seller_id": SELLER, "unit_amount": {"amount_minor": 6000, "currency_code": "CHF"}}],
        "collection": "ELEMENTS",
    }
    return body | changed


def a_confirm(method: str = "pm_card_visa", *, shown_minor: int = 6000) -> dict[str, object]:
    """Return the body of a confirm by a payer who was shown so many centimes."""
    return {
        "payment_method_id": method,
        "expected_total": {"amount_minor": shown_minor, "currency_code": "CHF"},
    }


def key(text: str | None = None) -> Mapping[str, str]:
    """Return a header with a key, a new one unless it is named."""
    return {"Idempotency-Key": text or str(uuid.uuid4())}
