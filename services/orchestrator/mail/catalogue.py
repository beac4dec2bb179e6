"""Every sentence of every mail, in each language: `languages/<language>.toml`, and what a mail shows beside them.

A section is `[<kind>.<recipient>]` with `subject`, `title`, `lines` and, where it leads somewhere, `action`. Each is a
Jinja template over the values of the letter as people write them (`wording.py`); a line that comes out empty is left
out.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from services.orchestrator.facts.domain import FactKind
from services.orchestrator.mail.domain import LANGUAGES
from services.orchestrator.notifications.kinds import RecipientKind

FOLDER: Final = Path(__file__).parent / "languages"

SHOWN: Final[Mapping[FactKind, Sequence[str]]] = {
    FactKind.PAYMENT_RECEIVED: ("amount", "method_in_words", "occur_time"),
    FactKind.PAYMENT_FAILED: ("amount", "method_in_words"),
    FactKind.PAYMENT_EXPIRED: ("amount",),
    FactKind.ACTION_REQUIRED: ("amount", "method_in_words"),
    FactKind.PAYMENT_SCHEDULED: ("amount", "method_in_words", "charge_time"),
    FactKind.CHARGE_UPCOMING: ("amount", "method_in_words", "charge_time"),
    FactKind.PAYMENT_REFUNDED: ("amount", "occur_time"),
    FactKind.REFUND_FAILED: ("amount",),
    FactKind.DISPUTE_OPENED: ("amount", "reason_in_words", "evidence_due_time"),
    FactKind.DISPUTE_CLOSED: ("amount", "reason_in_words", "fee"),
    FactKind.TRANSFER_FAILED: ("amount", "reason"),
    FactKind.PAYOUT_FAILED: ("amount", "failure_code"),
    FactKind.ONBOARDING_REQUIRED: ("due_time",),
    FactKind.ATTENTION_RAISED: ("reason",),
}
"""Kind → the values in the small table of its mail, in their order; one that is not known is left out."""


WITH_RECEIPT: Final = frozenset({FactKind.PAYMENT_RECEIVED, FactKind.PAYMENT_REFUNDED, FactKind.REFUND_FAILED})
"""Kinds that bring their payer the receipt, as it is after what happened."""
SAID_BY_RECEIPT: Final = frozenset({"method_in_words", "payment_id"})
"""What a receipt says as well, so that the small table above it does not."""

OF_THE_PAYMENT: Final = frozenset(
    {FactKind.PAYMENT_RECEIVED, FactKind.PAYMENT_FAILED, FactKind.PAYMENT_EXPIRED, FactKind.PAYMENT_REFUNDED}
)
"""Kinds whose amount is of the whole payment: a seller is not shown it, since other sellers' parts may be in it."""
NOT_FOR_SELLERS: Final = frozenset({"method_in_words", "reason", "failure_code"})
"""What is the payer's, and codes that are for operators."""


def shown(kind: FactKind, recipient_kind: RecipientKind) -> Sequence[str]:
    """Return the values in the small table of a mail, in their order."""
    if recipient_kind is not RecipientKind.SELLER:
        return SHOWN[kind]
    hidden = NOT_FOR_SELLERS | ({"amount"} if kind in OF_THE_PAYMENT else set())
    return [name for name in SHOWN[kind] if name not in hidden]


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """The sentences of one mail in one language."""

    subject: str
    title: str
    lines: Sequence[str]
    action: str
    """What the link to more is called; empty where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """Everything that is said in one language."""

    sections: Mapping[str, Section]
    """By `<kind>.<recipient>`, in lower case."""
    labels: Mapping[str, str]
    """Of the values that are shown, and of a mail's fixed parts."""
    declines: Mapping[str, str]
    """Why a charge was declined, by what its payer can do about it."""
    dispute_reasons: Mapping[str, str]
    """Why a bank contests a charge, by Stripe's word for it."""


def section_name(kind: FactKind, recipient_kind: RecipientKind) -> str:
    """Return what the section of a mail is called."""
    return f"{kind}.{recipient_kind}".lower()


@lru_cache(maxsize=len(LANGUAGES))
def language(name: str) -> Language:
    """Return what is said in a language, which is one of ours."""
    table = tomllib.loads((FOLDER / f"{name}.toml").read_text(encoding="utf-8"))
    labels, declines, reasons = (table.pop(part) for part in ("labels", "declines", "dispute_reasons"))
    sections = {
        f"{kind}.{recipient}": Section(
            subject=one["subject"], title=one["title"], lines=tuple(one["lines"]), action=one.get("action", "")
        )
        for kind, recipients in table.items()
        for recipient, one in recipients.items()
    }
    return Language(sections=sections, labels=labels, declines=declines, dispute_reasons=reasons)


def has_mail(kind: FactKind, recipient_kind: RecipientKind) -> bool:
    """Whether there is a mail that tells such a recipient of such a fact."""
    return section_name(kind, recipient_kind) in language(LANGUAGES[0]).sections
