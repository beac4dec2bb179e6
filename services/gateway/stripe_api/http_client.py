"""What carries calls to Stripe: the SDK on aiohttp, set to try once, follow no redirect and keep no cookies.

`NEVER_SENT` are the failures after which nothing of a request can have reached Stripe. Any other failure is silence,
also that of a connection which Stripe closed while it was idle: that it did so before it read the request is not known.
"""

from __future__ import annotations

import ssl
import urllib.request
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import stripe
from yarl import URL

from services.shared.text import storable_json

CONNECTIONS_MAX: Final = 512
"""Open at once. A hundred calls a second that take three seconds each need 300; a call beyond waits for its turn."""
CONNECT_SHARE: Final = 0.5
"""Of a try's time: a connection that is not there by then was not used, and the try is known to have sent nothing."""
IDLE_S: Final = 15.0
"""How long an idle connection is kept. Stripe keeps them for longer, so it rarely closes one under a request."""
NEVER_SENT: Final = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
"""No connection: name, TCP, TLS or proxy failed, or there was none in time. A request is written on a connection."""


class StripeHttp(stripe.AIOHTTPClient):
    """Sends to Stripe, and reads its answers so that each text in them can be stored, those of errors too.

    aiohttp repeats a reading once, by itself, on a kept connection that turns out to be closed; never what changes
    something. A proxy is taken from the environment, once.
    """

    def __init__(self, *, base: str, try_timeout_s: float) -> None:
        super().__init__(
            session=aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    ssl=ssl.create_default_context(cafile=stripe.ca_bundle_path),
                    limit=CONNECTIONS_MAX,
                    keepalive_timeout=IDLE_S,
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                # `client` limits the time of the whole try.
                timeout=aiohttp.ClientTimeout(total=None, connect=try_timeout_s * CONNECT_SHARE),
                proxy=_proxy_to(base),
            )
        )

    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str], post_data: Any = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        """Send once, and read the answer to its end. Raises APIConnectionError from what aiohttp raised."""
        try:
            async with self._session.request(
                # A redirect would send what moves money to wherever it says.
                method, URL(url, encoded=True), headers=headers, data=post_data, allow_redirects=False
            ) as answer:  # fmt: skip
                content = await answer.read()
        except Exception as error:  # noqa: BLE001 as the SDK does
            self._handle_request_error(error)
        return storable_json(content), answer.status, answer.headers

    async def close_async(self) -> None:
        """Close the connections."""
        await self._session.close()


def _proxy_to(base: str) -> str | None:
    place = urlsplit(base)
    if urllib.request.proxy_bypass(place.hostname or ""):
        return None
    return urllib.request.getproxies().get(place.scheme)
