"""What a page is made for: whose browser, in which language, of which payment. Pure, but for the ids of its forms."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import urlencode, urlsplit

from services.bff.checkout.model import Checkout, Key, Link, Notice, Order, Shell, Step
from services.bff.checkout.wording import NAMES, Wording
from services.bff.tenants import Tenant
from services.web.texts import LANGUAGES

SLOW_AFTER: Final = timedelta(seconds=15)
"""After so long a page says that the bank takes longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a page stands."""

    tenant_id: str
    tenant: Tenant
    words: Wording
    path: str
    """Of the page itself, without `lang`: the other languages are links to it."""
    now: datetime
    new_id: Callable[[], str]
    """Makes the hidden id of a form."""
    origin: str
    """Under which browsers reach this front."""
    stripe_script: str
    checkout_origins: Collection[str] = ()
    """Where Stripe's hosted pages are."""
    is_plain: bool = False
    reference: str = ""
    """The correlation id of the request."""

    def home(self, payment_id: str) -> str:
        """Return where a payment's page is."""
        return f"/pay/{payment_id}"

    def is_hosted(self, url: str) -> bool:
        """Tell whether an address is on a page of Stripe's."""
        return _origin(url) in self.checkout_origins

    def may_lead_to(self, url: str) -> bool:
        """Tell whether a payer may be sent to what a service names: banks are anywhere, and all of them on https."""
        return url.startswith("https://") or self.is_hosted(url)

    def shell(self) -> Shell:
        """Return what stands around the page."""
        logo = self.tenant.logo
        glue = "&" if "?" in self.path else "?"
        return Shell(
            name=self.tenant.name,
            logo=None if logo is None else f"/tenants/{self.tenant_id}/{logo.digest}",
            terms=self.tenant.terms or None,
            privacy=self.tenant.privacy or None,
            support=Link(label=self.tenant.support, href=self.tenant.support) if self.tenant.support else None,
            languages=[
                Link(
                    label=language.upper(),
                    name=NAMES[language],
                    href=f"{self.path}{glue}{urlencode({'lang': language})}",
                    is_current=language == self.words.language,
                )
                for language in LANGUAGES
            ],
            home=self.tenant.home or None,
        )

    def page(
        self,
        key: Key,
        *,
        payment_id: str,
        revision: int,
        heading: str,
        status: str,
        lead: str = "",
        order: Order | None = None,
        steps: Sequence[Step] = (),
        notice: Notice | None = None,
        is_live: bool = True,
    ) -> Checkout:
        """Return what every page of a payment has."""
        return Checkout(
            key=key,
            payment_id=payment_id,
            revision=revision,
            shell=self.shell(),
            order=order,
            heading=heading,
            lead=lead,
            status=status,
            steps=steps,
            notice=notice,
            is_live=is_live and bool(payment_id),
            is_plain=self.is_plain,
            home=self.home(payment_id),
            events=f"/v1/payments/{payment_id}/events",
            checked=self.words.clock(self.now),
        )


def _origin(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.netloc}"
