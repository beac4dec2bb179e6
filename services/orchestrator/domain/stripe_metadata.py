"""What is put on Stripe's objects of a payment, under the keys of the systems before: opaque ids and figures. Pure.

Amounts are minor units. A list of ids that does not fit one value goes on under numbered keys (`bookingId_2`), each a
list of its own; the gateway numbers them. What does not fit all keys is refused before anybody is asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from services.orchestrator.domain.errors import MetadataTooLarge
from services.orchestrator.domain.plan import Plan

KEYS_MAX: Final = 46
"""Of the 50 that Stripe keeps, those that the gateway leaves."""
VALUE_CHARACTERS_MAX: Final = 500
"""Of one value, at Stripe."""
RESERVATION: Final = "reservation_payment"
MIXED_CART: Final = "mixed_cart"
CART: Final = "beats_only"


@dataclass(frozen=True, slots=True, kw_only=True)
class LineTotal:
    """What a payer pays for one line."""

    line_id: str
    gross_minor: int


def of_intent(plan: Plan) -> dict[str, str]:
    """Return what is put on an intent. Raises `MetadataTooLarge`."""
    return _checked(
        {
            "bookingId": ",".join(plan.booking_ids),
            "coachId": ",".join(plan.seller_ids),
            "userId": plan.payer_id,
            "sessionType": plan.session_type,
            "vatAmount": str(plan.course.vat_minor),
            "vatRate": plan.course.vat_rate,
            "platformFee": str(plan.platform_fee_minor),
            "originalAmount": str(plan.course.original_minor),
        }
    )


def of_session(plan: Plan, lines: Sequence[LineTotal]) -> dict[str, str]:
    """Return what is put on the session of a hosted page. Raises `MetadataTooLarge`."""
    in_cart = frozenset(plan.terms.cart_line_ids)
    cart = [line for line in lines if line.line_id in in_cart]
    services = [line for line in lines if line.line_id not in in_cart]
    return _checked(
        {
            "type": plan.terms.checkout_type or _type(has_cart=bool(cart), has_services=bool(services)),
            "reservationIds": ",".join(plan.booking_ids),
            "cartItemIds": ",".join(line.line_id for line in cart),
            "servicesCount": str(len(services)),
            "servicesTotal": str(sum(line.gross_minor for line in services)),
            "cartCount": str(len(cart)),
            "cartTotal": str(sum(line.gross_minor for line in cart)),
            "orderTotal": str(plan.total_minor or 0),
            "description": plan.terms.checkout_description,
        }
    )


def _type(*, has_cart: bool, has_services: bool) -> str:
    if not has_cart:
        return RESERVATION
    return MIXED_CART if has_services else CART


def _checked(values: Mapping[str, str]) -> dict[str, str]:
    """Leave out what says nothing; refuse what Stripe would not keep."""
    kept = {key: value for key, value in values.items() if value}
    keys = sum(sum(1 for _ in _parts(value)) for value in kept.values())
    if keys > KEYS_MAX:
        raise MetadataTooLarge(detail=f"It keeps {KEYS_MAX} keys beside ours.", keys=keys)
    return kept


def _parts(value: str) -> Iterator[str]:
    """Yield what each numbered key would hold: as many whole ids as fit."""
    part = ""
    for one in value.split(","):
        longer = f"{part},{one}" if part else one
        if len(longer) > VALUE_CHARACTERS_MAX and part:
            yield part
            longer = one
        part = longer
    yield part
