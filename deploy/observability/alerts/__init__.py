"""The alerts that stand on a threshold, by what they are about; the objectives' are in `slos.py`.

Numbers are minutes and shares that the old specification or a guarantee names, or several times what is measured.
A scrape every 15 s is assumed: a window has at least four points.
"""

from __future__ import annotations

from typing import Final

from deploy.observability.alerts import (
    books,
    calls,
    facts,
    fronts,
    mails,
    money,
    process,
    receivers,
    records,
    streams,
    stripe,
)
from deploy.observability.rule import Group

GROUPS: Final[tuple[Group, ...]] = (
    money.GROUP, books.GROUP, records.GROUP, stripe.GROUP, streams.GROUP, fronts.GROUP, facts.GROUP, mails.GROUP,
    receivers.GROUP,
    calls.GROUP,
    process.GROUP,
)  # fmt: skip
