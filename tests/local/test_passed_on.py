"""What `make up` tells its services beside what they need: who watches them, whom they ask, who takes their mails."""

from __future__ import annotations

from local.environments import FRONTS, SERVICES
from local.up import MAIL_FROM, passed_on

AROUND = {"booking_check_address": "127.0.0.1:9", "smtp_url": "smtp://127.0.0.1:8?tls=off"}


def test_who_watches_is_passed_on_to_every_service() -> None:
    environ = {"BATZEN_OTLP_ENDPOINT": "127.0.0.1:4317", "BATZEN_TRACE_RATIO": " ", "BATZEN_JWKS": "mine"}
    watched = {"BATZEN_OTLP_ENDPOINT": "127.0.0.1:4317"}
    asking = watched | {
        "BATZEN_BOOKING_CHECK_ADDRESS": "127.0.0.1:9",
        "BATZEN_SMTP_URL": "smtp://127.0.0.1:8?tls=off",
        "BATZEN_MAIL_FROM": MAIL_FROM,
    }

    passed = passed_on(environ, **AROUND, abandoned_after_s=None)
    assert passed == {**dict.fromkeys((*SERVICES, *FRONTS), watched), "orchestrator": asking}
    assert passed_on(environ, **AROUND, abandoned_after_s=9) == {
        **dict.fromkeys((*SERVICES, *FRONTS), watched),
        "orchestrator": asking | {"BATZEN_ABANDONED_AFTER_S": "9"},
    }
