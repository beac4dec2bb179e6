"""Stripe's events: reading one out of a verified body, and what each type makes us do. Pure.

An event says that something changed; what is true comes from the object in it, or from a new reading at Stripe.
"""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from services.gateway.webhooks.signature import WebhookRefused
from services.shared.codec import Json
from services.shared.text import storable_json

CREATED_MAX = 253_402_300_799
"""The last second a `datetime` holds."""

_ID = re.compile(r"[A-Za-z0-9_]{1,255}")
_TYPE = re.compile(r"[a-z0-9_.]{1,120}")
_VERSION = re.compile(r"[A-Za-z0-9_.-]{1,60}")


class Action(enum.Enum):
    """What the arrival of an event makes us do."""

    SNAPSHOT = "SNAPSHOT"
    """It carries the whole intent, of either kind: apply that if it only advances the mirror, else read again."""
    REREAD = "REREAD"
    """It carries a part of a payment: read the payment again at Stripe."""
    DISPUTE = "DISPUTE"
    """It carries a dispute: read the payment again with all of its disputes."""
    BOOKED = "BOOKED"
    """It carries a charge that Stripe has booked: apply what that names of what moved with it, without a reading."""
    MOVED = "MOVED"
    """It carries a transfer or a fee: apply it with what went back on it, without a reading if all of that is shown."""
    NOTICE = "NOTICE"
    """It concerns a payment's money, and what is done about it is a decision: an operator is asked for."""
    PAYOUT = "PAYOUT"
    """It carries a payout, of a seller or of the platform: keep what it shows."""
    ACCOUNT = "ACCOUNT"
    """It carries a seller's account or a part of it: read that again at Stripe."""
    METHOD = "METHOD"
    """It carries a method of a payer's: read that again at Stripe, unless the mirror shows it."""
    CUSTOMER = "CUSTOMER"
    """A payer's customer is gone at Stripe, and its methods with it."""
    IGNORE = "IGNORE"
    """It says nothing that we need."""


DISCONNECTED = "account.application.deauthorized"
"""A seller took our access to the account away."""
PAYOUT_FAILED = "payout.failed"
"""Money did not arrive at a bank: of what becomes of it an operator decides."""

# Each type of Stripe's that concerns money stands here. One that does not is ignored, quietly: Stripe adds types, and
# an endpoint may be subscribed to more than `subscribed_types`.
ACTIONS: Mapping[str, Action] = {
    "payment_intent.amount_capturable_updated": Action.SNAPSHOT,
    "payment_intent.canceled": Action.SNAPSHOT,
    "payment_intent.partially_funded": Action.SNAPSHOT,
    "payment_intent.payment_failed": Action.SNAPSHOT,
    "payment_intent.processing": Action.SNAPSHOT,
    "payment_intent.requires_action": Action.SNAPSHOT,
    "payment_intent.succeeded": Action.SNAPSHOT,
    "setup_intent.canceled": Action.SNAPSHOT,
    "setup_intent.requires_action": Action.SNAPSHOT,
    "setup_intent.setup_failed": Action.SNAPSHOT,
    "setup_intent.succeeded": Action.SNAPSHOT,
    "charge.captured": Action.REREAD,
    "charge.expired": Action.REREAD,
    "charge.refund.updated": Action.REREAD,
    "charge.refunded": Action.REREAD,
    "refund.created": Action.REREAD,
    "refund.failed": Action.REREAD,
    "refund.updated": Action.REREAD,
    # A page that is complete need not be paid: what came of it says its intent.
    "checkout.session.async_payment_failed": Action.REREAD,
    "checkout.session.async_payment_succeeded": Action.REREAD,
    "checkout.session.completed": Action.REREAD,
    "checkout.session.expired": Action.REREAD,
    "charge.dispute.closed": Action.DISPUTE,
    "charge.dispute.created": Action.DISPUTE,
    "charge.dispute.funds_reinstated": Action.DISPUTE,
    "charge.dispute.funds_withdrawn": Action.DISPUTE,
    "charge.dispute.updated": Action.DISPUTE,
    # A dispute may follow, or Stripe doubts who paid: to refund first is a decision.
    "radar.early_fraud_warning.created": Action.NOTICE,
    "radar.early_fraud_warning.updated": Action.NOTICE,
    "review.closed": Action.NOTICE,
    "review.opened": Action.NOTICE,
    # Money on its way to a bank; or what was to arrive there and did not.
    "payout.canceled": Action.PAYOUT,
    "payout.created": Action.PAYOUT,
    PAYOUT_FAILED: Action.PAYOUT,
    "payout.paid": Action.PAYOUT,
    "payout.reconciliation_completed": Action.PAYOUT,
    "payout.updated": Action.PAYOUT,
    "account.updated": Action.ACCOUNT,
    "capability.updated": Action.ACCOUNT,
    # Its object is our application; the account is the one it comes from.
    DISCONNECTED: Action.ACCOUNT,
    "payment_method.attached": Action.METHOD,
    "payment_method.automatically_updated": Action.METHOD,
    "payment_method.detached": Action.METHOD,
    "payment_method.updated": Action.METHOD,
    "customer.deleted": Action.CUSTOMER,
    # We make it and tell it what is new; what is changed in Stripe's dashboard we do not keep.
    "customer.created": Action.IGNORE,
    "customer.updated": Action.IGNORE,
    # We created it, and an unknown outcome of that is settled by repeating the call.
    "payment_intent.created": Action.IGNORE,
    "setup_intent.created": Action.IGNORE,
    # With a payment_intent event of the same change, which is whole.
    "charge.failed": Action.IGNORE,
    "charge.pending": Action.IGNORE,
    "charge.succeeded": Action.IGNORE,
    # Stripe has booked a charge: it names its balance transaction, and a destination charge its transfer and fee.
    "charge.updated": Action.BOOKED,
    # What went back to a seller or from one, and what somebody transferred at Stripe's dashboard.
    "application_fee.refunded": Action.MOVED,
    "transfer.created": Action.MOVED,
    "transfer.reversed": Action.MOVED,
    # Of a destination charge, which says so itself.
    "application_fee.created": Action.IGNORE,
    # Metadata.
    "application_fee.refund.updated": Action.IGNORE,
    "transfer.updated": Action.IGNORE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One of Stripe's events, checked as far as we rely on it. Its texts are plain ASCII and fit a database."""

    event_id: str
    type: str
    account: str | None
    """The connected account it comes from; None for the platform's own."""
    api_version: str | None
    """How the object is rendered; None where Stripe does not say."""
    livemode: bool
    create_time: datetime
    """By Stripe's clock, in whole seconds: no order can be made of it alone."""
    subject: str
    """What it is about, so that events of one thing are found together: an intent where the object belongs to one."""
    object: Json
    """The object as it was at `create_time`."""

    @property
    def is_over(self) -> bool:
        """Whether its object says that nobody has to look at it any more: a review, a warning of fraud."""
        return self.object.get("open") is False or self.object.get("actionable") is False

    @property
    def needs_operator(self) -> bool:
        """Whether it concerns money of no payment, and is kept aside for an operator once it is applied."""
        return self.type == PAYOUT_FAILED

    @property
    def action(self) -> Action:
        """What to do about it. Of a connected account only its own changes and payouts matter: our payments are the
        platform's.
        """
        return _action_of(self.type, of_account=self.account is not None)


def subscribed_types(*, of_accounts: bool = False) -> list[str]:
    """Return the types that an endpoint subscribes to at Stripe: those that are acted on, and no other.

    An endpoint gets events either of the platform or of connected accounts (`of_accounts`), and so the types differ.
    """
    return [each for each in ACTIONS if _action_of(each, of_account=of_accounts) is not Action.IGNORE]


def table() -> str:
    """Return what each kind of endpoint subscribes to, as Markdown."""
    platform, accounts = set(subscribed_types()), set(subscribed_types(of_accounts=True))
    lines = ["| type | `/webhooks/stripe` | `/webhooks/stripe/connect` |", "| --- | --- | --- |"]
    lines += [
        f"| `{each}` | {'yes' if each in platform else '–'} | {'yes' if each in accounts else '–'} |"
        for each in ACTIONS
        if each in platform | accounts
    ]
    return "\n".join(lines) + "\n"


def _action_of(event_type: str, *, of_account: bool) -> Action:
    action = ACTIONS.get(event_type, Action.IGNORE)
    if action is Action.PAYOUT:  # of a seller, or the platform's own
        return action
    return Action.IGNORE if of_account is not (action is Action.ACCOUNT) else action


def read(body: bytes) -> Event:
    """Return the event in a verified body; raise WebhookRefused for whatever else it holds."""
    values = _object_of(body)
    kind = values.get("object")
    if kind == "v2.core.event":
        # A thin event names an object and does not hold it; the endpoint has to be made for snapshot events.
        raise WebhookRefused("THIN_EVENT")
    data = values.get("data")
    held = data.get("object") if isinstance(data, dict) else None
    if kind != "event" or not isinstance(held, dict):
        raise WebhookRefused("NOT_AN_EVENT")
    created, livemode = values.get("created"), values.get("livemode")
    if not isinstance(livemode, bool) or type(created) is not int or not 0 <= created <= CREATED_MAX:
        raise WebhookRefused("NOT_AN_EVENT")
    event_id, event_type = _text(values.get("id"), _ID), _text(values.get("type"), _TYPE)
    account = None if values.get("account") is None else _text(values["account"], _ID)
    return Event(
        event_id=event_id,
        type=event_type,
        account=account,
        api_version=None if values.get("api_version") is None else _text(values["api_version"], _VERSION),
        livemode=livemode,
        create_time=datetime.fromtimestamp(created, UTC),
        subject=_subject_of(event_type, held, account) or event_id,
        object=held,
    )


def without_body(
    *, event_id: str, event_type: str, account: str | None, livemode: bool, create_time: datetime, subject: str
) -> Event:
    """Return an event of which the body is gone: it says what is to be read again, and shows nothing."""
    return Event(
        event_id=event_id,
        type=event_type,
        account=account,
        api_version=None,
        livemode=livemode,
        create_time=create_time,
        subject=subject,
        object={"id": subject, "object": "", "metadata": {}},
    )


def customer_of(held: Json) -> str | None:
    """Return the customer that an object is, or belongs to."""
    return id_of(held if held.get("object") == "customer" else held.get("customer"))


def stripe_ids(held: Json) -> list[str]:
    """Return the ids under which the payment of an object may be stored, the likeliest first."""
    named = (held.get(name) for name in ("payment_intent", "setup_intent", "source_transaction", "id", "charge"))
    return [stripe_id for value in named if (stripe_id := id_of(value)) is not None]


def _subject_of(event_type: str, held: Json, account: str | None) -> str | None:
    if event_type == DISCONNECTED:
        return account
    if held.get("object") == "capability":  # whose id is its name
        return id_of(held.get("account"))
    return next(iter(stripe_ids(held)), None)


def id_of(value: object) -> str | None:
    """Return the id of a reference, whether Stripe expanded it or not."""
    if isinstance(value, dict):
        value = value.get("id")
    return value if isinstance(value, str) and _ID.fullmatch(value) else None


def _text(value: object, pattern: re.Pattern[str]) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise WebhookRefused("NOT_AN_EVENT")
    return value


def _object_of(body: bytes) -> Json:
    try:
        values = json.loads(storable_json(body).decode())
    except UnicodeDecodeError:
        raise WebhookRefused("BODY_NOT_UTF8") from None
    except (ValueError, RecursionError):  # no JSON, a number of thousands of digits, nested thousands deep
        raise WebhookRefused("BODY_NOT_JSON") from None
    if not isinstance(values, dict):
        raise WebhookRefused("NOT_AN_OBJECT")
    return values
