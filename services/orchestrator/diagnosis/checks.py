"""What is always so of a payment's plan, beside what status, pricing and the gateway say of it. Data only."""

from __future__ import annotations

from typing import Final

from services.shared.diagnosis import Check

_MOVE: Final = "Have it moved again, which sends what is missing: `batzen resolve PAYMENT_ID try --reason WHY`."
_READ_AGAIN: Final = "Read it at Stripe again, and apply that: `batzen resolve PAYMENT_ID settle --reason WHY`."
_BY_HAND: Final = "Nothing by itself: find out who changed the rows, and put them back from a backup."

PLAN_MISSING: Final = Check(
    name="PLAN_MISSING",
    meaning="Status or the gateway have a payment of which there is no plan: nobody moves it any more.",
    remedy="Nothing by itself: restore the orchestrator's database; what Stripe has of it is in the mirror.",
)
STATUS_MISSING: Final = Check(
    name="STATUS_MISSING",
    meaning="Status has no such payment, and the plan says that it was opened there.",
    remedy=_BY_HAND,
)
STATUS_REVISION: Final = Check(
    name="STATUS_REVISION",
    meaning="Status is at another revision than the plan knows: one was put back, or written past the other.",
    remedy=_MOVE,
)
STATUS_SNAPSHOT: Final = Check(
    name="STATUS_SNAPSHOT",
    meaning="Callers are told something else than the plan put down for the same revision.",
    remedy=_BY_HAND,
)
STATUS_IDENTITY: Final = Check(
    name="STATUS_IDENTITY",
    meaning="Who pays, who sells, what is booked or what is owed is not the same in status and plan.",
    remedy=_BY_HAND,
)
HISTORY_GAP: Final = Check(
    name="HISTORY_GAP",
    meaning="The history does not have each revision once, from 1 on.",
    remedy=_BY_HAND,
)
HISTORY_END: Final = Check(
    name="HISTORY_END",
    meaning="The payment as it stands is not the last entry of its history.",
    remedy=_BY_HAND,
)
TRANSITION_REFUSED: Final = Check(
    name="TRANSITION_REFUSED",
    meaning="Status refused for good what the plan wants to record.",
    remedy="Give it up once it is clear why: `batzen resolve PAYMENT_ID give-up --reason WHY`.",
)
NOT_DUE: Final = Check(
    name="NOT_DUE",
    meaning="Something is to be done by the plan, and nothing is due that would do it.",
    remedy=_MOVE,
)
STAGE: Final = Check(
    name="STAGE",
    meaning="The plan collects what is over, or ended while something is to be collected.",
    remedy=_MOVE,
)
BOOKING_CLAIM: Final = Check(
    name="BOOKING_CLAIM",
    meaning="A booking of an open payment is claimed by another payment, or by none: it may be paid twice.",
    remedy="Cancel one of the two: `batzen cancel PAYMENT_ID`.",
)
QUOTE_MISSING: Final = Check(
    name="QUOTE_MISSING",
    meaning="Pricing does not know the quote that is charged.",
    remedy=_BY_HAND,
)
QUOTE_TOTAL: Final = Check(
    name="QUOTE_TOTAL",
    meaning="The plan charges another amount than its quote says.",
    remedy="Nothing by itself: give back what is too much: `batzen refund PAYMENT_ID`.",
)
QUOTE_SPLIT: Final = Check(
    name="QUOTE_SPLIT",
    meaning="The plan splits the money between sellers and platform otherwise than its quote says.",
    remedy="Nothing by itself: sellers are paid by what was sent with the charge; compare that first.",
)
QUOTE_END: Final = Check(
    name="QUOTE_END",
    meaning="What pricing is told of the quote is not what became of the payment.",
    remedy=_MOVE,
)
MIRROR_MISSING: Final = Check(
    name="MIRROR_MISSING",
    meaning="The gateway does not know a payment of which an attempt was begun.",
    remedy="Nothing by itself: restore the gateway's database; `batzen reconcile` finds what Stripe has.",
)
MIRROR_IDENTITY: Final = Check(
    name="MIRROR_IDENTITY",
    meaning="Payer or currency are not the same in plan and mirror.",
    remedy=_BY_HAND,
)
MIRROR_VERSION: Final = Check(
    name="MIRROR_VERSION",
    meaning="The plan has not applied the newest observation, or one that the gateway does not have.",
    remedy=_READ_AGAIN,
)
AMOUNTS: Final = Check(
    name="AMOUNTS",
    meaning="Callers are told other amounts than were observed.",
    remedy=_READ_AGAIN,
)
COLLECTION: Final = Check(
    name="COLLECTION",
    meaning="Callers are told that money was taken or held, and it was not; or the reverse.",
    remedy=_READ_AGAIN,
)
ATTEMPT: Final = Check(
    name="ATTEMPT",
    meaning="The plan and the mirror do not count the same attempts.",
    remedy=_MOVE,
)
ATTEMPT_AMOUNT: Final = Check(
    name="ATTEMPT_AMOUNT",
    meaning="The attempt that took money was asked for another amount than the plan charges.",
    remedy="Nothing by itself: give back what is too much: `batzen refund PAYMENT_ID`.",
)

CHECKS: Final = (
    PLAN_MISSING,
    STATUS_MISSING,
    STATUS_REVISION,
    STATUS_SNAPSHOT,
    STATUS_IDENTITY,
    HISTORY_GAP,
    HISTORY_END,
    TRANSITION_REFUSED,
    NOT_DUE,
    STAGE,
    BOOKING_CLAIM,
    QUOTE_MISSING,
    QUOTE_TOTAL,
    QUOTE_SPLIT,
    QUOTE_END,
    MIRROR_MISSING,
    MIRROR_IDENTITY,
    MIRROR_VERSION,
    AMOUNTS,
    COLLECTION,
    ATTEMPT,
    ATTEMPT_AMOUNT,
)
"""In the order in which they are looked at."""
