"""What a mail is made of. Pure."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from services.orchestrator.facts.domain import FactKind
from services.orchestrator.notifications.kinds import RecipientKind
from services.receipts.model import Receipt
from services.shared.locale_format import find_locale

LANGUAGES: Final = ("de", "fr", "it", "en")
"""That mails are written in."""
LANGUAGE_OTHERWISE: Final = "en"
"""For whoever reads another, where the sender has none of ours either."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """In whose name mails are sent."""

    name: str
    address: str
    """What stands in From; replies go there."""
    locale: str = ""
    """BCP 47: for recipients of whom no language is known that mails are written in."""
    time_zone: str = "UTC"
    """Of the times in mails, by its IANA name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """How a recipient is reached."""

    addresses: tuple[str, ...]
    """One; operators are written to together."""
    name: str = ""
    locale: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """Everything that a mail says. The same letter makes the same mail, byte for byte."""

    fact_id: uuid.UUID
    kind: FactKind
    recipient_kind: RecipientKind
    recipient_id: str
    to: Contact
    sender: Sender
    occur_time: datetime
    payment_id: str = ""
    values: Mapping[str, str] = field(default_factory=dict)
    """Of the fact: amounts as `…_minor` beside a currency, times as `…_time` in RFC 3339."""
    link: str = ""
    """Where the recipient finds more; none if empty."""
    unsubscribe_url: str = ""
    """Where mails of this kind are declined; empty where they may not be."""
    receipt: Receipt | None = None
    """What was paid and what went back, in the letter's language, whole; None where it brings none."""

    @property
    def mail_id(self) -> uuid.UUID:
        """Names the mail: one to each recipient of a fact."""
        return uuid.uuid5(self.fact_id, f"{self.recipient_kind}\x1f{self.recipient_id}")


def language_of(*locales: str) -> tuple[str, str]:
    """Return the language of a mail and the locale of its amounts and dates, by the first locale that we write in.

    A language without a region that CLDR knows is taken as Swiss, where the suite comes from, and English as British:
    its dates and times are read alike everywhere. A mail is not lost for what stands there.
    """
    for locale in (*locales, LANGUAGE_OTHERWISE):
        language = locale.partition("-")[0].lower()
        if language in LANGUAGES:
            has_region = "-" in locale and find_locale(locale.lower()) is not None
            return language, locale if has_region else f"{language}-{'GB' if language == 'en' else 'CH'}"
    raise AssertionError("the last one is a language that mails are written in")
