"""What REST says of itself: OpenAPI 3.1 from the code, with what FastAPI cannot know, and a page that people read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from functools import cached_property
from typing import Any, Final, NamedTuple

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from services.bff.api.modern.models import Problem
from services.web.front import Front

TITLE: Final = "Batzen payments"
VERSION: Final = "1"
SPECIFICATION_PATH: Final = "/v1/openapi.json"
REFERENCE_PATH: Final = "/v1/docs"
DESCRIPTION: Final = (
    "Payments as resources (`/v1`), and as old clients know them (`/api/payments`). A service calls with its bearer "
    "token, a payer's browser with the cookie of its session. Amounts are whole minor units beside a currency. A "
    "decline is a state of the payment, never an HTTP error; what is not known yet is never called failed."
)
POLLED: Final = ("/v1/payments/{payment_id}", "/v1/payments/{payment_id}/receipt")
"""What has an `ETag`."""
EVENTS: Final[Mapping[str, Any]] = {
    "get": {
        "tags": ["v1"],
        "summary": "Follow Payment",
        "description": (
            "Server-sent events of one payment: `payment_status_update`, `payment_error`, `payment_confirmed`, and "
            "`end` once it is settled. The id is the revision; `Last-Event-ID` or `after` goes on after it. A comment "
            "every 15 s is a sign of life."
        ),
        "operationId": "follow_payment",
        "parameters": [
            {"name": "payment_id", "in": "path", "required": True, "schema": {"type": "string"}},
            {"name": "after", "in": "query", "required": False, "schema": {"type": "integer", "minimum": 0}},
            {"name": "Last-Event-ID", "in": "header", "required": False, "schema": {"type": "string"}},
        ],
        "responses": {
            "200": {"description": "The stream", "content": {"text/event-stream": {"schema": {"type": "string"}}}},
            "204": {"description": "It is settled, and all of it was received"},
        },
    }
}
"""Streams are raw ASGI, outside of FastAPI: described by hand."""
_ENVELOPE: Final[Mapping[str, Any]] = {
    "type": "object",
    "title": "Envelope",
    "description": "A failure as old clients know it.",
    "required": ["success", "message", "code"],
    "properties": {
        "success": {"const": False},
        "message": {"type": "string"},
        "code": {"type": "string"},
        "recoverable": {"type": "boolean"},
        "correlationId": {"type": "string"},
    },
}


def specification(app: FastAPI) -> dict[str, Any]:
    """Return the description of all routes; what FastAPI keeps of it is completed in place, again to the same."""
    found = app.openapi()
    found["info"]["description"] = DESCRIPTION
    schemas = found["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas["Envelope"] = dict(_ENVELOPE)
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(problem.pop("$defs", {}))
    schemas["Problem"] = problem
    found["components"]["securitySchemes"] = {
        "service": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
        "session": {"type": "apiKey", "in": "cookie", "name": "__Host-batzen"},
    }
    found["security"] = [{"service": []}, {"session": []}]
    found["paths"].setdefault("/v1/payments/{payment_id}/events", deepcopy(dict(EVENTS)))
    for path, operations in found["paths"].items():
        for operation in operations.values():
            _complete(operation, is_legacy=path.startswith("/api/"))
    found["paths"]["/v1/satisfaction"]["get"]["security"] = [{"service": []}]
    for path in POLLED:
        found["paths"][path]["get"]["responses"]["304"] = {"description": "Nothing has changed"}
    confirm = found["paths"]["/v1/payments/{payment_id}/confirm"]["post"]["responses"]
    confirm["202"] = dict(confirm["200"], description="The outcome is not known yet")
    return found


def _complete(operation: dict[str, Any], *, is_legacy: bool) -> None:
    """Name how an operation fails, in place of FastAPI's own way, which is not ours."""
    operation["responses"].pop("422", None)
    media_type, schema = ("application/json", "Envelope") if is_legacy else ("application/problem+json", "Problem")
    operation["responses"]["default"] = {
        "description": "It was refused",
        "content": {media_type: {"schema": {"$ref": f"#/components/schemas/{schema}"}}},
    }


class Operation(NamedTuple):
    """One operation, as the page shows it."""

    method: str
    path: str
    summary: str
    description: str
    parameters: list[Mapping[str, str]]
    body: str
    answer: str


class Reference:
    """The page that people read, made of the description alone; all that it loads is ours."""

    def __init__(self, front: Front, app: FastAPI) -> None:
        self._front = front
        self._app = app

    async def page(self, request: Request) -> Response:
        """Answer with the page."""
        return self._front.pages.answer(request, "reference.html", self._values)

    @cached_property
    def _values(self) -> Mapping[str, object]:
        return page_values(specification(self._app))


def page_values(found: Mapping[str, Any]) -> Mapping[str, object]:
    """Return what the template shows of a description."""
    groups: dict[str, list[Operation]] = {}
    for tag, operation in _operations(found):
        groups.setdefault(tag, []).append(operation)
    return {
        "language": "en",
        "skip": "Skip to the content",
        "title": found["info"]["title"],
        "description": _plain(found["info"]["description"]),
        "specification": SPECIFICATION_PATH,
        "groups": groups,
        "schemas": {
            name: {"description": _plain(schema.get("description", "")), "fields": list(_fields(schema))}
            for name, schema in sorted(found["components"]["schemas"].items())
        },
    }


def _operations(found: Mapping[str, Any]) -> Iterator[tuple[str, Operation]]:
    for path, operations in found["paths"].items():
        for method, operation in operations.items():
            content = operation.get("requestBody", {}).get("content", {})
            answers = [one for status, one in operation["responses"].items() if status in ("200", "201")]
            yield (
                operation["tags"][0],
                Operation(
                    method=method.upper(),
                    path=path,
                    summary=operation["summary"],
                    description=operation.get("description", ""),
                    parameters=[_parameter(one) for one in operation.get("parameters", [])],
                    body=next((_shown(one["schema"]) for one in content.values()), ""),
                    answer=next(
                        (_shown(one["schema"]) for answer in answers for one in answer.get("content", {}).values()), ""
                    ),
                ),
            )


def _parameter(found: Mapping[str, Any]) -> Mapping[str, str]:
    return {
        "name": found["name"],
        "where": f"{found['in']}, required" if found.get("required") else found["in"],
        "description": _plain(found.get("description", "")),
    }


def _fields(schema: Mapping[str, Any]) -> Iterator[Mapping[str, str]]:
    required = schema.get("required", ())
    for name, one in schema.get("properties", {}).items():
        yield {
            "name": name,
            "type": _shown(one),
            "needed": "required" if name in required else "",
            "description": _plain(one.get("description", "")),
        }


def _plain(text: str) -> str:
    """Return a text without its marks."""
    return text.replace("`", "")


def _shown(schema: Mapping[str, Any]) -> str:
    """Return a type in few words."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(_shown(one) for one in schema["anyOf"])
    if "enum" in schema:
        return " | ".join(str(one) or '""' for one in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_shown(schema.get('items', {}))}"
    return str(schema.get("format") or schema.get("type") or schema.get("const", "any"))
