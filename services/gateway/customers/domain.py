"""What Stripe is told of a person, and by which digests it is seen that there is something new. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Final

from services.shared.codec import Json

OPTIONAL: Final = ("email", "name", "preferred_locales")
"""What a customer is made without when Stripe does not take it: no payment waits for a person's details."""
DIGEST_BYTES: Final = 16
"""So many that no two details have the same by chance. Who sees a digest does not see the detail, but may guess it."""


def details_of(payer_id: str, *, email: str, name: str, locale: str) -> Json:
    """Return what a customer is made of; what is not known is not said."""
    details: dict[str, object] = {"metadata": {"payer_id": payer_id}}
    if email:
        details["email"] = email
    if name:
        details["name"] = name
    if locale:
        details["preferred_locales"] = [locale]
    return details


def digests(tenant_id: str, payer_id: str, details: Json) -> dict[str, str]:
    """Return a digest of each detail of a person; those of another payer are others."""
    return {
        name: _digest(json.dumps([tenant_id, payer_id, name, details[name]])) for name in OPTIONAL if name in details
    }


def changed(tenant_id: str, payer_id: str, details: Json, *, told: Mapping[str, object]) -> Json:
    """Return the details that are others than Stripe was told; one that is not known says nothing."""
    return {
        name: details[name]
        for name, digest in digests(tenant_id, payer_id, details).items()
        if told.get(name) != digest
    }


def dropped(sent: Json, param: str) -> list[str]:
    """Return what to leave out after a refusal: the detail that it names, or all of them if it names none."""
    given: list[str] = [name for name in OPTIONAL if name in sent]
    named = param.partition("[")[0]
    if not named:
        return given
    return [named] if named in given else []


def _digest(value: str) -> str:
    return hashlib.blake2b(value.encode(), digest_size=DIGEST_BYTES).hexdigest()
