"""What a hosted page is for each way of timing: one table, which the code runs on and the documents print. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """What a page is made of, and what it has come to once its payer is done."""

    timing: str
    """As callers of the suite name it."""
    setup_only: bool
    capture_manually: bool
    mode: str
    """Stripe's word."""
    intent_data: str
    """The parameter that describes the intent which the page makes."""
    capture_method: str = ""
    """Empty for Stripe's own, which takes the money at once."""
    payment_status: str
    """Of a session that is complete, once its money or its method is there."""
    intent_status: str
    """Of its intent then."""
    state: str
    """Of the payment, as callers see it."""


MODES: Final = (
    Mode(
        timing="IMMEDIATE",
        setup_only=False,
        capture_manually=False,
        mode="payment",
        intent_data="payment_intent_data",
        payment_status="paid",
        intent_status="succeeded",
        state="SUCCEEDED",
    ),
    Mode(
        timing="MANUAL_CAPTURE",
        setup_only=False,
        capture_manually=True,
        mode="payment",
        intent_data="payment_intent_data",
        capture_method="manual",
        payment_status="unpaid",
        intent_status="requires_capture",
        state="AUTHORIZED",
    ),
    Mode(
        timing="SCHEDULED",
        setup_only=True,
        capture_manually=False,
        mode="setup",
        intent_data="setup_intent_data",
        payment_status="no_payment_required",
        intent_status="succeeded",
        state="SCHEDULED",
    ),
)


def mode_of(*, setup_only: bool, capture_manually: bool) -> Mode:
    """Return the mode of what an attempt collects."""
    asked = (setup_only, capture_manually)
    return next(one for one in MODES if (one.setup_only, one.capture_manually) == asked)


def table() -> str:
    """Return the modes as Markdown."""
    lines = [
        "| timing | the session | complete, with `payment_status` | and its intent | the payment |",
        "| --- | --- | --- | --- | --- |",
    ]
    for one in MODES:
        capture = f", `{one.intent_data}[capture_method]={one.capture_method}`" if one.capture_method else ""
        lines.append(
            f"| `{one.timing}` | `mode={one.mode}`{capture} | `{one.payment_status}` | `{one.intent_status}` "
            f"| `{one.state}` |"
        )
    return "\n".join(lines) + "\n"
