"""How a command that failed says so: what was refused, what to do about it, and its exit code."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from rich.padding import Padding
from rich.text import Text

from batzen.cli import money
from batzen.cli.output import Exit, error_console, print_json
from batzen.cli.program import program
from batzen.errors import BatzenError, DeadlineExceeded, InvalidArgument, Unavailable
from batzen.type.v1.money_pb2 import Money

ADVICE: Final = {
    "PAYMENT_NOT_FOUND": "Check the id; `{batzen} list` shows the payments you may see.",
    "SELLER_NOT_FOUND": "Register the seller first: {batzen} sellers put SELLER_ID --email …",
    "SELLER_NOT_PAYABLE": "See what Stripe wants to know: {batzen} sellers get SELLER_ID",
    "PAYMENT_STATE": "See where it stands: {batzen} show PAYMENT_ID",
    "METHOD_REFUSED": "Use another card; `{batzen} pay --help` names those there are.",
    "BOOKING_HAS_PAYMENT": "Look at that payment, or go on with it: {batzen} show PAYMENT_ID",
    "BOOKING_NOT_PAYABLE": "The platform says so, not this suite; ask it, or pay for another booking.",
    "CAPTURE_EXCEEDS_CAPTURABLE": "Ask for less; without --amount all that is held is captured.",
    "CAPTURE_NOT_REPEATABLE": "Stripe captures this hold once: add --final, which releases the rest.",
    "CAPTURE_REFUSED": "It is still held. Capture again, or give it back: {batzen} cancel PAYMENT_ID",
    "SUBMIT_REFUSED": "Stripe's code says what it minds. A debit needs a mandate: pay on the page, with --checkout.",
    "SUBMIT_EXPIRED": "Nothing was charged. Pay again: {batzen} pay --payment PAYMENT_ID",
    "ATTEMPT_OPEN": "Nothing new is begun before that is known; send the same command again in a moment.",
    "PAYMENT_METHOD_NOT_FOUND": "See what the payer keeps: {batzen} methods list PAYER_ID",
    "METHOD_LIMIT_REACHED": "Remove one first: {batzen} methods remove PAYER_ID METHOD_ID",
    "METHOD_IN_USE": "Cancel those payments first, or let them be charged.",
    "AMOUNT_NOT_CHARGEABLE": "Ask for an amount within these limits.",
    "STARTS_PAUSED": "Wait for an operator: {batzen} starts show",
    "REFUNDABLE_CHANGED": "Something else moved the payment meanwhile; look again, then decide.",
    "REFUND_REFUSED/CHARGE_DISPUTED": "The bank decides about that money: {batzen} disputes list",
    "REFUND_REFUSED": (
        "Of a hold that was captured in parts Stripe refunds all at once; or a part, paid by the platform alone: "
        "--keep-seller-part --keep-platform-fee"
    ),
    "REFUND_BEYOND_POLICY": (
        "See what it gives back: {batzen} refund PAYMENT_ID --by-policy --preview; operators add --beyond-policy WHY"
    ),
    "RESOLUTION_DOES_NOT_FIT": "See what does, and what else is wrong with it: {batzen} doctor PAYMENT_ID",
    "LEDGER_CONTRADICTED": "The money says otherwise; see all records: {batzen} doctor PAYMENT_ID",
    "ATTENTION_NOT_FOUND": "See what needs an operator: {batzen} attention list",
    "RECEIVABLE_NOT_FOUND": "See what is owed: {batzen} receivables list --seller SELLER_ID",
    "RECEIVABLE_CHANGED": "See what is owed now: {batzen} receivables list --seller SELLER_ID",
    "REFUND_EXCEEDS_REFUNDABLE": "Ask for less; without --amount all that is left is refunded.",
    "DEPENDENCY_UNAVAILABLE": (
        "Send the same command again in a moment. A gateway that waits for Stripe looks like that, too.\n"
        "Why it is away: {batzen} logs DEPENDENCY"
    ),
    "STRIPE_UNAVAILABLE": (
        "What was begun is carried on by itself. In test mode: is api.stripe.com reached from here?\n"
        "How your payments stand: {batzen} list\n"
        "What the stand-in says: {batzen} logs sandbox"
    ),
    "STRIPE_RATE_LIMITED": "Stripe takes no more for the moment. Send the same command again in a moment.",
    "NOT_OFFERED": "This server does not do that; it is announced for a later version.",
    "PERMISSION_DENIED": "Use a token of another role: --as operator, service, payer or seller.",
    "UNAUTHENTICATED": "The token is missing, expired or another suite's; `make up` renews the one it wrote.",
}
"""What to do about a reason, where `{batzen}` is `program()`; those without an entry say it themselves."""
ADVICE_BY_CODE: Final = {
    "UNAVAILABLE": "Is the suite running? Start it with `make up`, or say where it is: --help names the options.",
    "DEADLINE_EXCEEDED": "The outcome is not known. Look at the payment before you pay again: {batzen} list",
    "UNIMPLEMENTED": "This server does not do that yet.",
    "INTERNAL": "A bug of the suite's.",
}


MINOR_UNITS: Final = re.compile(
    r"(?:(?P<least>\d+) to )?(?P<most>\d+) minor units(?: of (?P<currency>[A-Z]{3}))?(?:, in steps of (?P<step>\d+))?"
)
"""How a refusal of a service names amounts."""
BOUNDS: Final = re.compile(r"(?<=must be )(?P<least>\d+) to (?P<most>\d+)(?P<currency>)(?P<step>)$")
"""The same where the field says that they are minor units."""


def exit_code(error: BatzenError) -> Exit:
    if isinstance(error, InvalidArgument):
        return Exit.USAGE
    return Exit.UNREACHABLE if isinstance(error, Unavailable | DeadlineExceeded) else Exit.NOT_AS_WANTED


def tell(error: BatzenError, *, as_json: bool, given: Mapping[str, Any] | None = None) -> None:
    """Say what was refused: code, what happened, what to do, and what to name when asking.

    `given` is what the command was called with.
    """
    title = error.code.name if error.reason in ("", error.code.name) else f"{error.code.name} / {error.reason}"
    unreached = isinstance(error, Unavailable) and not error.reason
    currency = error.metadata.get("currency_code") or _currency_typed(given or {})
    said = [f"Nothing answers there: {error.message}" if unreached else error.message]
    for violation in error.violations:
        line = f"`{violation.field}`: {violation.description}"
        if line != error.message:
            said.append(line)
    lines = [_as_typed(line, currency) for line in said]
    lines += _details(error.metadata, currency)
    of_code = f"{error.reason}/{error.metadata.get('code', '')}"
    if advice := ADVICE.get(of_code) or ADVICE.get(error.reason) or ADVICE_BY_CODE.get(error.code.name):
        lines += _named(advice.format(batzen=program()), {**(given or {}), **error.metadata}).split("\n")
    if error.correlation_id:
        lines.append(f"What the services say: {program()} logs --correlation {error.correlation_id}")
    document = {
        "code": error.code.name,
        "reason": error.reason,
        "message": error.message,
        "metadata": dict(error.metadata),
        "fields": [{"field": violation.field, "description": violation.description} for violation in error.violations],
        "correlation_id": error.correlation_id,
    }
    fail(document, lines, as_json=as_json, title=title)


def _currency_typed(given: Mapping[str, Any]) -> str:
    """Return the currency of an amount that a command was called with; "" if there was none."""
    values = list(given.values())
    while values:
        value = values.pop(0)
        if isinstance(value, Money):
            return value.currency_code
        values += value if isinstance(value, list | tuple) else []
    return ""


def _as_typed(line: str, currency: str) -> str:
    """Return what a service says of amounts as people type them: `at most 0.50 CHF`, not 50 minor units."""

    def typed(found: re.Match[str]) -> str:
        of = found["currency"] or currency
        if not of:
            return found[0]
        amounts = [money.shown(int(minor), of) for minor in (found["least"], found["most"]) if minor]
        steps = f", in steps of {money.shown(int(found['step']), of)}" if found["step"] not in (None, "", "1") else ""
        return " to ".join(amounts) + steps

    field, is_field, rest = line.partition("_minor`: ")
    if is_field:
        return f"{field}`: {BOUNDS.sub(typed, rest)}"
    return MINOR_UNITS.sub(typed, line)


def _details(metadata: Mapping[str, str], currency: str) -> list[str]:
    """Return what a refusal names beside its sentence; amounts as people write them."""
    amounts = {key: value for key, value in metadata.items() if currency and key.endswith("_minor") and _is_int(value)}
    lines = [
        f"{key.removesuffix('_minor').replace('_', ' ')}: {money.shown(int(value), currency)}"
        for key, value in amounts.items()
        if (key, value) != ("step_minor", "1")
    ]
    others = {key: value for key, value in metadata.items() if value and key not in amounts}
    if amounts:
        others.pop("currency_code", None)  # each amount says it
    return sorted(lines, reverse=True) + [f"{key}: {value}" for key, value in others.items()]


def _is_int(text: str) -> bool:
    return text.isascii() and text.removeprefix("-").isdigit()


def _named(advice: str, known: Mapping[str, Any]) -> str:
    """Put the ids that are known in the place of PAYMENT_ID and its like."""
    for name in ("payment_id", "payer_id", "method_id", "seller_id", "dependency"):
        if value := known.get(name) or known.get(name.removesuffix("_id")):
            advice = advice.replace(name.upper(), str(value))
    return advice


def fail(document: dict[str, Any], lines: list[str], *, as_json: bool, title: str | None = None) -> None:
    if as_json:
        print_json({"error": document})
        return
    error_console.print(Text(f"✗ {title or document['code']}", style="bold red"))
    for line in lines:
        if f"{program()} " in line:  # to be copied whole
            error_console.print(Text(f"  {line}", style="dim" if "--correlation" in line else ""), soft_wrap=True)
        else:
            error_console.print(Padding(Text(line), (0, 0, 0, 2)))
