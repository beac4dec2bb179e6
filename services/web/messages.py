"""Answers that say one thing: pages of a sentence, and what was refused, as a page or as JSON to programs."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from batzen.errors import BatzenError
from services.errors import ServiceError
from services.web.failures import Failure, Refusal, failure_of
from services.web.measured import note
from services.web.pages import Pages
from services.web.security.guard import CORRELATION
from services.web.texts import Texts, language_of

TEXTS: Final = Texts(Path(__file__).parent / "message_texts")
TEMPLATE: Final = "message.html"
FAULT: Final = 500
"""From this status on the fault is ours, or of what we call."""
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A page that says one thing."""

    title: str
    text: str
    again: str = ""
    """The words of a link to the same page, where it may say something else the next time."""
    reference_label: str = ""
    reference: str = ""


def values_of(message: Message, language: str) -> Mapping[str, object]:
    """Return what the template is given."""
    return {"language": language, "skip": TEXTS.say(language, "skip"), "message": message}


def message_of(failure: Failure, language: str) -> Message:
    """Return what a person is told of a failure."""
    title = f"title.{failure.status}"
    return Message(
        title=TEXTS.say(language, title if TEXTS.has(title) else "title.other"),
        text=failure.message,
        again=TEXTS.say(language, "again") if failure.retryable else "",
        reference_label=TEXTS.say(language, "reference"),
        reference=failure.correlation_id,
    )


class Answers:
    """Answers requests that are refused, or that failed."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    @property
    def handlers(self) -> Mapping[type[Exception], Callable[[Request, Exception], Awaitable[Response]]]:
        """What an application of Starlette's is given as its handlers of exceptions."""
        return dict.fromkeys((BatzenError, ServiceError, Refusal, HTTPException, Exception), self.answer)

    async def answer(self, request: Request, error: Exception) -> Response:
        """Answer with what an error is: to a person as a page, to a program as JSON."""
        if isinstance(error, HTTPException):
            code = {404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED"}.get(error.status_code, "REQUEST_MALFORMED")
            error = Refusal(error.status_code, code, explanation=error.detail)
        language = language_of(request.headers.get("accept-language"))
        failure = failure_of(error, language, correlation_id=request.scope[CORRELATION])
        note(request.scope, failure)
        if failure.status >= FAULT:
            _logger.warning("A request was not served: %s (%r)", failure.code, error)
        answer = self._shown(request, failure, language)
        if failure.retry_after is not None:
            answer.headers["Retry-After"] = str(failure.retry_after)
        return answer

    def _shown(self, request: Request, failure: Failure, language: str) -> Response:
        if "text/html" in request.headers.get("accept", ""):
            values = values_of(message_of(failure, language), language)
            return self._pages.answer(request, TEMPLATE, values, status_code=failure.status)
        content = {
            "success": False,
            "code": failure.code,
            "message": failure.message,
            "recoverable": failure.recoverable,
            "correlationId": failure.correlation_id,
        }
        return JSONResponse(content, failure.status)
