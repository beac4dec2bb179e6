"""The documents of the repository as pages of the site."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Final

from tests.reference.markdown import Rendered, rendered
from tests.reference.site import Names, Page, relative

ROOT: Final = Path(__file__).parents[2]
FIRST: Final = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")
BESIDE: Final = ("batzen/README.md", "deploy/README.md", "deploy/images/README.md")
FOLDERS: Final = {"protos": "contracts/index.html", "docs/adr": "index.html#decisions", "deploy": "deploy/README.html"}
"""A folder of the repository → the page that shows what is in it."""


class NoSuchPlace(Exception):
    """A document refers to something that the site has not."""


@cache
def documents() -> Sequence[str]:
    """Return the documents, by their paths in the repository."""
    found = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("**/*.md"))
    return [*FIRST, *BESIDE, *found]


def page_of(document: str) -> str:
    """Return where a document is on the site."""
    return document.removesuffix(".md") + ".html"


def document_pages(names: Names, parts: Mapping[str, Mapping[str, str]]) -> Iterator[tuple[Page, str]]:
    """Yield a page of each document, and its first sentence; `parts` are shown in place of what code prints."""
    for document in documents():
        page = page_of(document)
        read = rendered(
            (ROOT / document).read_text(),
            link=partial(address, document=document),
            named=partial(names.found, on=page),
            parts=parts.get(document),
        )
        yield Page(path=page, title=_title(read, document), body=read.body, headings=read.headings), read.summary


def address(href: str, *, document: str) -> str:
    """Return the address on the site of what a document refers to."""
    path, hash_, anchor = href.partition("#")
    if not path:
        return href
    wanted = posixpath.normpath(posixpath.join(posixpath.dirname(document), path))
    place = place_of(wanted)
    return relative(place + (hash_ + anchor if "#" not in place else ""), on=page_of(document))


def place_of(wanted: str) -> str:
    """Return where on the site a file or folder of the repository is; NoSuchPlace if it is not there."""
    if wanted in documents():
        return page_of(wanted)
    if wanted.endswith(".proto") and (ROOT / wanted).is_file():
        return "contracts/" + wanted.removeprefix("protos/batzen/").removesuffix(".proto") + ".html"
    if (ROOT / wanted).is_file():
        return wanted  # put on the site as it is
    for folder, page in FOLDERS.items():
        if (wanted == folder or wanted.startswith(folder + "/")) and (ROOT / wanted).is_dir():
            return page
    raise NoSuchPlace(wanted)


def _title(read: Rendered, document: str) -> str:
    return read.title or Path(document).stem
