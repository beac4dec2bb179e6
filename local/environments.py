"""What each process of the suite is told through its environment, and nothing else of ours reaches it."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from batzen.client import Addresses
from local.databases import ServiceDatabase
from local.front_keys import FrontKey
from local.issuer import AUDIENCE, ISSUER
from local.ports import HOST
from services.console.login.pages import CALLBACK
from services.gateway.webhooks.events import subscribed_types

SERVICES: Final = ("gateway", "pricing", "status", "orchestrator")
"""The one that takes longest to start comes first."""
FRONTS: Final = ("bff", "console")
"""Pages and REST over the services."""
SPEAKS_FOR: Final[Mapping[str, tuple[str, ...]]] = {
    "bff": ("payer",),
    "console": ("operator", "operator_readonly"),
}
"""The roles for which each front vouches with its own key."""
HEARD_BY: Final[Mapping[str, tuple[str, ...]]] = {"bff": ("console",), "console": ()}
"""Which fronts' word a front takes; a service takes that of both."""
CALLED: Final[Mapping[str, tuple[str, ...]]] = {
    "gateway": ("orchestrator",),
    "pricing": (),
    "status": (),
    "orchestrator": ("pricing", "status", "gateway"),
    "bff": SERVICES,
    "console": SERVICES,
}
"""Which others a service calls."""
OURS: Final = ("BATZEN_", "STRIPE_", "PG")
"""Settings of the person at the terminal are for `make up` and `make demo`, not for the processes below them."""
STAND_IN_RATE: Final = "100000"
"""The stand-in has no limits but those that a test orders."""
TENANTS: Final = Path(__file__).parent / "tenants.toml"
STAND_IN_DECLINES: Final = "100000"
"""All payers of a laptop are at one address, and try the same few cards that are declined."""
TEST_KEYS: Final = ("sk_test_", "rk_test_")
LIVE_KEYS: Final = ("sk_live_", "rk_live_")
NO_TEST_KEY: Final = (
    "STRIPE_API_KEY is {what}, and on a laptop none but a test key is used (sk_test_…, rk_test_…); without any the"
    " stand-in is."
)


POLLED_EVERY_S: Final = "2"


class StripeKeyRefused(Exception):
    """STRIPE_API_KEY, or what is set beside it, cannot be used here: which and why is the message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stripe:
    """Which Stripe the gateway talks to."""

    api_key: str = field(repr=False)
    webhook_secrets: str = field(repr=False)
    """Comma separated; empty where no event is sent here."""
    connect_webhook_secrets: str = field(repr=False)
    """The same of the endpoint for sellers' accounts."""
    is_stand_in: bool
    api_base: str | None = None
    """Where Stripe is called, if not where it always is."""
    polled_every_s: str = ""
    """How often its events are read; empty where they are not."""

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        """Take Stripe's test mode if STRIPE_API_KEY says so, otherwise the stand-in. Raises `StripeKeyRefused`."""
        key = environ.get("STRIPE_API_KEY", "").strip()
        if not key:
            return cls.stand_in()
        if not key.startswith(TEST_KEYS):
            what = "a live key" if key.startswith(LIVE_KEYS) else "no key of Stripe's test mode"
            raise StripeKeyRefused(NO_TEST_KEY.format(what=what))

        def given(name: str) -> str:
            return environ.get(name, "").strip()

        # Without a secret nothing is sent to a laptop, which nobody could reach.
        polled_every_s = "" if given("BATZEN_STRIPE_WEBHOOK_SECRETS") else POLLED_EVERY_S
        return cls(
            api_key=key,
            webhook_secrets=given("BATZEN_STRIPE_WEBHOOK_SECRETS"),
            connect_webhook_secrets=given("BATZEN_STRIPE_CONNECT_WEBHOOK_SECRETS"),
            is_stand_in=False,
            api_base=given("STRIPE_API_BASE") or None,
            polled_every_s=given("BATZEN_STRIPE_POLL_EVERY_S") or polled_every_s,
        )

    @classmethod
    def stand_in(cls) -> Self:
        """Make keys for one run of the stand-in; nothing has a secret that others could know."""
        return cls(
            api_key=f"sk_test_{secrets.token_hex(16)}",
            webhook_secrets=_webhook_secret(),
            connect_webhook_secrets=_webhook_secret(),
            is_stand_in=True,
        )


def addresses(ports: Mapping[str, int]) -> Addresses:
    """Return where the services listen."""
    return Addresses(**{service: f"{HOST}:{ports[service]}" for service in SERVICES})


def service_environment(
    service: str,
    *,
    ports: Mapping[str, int],
    database: ServiceDatabase,
    jwks: Path,
    tokens: Path,
    stripe: Stripe,
    personal_key: str = "",
    webhook_key: str = "",
    fronts: Mapping[str, FrontKey] | None = None,
    login: Mapping[str, str] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> dict[str, str]:
    """Return the environment of a serving process; `fronts` are those that may speak for people, with their keys, and
    `login` is what the console is told of where operators log in.
    """
    environment = _inherited(environ) | {
        "BATZEN_ENVIRONMENT": "development",
        "BATZEN_LISTEN": f"{HOST}:{ports[service]}",
        "BATZEN_HEALTH_LISTEN": f"{HOST}:{ports[f'{service}-health']}",
        "BATZEN_METRICS_LISTEN": f"{HOST}:{ports[f'{service}-metrics']}",
        "BATZEN_REFLECTION": "1",
        "BATZEN_RUNTIME_DATABASE_URL": database.runtime_url,
        "BATZEN_JWKS": str(jwks),
        "BATZEN_TOKEN_ISSUER": ISSUER,
        "BATZEN_TOKEN_AUDIENCE": AUDIENCE,
    }
    heard = HEARD_BY.get(service, FRONTS)
    if fronts and heard:
        rows = [
            {"issuer": name, "jwks": str(front.jwks), "roles": SPEAKS_FOR[name], "tenants": []}
            for name, front in fronts.items()
            if name in heard
        ]
        environment["BATZEN_FURTHER_ISSUERS"] = json.dumps(rows)
    if fronts and service in FRONTS:
        environment |= {
            "BATZEN_PUBLIC_ORIGIN": front_url(service, ports),
            "BATZEN_ASSERTION_KEY_FILE": str(fronts[service].private_key),
        }
        del environment["BATZEN_REFLECTION"]
    if service == "bff":
        environment["BATZEN_TENANTS_FILE"] = str(TENANTS)
        environment["BATZEN_WEBHOOK_TARGET"] = webhook_url(ports)
        if stripe.is_stand_in:
            environment |= {
                "BATZEN_CHECKOUT_ORIGINS": sandbox_url(ports),
                "BATZEN_STRIPE_JS_URL": f"http://localhost:{ports['sandbox']}/stripe.js",
            }
    if service == "console":
        environment["BATZEN_ONBOARDING_RETURN_URL"] = "https://www.example.com/sellers"
    if service == "console" and login:
        environment |= login
    if CALLED[service]:
        environment["BATZEN_TOKEN_DIRECTORY"] = str(tokens / service)
    environment |= {f"BATZEN_{peer.upper()}_ADDRESS": f"{HOST}:{ports[peer]}" for peer in CALLED[service]}
    if service == "orchestrator" and stripe.is_stand_in:
        environment["BATZEN_DECLINES_MAX"] = STAND_IN_DECLINES
    if service == "orchestrator" and webhook_key:
        environment["BATZEN_WEBHOOK_KEY"] = webhook_key
    if service == "console":
        environment["BATZEN_BFF_URL"] = front_url("bff", ports)
        environment["BATZEN_METRICS_SOURCES"] = ",".join(
            f"{one}={HOST}:{ports[f'{one}-metrics']}" for one in (*sorted(SERVICES), *FRONTS)
        )
    if service == "gateway":
        environment |= _of_gateway(stripe, ports=ports, personal_key=personal_key)
    return environment


def _of_gateway(stripe: Stripe, *, ports: Mapping[str, int], personal_key: str) -> dict[str, str]:
    environment = {
        "BATZEN_WEBHOOK_LISTEN": f"{HOST}:{ports['webhooks']}",
        "BATZEN_PERSONAL_KEY": personal_key,
        "STRIPE_API_KEY": stripe.api_key,
    }
    if stripe.is_stand_in:
        environment |= dict.fromkeys(("BATZEN_STRIPE_RATE", "BATZEN_STRIPE_ENDPOINT_RATE"), STAND_IN_RATE)
    further = {
        "BATZEN_STRIPE_WEBHOOK_SECRETS": stripe.webhook_secrets,
        "BATZEN_STRIPE_CONNECT_WEBHOOK_SECRETS": stripe.connect_webhook_secrets,
        "BATZEN_STRIPE_POLL_EVERY_S": stripe.polled_every_s,
        "STRIPE_API_BASE": sandbox_url(ports) if stripe.is_stand_in else stripe.api_base or "",
    }
    return environment | {name: value for name, value in further.items() if value}


def migration_environment(database: ServiceDatabase, *, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the environment of `migrate`, the only one that knows the owner's role."""
    return _inherited(environ) | {
        "BATZEN_ENVIRONMENT": "development",
        "BATZEN_OWNER_DATABASE_URL": database.owner_url,
        "BATZEN_RUNTIME_DATABASE_URL": database.runtime_url,
    }


def sandbox_environment(
    ports: Mapping[str, int], stripe: Stripe, *, environ: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """Return the environment of the stand-in, which posts its webhooks to the gateway as Stripe does."""
    return _inherited(environ) | {
        "BATZEN_SANDBOX_LISTEN": f"{HOST}:{ports['sandbox']}",
        "BATZEN_SANDBOX_WEBHOOK_URL": webhook_url(ports),
        "BATZEN_SANDBOX_WEBHOOK_SECRET": stripe.webhook_secrets,
        "BATZEN_SANDBOX_CONNECT_WEBHOOK_URL": f"{webhook_url(ports)}/connect",
        "BATZEN_SANDBOX_CONNECT_WEBHOOK_SECRET": stripe.connect_webhook_secrets,
        **subscriptions(),
    }


def subscriptions() -> dict[str, str]:
    """Return what the stand-in's webhook endpoints are subscribed to, as settings of it."""
    return {
        "BATZEN_SANDBOX_WEBHOOK_EVENTS": ",".join(subscribed_types()),
        "BATZEN_SANDBOX_CONNECT_WEBHOOK_EVENTS": ",".join(subscribed_types(of_accounts=True)),
    }


def sandbox_url(ports: Mapping[str, int]) -> str:
    return f"http://{HOST}:{ports['sandbox']}"


def front_url(front: str, ports: Mapping[str, int]) -> str:
    return f"http://{HOST}:{ports[front]}"


def login_redirect(ports: Mapping[str, int]) -> str:
    """Return where operators come back to from where they log in."""
    return f"{front_url('console', ports)}{CALLBACK}"


def webhook_url(ports: Mapping[str, int]) -> str:
    return f"http://{HOST}:{ports['webhooks']}/webhooks/stripe"


def _inherited(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if not name.startswith(OURS)}


def _webhook_secret() -> str:
    return f"whsec_{secrets.token_hex(24)}"
