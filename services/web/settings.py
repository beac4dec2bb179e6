"""What both fronts are told when they start."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Final, Self
from urllib.parse import urlsplit

from batzen.client import Addresses
from services.runtime.process.followed import Followed
from services.runtime.process.service import ProcessSettings
from services.runtime.process.settings import (
    Form,
    Reader,
    address,
    directory,
    each_of,
    secret_text,
    text,
    whole_number,
)
from services.runtime.rpc.channels import TOKENS_DOC


def _origin(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.path.strip("/") or parts.query:
        raise ValueError("is no origin, such as https://pay.example.com")
    return f"{parts.scheme}://{parts.netloc}"


origin: Form[str] = Form(_origin, "origin: scheme://host, with a port where it is not the usual one")
"""Where a browser finds a front."""


def _web_address(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError("is no address of the web")
    return value


web_address: Final[Form[str]] = Form(_web_address, "http or https address")


def _network(value: str) -> str:
    return str(ip_network(value))


network: Form[str] = Form(_network, "address or network: 10.1.2.3 or 10.0.0.0/8")
LOOPBACK: Final = ("127.0.0.1/32",)
PARTING_S: Final = 2
"""Enough for a laptop, where whoever ends a front waits for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontSettings:
    """What a process that speaks to browsers needs to know."""

    process: ProcessSettings
    public_origin: str
    token_directory: Path
    addresses: Addresses
    assertion_key: Followed[str]
    assertion_issuer: str
    trusted_proxies: tuple[str, ...]
    """Whose word counts for where a request comes from."""
    parting_s: int
    """How long connections that are silent are waited for as the process ends."""

    @property
    def is_secure(self) -> bool:
        """Whether browsers reach this front over TLS; decided by the configured origin, never by a request."""
        return self.public_origin.startswith("https://")

    @classmethod
    def read(cls, read: Reader, *, listen: str, issuer: str) -> Self:
        """Read the settings; `listen` and `issuer` are the defaults of the front."""
        return cls(
            process=ProcessSettings.read(read, listen=listen),
            public_origin=read("BATZEN_PUBLIC_ORIGIN", origin, doc="The origin under which browsers reach this front."),
            token_directory=read("BATZEN_TOKEN_DIRECTORY", directory, doc=TOKENS_DOC),
            addresses=Addresses(
                orchestrator=read("BATZEN_ORCHESTRATOR_ADDRESS", address, doc="Where the orchestrator is called."),
                pricing=read("BATZEN_PRICING_ADDRESS", address, doc="Where pricing is called."),
                status=read("BATZEN_STATUS_ADDRESS", address, doc="Where status is called."),
                gateway=read("BATZEN_GATEWAY_ADDRESS", address, doc="Where the gateway is called."),
            ),
            assertion_key=read.secret(
                "BATZEN_ASSERTION_KEY",
                secret_text,
                doc="The private key (PEM, P-256) with which this front vouches for the person of a session.",
            ),
            assertion_issuer=read(
                "BATZEN_ASSERTION_ISSUER",
                text,
                default=issuer,
                doc="The `iss` under which the services know this front's key.",
            ),
            trusted_proxies=read(
                "BATZEN_TRUSTED_PROXIES",
                each_of(network),
                default=LOOPBACK,
                shown=",".join(LOOPBACK),
                doc="Addresses and networks of our proxies, whose `X-Forwarded-For` counts for where a browser is.",
            ),
            parting_s=read(
                "BATZEN_PARTING_S",
                whole_number(at_least=0, at_most=600),
                default=PARTING_S,
                doc="How many seconds a front that ends still waits for connections that are silent; what comes is "
                "answered, as the last. With more than 75, for which any may be silent, none is closed by a restart.",
            ),
        )
