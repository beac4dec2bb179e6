"""How payments look in a terminal: a word, a sign and a colour for each state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp
from rich.text import Text

from batzen.cli import moments, money
from batzen.status.v1.status_pb2 import Payment, Transition
from batzen.type.v1.payment_pb2 import PaymentSnapshot, PaymentState

_PREFIX: Final = "PAYMENT_STATE_"
_LOOKS: Final = {
    "INITIALIZED": ("·", "dim"),
    "REQUIRES_PAYMENT_METHOD": ("○", "cyan"),
    "SCHEDULED": ("◷", "cyan"),
    "PROCESSING": ("◌", "yellow"),
    "REQUIRES_ACTION": ("◍", "magenta"),
    "AUTHORIZED": ("◐", "blue"),
    "SUCCEEDED": ("●", "green"),
    "PARTIALLY_REFUNDED": ("◑", "blue"),
    "REFUNDED": ("↩", "blue"),
    "FAILED": ("✗", "red"),
    "CANCELED": ("⊘", "dim"),
    "EXPIRED": ("∅", "dim"),
    "DISPUTED": ("!", "red"),
    "DISPUTE_LOST": ("‼", "red"),
}
"""A sign of its own for each, since not every terminal has colours and not everyone sees them; one column wide."""
_UNKNOWN: Final = ("?", "white")
_SUBMITTED: Final = "SUBMITTED"


def name(state: int) -> str:
    """Return the name of a state without its prefix; its number if it is newer than this package."""
    try:
        return PaymentState.Name(state).removeprefix(_PREFIX)
    except ValueError:
        return str(state)


def sign(state: int) -> Text:
    """Return the state's sign alone."""
    shown, style = _LOOKS.get(name(state), _UNKNOWN)
    return Text(shown, style=style)


def label(state: int) -> Text:
    """Return the state for a person: `● succeeded`."""
    sign, style = _LOOKS.get(name(state), _UNKNOWN)
    return Text(f"{sign} {name(state).lower().replace('_', ' ')}", style=style)


def remark(update: Transition | Payment, currency_code: str) -> Text:
    """Return what there is to say beside the state: amounts, what went wrong, what is awaited."""
    snapshot = update.snapshot
    parts = [*_amounts(snapshot, currency_code), *_plans(snapshot), *_troubles(snapshot)]
    return joined(parts, " · ")


def brief(payment: Payment) -> Text:
    """Return what a list says beside the state: amounts other than the total, what comes when, what went wrong."""
    total = payment.total.amount_minor
    amounts = _amounts(payment.snapshot, payment.total.currency_code, leave_out=total)
    return joined(
        [*amounts, *_plans(payment.snapshot, moments.brief), *_troubles(payment.snapshot, in_full=False)], " · "
    )


def joined(parts: Sequence[Text], separator: str) -> Text:
    """Return the parts that say something, each in its own style."""
    text = Text()
    for part in parts:
        if part:
            if text:
                text.append(separator, style="dim")
            text.append_text(part)
    return text


def _amounts(snapshot: PaymentSnapshot, currency_code: str, *, leave_out: int = 0) -> list[Text]:
    amounts = snapshot.amounts
    words = {
        "held": amounts.capturable_minor,
        "captured": amounts.captured_minor,
        "refund on its way": amounts.refund_pending_minor,
        "refunded": amounts.refunded_minor,
        "disputed": amounts.disputed_open_minor,
        "lost": amounts.disputed_lost_minor,
        "surplus": amounts.surplus_minor,
    }
    return [
        Text(f"{word} {money.shown(amount, currency_code)}")
        for word, amount in words.items()
        if amount not in (0, leave_out)
    ]


def _plans(snapshot: PaymentSnapshot, shown: Callable[[Timestamp], str] = moments.shown) -> list[Text]:
    """Return what comes by itself."""
    parts = []
    if snapshot.HasField("hold_expire_time"):
        parts.append(Text(f"until {shown(snapshot.hold_expire_time)}", style="dim"))
    if snapshot.HasField("charge_time"):
        parts.append(Text(f"charged at {shown(snapshot.charge_time)}", style="dim"))
    return parts


def attentions(snapshot: PaymentSnapshot) -> list[PaymentSnapshot.Attention]:
    """Return why a payment needs an operator; the one that a server names that knows of no more."""
    one = [snapshot.attention] if snapshot.HasField("attention") else []
    return list(snapshot.attentions) or one


def _troubles(snapshot: PaymentSnapshot, *, in_full: bool = True) -> list[Text]:
    parts = []
    if snapshot.HasField("last_error"):
        error = snapshot.last_error
        code = error.decline_code or error.code
        said = error.message or code if in_full else code.replace("_", " ")
        parts.append(Text(said, style="red"))
        if in_full and error.message and error.decline_code:
            parts.append(Text(code, style="dim red"))
    if snapshot.reason:
        parts.append(Text(snapshot.reason.lower().replace("_", " "), style="yellow"))
    for one in attentions(snapshot):
        parts.append(Text(f"needs an operator: {one.detail or one.reason}", style="bold red"))
    return parts


def method(snapshot: PaymentSnapshot) -> str:
    """Return `visa •••• 4242`; empty where none is known, or where what was just submitted may be another one."""
    if not snapshot.HasField("method") or snapshot.reason == _SUBMITTED:
        return ""
    used = snapshot.method
    return f"{used.brand or used.type} •••• {used.last4}" if used.last4 else used.type
