"""How failures are answered, each form in its own shape: `application/problem+json`, or the envelope of old clients."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Final

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Match

from batzen.errors import BatzenError, FieldViolation
from batzen.vocabularies import refusal_word
from services.bff.api.modern.models import Problem, Violation
from services.errors import ServiceError
from services.web.failures import Failure, Refusal, failure_of
from services.web.security.guard import CORRELATION
from services.web.texts import language_of

LEGACY_PREFIX: Final = "/api/payments"
VIOLATIONS_MAX: Final = 20
METHODS: Final = ("DELETE", "GET", "PATCH", "POST", "PUT")
_CODES: Final = {
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    408: "BODY_TOO_SLOW",
    413: "BODY_TOO_LARGE",
    415: "MEDIA_TYPE_NOT_TAKEN",
}
_logger = logging.getLogger(__name__)


def answer_failures(app: FastAPI) -> None:
    """Have the application answer each failure in the shape of the form that was asked."""
    app.add_exception_handler(BatzenError, answer_error)
    app.add_exception_handler(Refusal, answer_error)
    app.add_exception_handler(ServiceError, answer_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, answer_error)


async def answer_error(request: Request, error: Exception) -> Response:
    """Answer with what an error is, in the shape of the form that was asked."""
    return answer_of(request, failure_of(error, _language(request), correlation_id=request.scope[CORRELATION]))


async def _http(request: Request, error: Exception) -> Response:
    """Answer what the framework refuses: a path or a method that there is not, a body that cannot be read."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    answer = await answer_error(request, Refusal(status, _CODES.get(status, "REQUEST_MALFORMED")))
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        answer.headers["Allow"] = ", ".join(sorted(_methods(request)))
    return answer


def _methods(request: Request) -> set[str]:
    """Return the methods that a path takes: of all its routes, of which the framework names those of one."""
    return {
        method
        for method in METHODS
        for route in request.app.routes
        if route.matches({**request.scope, "method": method})[0] is Match.FULL
    }


async def _invalid(request: Request, error: Exception) -> Response:
    """Answer a body or a parameter that is not as it has to be: 400 with its field, never FastAPI's own 422."""
    found = error.errors() if isinstance(error, RequestValidationError) else ()
    if not found or found[0]["type"] == "json_invalid":
        return await answer_error(request, Refusal(400, "REQUEST_MALFORMED"))
    violations = tuple(
        FieldViolation(field=_path(one["loc"]), description=str(one["msg"])) for one in found[:VIOLATIONS_MAX]
    )
    code = "FIELD_MISSING" if found[0]["type"] == "missing" else "FIELD_INVALID"
    refusal = Refusal(400, code, field=violations[0].field or None)
    failure = failure_of(refusal, _language(request), correlation_id=request.scope[CORRELATION])
    return answer_of(request, failure, violations=violations)


def answer_of(request: Request, failure: Failure, *, violations: tuple[FieldViolation, ...] = ()) -> Response:
    """Return a failure in the shape of the form that was asked."""
    headers = {}
    if failure.retry_after is not None:
        headers["Retry-After"] = str(failure.retry_after)
    if failure.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    if is_legacy(request):
        return JSONResponse(envelope(failure), status_code=failure.status, headers=headers)
    content = _problem(failure, violations or failure.violations).model_dump(mode="json")
    return JSONResponse(content, failure.status, headers=headers, media_type="application/problem+json")


def is_legacy(request: Request) -> bool:
    """Tell whether an old client asks."""
    return request.url.path.startswith(LEGACY_PREFIX)


def envelope(failure: Failure) -> dict[str, object]:
    """Return a failure as old clients know it; beyond `success`, `message` and `code` they read nothing."""
    return {
        "success": False,
        "message": failure.message,
        "code": refusal_word(failure.code),
        "recoverable": failure.recoverable,
        "correlationId": failure.correlation_id,
    }


def _problem(failure: Failure, violations: tuple[FieldViolation, ...]) -> Problem:
    return Problem(
        type="about:blank",
        title=HTTPStatus(failure.status).phrase,
        status=failure.status,
        detail=failure.message,
        code=failure.code,
        recoverable=failure.recoverable,
        retryable=failure.retryable,
        field=failure.field,
        violations=[Violation(field=one.field, description=one.description) for one in violations],
        metadata=dict(failure.metadata),
        traceId=failure.correlation_id,
    )


def _language(request: Request) -> str:
    return language_of(request.headers.get("accept-language"))


def _path(location: tuple[object, ...]) -> str:
    """Return the path of a field as the contracts write it, such as `lines[2].quantity`."""
    path = ""
    for part in location[1:]:  # without `body`, `query` or `header`
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path
