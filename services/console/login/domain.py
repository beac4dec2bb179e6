"""A log-in under way, and where it may lead. Pure."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import urlencode

LOGIN_LIFE: Final = timedelta(minutes=10)
"""For a person to find their second factor."""
SECRET_BYTES: Final = 32
PATH_CHARACTERS_MAX: Final = 2000
HOME: Final = "/"
SCOPE: Final = "openid profile"
_PATH: Final = re.compile(r"/(?![/\\])[!-\[\]-~]*")
"""A path of this host: no second slash, no backslash (a slash to browsers), nothing that a header breaks at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """What is kept until the person comes back; used once."""

    state: str
    """In the address and in a cookie, so that only the browser that began can end it; kept as its SHA-256."""
    nonce: str
    """In the token that the issuer makes for this log-in."""
    verifier: str
    """Shows that who redeems the code is who asked for it (PKCE)."""
    goes_to: str
    """The page that the person wanted."""
    begin_time: datetime
    is_proof: bool
    """Whether the issuer has to ask the person now, whatever it knows of them."""


def new_login(*, goes_to: str, is_proof: bool, now: datetime) -> Login:
    """Return a new one; a `goes_to` that is no path of ours becomes the first page."""
    return Login(
        state=secrets.token_urlsafe(SECRET_BYTES),
        nonce=secrets.token_urlsafe(SECRET_BYTES),
        verifier=secrets.token_urlsafe(SECRET_BYTES),
        goes_to=own_path(goes_to),
        begin_time=now,
        is_proof=is_proof,
    )


def own_path(text: str) -> str:
    """Return `text` if it is a path of this host, otherwise that of the first page."""
    return text if len(text) <= PATH_CHARACTERS_MAX and _PATH.fullmatch(text) else HOME


def key_of(state: str) -> bytes:
    """Return what is kept of a state."""
    return hashlib.sha256(state.encode()).digest()


def challenge_of(verifier: str) -> str:
    """Return what the issuer is shown of a verifier (PKCE, S256)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def authorization_url(
    endpoint: str, login: Login, *, client_id: str, redirect_uri: str, max_age: timedelta, locale: str
) -> str:
    """Return where the browser is sent. With `max_age` the issuer has to say when the person proved who they are."""
    asked = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": redirect_uri,
        "scope": SCOPE,
        "state": login.state,
        "nonce": login.nonce,
        "code_challenge": challenge_of(login.verifier),
        "code_challenge_method": "S256",
        "ui_locales": locale,
        "max_age": "0" if login.is_proof else str(int(max_age.total_seconds())),
    }
    if login.is_proof:
        asked["prompt"] = "login"
    return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(asked)}"
