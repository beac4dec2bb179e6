"""The pages that the menu of the console leads to. A room that gets a page adds its line here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the menu."""

    key: str
    """What a page says of itself (`here`), and the name of its icon in `icons.html`."""
    label: str
    path: str


@dataclass(frozen=True, slots=True)
class Group:
    """Lines that belong together."""

    label: str
    entries: Sequence[Entry]


NAVIGATION: Final[Sequence[Group]] = (
    Group(
        "Payments",
        (
            Entry("payments", "Payments", "/payments"),
            Entry("approvals", "Approvals", "/approvals"),
            Entry("attention", "Attention", "/attention"),
            Entry("stuck", "Stuck", "/stuck"),
            Entry("dead-letters", "Dead letters", "/dead-letters"),
        ),
    ),
    Group(
        "Money",
        (
            Entry("disputes", "Disputes", "/disputes"),
            Entry("reconciliation", "Reconciliations", "/reconciliations"),
            Entry("sellers", "Sellers", "/sellers"),
            Entry("price-book", "Price book", "/price-book"),
        ),
    ),
    Group(
        "Told",
        (
            Entry("webhooks", "Webhooks", "/webhooks"),
            Entry("notifications", "Notifications", "/notifications"),
        ),
    ),
    Group(
        "Kept",
        (
            Entry("figures", "Figures", "/figures"),
            Entry("health", "Health", "/health"),
            Entry("audit", "Audit", "/audit"),
        ),
    ),
)
"""In the order of the menu."""
