"""What people see around a log-in: one page, in a few states. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

from services.console.login.domain import HOME, own_path
from services.web.texts import Texts

TEMPLATE: Final = "login.html"
LOGIN: Final = "/login"
AGAIN: Final = "/login/again"
CALLBACK: Final = "/login/callback"
LOGOUT: Final = "/logout"
LOGGED_OUT: Final = "/logged-out"
ME: Final = "/me"
TEXTS: Final = Texts(Path(__file__).parent / "texts")


class LoginState(StrEnum):
    """Why somebody reads this page."""

    NEEDED = "needed"
    PROOF = "proof"
    """Money moves, and the last log-in is too long ago."""
    FAILED = "failed"
    UNAVAILABLE = "unavailable"
    OUT = "out"
    READONLY = "readonly"


STATUS: Final = {
    LoginState.NEEDED: 401,
    LoginState.PROOF: 401,
    LoginState.FAILED: 403,
    LoginState.UNAVAILABLE: 503,
    LoginState.OUT: 200,
    LoginState.READONLY: 403,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginPage:
    """What the page shows."""

    language: str
    title: str
    text: str
    action: str
    """What its button says."""
    href: str
    """Where it leads."""
    number: str
    """The correlation id, in words; empty where nothing went wrong."""
    skip: str


def login_page(state: LoginState, *, language: str, goes_to: str = HOME, correlation_id: str = "") -> LoginPage:
    """Return the page for a state; `goes_to` is where the person wanted to go."""
    said = f"{TEXTS.say(language, 'number', number=correlation_id)}" if correlation_id else ""
    match state:
        case LoginState.READONLY:
            action, href = "back", own_path(goes_to)
        case LoginState.PROOF:
            action, href = "log_in_again", login_url(goes_to, again=True)
        case LoginState.OUT:
            # Whoever comes next is asked who they are, though the issuer may still know the one before.
            action, href = "log_in", login_url(HOME, again=True)
        case _:
            action, href = "log_in", login_url(goes_to)
    return LoginPage(
        language=language,
        title=TEXTS.say(language, f"{state}.title"),
        text=TEXTS.say(language, f"{state}.text"),
        action=TEXTS.say(language, action),
        href=href,
        number=said if state in (LoginState.FAILED, LoginState.UNAVAILABLE) else "",
        skip=TEXTS.say(language, "skip"),
    )


def login_url(goes_to: str, *, again: bool = False) -> str:
    """Return where a log-in begins that leads to a page."""
    start, path = AGAIN if again else LOGIN, own_path(goes_to)
    return start if path == HOME else f"{start}?{urlencode({'to': path})}"
