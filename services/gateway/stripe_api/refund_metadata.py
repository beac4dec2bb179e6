"""What is put on a refund at Stripe beside what it is, so that one whose row was lost is learned again as it was. Pure.

Ids alone say that it is ours, and not at whose cost it is, of which lines, nor who decided.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from services.gateway.refunds.domain import Bearer, Refund
from services.gateway.stripe_api.metadata import ACTOR_ID, KEYS_MAX, PAYMENT_ID, VALUE_CHARACTERS_MAX
from services.shared.codec import Json
from services.shared.split import LineAmount

REFUND_ID: Final = "refund_id"
BEARER: Final = "bearer"
LINES: Final = "lines"
"""A JSON list of lines and amounts; what does not fit one value goes on under `lines_2`, `lines_3`."""
_LINES_KEYS_MAX: Final = KEYS_MAX - 10


def refund_metadata(refund: Refund, *, payment_id: str) -> dict[str, str]:
    """Return it. Of more lines than Stripe keeps none is named: they are told apart anew then."""
    said = {PAYMENT_ID: payment_id, REFUND_ID: refund.refund_id, BEARER: refund.bearer.value}
    if refund.actor_id:
        said[ACTOR_ID] = refund.actor_id
    values = list(_values(refund.parts))
    return said | (dict(zip(_keys(), values, strict=False)) if len(values) <= _LINES_KEYS_MAX else {})


def bearer_in(shown: Mapping[str, object]) -> Bearer:
    """Read at whose cost a refund is; shared where nothing that we know is said."""
    found = shown.get(BEARER)
    return Bearer(found) if isinstance(found, str) and found in {one.value for one in Bearer} else Bearer.SHARED


def parts_in(shown: Json) -> tuple[LineAmount, ...]:
    """Read what of a refund falls to each line; empty where nothing, or nothing of that form, is said."""
    found: list[LineAmount] = []
    for key in _keys():
        if key not in shown:
            break
        try:
            pairs = json.loads(str(shown[key]))
            found += [LineAmount(line_id=str(line_id), amount_minor=int(minor)) for line_id, minor in pairs]
        except (ValueError, TypeError):
            return ()
    return tuple(found) if all(one.amount_minor > 0 for one in found) else ()


def _keys() -> Iterator[str]:
    return (LINES if number == 1 else f"{LINES}_{number}" for number in range(1, _LINES_KEYS_MAX + 1))


def _values(amounts: Sequence[LineAmount]) -> Iterator[str]:
    """Yield as many whole lines as a value has room for, after one another."""
    value = ""
    for one in amounts:
        pair = json.dumps([one.line_id, one.amount_minor], separators=(",", ":"))
        if value and len(value) + len(pair) + 2 > VALUE_CHARACTERS_MAX:
            yield f"[{value}]"
            value = ""
        value = f"{value},{pair}" if value else pair
    if value:
        yield f"[{value}]"
