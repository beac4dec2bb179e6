"""Receivers know what comes from the suite, and refuse everything else without a stumble."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from batzen.webhooks import TOLERANCE, WebhookRefused, verified
from services.orchestrator.webhooks_out.signing import new_secret, signed_headers

OLD, NEW = new_secret(), new_secret()
NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
MESSAGE = "4be1b7a4-0c7f-5d53-8df7-5fd0fb3f1b60"
BODY = json.dumps(
    {"type": "payment.moved", "timestamp": "2026-03-01T09:30:00Z", "data": {"payment": {"payment_id": "pay_a"}}}
).encode()


def sent(body: bytes = BODY, *secrets: str, time: datetime = NOW) -> dict[str, str]:
    return dict(signed_headers(body, message_id=MESSAGE, time=time, secrets=secrets or (NEW,)))


def refusal(body: bytes, headers: Mapping[str, str], *secrets: str) -> str:
    with pytest.raises(WebhookRefused) as refused:
        verified(body, headers, secrets=secrets or (NEW,), now=NOW)
    return refused.value.reason


def test_what_the_suite_signed_is_read() -> None:
    event = verified(BODY, sent(), secrets=[NEW], now=NOW)

    assert (event.event_id, event.send_time, event.type) == (MESSAGE, NOW, "payment.moved")
    assert event.payment is not None
    assert event.payment.payment_id == "pay_a"


def test_what_any_signer_of_the_convention_signed_is_read() -> None:
    now = datetime.now(UTC)
    headers = {
        "Webhook-Id": MESSAGE,
        "Webhook-Timestamp": str(int(now.timestamp())),
        "Webhook-Signature": Webhook(NEW).sign(MESSAGE, now, BODY.decode()),
    }

    assert verified(BODY, headers, secrets=[NEW]).event_id == MESSAGE


def test_while_a_secret_is_replaced_either_side_may_be_first() -> None:
    assert verified(BODY, sent(BODY, NEW, OLD), secrets=[OLD], now=NOW)
    assert verified(BODY, sent(BODY, NEW, OLD), secrets=[NEW], now=NOW)
    assert verified(BODY, sent(BODY, OLD), secrets=[NEW, OLD], now=NOW)
    assert refusal(BODY, sent(BODY, OLD)) == "SIGNATURE_MISMATCH"


@pytest.mark.parametrize("seconds", [-1, 1])
def test_what_is_too_old_or_of_the_future_is_refused(seconds: int) -> None:
    edge = TOLERANCE * seconds

    assert verified(BODY, sent(time=NOW + edge), secrets=[NEW], now=NOW)
    assert refusal(BODY, sent(time=NOW + edge + timedelta(seconds=seconds))) == "TIMESTAMP_OUTSIDE_TOLERANCE"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"webhook-id": ""}, "SIGNATURE_MISSING"),
        ({"webhook-timestamp": ""}, "SIGNATURE_MISSING"),
        ({"webhook-signature": ""}, "SIGNATURE_MISSING"),
        ({"webhook-signature": "v2,AAAA"}, "SIGNATURE_MISSING"),
        ({"webhook-signature": "v1,no base64!"}, "SIGNATURE_MALFORMED"),
        ({"webhook-signature": "v1,é"}, "SIGNATURE_MALFORMED"),
        ({"webhook-signature": "v1,AAAA " * 200}, "SIGNATURE_MALFORMED"),
        ({"webhook-timestamp": "1.5"}, "SIGNATURE_MALFORMED"),
        ({"webhook-timestamp": "-1"}, "SIGNATURE_MALFORMED"),
        ({"webhook-timestamp": "١٢"}, "SIGNATURE_MALFORMED"),
        ({"webhook-timestamp": "9" * 13}, "SIGNATURE_MALFORMED"),
        ({"webhook-timestamp": "1"}, "SIGNATURE_MISMATCH"),
        ({"webhook-id": "another"}, "SIGNATURE_MISMATCH"),
        ({"webhook-id": "\udc00"}, "SIGNATURE_MISMATCH"),
        ({"webhook-signature": "v1," + base64.b64encode(bytes(32)).decode()}, "SIGNATURE_MISMATCH"),
    ],
)
def test_each_header_that_is_wrong_is_named(changes: dict[str, str], reason: str) -> None:
    assert refusal(BODY, sent() | changes) == reason


def test_one_bit_of_the_body_is_enough() -> None:
    headers = sent()
    for place in range(len(BODY)):
        changed = bytearray(BODY)
        changed[place] ^= 1
        assert refusal(bytes(changed), headers) == "SIGNATURE_MISMATCH"


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{", b"\xff", b'{"a": ' * 100_000])
def test_what_is_signed_and_no_event_is_refused(body: bytes) -> None:
    assert refusal(body, sent(body)) == "BODY_MALFORMED"


def test_a_payment_of_a_newer_release_is_read_as_far_as_it_is_known_and_nonsense_is_refused() -> None:
    newer = b'{"data": {"payment": {"payment_id": "pay_a", "newer": 1}}}'
    nonsense = b'{"data": {"payment": {"revision": "x"}}}'

    event = verified(newer, sent(newer), secrets=[NEW], now=NOW)
    assert event.payment is not None
    assert event.payment.payment_id == "pay_a"
    with pytest.raises(WebhookRefused):
        _ = verified(nonsense, sent(nonsense), secrets=[NEW], now=NOW).payment


@pytest.mark.parametrize("body", [b"{}", b'{"data": 1}', b'{"data": {"payment": null}}'])
def test_an_event_without_a_payment_says_so(body: bytes) -> None:
    event = verified(body, sent(body), secrets=[NEW], now=NOW)

    assert (event.payment, event.type) == (None, "")


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_!", NEW.removeprefix("whsec_")], ids=map(str, range(4)))
def test_a_secret_that_is_none_is_our_mistake_and_not_the_sender_s(secret: str) -> None:
    with pytest.raises(ValueError):
        verified(BODY, sent(), secrets=[secret], now=NOW)


def test_without_a_secret_nothing_is_taken() -> None:
    with pytest.raises(WebhookRefused):
        verified(BODY, sent(), secrets=[], now=NOW)


@given(
    st.binary(), st.dictionaries(st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature"]), st.text())
)
def test_whatever_arrives_is_refused_and_nothing_else_is_raised(body: bytes, headers: dict[str, str]) -> None:
    with pytest.raises(WebhookRefused):
        verified(body, headers, secrets=[NEW])
