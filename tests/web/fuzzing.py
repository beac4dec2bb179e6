"""What schemathesis has to know of the fronts, beyond their description: loaded by schemathesis.toml."""

from __future__ import annotations

from typing import Any, Final

import schemathesis
from schemathesis.core import NOT_SET

BODILESS: Final = frozenset({"GET", "HEAD"})


@schemathesis.hook
def before_call(_: object, case: schemathesis.Case[Any], __: dict[str, Any]) -> None:
    """Send no body where there is none: the front refuses that before it looks at what is asked (413)."""
    if case.method in BODILESS:
        case.body = NOT_SET
