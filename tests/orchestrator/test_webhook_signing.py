"""What is sent carries signatures that any reader of the Standard Webhooks convention takes."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from services.orchestrator.webhooks_out.signing import SecretMalformed, key_of, new_secret, signed_headers

OLD, NEW = new_secret(), new_secret()
MESSAGE = "4be1b7a4-0c7f-5d53-8df7-5fd0fb3f1b60"


@pytest.mark.parametrize("secret", [OLD, NEW], ids=["old", "new"])
def test_the_published_verifier_takes_the_signature_of_each_secret_that_counts(secret: str) -> None:
    body = '{"paid": "12,50 €"}'.encode()
    headers = signed_headers(body, message_id=MESSAGE, time=datetime.now(UTC), secrets=[NEW, OLD])

    assert Webhook(secret).verify(body, dict(headers)) == {"paid": "12,50 €"}


def test_another_secret_another_body_and_another_id_are_not_taken() -> None:
    body = b"{}"
    headers = dict(signed_headers(body, message_id=MESSAGE, time=datetime.now(UTC), secrets=[NEW]))

    for secret, sent, changed in [
        (OLD, body, headers),
        (NEW, b'{"a": 1}', headers),
        (NEW, body, headers | {"webhook-id": "other"}),
        (NEW, body, headers | {"webhook-timestamp": str(int(headers["webhook-timestamp"]) + 1)}),
    ]:
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(sent, changed)


def test_the_convention_s_own_example() -> None:
    """As its specification prints it."""
    headers = signed_headers(
        b'{"test": 2432232314}',
        message_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        time=datetime.fromtimestamp(1614265330, UTC),
        secrets=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
    )

    assert headers["webhook-timestamp"] == "1614265330"
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_timestamp_is_of_the_try_and_the_id_is_not() -> None:
    now = datetime.now(UTC)
    first, later = [
        signed_headers(b"{}", message_id=MESSAGE, time=time, secrets=[NEW]) for time in (now, now + timedelta(hours=1))
    ]

    assert first["webhook-id"] == later["webhook-id"]
    assert int(later["webhook-timestamp"]) - int(first["webhook-timestamp"]) == 3600


@pytest.mark.parametrize(
    "secret", ["", "whsec_", "whsec_AAAA", OLD.removeprefix("whsec_"), OLD + "!", "whsec_é" * 9], ids=map(str, range(6))
)
def test_what_is_no_secret_is_refused_and_not_repeated(secret: str) -> None:
    with pytest.raises(SecretMalformed) as refused:
        key_of(secret)

    assert not secret.removeprefix("whsec_") or secret not in str(refused.value)


@given(st.binary(min_size=24, max_size=64))
def test_each_secret_of_the_convention_s_length_is_taken(key: bytes) -> None:
    assert key_of("whsec_" + base64.b64encode(key).decode()) == key


@pytest.mark.parametrize("message_id", ["", "a.b", "a\r\nx-injected: 1", "a" * 101])
def test_an_id_that_could_be_read_otherwise_is_never_signed(message_id: str) -> None:
    with pytest.raises(ValueError):
        signed_headers(b"{}", message_id=message_id, time=datetime.now(UTC), secrets=[NEW])


def test_nothing_is_sent_unsigned() -> None:
    with pytest.raises(ValueError):
        signed_headers(b"{}", message_id=MESSAGE, time=datetime.now(UTC), secrets=[])
