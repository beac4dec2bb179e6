"""Where a payer's browser finds what, for whoever sends it there."""

from __future__ import annotations

from typing import Final

ENTER: Final = "/enter"
"""The way in, with a one-time code."""
LEAVE: Final = "/leave"
"""Takes the form that ends a session, and says afterwards that it is ended."""
PAY: Final = "/pay/"
"""The pages of a payment are below it."""
RETURNS: Final = "/return/"
"""Banks and hosted pages send browsers to what is below it; other sites may post there, which changes nothing."""


def payment_page(payment_id: str, *, returned: bool = False) -> str:
    """Return the address of a payment's page; `returned` where the payer comes back from a bank or a hosted page."""
    return f"{PAY}{payment_id}{'?returned=1' if returned else ''}"
