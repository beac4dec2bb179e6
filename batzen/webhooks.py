"""Whether a webhook comes from the suite, and what it says: for the systems of the platform that receive them.

    event = webhooks.verified(body, headers, secrets=[os.environ["BATZEN_WEBHOOK_SECRET"]])
    if not seen(event.event_id):  # each may arrive more than once
        ...

`body` is what arrived, byte for byte, unread. The signature is of the Standard Webhooks convention; any
verifier of that does as well. Answer 2xx once it is kept: everything else is sent again, for three days.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from google.protobuf.json_format import ParseDict, ParseError

from batzen.status.v1.status_pb2 import Payment

TOLERANCE: Final = timedelta(minutes=5)
"""How far our clock and yours may be apart, either way; what is older was sent by somebody who overheard it."""
HEADER_CHARACTERS_MAX: Final = 1_000
TIMESTAMP_DIGITS_MAX: Final = 12
_SECRET_PREFIX: Final = "whsec_"  # noqa: S105 says that a secret follows
_VERSION: Final = "v1,"


class WebhookRefused(Exception):
    """What arrived is no webhook of the suite, or not one for you: answer 4xx and do nothing."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        """UPPER_SNAKE_CASE: SIGNATURE_MISSING, SIGNATURE_MALFORMED, SIGNATURE_MISMATCH, TIMESTAMP_OUTSIDE_TOLERANCE or
        BODY_MALFORMED."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookEvent:
    """What is told."""

    event_id: str
    """The same each time it is sent: what was seen under it needs nothing more."""
    send_time: datetime
    """Of this try."""
    content: Mapping[str, object]
    """The body. In the full form: `type`, `timestamp`, `data`; in the old form its seven fields."""

    @property
    def type(self) -> str:
        """What happened, such as `payment.moved`; empty in the old form."""
        return str(self.content.get("type", ""))

    @property
    def payment(self) -> Payment | None:
        """The payment as status recorded it, None where there is none. Fields of a newer release are passed over."""
        data = self.content.get("data")
        found = data.get("payment") if isinstance(data, dict) else None
        if not isinstance(found, dict):
            return None
        try:
            return ParseDict(found, Payment(), ignore_unknown_fields=True)
        except ParseError as error:
            raise WebhookRefused("BODY_MALFORMED") from error


def verified(
    body: bytes,
    headers: Mapping[str, str],
    *,
    secrets: Sequence[str],
    now: datetime | None = None,
    tolerance: timedelta = TOLERANCE,
) -> WebhookEvent:
    """Return what a webhook says. Raises `WebhookRefused`, and ValueError where a secret is none.

    `secrets` are all that you have: while one is replaced, both. Names of `headers` are taken in any case.
    """
    keys = [_key(secret) for secret in secrets]
    found = {name.lower(): value for name, value in headers.items()}
    event_id, timestamp = found.get("webhook-id", ""), found.get("webhook-timestamp", "")
    signatures = _signatures(found.get("webhook-signature", ""))
    if not event_id or not timestamp or not signatures:
        raise WebhookRefused("SIGNATURE_MISSING")
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= TIMESTAMP_DIGITS_MAX):
        raise WebhookRefused("SIGNATURE_MALFORMED")
    signed = f"{event_id}.{timestamp}.".encode(errors="replace") + body
    if not _is_signed(signed, signatures, keys):
        raise WebhookRefused("SIGNATURE_MISMATCH")
    now = now or datetime.now(UTC)
    if abs(now.timestamp() - int(timestamp)) > tolerance.total_seconds():
        raise WebhookRefused("TIMESTAMP_OUTSIDE_TOLERANCE")
    return WebhookEvent(
        event_id=event_id, send_time=datetime.fromtimestamp(int(timestamp), UTC), content=_content(body)
    )


def _is_signed(signed: bytes, signatures: Sequence[bytes], keys: Sequence[bytes]) -> bool:
    """Compare each signature with each key's, in constant time, whatever matched before."""
    matches = False
    for key in keys:
        expected = hmac.digest(key, signed, "sha256")
        for signature in signatures:
            matches |= hmac.compare_digest(expected, signature)
    return matches


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(_SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not key or not secret.startswith(_SECRET_PREFIX):
        raise ValueError("a secret is whsec_ and base64, as `batzen hooks` shows it once")
    return key


def _signatures(header: str) -> list[bytes]:
    """Return the signatures of the version that we know; others mean nothing to us."""
    if len(header) > HEADER_CHARACTERS_MAX:
        raise WebhookRefused("SIGNATURE_MALFORMED")
    found = []
    for one in header.split(" "):
        if one.startswith(_VERSION):
            try:
                found.append(base64.b64decode(one.removeprefix(_VERSION), validate=True))
            except (binascii.Error, ValueError) as error:
                raise WebhookRefused("SIGNATURE_MALFORMED") from error
    return found


def _content(body: bytes) -> Mapping[str, object]:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise WebhookRefused("BODY_MALFORMED") from error
    if not isinstance(content, dict):
        raise WebhookRefused("BODY_MALFORMED")
    return content
