"""Puts the site together: all pages, each with what stands around it, and what they need beside."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from markupsafe import Markup

from batzen.version import VERSION
from tests.reference import declared
from tests.reference.checks import faults_of_contracts, faults_of_examples, faults_of_site, places
from tests.reference.contract_pages import INDEX, add_names, contract_pages
from tests.reference.contracts import Contracts, contracts
from tests.reference.documents import BESIDE, FIRST, ROOT, document_pages, page_of
from tests.reference.examples import Example, read_examples
from tests.reference.site import Entry, Names, Page, Section, by_path
from tests.reference.templating import FOLDER, Render, renderer

STYLE: Final = "reference.css"
TOP: Final = (
    ("Contracts", INDEX),
    ("Flows", "docs/flows.html"),
    ("Errors", "docs/errors.html"),
    ("Settings", declared.SETTINGS),
    ("Metrics", declared.METRICS),
    ("Commands", declared.COMMANDS),
    ("REST", declared.REST),
    ("Architecture", "ARCHITECTURE.html"),
)
"""What stands on top of every page."""
ABOUT: Final = {
    INDEX: "Every service, method, message and enum, with errors and examples.",
    declared.COMMANDS: "Every command of batzen with its options and examples.",
    declared.REST: "Every route of the front with what it takes and answers.",
}
"""What the index says of a page that is no document."""
LOOKED_UP: Final = (
    "docs/flows.md", "docs/errors.md", "docs/access.md", "docs/settings.md", "docs/metrics.md", "docs/glossary.md",
)  # fmt: skip
"""Documents that are looked up rather than read."""


def site(protos: Contracts | None = None, examples: Mapping[str, Example] | None = None) -> Mapping[str, str]:
    """Return the text of each page of the site, by where it is."""
    protos = protos or contracts()
    names = Names()
    add_names(names, protos)
    declared.add_names(names)
    render = renderer(names)
    documents = list(document_pages(names, declared.parts(render)))
    pages = [
        *contract_pages(protos, names, read_examples() if examples is None else examples, render),
        declared.commands_page(render),
        declared.rest_page(render),
        *(page for page, _ in documents),
    ]
    pages.append(_index(pages, {page.path: summary for page, summary in documents}, render))
    return {path: _whole(page, render) for path, page in by_path(pages).items()}


def write(target: Path) -> int:
    """Write the site into a folder of its own, in place of what is there; return how many pages it has."""
    pages = site()
    shutil.rmtree(target, ignore_errors=True)
    for path, text in pages.items():
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        (target / path).write_text(text)
    shutil.copy(FOLDER / STYLE, target / STYLE)
    for path in files(pages):
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, target / path)
    return len(pages)


def files(pages: Mapping[str, str]) -> Sequence[str]:
    """Return what pages refer to that is no page: files of the repository, put on the site as they are."""
    wanted = {place.partition("#")[0] for page, text in pages.items() for place in places(page, text)}
    return sorted(one for one in wanted - set(pages) - {STYLE} if (ROOT / one).is_file())


def faults() -> Sequence[str]:
    """Return all that is wrong with the site, and with what it is made of."""
    pages = site()
    return [
        *faults_of_contracts(contracts()),
        *faults_of_examples(contracts(), read_examples()),
        *faults_of_site(pages, [*files(pages), STYLE], (FOLDER / STYLE).read_text()),
    ]


def _whole(page: Page, render: Render) -> str:
    return render(
        "page.html",
        page.path,
        title=page.title,
        body=Markup(page.body),  # noqa: S704 rendered by us
        headings=[one for one in page.headings if one[0] in (2, 3)],
        top=TOP,
        version=VERSION,
    )


def _index(pages: Sequence[Page], summaries: Mapping[str, str], render: Render) -> Page:
    by_place = by_path(pages)

    def entries(places: Iterable[str]) -> list[Entry]:
        return [
            Entry(path=one, title=by_place[one].title, summary=summaries.get(one) or ABOUT.get(one, ""))
            for one in places
        ]

    first = [page_of(one) for one in FIRST]
    reference = [INDEX, *(page_of(one) for one in LOOKED_UP), declared.COMMANDS, declared.REST]
    beside = [page_of(one) for one in BESIDE]
    decisions = [one for one in by_place if one.startswith("docs/adr/")]
    contracts_ = [one for one in by_place if one.startswith("contracts/") and one != INDEX]
    placed = {*first, *reference, *beside, *decisions, *contracts_}
    sections = [
        Section(title="To begin with", entries=entries(first)),
        Section(title="To look up", entries=entries(reference)),
        Section(title="To read", entries=entries([one for one in by_place if one not in placed])),
        Section(title="To install and run", entries=entries(beside)),
        Section(title="Decisions", entries=entries(decisions)),
    ]
    return Page(path="index.html", title="Reference", body=render("index.html", "index.html", sections=sections))
