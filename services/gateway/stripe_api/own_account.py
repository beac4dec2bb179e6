"""Whose account a key opens: one reading, in one try, that tells a key which is not taken from Stripe being away."""

from __future__ import annotations

import asyncio
import ssl
from typing import Final

import aiohttp
import stripe

from services.gateway.errors import StripeUnavailable
from services.gateway.stripe_api import outcomes
from services.gateway.stripe_api.http_client import NEVER_SENT
from services.runtime.process.lifecycle import StartRefused
from services.shared.codec import Json

PATH: Final = "/v1/account"


class KeyNotTaken(StartRefused):
    """Stripe does not take the key, or does not let it read its own account."""


async def own_account(client: stripe.StripeClient, *, seconds: float) -> Json:
    """Read the account of a client's key. Raises KeyNotTaken for good, StripeUnavailable for now."""
    try:
        async with asyncio.timeout(seconds):
            account: Json = (await client.raw_request_async("get", PATH)).data
    except stripe.AuthenticationError as error:
        raise KeyNotTaken("Stripe does not take STRIPE_API_KEY: it is wrong, expired or revoked.") from error
    except stripe.PermissionError as error:
        raise KeyNotTaken("STRIPE_API_KEY may not read its own account; permit a restricted key that.") from error
    except (stripe.StripeError, TimeoutError) as error:
        raise StripeUnavailable from error
    if not outcomes.is_object(account, of_type="account"):
        raise StripeUnavailable from _NotStripe("the answer is no account of Stripe's")
    return account


def why_away(error: StripeUnavailable) -> str:
    """Return in a few words why Stripe could not be asked, as far as one can mend it here."""
    cause = error.__cause__
    if isinstance(cause, _NotStripe):
        return str(cause)
    below = cause.__cause__ if isinstance(cause, stripe.APIConnectionError) else cause
    for kind, words in _WORDS.items():
        if isinstance(below, kind):
            return words
    if isinstance(below, NEVER_SENT):
        return "there is no connection to it"
    status = getattr(cause, "http_status", None)
    return "there is no answer" if status is None else f"it answers {status}"


class _NotStripe(Exception):
    """What answers is something else."""


_WORDS: Final[dict[type[BaseException], str]] = {
    aiohttp.ClientConnectorDNSError: "its name is not known here",
    aiohttp.ClientProxyConnectionError: "the proxy of HTTPS_PROXY does not answer",
    aiohttp.ClientConnectorCertificateError: "its certificate is not trusted here",
    ssl.SSLError: "there is no TLS with it",
    aiohttp.ClientConnectorSSLError: "there is no TLS with it",
    aiohttp.ConnectionTimeoutError: "there is no connection to it in time",
    TimeoutError: "there is no answer in time",
}
"""The first that fits; those that are of another kind come before it."""
