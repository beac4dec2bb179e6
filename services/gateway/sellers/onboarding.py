"""Links on which a seller tells Stripe what it wants to know: made anew each time, and kept nowhere."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime

from services.gateway.errors import SellerNotPayable, StripeRefused, StripeUnavailable
from services.gateway.sellers.operations import GONE, Sellers
from services.gateway.stripe_api.client import Provider
from services.gateway.stripe_api.objects import number, text
from services.gateway.stripe_api.outcomes import Unanswered
from services.runtime import crash_points


@dataclass(frozen=True, slots=True, kw_only=True)
class OnboardingLink:
    """A link for a seller alone."""

    url: str = field(repr=False)
    expire_time: datetime


class Onboarding:
    """Makes links to Stripe's onboarding."""

    def __init__(self, sellers: Sellers, provider: Provider) -> None:
        self._sellers = sellers
        self._provider = provider

    async def link(self, tenant_id: str, seller_id: str, *, return_url: str, refresh_url: str) -> OnboardingLink:
        """Make a link. One whose answer was lost is of no use to anybody, and ends by itself."""
        account_id = (await self._sellers.get(tenant_id, seller_id)).stripe_account_id
        asked = {
            "account": account_id,
            "type": "account_onboarding",
            # All that will ever be wanted at once, so that a seller is not asked again by and by.
            "collection_options": {"fields": "eventually_due"},
            "return_url": return_url,
            "refresh_url": refresh_url,
        }
        making = self._provider.accounts.create_link(asked, key=f"account_link:{uuid.uuid4()}")
        try:
            made = await crash_points.call("seller.link.stripe", making)
        except Unanswered as silence:
            raise StripeUnavailable from silence
        except StripeRefused as refusal:
            if refusal.metadata.get("code") not in GONE:
                raise
            await self._sellers.read_again(tenant_id, account_id)
            raise SellerNotPayable(field="seller_id", seller_id=seller_id, missing="account") from refusal
        return OnboardingLink(
            url=text(made, "url"), expire_time=datetime.fromtimestamp(number(made, "expires_at"), UTC)
        )
