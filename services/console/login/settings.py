"""What the operators' front needs to know of the issuer at which they log in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from services.runtime.process.followed import Followed
from services.runtime.process.settings import Form, Reader, secret_text, text
from services.runtime.rpc.identity import is_tenant_id


def _address(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.query or parts.fragment:
        raise ValueError("is no address of an issuer, such as https://login.example.com")
    return value


def _tenant(value: str) -> str:
    if not is_tenant_id(value):
        raise ValueError("is not the id of a tenant")
    return value


issuer_address: Form[str] = Form(_address, "http(s) address")
tenant_id: Form[str] = Form(_tenant, "id of a tenant")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginSettings:
    """The issuer, who we are to it, and what its words mean."""

    issuer: str
    client_id: str
    client_secret: Followed[str]
    roles_claim: str
    operator: str
    operator_readonly: str
    tenant_id: str | None

    @classmethod
    def read(cls, read: Reader) -> Self:
        """Read the settings."""
        return cls(
            issuer=read(
                "BATZEN_OIDC_ISSUER",
                issuer_address,
                doc="Where operators log in (OpenID Connect): its `iss`, under which it says where everything is.",
            ),
            client_id=read("BATZEN_OIDC_CLIENT_ID", text, doc="The name of the console at that issuer."),
            client_secret=read.secret(
                "BATZEN_OIDC_CLIENT_SECRET",
                secret_text,
                doc="What the console shows the issuer when it redeems a code.",
            ),
            roles_claim=read(
                "BATZEN_OIDC_ROLES_CLAIM", text, default="roles", doc="The claim of an ID token that names roles."
            ),
            operator=read(
                "BATZEN_OIDC_OPERATOR", text, default="operator", doc="The role there of who may act on payments here."
            ),
            operator_readonly=read(
                "BATZEN_OIDC_OPERATOR_READONLY",
                text,
                default="operator_readonly",
                doc="The role there of who may look at everything here and change nothing.",
            ),
            tenant_id=read(
                "BATZEN_OIDC_TENANT",
                tenant_id,
                default=None,
                doc="The tenant of all who log in there; without it the claim `tenant` says it.",
            ),
        )
