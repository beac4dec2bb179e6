"""What may be handed in as evidence: Stripe's fields, which are texts and which are files, and their limits. Pure.

Nested evidence, such as that for Visa's compelling evidence, and files themselves go to Stripe's dashboard.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from services.errors import FieldInvalid
from services.gateway.stripe_api import stripe_ids
from services.shared import fields

TEXT_CHARACTERS_MAX: Final = 20_000
"""Of one text; as Stripe says of each of its fields."""
ALL_CHARACTERS_MAX: Final = 150_000
"""Of all texts together; as Stripe says of an answer."""
TEXTS: Final = frozenset(
    {
        "access_activity_log",
        "billing_address",
        "cancellation_policy_disclosure",
        "cancellation_rebuttal",
        "customer_email_address",
        "customer_name",
        "customer_purchase_ip",
        "duplicate_charge_explanation",
        "duplicate_charge_id",
        "product_description",
        "refund_policy_disclosure",
        "refund_refusal_explanation",
        "service_date",
        "shipping_address",
        "shipping_carrier",
        "shipping_date",
        "shipping_tracking_number",
        "uncategorized_text",
    }
)
FILES: Final = frozenset(
    {
        "cancellation_policy",
        "customer_communication",
        "customer_signature",
        "duplicate_charge_documentation",
        "receipt",
        "refund_policy",
        "service_documentation",
        "shipping_documentation",
        "uncategorized_file",
    }
)


def checked(given: Mapping[str, str], *, field: str = "evidence") -> dict[str, str]:
    """Return evidence that Stripe has a place for; an empty value takes back what was drafted there."""
    for name, value in sorted(given.items()):
        path = f"{field}[{name}]"
        if name in FILES:
            if value:
                stripe_ids.read(value, stripe_ids.FILE, field=path)
        elif name in TEXTS:
            fields.text(value, field=path, characters_max=TEXT_CHARACTERS_MAX)
        else:
            raise FieldInvalid(field=path, detail="must be a field that Stripe has for evidence")
    if sum(len(value) for name, value in given.items() if name in TEXTS) > ALL_CHARACTERS_MAX:
        raise FieldInvalid(
            field=field, detail=f"must have at most {ALL_CHARACTERS_MAX} characters in all texts together"
        )
    return dict(given)


def table() -> str:
    """Return the fields of evidence, as Markdown."""
    texts, files = (", ".join(f"`{name}`" for name in sorted(names)) for names in (TEXTS, FILES))
    return f"Texts: {texts}.\n\nIds of files: {files}.\n"
