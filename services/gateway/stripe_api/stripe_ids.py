"""The form of Stripe's ids: a path of Stripe's API is made of nothing else. Pure.

`.` or `a/b` in a path names another resource, `a?b` another request; so what a caller names as an id of Stripe's is one
by its form, or is refused before anything is written (`read`), and what goes into a path is looked at once more there
(`in_path`). Whether such a thing exists is Stripe's to say.
"""

from __future__ import annotations

import re
from typing import Final

from services.errors import FieldInvalid, FieldMissing

ACCOUNT: Final = ("acct_",)
BALANCE_TRANSACTION: Final = ("txn_",)
PAYOUT: Final = ("po_",)
CUSTOMER: Final = ("cus_",)
INTENT: Final = ("pi_",)
SETUP_INTENT: Final = ("seti_",)
CHECKOUT_SESSION: Final = ("cs_",)
REFUND: Final = ("re_", "pyr_")
CHARGE: Final = ("ch_", "py_")
"""Of a card, and of other methods."""
TRANSFER: Final = ("tr_",)
FEE: Final = ("fee_",)
CONFIRMATION_TOKEN: Final = ("ctoken_",)
DISPUTE: Final = ("dp_", "du_")
FILE: Final = ("file_",)
REVIEW: Final = ("prv_",)
FRAUD_WARNING: Final = ("issfr_",)
PAYMENT_METHOD: Final = ("pm_", "card_", "src_")
"""Cards and sources of Stripe's older API still pay."""
OF_A_PAYMENT: Final = ("pi_", "seti_", "cs_", "ch_", "py_", "re_", "pyr_")
"""Intent of either kind, hosted page, charge (`py_` of other methods than cards) and refund."""

CHARACTERS_MAX: Final = 128
"""Of an id. Stripe's have about 30; it names 255 as what may come."""

_REST: Final = re.compile(r"[A-Za-z0-9_]+")


class NotAnId(ValueError):
    """What was to go into a path of Stripe's API is no id: a mistake of ours, nothing was sent."""


def read(value: str, prefixes: tuple[str, ...], *, field: str) -> str:
    """Return an id of Stripe's as a caller named it, with one of these prefixes."""
    if not value:
        raise FieldMissing(field=field)
    if not _is_id(value, prefixes):
        examples = " or ".join(f"{prefix}…" for prefix in prefixes)
        raise FieldInvalid(
            field=field, detail=f"must be an id of Stripe's, {examples}: letters, digits and underscores"
        )
    return value


def is_setup(intent_id: str) -> bool:
    """Whether the intent of an attempt is a setup intent."""
    return intent_id.startswith(SETUP_INTENT)


def in_path(value: str, prefixes: tuple[str, ...]) -> str:
    """Return an id of Stripe's that goes into a path. Raises NotAnId."""
    if not _is_id(value, prefixes):
        raise NotAnId(f"{value!r} is no id with {' or '.join(prefixes)}")
    return value


def _is_id(value: str, prefixes: tuple[str, ...]) -> bool:
    prefix = next((one for one in prefixes if value.startswith(one)), None)
    return prefix is not None and len(value) <= CHARACTERS_MAX and bool(_REST.fullmatch(value, len(prefix)))
