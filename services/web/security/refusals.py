"""Why a front itself refuses a request, before any service is asked. `failures.py` says it to people."""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar


class Refusal(Exception):
    """The request is refused."""

    status: ClassVar[int]
    """Of the answer."""
    code: ClassVar[str]
    """UPPER_SNAKE_CASE, stable for ever. The docstring of the class is the message for programs."""
    retry_after: ClassVar[timedelta | None] = None

    def __init__(self) -> None:
        super().__init__(self.__doc__)


class ForeignForm(Refusal):
    """The form was not made for this session; load the page again, and send it from there."""

    status = 403
    code = "FOREIGN_FORM"


class FormUnreadable(Refusal):
    """The body is no form of the type application/x-www-form-urlencoded, or has too many fields."""

    status = 400
    code = "FORM_UNREADABLE"
