"""What can go wrong with a payer's page, for those who only tell of it: what plays the page takes longer to import."""

from __future__ import annotations


class PageNotCompleted(Exception):
    """The page could not be completed from here; the message says why."""
