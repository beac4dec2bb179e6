"""Whatever arrives as a webhook is Stripe's event or refused, with a reason, and nothing else happens."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from stripe import WebhookSignature

from services.gateway.webhooks import events, signature
from services.gateway.webhooks.events import Action, Event
from services.gateway.webhooks.signature import HEADER_BYTES_MAX, TOLERANCE_S, WebhookRefused

SECRET = "whsec_signature_tests"
OTHER = "whsec_of_another_endpoint"
NOW = datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
BODY = b'{"object": "event"}'

INTENT_EVENT = {
    "id": "evt_1",
    "object": "event",
    "type": "payment_intent.succeeded",
    "api_version": "2026-10-28.endive",
    "created": 1_774_747_800,
    "livemode": False,
    "data": {"object": {"id": "pi_1", "object": "payment_intent"}},
}

_LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=20)
_FIELDS = st.sampled_from([*INTENT_EVENT, "account"])
_VALUES = st.recursive(_LEAVES, lambda inner: st.lists(inner) | st.dictionaries(_FIELDS, inner), max_leaves=12)
ANYTHING = st.binary(max_size=400) | _VALUES.map(lambda values: json.dumps(values).encode())


def signed(body: bytes, *, secret: str = SECRET, at: datetime = NOW) -> bytes:
    """Return the header that Stripe's own package makes."""
    return WebhookSignature.generate_signature_header(body.decode(), secret, int(at.timestamp())).encode()


def refusal(body: bytes, header: bytes | None, *, secrets: tuple[str, ...] = (SECRET,)) -> str:
    with pytest.raises(WebhookRefused) as refused:
        signature.verify(body, header=header, secrets=secrets, now=NOW)
    return refused.value.reason


def refusal_of(values: object) -> str:
    with pytest.raises(WebhookRefused) as refused:
        events.read(values if isinstance(values, bytes) else json.dumps(values).encode())
    return refused.value.reason


def event(**fields: object) -> Event:
    return events.read(json.dumps(INTENT_EVENT | fields).encode())


def test_what_stripes_own_package_signs_is_accepted() -> None:
    signature.verify(BODY, header=signed(BODY), secrets=(SECRET,), now=NOW)


@pytest.mark.parametrize("sign", [-1, 1])
def test_the_tolerance_has_two_sides(sign: int) -> None:
    edge = timedelta(seconds=TOLERANCE_S) * sign
    beyond = edge + timedelta(seconds=1) * sign

    signature.verify(BODY, header=signed(BODY, at=NOW + edge), secrets=(SECRET,), now=NOW)
    assert refusal(BODY, signed(BODY, at=NOW + beyond)) == "TIMESTAMP_OUTSIDE_TOLERANCE"


def test_every_active_secret_and_every_signature_counts() -> None:
    old, new = signed(BODY, secret=OTHER), signed(BODY)
    both = old + b",v1=" + new.rpartition(b"=")[2]

    signature.verify(BODY, header=old, secrets=(SECRET, OTHER), now=NOW)
    signature.verify(BODY, header=both, secrets=(SECRET,), now=NOW)
    assert refusal(BODY, old) == "SIGNATURE_MISMATCH"
    assert refusal(BODY, new, secrets=()) == "SIGNATURE_MISMATCH"


def test_another_body_or_time_than_was_signed_is_refused() -> None:
    later = signed(BODY).replace(str(int(NOW.timestamp())).encode(), str(int(NOW.timestamp()) + 1).encode())

    assert refusal(BODY + b" ", signed(BODY)) == "SIGNATURE_MISMATCH"
    assert refusal(BODY, later) == "SIGNATURE_MISMATCH"


@pytest.mark.parametrize("body", [b"", b"\xff\xfe{", b'{"a": "\xc3"}', bytes(range(256))])
def test_a_body_is_verified_as_bytes_whatever_they_say(body: bytes) -> None:
    timestamp = str(int(NOW.timestamp())).encode()
    # Stripe's package signs text only; the HMAC is the same.
    header = b"t=" + timestamp + b",v1=" + _hmac(timestamp + b"." + body)

    signature.verify(body, header=header, secrets=(SECRET,), now=NOW)
    assert refusal_of(body) in ("BODY_NOT_UTF8", "BODY_NOT_JSON")


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (None, "SIGNATURE_MISSING"),
        (b"", "SIGNATURE_MISSING"),
        (b"nonsense", "SIGNATURE_MALFORMED"),
        (b"t=1774747800", "SIGNATURE_MALFORMED"),
        (b"v1=00", "SIGNATURE_MALFORMED"),
        (b"t=,v1=00", "SIGNATURE_MALFORMED"),
        (b"t=-5,v1=00", "SIGNATURE_MALFORMED"),
        (b"t=1.5,v1=00", "SIGNATURE_MALFORMED"),
        (b"t=1,t=2,v1=00", "SIGNATURE_MALFORMED"),
        (b"t=" + b"9" * 13 + b",v1=00", "SIGNATURE_MALFORMED"),
        ("t=１７７４７４７８００,v1=00".encode(), "SIGNATURE_MALFORMED"),
        (b"t=1774747800,v0=00", "SIGNATURE_MALFORMED"),
        (b"t=1774747800,v1=" + b"0" * HEADER_BYTES_MAX, "SIGNATURE_MALFORMED"),
        (b"t=1774747800,v1=", "SIGNATURE_MISMATCH"),
        ("t=1774747800,v1=ünïcode".encode(), "SIGNATURE_MISMATCH"),
        (b"t=1774747800,v1=\xff\xfe", "SIGNATURE_MISMATCH"),
    ],
)
def test_a_header_that_is_not_stripes_is_refused_with_its_reason(header: bytes | None, reason: str) -> None:
    assert refusal(BODY, header) == reason


@given(st.binary(max_size=400), st.none() | st.binary(max_size=200))
@example(b"[]", b"t=1,v1=\x00")
def test_verifying_is_total(body: bytes, header: bytes | None) -> None:
    with pytest.raises(WebhookRefused):
        signature.verify(body, header=header, secrets=(SECRET, OTHER), now=NOW)


@given(ANYTHING)
def test_reading_is_total(body: bytes) -> None:
    with contextlib.suppress(WebhookRefused):
        events.read(body)


def test_reading_survives_any_single_change_of_an_event() -> None:
    source = random.Random(7)
    body = json.dumps(INTENT_EVENT).encode()
    for _ in range(3_000):
        position = source.randrange(len(body))
        changed = body[:position] + source.randbytes(source.randint(0, 3)) + body[position + source.randint(0, 9) :]
        with contextlib.suppress(WebhookRefused):
            events.read(changed)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (b"", "BODY_NOT_JSON"),
        (b"{", "BODY_NOT_JSON"),
        (b"[" * 100_000, "BODY_NOT_JSON"),
        (b"1" * 10_000, "BODY_NOT_JSON"),
        ('{"id": "evt_1"}'.encode("utf-16"), "BODY_NOT_UTF8"),
        ([], "NOT_AN_OBJECT"),
        ("event", "NOT_AN_OBJECT"),
        (None, "NOT_AN_OBJECT"),
        (1e999, "NOT_AN_OBJECT"),
        ({}, "NOT_AN_EVENT"),
        ({"object": "event", "data": []}, "NOT_AN_EVENT"),
        (INTENT_EVENT | {"object": "v2.core.event"}, "THIN_EVENT"),
        (INTENT_EVENT | {"data": {"object": "pi_1"}}, "NOT_AN_EVENT"),
        (INTENT_EVENT | {"id": None}, "NOT_AN_EVENT"),
        (INTENT_EVENT | {"id": "evt\u0000"}, "NOT_AN_EVENT"),
        (INTENT_EVENT | {"id": "\ud800"}, "NOT_AN_EVENT"),
        (INTENT_EVENT | {"id": "e" * 256}, "NOT_AN_EVENT"),
        (INTENT_EVENT | {"type": 7}, "NOT_AN_EVENT"),
        (INTENT_EVENT | {"account": ["acct_1"]}, "NOT_AN_EVENT"),
        (INTENT_EVENT | {"api_version": ""}, "NOT_AN_EVENT"),
        (INTENT_EVENT | {"created": True}, "NOT_AN_EVENT"),
        (INTENT_EVENT | {"created": 10**20}, "NOT_AN_EVENT"),
        (INTENT_EVENT | {"created": "yesterday"}, "NOT_AN_EVENT"),
        (INTENT_EVENT | {"livemode": 0}, "NOT_AN_EVENT"),
    ],
)
def test_a_signed_body_that_is_no_snapshot_event_is_refused_with_its_reason(values: object, reason: str) -> None:
    assert refusal_of(values) == reason


def test_events_of_one_intent_are_about_the_same_thing() -> None:
    intent = event()
    charge = event(type="charge.refunded", data={"object": {"id": "ch_1", "payment_intent": "pi_1"}})
    refund = event(type="refund.created", data={"object": {"id": "re_1", "payment_intent": {"id": "pi_1"}}})
    balance = event(type="balance.available", data={"object": {"available": []}})

    assert intent.subject == charge.subject == refund.subject == "pi_1"
    assert events.stripe_ids(refund.object) == ["pi_1", "re_1"]
    assert balance.subject == "evt_1"


def test_what_connected_accounts_do_touches_only_sellers() -> None:
    assert event().action is Action.SNAPSHOT
    assert event(account="acct_1").action is Action.IGNORE
    assert event(type="account.updated", account="acct_1").action is Action.ACCOUNT
    assert event(type="account.updated").action is Action.IGNORE


def test_unknown_types_are_no_error() -> None:
    assert event(type="a.type.of.next_year").action is Action.IGNORE


def _hmac(signed_bytes: bytes) -> bytes:
    return hmac.new(SECRET.encode(), signed_bytes, hashlib.sha256).hexdigest().encode()
