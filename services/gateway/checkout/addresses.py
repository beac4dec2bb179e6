"""Where the payers of hosted pages go: read at Stripe when it is asked for, never stored."""

from __future__ import annotations

from functools import partial
from typing import Final

from services.gateway.intents.domain import Intent, SessionState
from services.gateway.mirror.payment import MirroredPayment
from services.gateway.stripe_api.client import Provider
from services.gateway.stripe_api.session_objects import session_facts
from services.runtime.work.shared_readings import KeptReadings
from services.shared.codec import Json

ADDRESSES_KEPT_S: Final = 2.0
"""In memory alone: as long as a page that is loaded again and again may be shown the same."""


class PageAddresses:
    """Reads the addresses of open pages."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._sessions: KeptReadings[Json] = KeptReadings(kept_s=ADDRESSES_KEPT_S)

    async def of(self, payment: MirroredPayment, page: Intent) -> str:
        """Return where the payer goes; empty once the page is not open. Nothing else is concluded from it."""
        if page.session_state is not SessionState.OPEN:
            return ""
        key = (payment.tenant_id, page.session_id, payment.observation.mirror_version)
        session = await self._sessions.ask(key, partial(self._provider.sessions.retrieve, page.session_id))
        return session_facts(session).url
