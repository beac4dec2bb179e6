"""The payer's part of 3-D Secure, as far as a terminal can play it: the stand-in's page, posted as a browser does."""

from __future__ import annotations

from enum import StrEnum

from batzen.cli.pages import PageNotCompleted


class Outcome(StrEnum):
    """What the payer does on the page."""

    SUCCEED = "succeed"
    FAIL = "fail"


async def authenticate(page_url: str, outcome: Outcome) -> None:
    """Press one of the two buttons of the stand-in's page. Raises `PageNotCompleted`, also for any other page."""
    from batzen.cli.browser import post  # noqa: PLC0415 most commands complete no page, and start faster

    answered = await post(page_url, {"outcome": "complete" if outcome is Outcome.SUCCEED else "fail"})
    if answered.problem:
        raise PageNotCompleted(f"{answered.problem} {page_url}")
