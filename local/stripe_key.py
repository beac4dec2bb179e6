"""What says how Stripe is used is tried before anything starts: what is wrong is said at once, in one sentence."""

from __future__ import annotations

from local.environments import POLLED_EVERY_S, Stripe, StripeKeyRefused
from services.gateway.errors import StripeUnavailable
from services.gateway.settings import POLL_EVERY, POLL_EVERY_S
from services.gateway.stripe_api.client import Provider
from services.gateway.stripe_api.own_account import KeyNotTaken, why_away


async def tried(stripe: Stripe) -> str:
    """Return the account that the key opens; of the stand-in none. Raises `StripeKeyRefused`.

    On a laptop nobody is served meanwhile, so unlike a gateway nothing starts while Stripe is away.
    """
    if stripe.is_stand_in:
        return ""
    _refuse_wrong_poll(stripe.polled_every_s)
    provider = Provider(stripe.api_key, api_base=stripe.api_base)
    try:
        return await provider.own_account_id()
    except KeyNotTaken as error:
        raise StripeKeyRefused(str(error)) from error
    except StripeUnavailable as error:
        raise StripeKeyRefused(
            f"STRIPE_API_KEY could not be tried at {provider.base}: {why_away(error)}; without the key the stand-in is"
            " used, which needs no network."
        ) from error
    finally:
        await provider.close()


def _refuse_wrong_poll(every_s: str) -> None:
    """Raise what the gateway would say of its setting, before databases and services were waited for."""
    try:
        if every_s:
            POLL_EVERY_S.parse(every_s)
    except ValueError as error:
        raise StripeKeyRefused(
            f"{POLL_EVERY} is {every_s!r} and {error}; without it events are read every {POLLED_EVERY_S} s."
        ) from error
