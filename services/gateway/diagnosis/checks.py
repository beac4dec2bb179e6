"""What is always so of a payment's records in the gateway, and of what Stripe shows of it. Data only."""

from __future__ import annotations

from typing import Final

from services.shared.diagnosis import Check

_READ_AGAIN: Final = "Read it at Stripe again, and apply that: `batzen resolve PAYMENT_ID settle --reason WHY`."
_BY_HAND: Final = "Nothing by itself: find out who changed the rows, and put them back from a backup."

OBSERVATION: Final = Check(
    name="OBSERVATION",
    meaning="What the orchestrator is told does not follow from the intents, refunds and disputes that are mirrored.",
    remedy=_READ_AGAIN,
)
STRIPE_IDS: Final = Check(
    name="STRIPE_IDS",
    meaning="An object is found by another Stripe id than the one that it is mirrored with: its events go astray.",
    remedy=_READ_AGAIN,
)
REFUNDED_BEYOND: Final = Check(
    name="REFUNDED_BEYOND",
    meaning="More is given back of an attempt than it took.",
    remedy="Compare its refunds with Stripe's: `batzen reconcile --since 1d`.",
)
LEDGER_UNBALANCED: Final = Check(
    name="LEDGER_UNBALANCED",
    meaning="The entries of a fact do not come to zero: the ledger was changed past its database's rules.",
    remedy=_BY_HAND,
)
LEDGER_BOOKS: Final = Check(
    name="LEDGER_BOOKS",
    meaning="The entries of the ledger do not come to what the payment remembers to have booked.",
    remedy=_BY_HAND,
)
LEDGER_MIRROR: Final = Check(
    name="LEDGER_MIRROR",
    meaning="What is mirrored of the payment's money was not booked.",
    remedy="Booked with the next reading, as a fact of its own: `batzen resolve PAYMENT_ID settle --reason WHY`.",
)
BALANCE_TRANSACTION: Final = Check(
    name="BALANCE_TRANSACTION",
    meaning="A balance transaction that is kept is not booked with its amount.",
    remedy="Book what is missing: `batzen reconcile --since 31d --repair`. What is booked otherwise is for a person.",
)
SETTLEMENT: Final = Check(
    name="SETTLEMENT",
    meaning="A seller has not what it is to have, and nothing is due that would change that.",
    remedy="Made due again: `batzen reconcile --since 1d --repair`.",
)
SETTLEMENT_LATE: Final = Check(
    name="SETTLEMENT_LATE",
    meaning="A seller is without its part for more than six hours, and nothing is known that this waits for.",
    remedy="Made due again: `batzen reconcile --since 1d --repair`.",
)
RECEIVABLE: Final = Check(
    name="RECEIVABLE",
    meaning="What is listed as owed by a seller is not what follows from the payment.",
    remedy="Written anew with the payment's next change: `batzen resolve PAYMENT_ID settle --reason WHY`.",
)
CALL: Final = Check(
    name="CALL",
    meaning="A call to Stripe has no answer, and nobody asks for it any more.",
    remedy="It was given up? `batzen dead-letters replay`. Else: `batzen resolve PAYMENT_ID settle --reason WHY`.",
)
DELIVERY: Final = Check(
    name="DELIVERY",
    meaning="The orchestrator was not told the newest observation, and nothing is due that would.",
    remedy="It was given up? `batzen dead-letters replay`. Else: `batzen reconcile --since 1d --repair`.",
)
STRIPE_MISSING: Final = Check(
    name="STRIPE_MISSING",
    meaning="Stripe does not know an object that is mirrored: another account, or another database.",
    remedy="Nothing by itself: see which account the gateway's key opens, and which backup was restored.",
)
STRIPE_PAYMENT: Final = Check(
    name="STRIPE_PAYMENT",
    meaning="Stripe's intent names another payment as its own.",
    remedy="Nothing by itself: find out who changed its metadata; both payments need a person.",
)
STRIPE_STATE: Final = Check(
    name="STRIPE_STATE",
    meaning="An attempt stands otherwise at Stripe than it is mirrored.",
    remedy=_READ_AGAIN,
)
STRIPE_AMOUNT: Final = Check(
    name="STRIPE_AMOUNT",
    meaning="Stripe has another amount or currency than was asked for.",
    remedy="Nothing by itself: give back what is too much, or cancel the attempt.",
)
STRIPE_CAPTURED: Final = Check(
    name="STRIPE_CAPTURED",
    meaning="Stripe took or holds another amount than is mirrored.",
    remedy=_READ_AGAIN,
)
STRIPE_REFUND: Final = Check(
    name="STRIPE_REFUND",
    meaning="A refund is at Stripe and not mirrored, or the reverse, or it stands otherwise.",
    remedy=_READ_AGAIN,
)
STRIPE_DISPUTE: Final = Check(
    name="STRIPE_DISPUTE",
    meaning="A dispute is at Stripe and not mirrored, or the reverse, or it stands otherwise.",
    remedy=_READ_AGAIN,
)
STRIPE_MOVEMENT: Final = Check(
    name="STRIPE_MOVEMENT",
    meaning="A transfer, a fee or what went back is at Stripe and not mirrored, or the reverse, or of another amount.",
    remedy="Compare and mend it: `batzen reconcile --since 31d --repair`.",
)

OURS: Final = (
    OBSERVATION,
    STRIPE_IDS,
    REFUNDED_BEYOND,
    LEDGER_UNBALANCED,
    LEDGER_BOOKS,
    LEDGER_MIRROR,
    BALANCE_TRANSACTION,
    SETTLEMENT,
    SETTLEMENT_LATE,
    RECEIVABLE,
    CALL,
    DELIVERY,
)
"""Of what is kept here, in the order in which they are looked at."""
AT_STRIPE: Final = (
    STRIPE_MISSING,
    STRIPE_PAYMENT,
    STRIPE_STATE,
    STRIPE_AMOUNT,
    STRIPE_CAPTURED,
    STRIPE_REFUND,
    STRIPE_DISPUTE,
    STRIPE_MOVEMENT,
)
"""Of what Stripe shows, where that is asked for."""
