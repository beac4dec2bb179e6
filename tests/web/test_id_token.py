"""What the issuer says of who logged in is read strictly: another's, an old one or an incomplete one opens nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from services.console.login.domain import Login, new_login
from services.console.login.id_token import LoggedIn, LoginRefused, read_id_token
from services.console.login.settings import LoginSettings
from services.runtime.process.followed import Followed
from services.runtime.rpc.jwks import Key

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
MAX_AGE = timedelta(hours=8)
PRIVATE = ec.generate_private_key(ec.SECP256R1())
KEY = Key(key=PRIVATE.public_key(), algorithm="ES256")
SETTINGS = LoginSettings(
    issuer="https://login.example",
    client_id="console",
    client_secret=Followed("secret"),
    roles_claim="groups",
    operator="payments",
    operator_readonly="audit",
    tenant_id=None,
)
LOGIN = new_login(goes_to="/", is_proof=False, now=NOW - timedelta(minutes=1))
PROOF = new_login(goes_to="/", is_proof=True, now=NOW - timedelta(minutes=1))


def at(*, seconds: int = 0) -> int:
    return int(NOW.timestamp()) + seconds


def read(login: Login = LOGIN, settings: LoginSettings = SETTINGS, **changes: Any) -> LoggedIn:
    """Read a good token with some claims changed; None takes one out."""
    claims = {
        "iss": SETTINGS.issuer,
        "aud": "console",
        "sub": "olivia",
        "tenant": "main",
        "groups": ["payments", "everybody"],
        "nonce": login.nonce,
        "auth_time": at(seconds=-30),
        "iat": at(),
        "exp": at(seconds=300),
    } | changes
    token = jwt.encode({k: v for k, v in claims.items() if v is not None}, PRIVATE, algorithm="ES256")
    return read_id_token(token, KEY, login=login, settings=settings, max_age=MAX_AGE, now=NOW)


@pytest.mark.parametrize(
    ("groups", "role"),
    [(["payments"], "operator"), (["audit"], "operator_readonly"), (["audit", "payments"], "operator"),
     ("audit", "operator_readonly")],
)  # fmt: skip
def test_the_issuers_words_become_our_roles(groups: object, role: str) -> None:
    who = read(groups=groups)

    assert who == LoggedIn(tenant_id="main", subject="olivia", role=role, auth_time=NOW - timedelta(seconds=30))


REFUSED: dict[str, dict[str, Any]] = {
    "another issuer": {"iss": "https://evil.example"},
    "another client": {"aud": "shop"},
    "several clients and none that it is for": {"aud": ["console", "shop"]},
    "made for another client": {"aud": ["console", "shop"], "azp": "shop"},
    "another log-in": {"nonce": "other"},
    "no nonce": {"nonce": None},
    "no time of proof": {"auth_time": None},
    "a proof to come": {"auth_time": at(seconds=60)},
    "a proof of long ago": {"auth_time": at(seconds=-9 * 3600)},
    "a time that is none": {"auth_time": "yesterday"},
    "a truth for a time": {"iat": True},
    "a time beyond all": {"exp": 1e300},
    "expired": {"exp": at(seconds=-31)},
    "not yet made": {"iat": at(seconds=31)},
    "no operator": {"groups": ["everybody"]},
    "no roles": {"groups": None},
    "roles that are none": {"groups": {"payments": True}},
    "part of a role": {"groups": "payments-interns"},
    "no tenant": {"tenant": None},
    "a tenant that can be none": {"tenant": "../main"},
    "nobody": {"sub": ""},
    "a subject with a line break": {"sub": "olivia\nadmin"},
    "a subject without an end": {"sub": "o" * 129},
}


@pytest.mark.parametrize("changes", REFUSED.values(), ids=REFUSED.keys())
def test_a_token_that_is_not_quite_good_opens_nothing(changes: dict[str, Any]) -> None:
    with pytest.raises(LoginRefused):
        read(**changes)


def test_a_token_for_several_clients_that_is_made_for_us_is_good() -> None:
    assert read(aud=["console", "shop"], azp="console").subject == "olivia"


def test_a_tenant_of_the_settings_is_everybodys() -> None:
    assert read(settings=replace(SETTINGS, tenant_id="main"), tenant="other").tenant_id == "main"


def test_a_proof_has_to_be_of_now_whatever_the_issuer_knew() -> None:
    assert read(PROOF).subject == "olivia"
    assert read(auth_time=at(seconds=-3600)).subject == "olivia", "a log-in may rest on an hour-old proof"
    with pytest.raises(LoginRefused, match="too long ago"):
        read(PROOF, auth_time=at(seconds=-3600))


def test_a_proof_that_is_a_little_ahead_counts_from_now() -> None:
    assert read(auth_time=at(seconds=20)).auth_time == NOW


@pytest.mark.parametrize(
    "sign",
    [
        lambda claims: jwt.encode(claims, "", algorithm="none"),
        lambda claims: jwt.encode(claims, "x" * 32, algorithm="HS256"),
        lambda claims: jwt.encode(claims, ec.generate_private_key(ec.SECP256R1()), algorithm="ES256"),
    ],
    ids=["unsigned", "a shared secret", "another's key"],
)
def test_a_token_that_the_issuer_did_not_sign_is_none(sign: Callable[[dict[str, Any]], str]) -> None:
    claims = {"iss": SETTINGS.issuer, "aud": "console", "sub": "olivia", "nonce": LOGIN.nonce, "groups": ["payments"]}
    token = sign({**claims, "auth_time": at(), "iat": at(), "exp": at(seconds=300), "tenant": "main"})

    with pytest.raises(LoginRefused, match="not good"):
        read_id_token(token, KEY, login=LOGIN, settings=SETTINGS, max_age=MAX_AGE, now=NOW)
