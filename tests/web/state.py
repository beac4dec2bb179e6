"""A page in one state, as the gallery and the checks of every page see it: template and values, without a suite."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from services.web.security.headers import PageKind

Front = Literal["bff", "console"]


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """One page in one state."""

    front: Front
    """Whose templates and files it is of."""
    template: str
    values: Callable[[str], Mapping[str, object]]
    """Language → what the template is given."""
    kind: PageKind = PageKind.PAGE
    dialog: str | None = None
    """The id of a `<dialog>` that is open in this state."""
