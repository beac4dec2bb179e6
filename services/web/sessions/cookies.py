"""The cookie that names a session.

On https it is `__Host-<name>` (`Secure`, this host alone); on http, as on a laptop, `<name>`. Which of the two follows
from the configured origin, never from what a request says of itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from starlette.types import Scope

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

    def read(self, scope: Scope) -> str | None:
        """Return the id that a request brings; None if there is none, or none that can be ours.

        What else is in its `Cookie` headers is anybody's: pages of a parent domain set cookies of every form. A proxy
        that speaks HTTP/2 may hand cookies on one by one.
        """
        headers: list[bytes] = [value for name, value in scope["headers"] if name == b"cookie"]
        for header in headers:
            for pair in header.decode("latin-1").split(";"):
                name, _, value = pair.strip().partition("=")
                if name == self.full_name and 0 < len(value) <= COOKIE_CHARACTERS_MAX:
                    return value
        return None

    def set(self, session_id: str) -> str:
        """Return the `Set-Cookie` header that gives a browser its id. Lax: payers come back from their bank's page."""
        return f"{self.full_name}={session_id}; Path=/; HttpOnly; SameSite=Lax{self._secure}"

    def clear(self) -> str:
        """Return the `Set-Cookie` header that takes it away."""
        return f"{self.full_name}=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0{self._secure}"

    @property
    def _secure(self) -> str:
        return "; Secure" if self.is_secure else ""
