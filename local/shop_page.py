"""A platform on this machine: a page that sells three things, each paid for on the page of the payer's front.

It does what a platform's back end does: it starts a payment with its own token, gets a one-time address for the payer's
browser, and sends it there. Payers come back to it, also when they have to log in again.
"""

from __future__ import annotations

import tomllib
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import aiohttp
from aiohttp import web
from jinja2 import Environment

from local.connection_file import SUBJECTS
from local.environments import TENANTS
from local.ports import HOST
from local.suite import Suite

PAYER: Final = "anna"
"""Who pays: one payer, so that kept cards are found again."""
IN_A_WEEK: Final = timedelta(days=7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """Something that is sold here."""

    name: str
    about: str
    amount_minor: int
    timing: str = "IMMEDIATE"
    keeps: bool = False


OFFERS: Final[Mapping[str, Offer]] = {
    "lesson": Offer(name="Ski lesson, Davos", about="Paid at once; the card is kept.", amount_minor=6_000, keeps=True),
    "guide": Offer(
        name="A day with a guide",
        about="Held, and taken once it is over.",
        amount_minor=24_000,
        timing="MANUAL_CAPTURE",
    ),
    "course": Offer(
        name="Course in a week",
        about="The card is kept, and charged in a week.",
        amount_minor=18_050,
        timing="SCHEDULED",
    ),
}


class ShopPage:
    """Sells, once there is a suite to be paid by."""

    def __init__(self) -> None:
        self.port = 0
        self.suite: Suite | None = None

    @property
    def url(self) -> str:
        """Where it is looked at."""
        return f"http://{HOST}:{self.port}/"

    def tenants_file(self, directory: Path) -> Path:
        """Write the file of tenants in which payers came from here."""
        directory.mkdir(parents=True, exist_ok=True)
        file = directory / "tenants.toml"
        [tenant] = tomllib.loads(TENANTS.read_text(encoding="utf-8"))
        table = f'[{tenant}]\nhome = "{self.url}"\n'
        file.write_text(TENANTS.read_text(encoding="utf-8").replace(f"[{tenant}]\n", table), encoding="utf-8")
        return file

    async def show(self, _: web.Request) -> web.Response:
        """Show what is sold."""
        return web.Response(text=SHOP.render(offers=OFFERS), content_type="text/html")

    async def buy(self, request: web.Request) -> web.Response:
        """Start a payment, and send the browser to it with a one-time address."""
        offer = OFFERS.get(request.match_info["offer"])
        if offer is None or self.suite is None:
            raise web.HTTPNotFound
        token = self.suite.token("service", sub=SUBJECTS["service"])
        async with aiohttp.ClientSession(
            self.suite.front_url("bff"), headers={"authorization": f"Bearer {token}"}, raise_for_status=True
        ) as bff:
            key = {"Idempotency-Key": str(uuid.uuid4())}
            async with bff.post("/v1/payments", json=_start(offer), headers=key) as started:
                payment_id = (await started.json())["payment"]["payment_id"]
            locale = request.headers.get("accept-language", "").partition(",")[0][:35]
            body = {"payer_id": PAYER, "payment_id": payment_id, "locale": locale}
            async with bff.post("/v1/hand-overs", json=body) as handed:
                url = (await handed.json())["url"]
        raise web.HTTPSeeOther(url)


def _start(offer: Offer) -> Mapping[str, object]:
    amount = {"amount_minor": offer.amount_minor, "currency_code": "CHF"}
    body: dict[str, object] = {
        "payer": {"payer_id": PAYER, "email": "anna@example.com"},
        "lines": [{"line_id": "lesson", "seller_id": SUBJECTS["seller"], "unit_amount": amount}],
        "collection": "CHECKOUT",
        "session_name": offer.name,
        "timing": offer.timing,
        "keep_method": offer.keeps,
    }
    if offer.timing == "SCHEDULED":
        body["charge_time"] = (datetime.now(UTC) + IN_A_WEEK).isoformat()
    return body


@asynccontextmanager
async def shop_page() -> AsyncIterator[ShopPage]:
    """Serve on a free port of this machine while inside."""
    shop = ShopPage()
    application = web.Application()
    application.add_routes([web.get("/", shop.show), web.post("/buy/{offer}", shop.buy)])
    runner = web.AppRunner(application, access_log=None)
    try:
        await runner.setup()
        await web.TCPSite(runner, HOST, 0).start()
        shop.port = runner.addresses[0][1]
        yield shop
    finally:
        await runner.cleanup()


SHOP: Final = Environment(autoescape=True).from_string(
    """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Alpine Lessons</title>
<meta name="viewport" content="width=device-width"><style>
body { font: 16px/1.5 system-ui, sans-serif; margin: 3rem auto; max-width: 40rem; padding: 0 1rem; color: #14181f; }
form { display: flex; gap: 1rem; align-items: center; justify-content: space-between; padding: 1rem 0;
border-top: 1px solid #e1e5ea; } p { margin: 0; color: #535d6b; } h2 { margin: 0; font-size: 1.0625rem; }
button { font: inherit; font-weight: 600; padding: .625rem 1rem; border: 0; border-radius: 10px; background: #1d4fd7;
color: #fff; cursor: pointer; white-space: nowrap; }</style></head><body><h1>Alpine Lessons</h1>
<p>A platform for trying: nothing here is for sale.</p>
{% for name, offer in offers.items() %}<form method="post" action="/buy/{{ name }}"><div><h2>{{ offer.name }}</h2>
<p>{{ offer.about }}</p></div>
<button>Buy for CHF {{ offer.amount_minor // 100 }}.{{ "%02d" % (offer.amount_minor % 100) }}</button>
</form>{% endfor %}</body></html>"""
)
