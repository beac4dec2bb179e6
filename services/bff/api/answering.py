"""How failures are answered, each form in its own shape: `application/problem+json`, or the envelope of old clients."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import Any, Final, get_args

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Match

from batzen.errors import BatzenError, FieldViolation
from batzen.vocabularies import refusal_word
from services.bff.api.legacy.fields import old_name
from services.bff.api.modern.models import Problem, Violation
from services.bff.api.request_ids import HEADER
from services.errors import ServiceError
from services.web.failures import Failure, Refusal, failure_of
from services.web.measured import note
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
_SHOULD: Final = re.compile(r"^\w+ should")
"""How the sentences of who checks bodies begin: `Input should be at most 100`."""
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
    every = error.errors() if isinstance(error, RequestValidationError) else ()
    found = [one for one in every if one["loc"] != ("header", HEADER)]
    if every and not found:
        return await answer_error(request, Refusal(400, "IDEMPOTENCY_KEY_REQUIRED", field=HEADER))
    if not found or found[0]["type"] == "json_invalid":
        return await answer_error(request, Refusal(400, "REQUEST_MALFORMED"))
    violations = tuple(
        FieldViolation(field=_path(one["loc"]), description=_said(one, request)) for one in found[:VIOLATIONS_MAX]
    )
    code = "FIELD_MISSING" if found[0]["type"] == "missing" else "FIELD_INVALID"
    refusal = Refusal(400, code, field=violations[0].field or None)
    failure = failure_of(refusal, _language(request), correlation_id=request.scope[CORRELATION])
    return answer_of(request, failure, violations=violations)


def answer_of(request: Request, failure: Failure, *, violations: tuple[FieldViolation, ...] = ()) -> Response:
    """Return a failure in the shape of the form that was asked."""
    note(request.scope, failure)
    headers = {}
    if failure.retry_after is not None:
        headers["Retry-After"] = str(failure.retry_after)
    if failure.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    violations = violations or failure.violations or _own(failure)
    if is_legacy(request):
        violations = tuple(replace(one, field=old_name(one.field)) for one in violations)
    failure = replace(failure, message=_with_field(failure.message, violations))
    if is_legacy(request):
        return JSONResponse(envelope(failure), status_code=failure.status, headers=headers)
    content = _problem(failure, violations).model_dump(mode="json")
    return JSONResponse(content, failure.status, headers=headers, media_type="application/problem+json")


def _own(failure: Failure) -> tuple[FieldViolation, ...]:
    """Return what the front itself minds of a field."""
    said = failure.explanation or ("must be given" if failure.code == "FIELD_MISSING" else "")
    return (FieldViolation(field=failure.field, description=said),) if failure.field and said else ()


def _with_field(message: str, violations: tuple[FieldViolation, ...]) -> str:
    """Return the sentence for a person, and which field has to be what, in the words of the contracts."""
    return f"{message} `{violations[0].field}`: {violations[0].description}" if violations else message


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


def _said(found: Mapping[str, Any], request: Request) -> str:
    """Return what a field has to be, in words like those of the services."""
    if found["type"] == "missing":
        return "must be given"
    if found["type"] == "extra_forbidden":
        offered = ", ".join(_offered(found["loc"], request))
        return f"must be left out: there is no such field{f', there are {offered}' if offered else ''}"
    return _SHOULD.sub("must", str(found["msg"]))


def _offered(location: tuple[object, ...], request: Request) -> Sequence[str]:
    """Return the fields that there are where one was sent that there is not."""
    body = getattr(request.scope.get("route"), "body_field", None)
    found: object = None if body is None else body.field_info.annotation
    for part in location[1:-1]:
        if isinstance(part, str):
            found = next((one.annotation for name, one in _fields_of(found) if name == part), None)
    return sorted({name for name, _ in _fields_of(found)})


def _fields_of(annotation: object) -> list[tuple[str, FieldInfo]]:
    """Return the fields of the models in an annotation, under the names that they have in a body."""
    return [(one.alias or name, one) for model in _models_of(annotation) for name, one in model.model_fields.items()]


def _models_of(annotation: object) -> list[type[BaseModel]]:
    """Return the models in an annotation: of a list, of one or nothing."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_of(part)]


def _language(request: Request) -> str:
    return language_of(request.headers.get("accept-language"))


def _path(location: tuple[object, ...]) -> str:
    """Return the path of a field as the contracts write it, such as `lines[2].quantity`."""
    path = ""
    for part in location[1:]:  # without `body`, `query` or `header`
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path
