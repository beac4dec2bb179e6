"""Keeps cards from being tried out: counts declines, and refuses who had too many of them.

A service that submits for its payers answers for them itself; what it is declined counts all the same. Where a payer
is, their front says with the call; it is nothing that decides about money.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from typing import Final

from services.orchestrator.domain.decline_limits import (
    FORM_DECLINES_MAX,
    WINDOW,
    Trier,
    counted_as,
    network_of,
)
from services.orchestrator.domain.errors import HostedCheckoutRequired, TooManyDeclines
from services.orchestrator.domain.plan import Plan
from services.orchestrator.storage.declines import DeclineStore
from services.shared.states import AttemptKind

ADDRESS_KEY: Final = "x-client-ip"
"""Metadata of a call that a front makes for a payer: where their browser is."""

_address: ContextVar[str] = ContextVar("address", default="")
# Beside what is known of a call: work on a submit outlives its call, and inherits this.


class DeclineLimits:
    """Counts declines and refuses."""

    def __init__(self, store: DeclineStore, *, declines_max: int, now: Callable[[], datetime]) -> None:
        self._store = store
        self._declines_max = declines_max
        self._now = now

    async def check_form(self, plan: Plan) -> None:
        """Refuse a submit in a form. Raises `HostedCheckoutRequired`, `TooManyDeclines`."""
        await self.check(plan)
        declines = plan.latest_snapshot.decline_count - plan.course.charge_tries
        if declines >= FORM_DECLINES_MAX and plan.attempt_kind is not AttemptKind.CHECKOUT_SESSION:
            raise HostedCheckoutRequired(declines_max=FORM_DECLINES_MAX)

    async def check(self, plan: Plan) -> None:
        """Refuse whoever had too many declines. Raises `TooManyDeclines`."""
        now, trier = self._now(), _trier(plan)
        blocking = await self._store.blocking(
            plan.tenant_id, trier.counted, at_most=self._declines_max, since=now - WINDOW
        )
        if blocking is not None:
            raise TooManyDeclines(retry_after=blocking + WINDOW - now)

    async def note(self, plan: Plan, *, fingerprint: str) -> None:
        """Count the payment's last decline, which was of the card with this fingerprint of Stripe's."""
        await self._store.add(
            plan.tenant_id,
            _trier(plan).counted,
            card=counted_as(plan.tenant_id, "card", fingerprint) if fingerprint else b"",
            payment_id=plan.payment_id,
            decline=plan.latest_snapshot.decline_count,
            now=self._now(),
            window=WINDOW,
        )


@contextmanager
def asked_from(metadata: Iterable[tuple[str, str | bytes]] | None) -> Generator[None]:
    """Remember inside where the payer of a call is, as its metadata says."""
    said = next((value for key, value in metadata or () if key == ADDRESS_KEY), "")
    token = _address.set(network_of(said if isinstance(said, str) else ""))
    try:
        yield
    finally:
        _address.reset(token)


def _trier(plan: Plan) -> Trier:
    return Trier(tenant_id=plan.tenant_id, payer_id=plan.payer_id, address=_address.get())
