"""The windows in which pages are looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A window and the scheme its person prefers."""

    name: str
    width: int
    height: int
    scheme: Literal["light", "dark"]
    is_phone: bool = False


DESKTOP: Final = View(name="desktop", width=1180, height=900, scheme="light")
PHONE: Final = View(name="phone", width=390, height=844, scheme="light", is_phone=True)
DESKTOP_DARK: Final = View(name="desktop-dark", width=1180, height=900, scheme="dark")
PHONE_DARK: Final = View(name="phone-dark", width=390, height=844, scheme="dark", is_phone=True)
NARROW: Final = View(name="narrow", width=320, height=640, scheme="light", is_phone=True)
"""320 px: what is left at a zoom of 400 %."""
GALLERY: Final = (DESKTOP, DESKTOP_DARK, PHONE, PHONE_DARK)
CHECKED: Final = (DESKTOP, PHONE_DARK)
"""The two in which every state is checked."""
