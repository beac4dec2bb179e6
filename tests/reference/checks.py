"""What must be true of the site: well formed, every link leads somewhere, nothing is loaded from elsewhere."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final
from xml.etree import ElementTree

from tests.reference.contracts import Contracts
from tests.reference.examples import Example, faults_of
from tests.reference.site import absolute

LOADS: Final = frozenset({"script", "iframe", "object", "embed", "audio", "video", "source", "base", "form", "style"})
"""Elements that the site has none of: what they would load or run, a page that is read does not need."""
_OUTSIDE: Final = re.compile(r"[a-z]+:|//")
_LOADING_STYLE: Final = re.compile(r"@import|url\(", re.IGNORECASE)
_ADDRESS: Final = re.compile(r"""(?:href|src)="([^"]*)\"""")
_SVG: Final = "{http://www.w3.org/2000/svg}"
_HTML: Final = "{http://www.w3.org/1999/xhtml}"


def places(page: str, text: str) -> Iterator[str]:
    """Yield the places on the site that a page refers to."""
    for href in _ADDRESS.findall(text):
        if not _OUTSIDE.match(href):
            yield absolute(href.replace("&amp;", "&"), on=page)


def faults_of_site(pages: Mapping[str, str], files: Sequence[str], style: str) -> Iterator[str]:
    """Yield what is wrong with the pages, `files` that are beside them and their style."""
    if _LOADING_STYLE.search(style):
        yield "the style loads something"
    anchors: dict[str, set[str]] = {}
    for page, text in pages.items():
        try:
            root = ElementTree.fromstring(text.partition("\n")[2])  # noqa: S314 pages that we just made
        except ElementTree.ParseError as error:
            yield f"{page}: not well formed: {error}"
            continue
        counted = Counter(element.get("id") for element in root.iter() if element.get("id"))
        yield from (f"{page}: {count} places are named #{one}" for one, count in counted.items() if count > 1)
        anchors[page] = {one for one in counted if one}
        yield from (f"{page}: {fault}" for fault in _loads(root))
    for page, text in pages.items():
        for place in dict.fromkeys(places(page, text)):
            path, _, anchor = place.partition("#")
            if path not in pages and path not in files:
                yield f"{page}: leads to {path}, which there is not"
            elif anchor and path in anchors and anchor not in anchors[path]:
                yield f"{page}: leads to {place}, where there is no such place"


def _loads(root: ElementTree.Element) -> Iterator[str]:
    for element in root.iter():
        name = element.tag.removeprefix(_HTML).removeprefix(_SVG)
        if name in LOADS:
            yield f"has a {name}"
        loaded = {"img": "src", "link": "href", "image": "href", "use": "href"}.get(name)
        if loaded and _OUTSIDE.match(element.get(loaded, "")):
            yield f"loads {element.get(loaded)}"
        if ran := [one for one in element.attrib if one.startswith("on") or one == "style"]:
            yield f"runs or draws something of its own by {ran[0]}"


def faults_of_contracts(contracts: Contracts) -> Iterator[str]:
    """Yield what the comments of the contracts do not say."""
    for file in contracts.files:
        for one in (*file.services, *file.types):
            if not one.comment:
                yield f"{one.full_name}: no comment"
        for message in file.messages:
            yield from (
                f"{message.full_name}.{field.name}: no comment" for field in message.fields if not field.comment
            )
    for rpc in contracts.rpcs:
        if not rpc.comment:
            yield f"{rpc.method}: no comment"
        if not rpc.has_errors:
            yield f"{rpc.method}: its comment does not name its errors; where it has none of its own it says so"


def faults_of_examples(contracts: Contracts, examples: Mapping[str, Example]) -> Iterator[str]:
    """Yield what is missing among the examples, or wrong with one."""
    methods = [rpc.method for rpc in contracts.rpcs]
    for method in methods:
        if method not in examples:
            yield f"{method}: no example; record one by running its tests with `-p tests.reference.recorder`"
        else:
            yield from faults_of(method, examples[method])
    yield from (f"{name}: an example of an RPC that there is not" for name in examples.keys() - set(methods))
