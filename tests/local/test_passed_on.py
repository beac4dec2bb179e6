"""What `make up` passes on to the services of its own environment: who watches them, and nothing else."""

from __future__ import annotations

from local.environments import SERVICES
from local.up import passed_on


def test_who_watches_is_passed_on_to_every_service() -> None:
    environ = {"BATZEN_OTLP_ENDPOINT": "127.0.0.1:4317", "BATZEN_TRACE_RATIO": " ", "BATZEN_JWKS": "mine"}
    watched = {"BATZEN_OTLP_ENDPOINT": "127.0.0.1:4317"}

    assert passed_on(environ, abandoned_after_s=None) == dict.fromkeys(SERVICES, watched)
    assert passed_on(environ, abandoned_after_s=9) == {
        **dict.fromkeys(SERVICES, watched),
        "orchestrator": watched | {"BATZEN_ABANDONED_AFTER_S": "9"},
    }
