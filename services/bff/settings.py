"""What the payer's front is told when it starts, beside what every front is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import urlsplit

from services.bff.tenants import Tenants, read_tenants
from services.runtime.process.settings import Form, Reader, each_of
from services.web.security.headers import STRIPE_CALLS, STRIPE_FRAMES, STRIPE_PAGES, STRIPE_SCRIPTS, Origins
from services.web.settings import FrontSettings, origin, web_address

STRIPE_SCRIPT: Final = "https://js.stripe.com/endive/stripe.js"
"""Of the release train of the API version that the gateway speaks."""


tenants_file: Final[Form[Tenants]] = Form(read_tenants, "TOML file of tenants")


@dataclass(frozen=True, slots=True, kw_only=True)
class BffSettings:
    """What the payer's front needs to know."""

    front: FrontSettings
    tenants: Tenants
    stripe_script: str
    checkout_origins: tuple[str, ...]
    analytics_url: str | None
    webhook_target: str | None

    @property
    def origins(self) -> Origins:
        """Where pages may load Stripe's parts from and send a payer to."""
        parts = urlsplit(self.stripe_script)
        script = f"{parts.scheme}://{parts.netloc}"
        if script in STRIPE_SCRIPTS:
            return Origins(
                scripts=STRIPE_SCRIPTS, frames=STRIPE_FRAMES, calls=STRIPE_CALLS, pages=self.checkout_origins
            )
        return Origins(scripts=[script], frames=[script], calls=[script], pages=self.checkout_origins)

    @classmethod
    def read(cls, read: Reader, *, listen: str, issuer: str) -> Self:
        """Read the settings."""
        return cls(
            front=FrontSettings.read(read, listen=listen, issuer=issuer),
            webhook_target=read(
                "BATZEN_WEBHOOK_TARGET",
                web_address,
                default=None,
                doc="Where webhooks at the old address are handed on to; without it Stripe posts there itself.",
            ),
            tenants=read(
                "BATZEN_TENANTS_FILE",
                tenants_file,
                default=Tenants(),
                shown="each tenant by its id alone",
                doc="How tenants show themselves to their payers: names, logos, addresses, ways to pay.",
            ),
            stripe_script=read(
                "BATZEN_STRIPE_JS_URL", web_address, default=STRIPE_SCRIPT, doc="Where browsers load Stripe.js from."
            ),
            checkout_origins=read(
                "BATZEN_CHECKOUT_ORIGINS",
                each_of(origin),
                default=tuple(STRIPE_PAGES),
                shown=",".join(STRIPE_PAGES),
                doc="Where Stripe's hosted pages are: its own host, or the account's checkout domain.",
            ),
            analytics_url=read(
                "BATZEN_ANALYTICS_URL",
                web_address,
                default=None,
                shown="",
                doc="Where what pages report of their use is passed on to, as JSON by POST; else it is counted alone.",
            ),
        )
