"""Stripe's objects as plain JSON, read into values of ours: ISO minor units, known states, texts that can be stored.

Each small reader takes one field by its type; what is missing or null is empty. What an object cannot be without is
asked for by `[…]` or `amount`, which raise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from services.gateway.disputes.domain import Dispute, Withdrawal, standing_of
from services.gateway.payment_methods.domain import MethodFacts
from services.gateway.refunds.domain import Bearer, RefundFacts, RefundState
from services.gateway.stripe_api.currencies import AmountNotRepresentable, from_stripe
from services.gateway.stripe_api.metadata import ACTOR_ID
from services.gateway.stripe_api.refund_metadata import REFUND_ID, bearer_in, parts_in
from services.shared.cards import without_card_numbers
from services.shared.codec import Json
from services.shared.payment import Method
from services.shared.text import encodable, storable, without_addresses

MESSAGE_CHARACTERS_MAX: Final = 500
"""Of what Stripe says of a decline or a refusal; it goes into snapshots of the payment's history."""
REFUND_STATES: Final = {
    "pending": RefundState.PENDING,
    "requires_action": RefundState.REQUIRES_ACTION,
    "succeeded": RefundState.SUCCEEDED,
    "failed": RefundState.FAILED,
    "canceled": RefundState.CANCELED,
}


def text(shown: Json, name: str) -> str:
    """Return a text; empty if there is none."""
    value = shown.get(name)
    return "" if value is None else str(value)


def number(shown: Json, name: str) -> int:
    """Return a whole number; 0 if there is none."""
    value = shown.get(name) or 0
    if not isinstance(value, int):
        raise TypeError(f"{name} is no whole number")
    return value


def part(shown: Json, name: str) -> Json:
    """Return an object within; an empty one where there is none, or only its id."""
    value = shown.get(name)
    return value if isinstance(value, Mapping) else {}


def parts(shown: Json, name: str) -> list[Json]:
    """Return the objects of a list within."""
    value = shown.get(name)
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def reference(shown: Json, name: str) -> str:
    """Return the id of an object within, whether it is expanded or not; empty if there is none."""
    value = shown.get(name)
    return text(value, "id") if isinstance(value, Mapping) else text(shown, name)


def metadata(shown: Json, name: str) -> str:
    """Return what its metadata says, which is not believed further than that."""
    return text(part(shown, "metadata"), name)


def amount(shown: Json, name: str) -> int:
    """Return an amount that is always there, in ISO minor units of the object's own currency."""
    shown[name]
    return from_stripe(number(shown, name), str(shown["currency"]))


def moment(shown: Json, name: str) -> datetime:
    """Return an instant that is always there."""
    shown[name]
    return datetime.fromtimestamp(number(shown, name), UTC)


def told(message: object) -> str:
    """Return what Stripe says to people, as it may be kept and shown."""
    return without_card_numbers(without_addresses(storable(str(message or ""), characters_max=MESSAGE_CHARACTERS_MAX)))


def refund_facts(refund: Json) -> RefundFacts:
    """Read a refund as Stripe shows it."""
    said = part(refund, "metadata")
    is_ours = text(said, REFUND_ID) != ""
    return RefundFacts(
        stripe_refund_id=str(refund["id"]),
        refund_id=text(said, REFUND_ID),
        state=REFUND_STATES.get(text(refund, "status"), RefundState.PENDING),
        amount_minor=amount(refund, "amount"),
        failure_reason=text(refund, "failure_reason"),
        reason=text(refund, "reason"),
        create_time=datetime.fromtimestamp(number(refund, "created"), UTC),
        actor_id=text(said, ACTOR_ID) if is_ours else "",
        bearer=bearer_in(said) if is_ours else Bearer.SHARED,
        parts=parts_in(said) if is_ours else (),
    )


def disputes_in(shown: Iterable[Json], *, currency_code: str, captured_minor: int) -> list[Dispute]:
    """Read the disputes of a charge that took so much."""
    return [dispute_in(one, currency_code=currency_code, captured_minor=captured_minor) for one in shown]


def dispute_in(shown: Json, *, currency_code: str, captured_minor: int) -> Dispute:
    """Read a dispute of a charge that took so much."""
    status = str(shown["status"])
    evidence = part(shown, "evidence_details")
    due = number(evidence, "due_by")  # 0 where no evidence is taken
    moved = [_withdrawal(entry) for entry in parts(shown, "balance_transactions")]
    card = part(part(shown, "payment_method_details"), "card")
    dispute = Dispute(
        dispute_id=str(shown["id"]),
        status=status,
        standing=standing_of(status, is_withdrawn=False),
        amount_minor=_disputed_minor(shown, currency_code=currency_code, captured_minor=captured_minor),
        currency_code=currency_code,
        reason=text(shown, "reason") or "unknown",
        is_charge_refundable=bool(shown.get("is_charge_refundable")),
        charge_id=reference(shown, "charge"),
        create_time=moment(shown, "created"),
        network_reason_code=text(shown, "network_reason_code") or text(card, "network_reason_code"),
        evidence_due_time=datetime.fromtimestamp(due, UTC) if due else None,
        has_evidence=bool(evidence.get("has_evidence")),
        submission_count=number(evidence, "submission_count"),
        is_past_due=bool(evidence.get("past_due")),
        withdrawals=tuple(sorted(moved, key=lambda one: (one.create_time, one.amount_minor))),
    )
    return replace(dispute, standing=standing_of(status, is_withdrawn=dispute.withdrawn_minor > 0))


def evidence_in(dispute: Json) -> dict[str, str]:
    """Read the evidence of a dispute, drafted or handed in: texts, and ids of files."""
    given = part(dispute, "evidence")
    return {name: encodable(value) for name, value in given.items() if isinstance(value, str) and value}


def _withdrawal(entry: Json) -> Withdrawal:
    return Withdrawal(
        balance_transaction_id=str(entry["id"]),
        amount_minor=amount(entry, "amount"),
        fee_minor=amount(entry, "fee"),
        currency_code=str(entry["currency"]).upper(),
        create_time=moment(entry, "created"),
        available_time=moment(entry, "available_on"),
        exchange_rate=text(entry, "exchange_rate"),
        reporting_category=text(entry, "reporting_category"),
    )


def method_facts(shown: Json) -> MethodFacts:
    """Read a payment method as Stripe shows it."""
    kind = text(shown, "type")
    details = part(shown, kind)
    return MethodFacts(
        method=method_of(shown, method_id=str(shown["id"])),
        fingerprint=text(details, "fingerprint"),
        customer_id=reference(shown, "customer"),
    )


def declined_fingerprint(intent: Json) -> str:
    """Return the fingerprint of the method that an intent's last error is about; empty where it has none."""
    method = part(part(intent, "last_payment_error") or part(intent, "last_setup_error"), "payment_method")
    return text(part(method, text(method, "type")), "fingerprint") if method else ""


def _disputed_minor(shown: Json, *, currency_code: str, captured_minor: int) -> int:
    """Return what is contested; all that was taken where the bank says it in another currency, or in parts of ours."""
    if str(shown["currency"]).upper() != currency_code:
        return captured_minor
    try:
        return amount(shown, "amount")
    except AmountNotRepresentable:
        return captured_minor


def method_of(details: Json, *, method_id: str) -> Method:
    """Read a payment method, or what a charge or an error says of one."""
    kind = text(details, "type")
    shown = part(details, kind)  # of a card or an account; other kinds have none of these
    return Method(
        payment_method_id=method_id,
        type=kind,
        brand=text(shown, "brand"),
        last4=text(shown, "last4"),
        expire_month=number(shown, "exp_month"),
        expire_year=number(shown, "exp_year"),
    )
