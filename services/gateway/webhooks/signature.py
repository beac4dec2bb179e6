"""Whether a webhook's body comes from Stripe: a total function over bytes.

Stripe signs `"{t}.{body}"` with HMAC-SHA256 under the endpoint's secret and sends `Stripe-Signature: t=…,v1=…`, with
one `v1` for each secret that is active while one is rolled. Own code rather than `stripe.Webhook.construct_event`: that
takes a timestamp from the future, decodes before it verifies, and reads the wall clock.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from datetime import datetime

TOLERANCE_S = 300
"""How far Stripe's clock and ours may be apart, either way; Stripe's own default for the past. A replay older than this
is refused, and a younger one meets the inbox, which knows the event."""
HEADER_BYTES_MAX = 2_048
"""Stripe sends about 75 bytes for each secret, two schemes at most; what is longer is not Stripe's."""
TIMESTAMP_DIGITS_MAX = 12


class WebhookRefused(Exception):
    """What arrived is no event of Stripe's that we take: answered with a 4xx, never with 500."""

    def __init__(self, reason: str) -> None:
        """Name the reason in UPPER_SNAKE_CASE; it is logged and answered, and tells a forger nothing new."""
        super().__init__(reason)
        self.reason = reason


def verify(body: bytes, *, header: bytes | None, secrets: Sequence[str], now: datetime) -> None:
    """Return if one of `secrets` signed `body` within `TOLERANCE_S` of `now`; raise WebhookRefused otherwise."""
    if not header:
        raise WebhookRefused("SIGNATURE_MISSING")
    timestamp, signatures = _parts(header)
    signed = timestamp + b"." + body
    matches = False
    for secret in secrets:
        expected = hmac.digest(secret.encode(), signed, "sha256").hex().encode()
        for signature in signatures:
            # Each pair is compared, in constant time, whatever matched before.
            matches |= hmac.compare_digest(expected, signature)
    if not matches:
        raise WebhookRefused("SIGNATURE_MISMATCH")
    if abs(now.timestamp() - int(timestamp)) > TOLERANCE_S:
        raise WebhookRefused("TIMESTAMP_OUTSIDE_TOLERANCE")


def _parts(header: bytes) -> tuple[bytes, list[bytes]]:
    """Return the timestamp's digits and every `v1` signature; other schemes mean nothing to us."""
    if len(header) > HEADER_BYTES_MAX:
        raise WebhookRefused("SIGNATURE_MALFORMED")
    pairs = [item.strip().partition(b"=") for item in header.split(b",")]
    timestamps = [value for key, _, value in pairs if key == b"t"]
    signatures = [value for key, _, value in pairs if key == b"v1"]
    if len(timestamps) != 1 or not signatures:
        raise WebhookRefused("SIGNATURE_MALFORMED")
    timestamp = timestamps[0]
    if not timestamp.isdigit() or len(timestamp) > TIMESTAMP_DIGITS_MAX:
        raise WebhookRefused("SIGNATURE_MALFORMED")
    return timestamp, signatures
