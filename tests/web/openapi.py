"""The description of REST as it is stored: docs/openapi.json, written by `make format` and compared by a test."""

from __future__ import annotations

import json
from typing import cast

from services.bff.api.application import described
from services.bff.api.openapi import specification
from services.bff.tenants import Tenants
from services.web.front import Front


def openapi() -> str:
    """Return the description as text. No front runs: nothing of it is used before it is called."""
    found = specification(described(cast("Front", None), Tenants()))
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"
