"""The page around a log-in, in each of its states."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from services.console.login.pages import TEMPLATE, LoginState, login_page
from services.web.security.headers import PageKind
from tests.web.state import State


def _values(state: LoginState, language: str) -> Mapping[str, object]:
    page = login_page(state, language=language, goes_to="/payments?state=paid", correlation_id="0f3c" * 8)
    return {"page": page, "language": page.language, "skip": page.skip}


STATES: dict[str, State] = {
    f"login-{state}": State(front="console", template=TEMPLATE, values=partial(_values, state), kind=PageKind.CONSOLE)
    for state in LoginState
}
