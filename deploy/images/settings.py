"""What is chosen about the images, by the environment; nothing of it needs to be."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

NEWEST: Final = "stable"
"""Debian's own name of its current release, for a machine that is not Debian."""


class ImageSettingRefused(Exception):
    """A setting of the images cannot be used; the text says which, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the images are made from."""

    base: str | None
    """The image that ours lie on, by digest; None: it is made here from Debian's packages."""
    suite: str
    """The Debian release that it is made from."""
    mirror: str | None
    """Where its packages come from: an address, or a sources.list; None: where mmdebstrap takes them by itself."""
    source: str | None
    """Where the code can be read, for a label."""

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        """Read the settings; raises `ImageSettingRefused`."""

        def setting(name: str) -> str | None:
            return environ.get(f"BATZEN_IMAGE_{name}", "").strip() or None

        base = setting("BASE")
        if base is not None and "@sha256:" not in base:
            raise ImageSettingRefused("BATZEN_IMAGE_BASE must name its image by digest (…@sha256:…): a tag may move.")
        return cls(
            base=base,
            suite=setting("SUITE") or own_release(),
            mirror=setting("MIRROR"),
            source=setting("SOURCE"),
        )


def own_release() -> str:
    """Return the Debian release of this machine, or the current one."""
    try:
        system = platform.freedesktop_os_release()
    except OSError:
        return NEWEST
    return system.get("VERSION_CODENAME", NEWEST) if system.get("ID") == "debian" else NEWEST
