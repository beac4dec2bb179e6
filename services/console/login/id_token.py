"""What the issuer says of who logged in: an ID token, read strictly. Pure but for the key it is checked with."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import jwt

from services.console.login.domain import Login
from services.console.login.settings import LoginSettings
from services.runtime.rpc.identity import LEEWAY, SUBJECT_CHARACTERS_MAX, is_tenant_id
from services.runtime.rpc.jwks import Key
from services.web.sessions.needed import OPERATOR, OPERATOR_READONLY

_SUBJECT: Final = re.compile(r"[!-~]+")
_YEAR_9000: Final = 221_845_392_000


class LoginRefused(Exception):
    """The log-in came to nothing; the text says why, for the log and the audit, and holds nothing secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedIn:
    """Who logged in."""

    tenant_id: str
    subject: str
    role: str
    auth_time: datetime
    """When they proved to the issuer who they are."""


def read_id_token(
    token: str, key: Key, *, login: Login, settings: LoginSettings, max_age: timedelta, now: datetime
) -> LoggedIn:
    """Return who logged in; raise `LoginRefused` where the token is not good, or its person may not enter."""
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            key=key.key,
            algorithms=[key.algorithm],
            audience=settings.client_id,
            issuer=settings.issuer,
            # The times are checked below, by our clock.
            options={
                "require": ["iss", "aud", "sub", "exp", "iat", "nonce", "auth_time"],
                "verify_exp": False,
                "verify_iat": False,
                "verify_nbf": False,
            },
        )
    except jwt.PyJWTError as error:
        raise LoginRefused(f"the ID token is not good: {type(error).__name__}") from error
    if claims["nonce"] != login.nonce:
        raise LoginRefused("the ID token is of another log-in")
    several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
    if claims.get("azp", None if several else settings.client_id) != settings.client_id:
        raise LoginRefused("the ID token was made for another client")
    auth_time = _auth_time(claims, login=login, max_age=max_age, now=now)
    return LoggedIn(
        tenant_id=_tenant(claims, settings),
        subject=_subject(claims["sub"]),
        role=_role(claims, settings),
        auth_time=auth_time,
    )


def _auth_time(claims: dict[str, Any], *, login: Login, max_age: timedelta, now: datetime) -> datetime:
    if _instant(claims["iat"]) > now + LEEWAY or _instant(claims["exp"]) + LEEWAY <= now:
        raise LoginRefused("the ID token is not valid now")
    auth_time = _instant(claims["auth_time"])
    if auth_time > now + LEEWAY:
        raise LoginRefused("the ID token says that the person will prove who they are")
    earliest = login.begin_time if login.is_proof else now - max_age
    if auth_time < earliest - LEEWAY:
        raise LoginRefused("it is too long ago that the person proved who they are")
    return min(auth_time, now)


def _role(claims: dict[str, Any], settings: LoginSettings) -> str:
    named = claims.get(settings.roles_claim)
    roles = [named] if isinstance(named, str) else named
    if not isinstance(roles, list):
        raise LoginRefused("the ID token names no roles")
    if settings.operator in roles:
        return OPERATOR
    if settings.operator_readonly in roles:
        return OPERATOR_READONLY
    raise LoginRefused("the person is no operator")


def _tenant(claims: dict[str, Any], settings: LoginSettings) -> str:
    tenant = settings.tenant_id or claims.get("tenant")
    if not isinstance(tenant, str) or not is_tenant_id(tenant):
        raise LoginRefused("the ID token names no tenant")
    return tenant


def _subject(claim: object) -> str:
    if not isinstance(claim, str) or len(claim) > SUBJECT_CHARACTERS_MAX or not _SUBJECT.fullmatch(claim):
        raise LoginRefused("the ID token names nobody")
    return claim


def _instant(claim: object) -> datetime:
    if isinstance(claim, bool) or not isinstance(claim, int | float) or not math.isfinite(claim):
        raise LoginRefused("the ID token has a time that is none")
    if not 0 <= claim < _YEAR_9000:
        raise LoginRefused("the ID token has a time that is none")
    return datetime.fromtimestamp(claim, UTC)
