"""Sellers' accounts of Stripe's, and payouts, read into values of ours."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from services.gateway.contacts.domain import Contact, contact
from services.gateway.payouts.domain import Payout
from services.gateway.sellers.domain import AccountDetails, RequirementError, Requirements, SellerAccount
from services.gateway.stripe_api.objects import amount, number, part, parts, text, told
from services.shared.codec import Json
from services.shared.text import storable

PIECES_MAX: Final = 200
"""Of each list of what is wanted: more than Stripe asks of a company with all of its owners."""
WORD_CHARACTERS_MAX: Final = 200
"""Of one word of Stripe's, such as `person_1AbC….verification.additional_document`."""


def seller_account(shown: Json, *, seller_id: str) -> SellerAccount:
    """Read a seller's account as Stripe shows it."""
    capabilities = part(shown, "capabilities")
    requirements = part(shown, "requirements")
    return SellerAccount(
        seller_id=seller_id,
        stripe_account_id=str(shown["id"]),
        charges_enabled=bool(shown.get("charges_enabled")),
        payouts_enabled=bool(shown.get("payouts_enabled")),
        transfers_enabled=capabilities.get("transfers") == "active",
        gone=False,
        details=AccountDetails(
            capabilities={_word(name): _word(state) for name, state in list(capabilities.items())[:PIECES_MAX]},
            requirements=_requirements(requirements),
            disabled_reason=_word(text(requirements, "disabled_reason")),
            details_submitted=bool(shown.get("details_submitted")),
        ),
    )


def account_contact(shown: Json) -> Contact:
    """Read how a seller is reached, as its account shows: by the name that its customers know, else the legal one."""
    company, individual = part(shown, "company"), part(shown, "individual")
    person = " ".join(text(individual, name) for name in ("first_name", "last_name") if text(individual, name))
    names = (
        text(part(shown, "business_profile"), "name"),
        text(part(part(shown, "settings"), "dashboard"), "display_name"),
        text(company, "name"),
        person,
    )
    return contact(email=text(shown, "email"), name=next((one for one in names if one), ""), locale="")


def payout(shown: Json, *, seller_id: str, stripe_account_id: str, shown_time: datetime) -> Payout:
    """Read a payout as Stripe showed it at a time."""
    return Payout(
        payout_id=str(shown["id"]),
        seller_id=seller_id,
        stripe_account_id=stripe_account_id,
        amount_minor=amount(shown, "amount"),
        currency_code=str(shown["currency"]).upper(),
        state=_word(shown["status"]),
        arrival_time=datetime.fromtimestamp(number(shown, "arrival_date"), UTC),
        create_time=datetime.fromtimestamp(number(shown, "created"), UTC),
        failure_code=_word(text(shown, "failure_code")),
        automatic=bool(shown.get("automatic")),
        reconciliation_status=_word(text(shown, "reconciliation_status")),
        shown_time=shown_time,
    )


def _requirements(shown: Json) -> Requirements:
    due = number(shown, "current_deadline")  # 0 where nothing presses
    return Requirements(
        currently_due=_words(shown, "currently_due"),
        past_due=_words(shown, "past_due"),
        eventually_due=_words(shown, "eventually_due"),
        pending_verification=_words(shown, "pending_verification"),
        due_time=datetime.fromtimestamp(due, UTC) if due else None,
        errors=tuple(
            RequirementError(
                code=_word(text(one, "code")),
                reason=told(one.get("reason")),
                requirement=_word(text(one, "requirement")),
            )
            for one in parts(shown, "errors")[:PIECES_MAX]
        ),
    )


def _words(shown: Json, name: str) -> tuple[str, ...]:
    value = shown.get(name)
    return tuple(_word(one) for one in value[:PIECES_MAX]) if isinstance(value, list) else ()


def _word(value: object) -> str:
    return storable(str(value or ""), characters_max=WORD_CHARACTERS_MAX)
