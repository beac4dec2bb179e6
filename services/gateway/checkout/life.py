"""How long a hosted page lives, and until when Stripe may be asked for it. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from services.errors import FieldInvalid

LIFE_MIN: Final = timedelta(minutes=30)
LIFE_MAX: Final = timedelta(hours=24)
"""Of a page, from its creation on. Source: docs.stripe.com/api/checkout/sessions/create, `expires_at`."""
MOMENT: Final = timedelta(minutes=1)
"""How far the clocks of a caller, ours and Stripe's may be apart, with the time that a call is on its way."""


def asked_expiry(expire_time: datetime | None, now: datetime) -> datetime | None:
    """Return the end that Stripe is asked for; None for Stripe's own, after the longest life.

    What Stripe would not take any more when it hears of it is a moment later. Raises FieldInvalid.
    """
    if expire_time is None:
        return None
    life = expire_time - now
    if not LIFE_MIN - MOMENT <= life <= LIFE_MAX + MOMENT:
        raise FieldInvalid(field="expire_time", detail="must be 30 minutes to 24 hours ahead")
    if life >= LIFE_MAX - MOMENT:
        return None
    return max(expire_time, now + LIFE_MIN + MOMENT)


def send_before(given: datetime | None, expiry: datetime | None) -> datetime | None:
    """Return when it is too late to ask for a page for a first time: then Stripe does not take its end any more.

    From then on a page whose call has no answer is looked for, and never asked for again.
    """
    latest = [one for one in (given, expiry - LIFE_MIN if expiry is not None else None) if one is not None]
    return min(latest, default=None)
