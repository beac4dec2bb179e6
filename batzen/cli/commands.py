"""The table of the commands: where each is, and its line in `batzen --help`. A test holds it to what they say."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Final

import batzen
from batzen.cli.command_classes import Entry, LazyGroup

PAY: Final = "Take payments"
LOOK: Final = "Look at payments"
MONEY: Final = "Sellers and money"
OPERATE: Final = "For operators"
HERE: Final = "On this machine"

_PAY: Final = {
    "pay": Entry("batzen.cli.pay", "pay", "Take a payment with a test card and watch it move.", PAY, "EPILOG"),
    "quote": Entry(
        "batzen.cli.reading", "quote", "Price something, and show how the price comes about.", PAY, "QUOTE_EPILOG"
    ),
    "capture": Entry("batzen.cli.moving", "capture", "Take what is held, all of it or a part.", PAY, "CAPTURE_EPILOG"),
    "cancel": Entry("batzen.cli.moving", "cancel", "Cancel a payment before money is taken.", PAY, "CANCEL_EPILOG"),
    "refund": Entry("batzen.cli.changing", "refund", "Give money back to the payer.", PAY, "REFUND_EPILOG"),
    "retry": Entry(
        "batzen.cli.moving",
        "retry",
        "Try again now: a scheduled charge, or a fresh page or form for the payer.",
        PAY,
        "RETRY_EPILOG",
    ),
    "reschedule": Entry(
        "batzen.cli.moving", "reschedule", "Move a scheduled charge that has not begun.", PAY, "RESCHEDULE_EPILOG"
    ),
    "preserve": Entry(
        "batzen.cli.coming_back",
        "preserve",
        "Keep a payment from expiring while its payer is away.",
        PAY,
        "PRESERVE_EPILOG",
    ),
    "resume": Entry(
        "batzen.cli.coming_back",
        "resume",
        "Let the payer go on where they left, with a fresh form or page.",
        PAY,
        "RESUME_EPILOG",
    ),
    "attach-booking": Entry(
        "batzen.cli.finding",
        "attach_booking",
        "Say which bookings a payment pays for; those it has stay.",
        PAY,
        "ATTACH_EPILOG",
    ),
    "methods": Entry("batzen.cli.methods", "app", "What payers keep to pay with.", PAY),
}
_LOOK: Final = {
    "list": Entry("batzen.cli.reading", "list_payments", "List payments, the newest first.", LOOK, "LIST_EPILOG"),
    "show": Entry(
        "batzen.cli.show",
        "show",
        "Show a payment: amounts, history, attempts at Stripe, Stripe's events, and what was booked.",
        LOOK,
        "EPILOG",
    ),
    "watch": Entry(
        "batzen.cli.reading", "watch", "Follow a payment live, each state as it comes.", LOOK, "WATCH_EPILOG"
    ),
    "find": Entry("batzen.cli.finding", "find", "Find payments by what they are known by.", LOOK, "FIND_EPILOG"),
    "attempts": Entry(
        "batzen.cli.attempts",
        "attempts",
        "Show the attempts of a payment at Stripe, and the calls that have no answer.",
        LOOK,
        "ATTEMPTS_EPILOG",
    ),
    "events": Entry(
        "batzen.cli.attempts",
        "events",
        "List Stripe's events as they came in, and what became of each.",
        LOOK,
        "EVENTS_EPILOG",
    ),
    "listen": Entry(
        "batzen.cli.listen", "listen", "Show Stripe's events as they come in, and what becomes of each.", LOOK, "EPILOG"
    ),
    "figures": Entry(
        "batzen.cli.figures",
        "figures",
        "Show what payments came to: started, paid, revenue, declines, how long payers took.",
        LOOK,
        "EPILOG",
    ),
}
_MONEY: Final = {
    "sellers": Entry("batzen.cli.sellers", "app", "Who is paid, and what Stripe pays out.", MONEY),
    "transfers": Entry("batzen.cli.transfers", "app", "What sellers got of payments.", MONEY),
    "receivables": Entry("batzen.cli.receivables", "app", "What sellers owe.", MONEY),
    "policies": Entry(
        "batzen.cli.policies", "app", "When sellers are paid, who bears disputes, what is refunded.", MONEY
    ),
    "disputes": Entry("batzen.cli.disputes", "app", "What payers' banks contest.", MONEY),
    "ledger": Entry("batzen.cli.ledger", "app", "What was booked.", MONEY),
}
_OPERATE: Final = {
    "doctor": Entry(
        "batzen.cli.doctor",
        "doctor",
        "Read every record of a payment, and say where they disagree and what would be done.",
        OPERATE,
        "EPILOG",
    ),
    "reconcile": Entry(
        "batzen.cli.reconciling",
        "reconcile",
        "Compare mirror and ledger with Stripe, follow that to its end, and say what is different.",
        OPERATE,
        "EPILOG",
    ),
    "stuck": Entry(
        "batzen.cli.stuck",
        "stuck",
        "List the payments that do not move: why, since when, what went wrong, and what may be decided.",
        OPERATE,
        "STUCK_EPILOG",
    ),
    "resolve": Entry(
        "batzen.cli.stuck",
        "resolve",
        "Decide about a payment by hand. Kept for ever with who and why, and how it stood before and after.",
        OPERATE,
        "RESOLVE_EPILOG",
    ),
    "attention": Entry("batzen.cli.attention", "app", "What needs an operator.", OPERATE),
    "actions": Entry(
        "batzen.cli.actions",
        "actions",
        "List what operators did to payments, new payments and policies, and why.",
        OPERATE,
        "EPILOG",
    ),
    "starts": Entry("batzen.cli.starts", "app", "Whether new payments are taken.", OPERATE),
    "dead-letters": Entry("batzen.cli.dead_letters", "app", "What was given up after its last try.", OPERATE),
    "notifications": Entry("batzen.cli.notifications", "app", "What people are told of payments.", OPERATE),
    "mails": Entry("batzen.cli.mails", "app", "What became of mails, and those that were given up.", OPERATE),
    "hooks": Entry("batzen.cli.hooks", "app", "Webhooks to the platform's own systems.", OPERATE),
    "erase-payer": Entry(
        "batzen.cli.erasing",
        "erase_payer",
        "Destroy a payer's personal data, here and at Stripe; the books stay.",
        OPERATE,
        "EPILOG",
    ),
    "import": Entry(
        "batzen.cli.importing",
        "import_records",
        "Take over payments, customers and sellers of a system before. Nothing is charged, moved or told.",
        OPERATE,
        "EPILOG",
    ),
}
_HERE: Final = {
    "logs": Entry("batzen.cli.logs", "logs", "Show the logs of the suite that runs on this machine.", HERE, "EPILOG"),
    "token": Entry(
        "batzen.cli.tokens", "token", "Print the token that commands use, for a program of yours.", HERE, "EPILOG"
    ),
}
_CHECKOUT: Final = {
    "up": Entry(
        "local.commands", "up", "Start the whole suite on this machine and keep it up until Ctrl-C.", HERE, "UP_EPILOG"
    ),
    "down": Entry("local.commands", "down", "End what `up` started, from another terminal.", HERE, "DOWN_EPILOG"),
    "demo": Entry(
        "local.commands",
        "demo",
        "Take a payment of each kind on a suite of its own, show how it moves, and close the books.",
        HERE,
        "DEMO_EPILOG",
    ),
    "stripe": Entry("local.stripe.command", "app", "The account at Stripe.", HERE),
    "trigger": Entry(
        "local.commands",
        "trigger",
        "Play a journey on the suite that is up, or let something happen to a payment at Stripe.",
        HERE,
        "TRIGGER_EPILOG",
    ),
}
"""What is no part of what callers install."""


def _is_checkout() -> bool:
    """Whether this package lies in a checkout, beside the folder that knows how to run the suite."""
    checkout = Path(batzen.__file__).resolve().parents[1]
    found = importlib.util.find_spec("local")
    return found is not None and found.origin is not None and Path(found.origin).resolve().parents[1] == checkout


COMMANDS: Final = _PAY | _LOOK | _MONEY | _OPERATE | _HERE | (_CHECKOUT if _is_checkout() else {})


class Root(LazyGroup):
    """All of them: `batzen`."""

    entries = COMMANDS
