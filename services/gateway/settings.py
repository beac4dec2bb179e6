"""What the gateway is told when it starts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final, Self

from services.gateway.stripe_api.limits import Rates
from services.gateway.stripe_api.platform_account import LIVE_KEYS, TEST_KEYS
from services.runtime.process.followed import Followed
from services.runtime.process.key_ring import wrapping_key
from services.runtime.process.service import ProcessSettings
from services.runtime.process.settings import (
    Form,
    Reader,
    Secret,
    address,
    directory,
    each_of,
    secret_text,
    text,
    whole_number,
)
from services.runtime.rpc.channels import TOKENS_DOC

TENANT: Final = "main"
"""A tenant is one Stripe platform account, and a process has the key of one: this one, unless BATZEN_TENANT says so."""
STRIPE_RATE_LIVE: Final = 100
STRIPE_RATE_TEST: Final = 25
STRIPE_ENDPOINT_RATE: Final = 25
"""Calls a second that Stripe takes of an account with a live or a test key, and of one endpoint, unless it said that it
takes more. With several replicas BATZEN_STRIPE_RATE and BATZEN_STRIPE_ENDPOINT_RATE have to be each one's part."""
STRIPE_RATE_MAX: Final = 100_000
POLL_EVERY_S_MAX: Final = 3_600
"""A payer who has paid at the bank waits for the event."""
POLL_EVERY: Final = "BATZEN_STRIPE_POLL_EVERY_S"
POLL_EVERY_S: Final = whole_number(at_least=1, at_most=POLL_EVERY_S_MAX)
"""How that has to be written."""
WEBHOOK_SECRETS: Final = "BATZEN_STRIPE_WEBHOOK_SECRETS"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a serving process needs to know."""

    process: ProcessSettings
    webhook_listen: str
    token_directory: Path
    orchestrator_address: str
    stripe_key: Followed[str]
    stripe_base: str | None
    stripe_rates: Rates
    tenant_id: str
    personal_keys: Followed[tuple[bytes, ...]]
    webhook_secrets: Followed[tuple[str, ...]] | None
    connect_webhook_secrets: Followed[tuple[str, ...]] | None
    polls_every: timedelta | None

    @classmethod
    def read(cls, read: Reader) -> Self:
        """Read the settings."""
        process = ProcessSettings.read(read, listen="127.0.0.1:7004")
        polls_every_s = read(
            POLL_EVERY,
            POLL_EVERY_S,
            default=None,
            doc="Seconds between two readings of Stripe's events, for where Stripe cannot send them, or beside that;"
            " without it none are read.",
        )
        webhook_secrets = read.secret(
            WEBHOOK_SECRETS,
            each_of(secret_text),
            default=None,
            doc="What the events of our own account may be signed with; two while one takes the other's place. Without"
            " it their path does not exist, and BATZEN_STRIPE_POLL_EVERY_S has to be set.",
        )
        if not (polls_every_s or read.is_set(WEBHOOK_SECRETS) or read.is_set(f"{WEBHOOK_SECRETS}_FILE")):
            read.refuse(WEBHOOK_SECRETS, "is not set, nor is BATZEN_STRIPE_POLL_EVERY_S: no event would ever arrive")
        return cls(
            process=process,
            webhook_listen=read(
                "BATZEN_WEBHOOK_LISTEN", address, default="127.0.0.1:7104", doc="Where webhooks (HTTP) are taken."
            ),
            token_directory=read("BATZEN_TOKEN_DIRECTORY", directory, doc=TOKENS_DOC),
            orchestrator_address=read("BATZEN_ORCHESTRATOR_ADDRESS", address, doc="Where the orchestrator is called."),
            stripe_key=read.secret(
                "STRIPE_API_KEY",
                stripe_key(is_live=process.production),
                doc="Stripe's secret or restricted key, of a live mode in production and of a test mode elsewhere.",
            ),
            stripe_base=read(
                "STRIPE_API_BASE", text, default=None, shown="https://api.stripe.com", doc="Where Stripe is called."
            ),
            stripe_rates=stripe_rates(read, is_live=process.production),
            tenant_id=read_tenant(read),
            personal_keys=read.secret(
                "BATZEN_PERSONAL_KEY",
                each_of(wrapping_key),
                doc="What the keys of personal data are encrypted with; the first new ones, the others until they are"
                " encrypted anew. Who loses it has no personal data any more.",
            ),
            webhook_secrets=webhook_secrets,
            polls_every=None if polls_every_s is None else timedelta(seconds=polls_every_s),
            connect_webhook_secrets=read.secret(
                "BATZEN_STRIPE_CONNECT_WEBHOOK_SECRETS",
                each_of(secret_text),
                default=None,
                doc="The same for the events of connected accounts; without it their path does not exist.",
            ),
        )


def read_tenant(read: Reader) -> str:
    """Read whose Stripe account the key opens."""
    return read("BATZEN_TENANT", text, default=TENANT, doc="The tenant whose Stripe account the key opens.")


def stripe_key(*, is_live: bool) -> Form[str]:
    """Return the form of a key of the mode."""

    def parse(value: str) -> str:
        if is_live and not value.startswith(LIVE_KEYS):
            raise ValueError("is no live key (sk_live_…, rk_live_…), and BATZEN_ENVIRONMENT is production")
        if not is_live and value.startswith(LIVE_KEYS):
            raise ValueError("is a live key, and BATZEN_ENVIRONMENT is not production")
        if not is_live and not value.startswith(TEST_KEYS):
            raise ValueError("is no test key (sk_test_…, rk_test_…)")
        if not value.isascii() or not value.isprintable() or " " in value:  # two keys, which no request could carry
            raise ValueError("has a character that no key has")
        return Secret(value)

    return Form(parse, "`sk_…` or `rk_…`")


def stripe_rates(read: Reader, *, is_live: bool) -> Rates:
    """Read how many calls a second this process may make: what Stripe takes, divided by the number of replicas."""
    calls_per_s = whole_number(at_least=1, at_most=STRIPE_RATE_MAX)
    return Rates(
        account=read(
            "BATZEN_STRIPE_RATE",
            calls_per_s,
            default=STRIPE_RATE_LIVE if is_live else STRIPE_RATE_TEST,
            shown=f"{STRIPE_RATE_LIVE} in production, {STRIPE_RATE_TEST} elsewhere",
            doc="Calls a second that this process sends to Stripe: what the account may, divided by the replicas.",
        ),
        endpoint=read(
            "BATZEN_STRIPE_ENDPOINT_RATE",
            calls_per_s,
            default=STRIPE_ENDPOINT_RATE,
            doc="The same of one of Stripe's endpoints.",
        ),
    )
