"""What follows for a plan of ours from each decline of a charge without its payer: one table. Pure.

The first row that holds decides. What the payer's bank or Stripe takes for fraud, and what the payer has to confirm,
is known by its own word, whatever is advised; then Stripe's advice counts, which it draws from the networks; then the
codes.

A decline that no row names is SOFT. Where a network forbids another try Stripe says so itself, by its advice; and the
plan stays far below what networks allow without (Visa's 15 or 20 tries in 30 days, by edition of its rules). HARD would
end payments on a word that is merely new.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from services.shared.payment import PaymentError


class DeclineClass(StrEnum):
    """What is done after a decline."""

    SOFT = "SOFT"
    """The same method is tried again by the plan."""
    HARD = "HARD"
    """It is the payer's turn, with another method, or with the details of this one put right."""
    AUTHENTICATE = "AUTHENTICATE"
    """It is the payer's turn: they authenticate with this method."""
    FRAUD = "FRAUD"
    """Nobody is asked again: the payment has failed."""


ADVICE: Final = "https://docs.stripe.com/declines/card#retrying-issuer-declines"
CODES: Final = "https://docs.stripe.com/declines/codes"
SMART: Final = "https://docs.stripe.com/billing/revenue-recovery/smart-retries"
"""Which declines Stripe itself never tries again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Words of one field of an error, what they mean for the plan, and who says so."""

    field: str
    """`code`, `decline_code` or `advice_code`."""
    words: tuple[str, ...]
    outcome: DeclineClass
    source: str


def _row(field: str, words: str, outcome: DeclineClass, source: str) -> Row:
    return Row(field=field, words=tuple(words.split()), outcome=outcome, source=source)


TABLE: Final = (
    _row("decline_code", "fraudulent merchant_blacklist", DeclineClass.FRAUD, CODES),
    _row("code", "authentication_required", DeclineClass.AUTHENTICATE, CODES),
    _row("decline_code", "authentication_required", DeclineClass.AUTHENTICATE, CODES),
    _row("advice_code", "do_not_try_again", DeclineClass.HARD, ADVICE),
    _row("advice_code", "confirm_card_data", DeclineClass.HARD, ADVICE),
    _row("advice_code", "try_again_later", DeclineClass.SOFT, ADVICE),
    _row(
        "decline_code",
        """highest_risk_level incorrect_number lost_card pickup_card revocation_of_all_authorizations
        revocation_of_authorization stolen_card transaction_not_allowed""",
        DeclineClass.HARD,
        SMART,
    ),
    _row(
        "decline_code",
        """card_not_supported currency_not_supported do_not_try_again expired_card incorrect_cvc incorrect_pin
        incorrect_zip invalid_account invalid_cvc invalid_expiry_month invalid_expiry_year invalid_number invalid_pin
        mobile_device_authentication_required new_account_information_available no_action_taken not_permitted
        offline_pin_required online_or_offline_pin_required pin_try_exceeded restricted_card security_violation
        service_not_allowed stop_payment_order testmode_decline""",
        DeclineClass.HARD,
        CODES,
    ),
    _row(
        "decline_code",
        """approve_with_id call_issuer card_velocity_exceeded do_not_honor duplicate_transaction generic_decline
        insufficient_funds invalid_amount issuer_not_available processing_error reenter_transaction try_again_later
        withdrawal_count_limit_exceeded""",
        DeclineClass.SOFT,
        CODES,
    ),
    _row(
        "code",
        """debit_not_authorized bank_account_unusable account_closed bank_account_restricted charge_exceeds_source_limit
        expired_card incorrect_cvc incorrect_number incorrect_zip invalid_cvc invalid_expiry_month invalid_expiry_year
        invalid_number payment_method_customer_decline payment_method_not_available payment_method_unexpected_state
        payment_intent_mandate_invalid""",
        DeclineClass.HARD,
        "https://docs.stripe.com/error-codes",
    ),
)


def classify(error: PaymentError | None, advice_code: str) -> DeclineClass:
    """Return what follows from a decline."""
    said = {"advice_code": advice_code}
    if error is not None:
        said |= {"code": error.code, "decline_code": error.decline_code}
    return next((row.outcome for row in TABLE if said.get(row.field) in row.words), DeclineClass.SOFT)


def table() -> str:
    """Return the table as Markdown, in its order."""
    lines = ["| | Stripe's field | words | class | source |", "| --- | --- | --- | --- | --- |"]
    for place, row in enumerate(TABLE, start=1):
        words = ", ".join(f"`{word}`" for word in row.words)
        lines.append(f"| {place} | `{row.field}` | {words} | {row.outcome} | <{row.source}> |")
    lines.append(f"| {len(TABLE) + 1} | | anything else | SOFT | see above |")
    return "\n".join(lines) + "\n"
