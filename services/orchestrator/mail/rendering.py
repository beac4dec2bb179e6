"""A letter as text and as HTML: the sentences of the catalogue in the layout that all mails share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from services.orchestrator.mail.catalogue import SAID_BY_RECEIPT, Language, language, section_name, shown
from services.orchestrator.mail.domain import Letter, language_of
from services.orchestrator.mail.wording import in_words, plain
from services.receipts.wording import TEXTS

LAYOUTS: Final = Path(__file__).parent / "layouts"
SUBJECT_CHARACTERS_MAX: Final = 150
"""What mail programs show at most of one; ours have less than half of it."""


def _environment(*, escapes: bool) -> Environment:
    return Environment(
        loader=FileSystemLoader(LAYOUTS),
        autoescape=escapes,  # noqa: S701 off for the plain text alone
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


_TEXT: Final = _environment(escapes=False)
_HTML: Final = _environment(escapes=True)
"""Whatever is put into the page is escaped, our sentences and what stands in them alike."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """What a recipient reads."""

    language: str
    subject: str
    text: str
    html: str


def rendered(letter: Letter) -> Rendered:
    """Return what the letter says.

    Raises KeyError where there is no such mail, and ValueError or Jinja's `UndefinedError` where a value is unfit or
    missing.
    """
    name, locale = language_of(letter.to.locale, letter.sender.locale)
    words = language(name)
    section = words.sections[section_name(letter.kind, letter.recipient_kind)]
    said = _said(letter, words, locale)
    parts = {
        "language": name,
        "subject": _sentence(section.subject, said)[:SUBJECT_CHARACTERS_MAX],
        "title": _sentence(section.title, said),
        "hello": _sentence(words.labels["hello" if said["name"] else "hello_nobody"], said),
        "lines": [line for line in (_sentence(one, said) for one in section.lines) if line],
        "rows": _rows(letter, words, said),
        "receipt": letter.receipt and replace(letter.receipt, title=plain(letter.receipt.title)),
        "say": partial(TEXTS.say, name),
        "colon": words.labels["colon"],
        "action": section.action,
        "link": letter.link,
        "because": _sentence(words.labels[f"because_{letter.recipient_kind.lower()}"], said),
        "unsubscribe": words.labels["unsubscribe"],
        "unsubscribe_url": letter.unsubscribe_url,
        "sender": said["sender"],
    }
    return Rendered(
        language=name,
        subject=str(parts["subject"]),
        text=_TEXT.get_template("mail.txt").render(parts),
        html=_HTML.get_template("mail.html").render(parts),
    )


def _said(letter: Letter, words: Language, locale: str) -> dict[str, str]:
    values = {**letter.values, "occur_time": letter.occur_time.isoformat()}
    return in_words(values, language=words, locale=locale, time_zone=letter.sender.time_zone) | {
        "name": plain(letter.to.name),
        "sender": plain(letter.sender.name),
        "payment_id": plain(letter.payment_id),
    }


def _rows(letter: Letter, words: Language, said: Mapping[str, str]) -> list[tuple[str, str]]:
    names: Sequence[str] = (*shown(letter.kind, letter.recipient_kind), "client_reference", "payment_id")
    if letter.receipt is not None:
        names = [name for name in names if name not in SAID_BY_RECEIPT]
    return [(words.labels[name], said[name]) for name in names if said.get(name)]


def _sentence(template: str, said: Mapping[str, str]) -> str:
    """Return a sentence as text. It is escaped where it is put into the page."""
    return _TEXT.from_string(template).render(said).strip()
