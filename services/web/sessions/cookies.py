"""The cookie that names a session.

On https it is `__Host-<name>` (`Secure`, this host alone); on http, as on a laptop, `<name>`. Which of the two follows
from the configured origin, never from what a request says of itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Final

COOKIE_CHARACTERS_MAX: Final = 64
"""More than any id of ours has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cookie:
    """The session cookie of one front."""

    name: str
    is_secure: bool

    @property
    def full_name(self) -> str:
        """Its name as browsers know it."""
        return f"__Host-{self.name}" if self.is_secure else self.name

    def read(self, header: str) -> str | None:
        """Return the id in a `Cookie` header; None if there is none, or none that can be ours."""
        try:
            morsel = SimpleCookie(header).get(self.full_name)
        except CookieError:
            return None
        if morsel is None or not morsel.value or len(morsel.value) > COOKIE_CHARACTERS_MAX:
            return None
        return morsel.value

    def set(self, session_id: str) -> str:
        """Return the `Set-Cookie` header that gives a browser its id. Lax: payers come back from their bank's page."""
        return f"{self.full_name}={session_id}; Path=/; HttpOnly; SameSite=Lax{self._secure}"

    def clear(self) -> str:
        """Return the `Set-Cookie` header that takes it away."""
        return f"{self.full_name}=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0{self._secure}"

    @property
    def _secure(self) -> str:
        return "; Secure" if self.is_secure else ""
