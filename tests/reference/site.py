"""The site as values: pages, the names that lead to places on them, and how one page refers to another."""

from __future__ import annotations

import posixpath
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A page in the index."""

    path: str
    """Where it is on the site, such as `docs/errors.html`."""
    title: str
    summary: str


@dataclass(frozen=True, kw_only=True)
class Section:
    """Pages of one kind, as the index has them."""

    title: str
    entries: list[Entry]


@dataclass(frozen=True, kw_only=True)
class Page:
    """A page, without what stands around each."""

    path: str
    title: str
    body: str
    headings: list[tuple[int, str, str]] = field(default_factory=list)
    """How deep, anchor, text: what is listed beside the page."""


class Names:
    """What a name in a text leads to, where it means one thing."""

    def __init__(self) -> None:
        self._places: dict[str, set[str]] = defaultdict(set)

    def add(self, name: str, place: str) -> None:
        """Say that `name` is explained at `place`, a page with an anchor."""
        self._places[name].add(place)

    def found(self, name: str, *, on: str) -> str | None:
        """Return where a name leads from a page: what the page itself explains comes first, then what is alone."""
        places = self._places.get(name, set())
        here = [one for one in places if one.partition("#")[0] == on]
        chosen = here or (list(places) if len(places) == 1 else [])
        return relative(chosen[0], on=on) if len(chosen) == 1 else None


def relative(place: str, *, on: str) -> str:
    """Return the address of a place on the site, as a page refers to it."""
    path, hash_, anchor = place.partition("#")
    if path == on and hash_:
        return f"#{anchor}"
    return posixpath.relpath(path, posixpath.dirname(on) or ".") + hash_ + anchor


def absolute(address: str, *, on: str) -> str:
    """Return the place on the site that an address of a page means."""
    path, hash_, anchor = address.partition("#")
    if not path:
        return f"{on}{hash_}{anchor}"
    return posixpath.normpath(posixpath.join(posixpath.dirname(on), path)) + hash_ + anchor


def by_path(pages: Iterable[Page]) -> Mapping[str, Page]:
    """Return pages by where they are; two at one place are a mistake."""
    found: dict[str, Page] = {}
    for page in pages:
        if page.path in found:
            raise SystemExit(f"two pages at {page.path}")
        found[page.path] = page
    return found
