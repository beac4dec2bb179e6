"""The payer on a hosted page, as far as a terminal can play them: the stand-in's page, posted as a browser does."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True, kw_only=True)
class Paid:
    """How it went on the page."""

    authentication_url: str = ""
    """The page of the payer's bank, if they have to authenticate before the money moves."""
    problem: str = ""
    """Why the page did not take the method; the payer may try another there."""


async def pay_page(page_url: str, *, payment_method_id: str, email: str = "") -> Paid:
    """Choose a test method on the stand-in's page and pay. Raises `PageNotCompleted`, also for any other page."""
    from batzen.cli.browser import post  # noqa: PLC0415 most payments need no page, and their command starts faster

    answered = await post(page_url, {"payment_method": payment_method_id, "email": email})
    # The bank's page is the stand-in's, too; anything else it sends the browser to is the shop's.
    is_bank = urlsplit(answered.location).netloc == urlsplit(page_url).netloc
    return Paid(authentication_url=answered.location if is_bank else "", problem=answered.problem)
