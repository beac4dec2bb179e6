"""Read form-encoded bodies and queries in Stripe's bracket notation, guided by the operation's schema.

`a[b]=c` is an object, `a[0]=c` and `a[]=c` are arrays; every value is text until the schema says otherwise.
"""

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

from sandbox.derive import Schema
from sandbox.errors import ApiError

_KEY = re.compile(r"^([^\[\]]+)((?:\[[^\[\]]*\])*)$")
_PART = re.compile(r"\[([^\[\]]*)\]")
_INTEGER = re.compile(r"-?[0-9]{1,18}\Z")  # 64 bits, as at Stripe
_INDEX = re.compile(r"[0-9]{1,4}\Z")
_DEPTH_MAX = 8  # Stripe's deepest parameter has six levels.
_PAIRS_MAX = 1000  # Far above any request of the official client; bounds the work for one body.

Decode = Callable[[Any, str], Any]


def read(encoded: str) -> dict[str, Any]:
    """Return the nested dictionary an encoded body or query stands for; arrays are dictionaries keyed by index."""
    try:
        pairs = parse_qsl(encoded, keep_blank_values=True, max_num_fields=_PAIRS_MAX)
    except ValueError as mistake:
        raise ApiError(f"Invalid request: {mistake}.") from None
    root: dict[str, Any] = {}
    for key, value in pairs:
        match = _KEY.match(key)
        if match is None:
            raise ApiError(f"Invalid parameter name: {key}", param=key)
        parts = [match.group(1), *_PART.findall(match.group(2))]
        if len(parts) > _DEPTH_MAX:
            raise ApiError(f"Parameter is nested too deeply: {key}", param=key)
        _put(root, parts, value=value, key=key)
    return root


def _put(root: dict[str, Any], parts: list[str], *, value: str, key: str) -> None:
    node = root
    for part in parts[:-1]:
        node = node.setdefault(part or str(len(node)), {})
        if not isinstance(node, dict):
            raise ApiError(f"Invalid request: {key} is given both as a value and as an object.", param=key)
    last = parts[-1] or str(len(node))
    if isinstance(node.get(last), dict):
        raise ApiError(f"Invalid request: {key} is given both as a value and as an object.", param=key)
    node[last] = value


class Decoder:
    """Turns raw parameters into typed ones. Schemas are compiled to functions once, on first use."""

    def __init__(self, schemas: dict[str, Schema]) -> None:
        self._schemas = schemas
        self._compiled: dict[str, Decode] = {}

    def decode(self, schema: Schema, raw: dict[str, Any]) -> dict[str, Any]:
        """Return the typed parameters; raises ApiError (400) for the first that does not fit."""
        decoded: dict[str, Any] = self._compile(schema)(raw, "")
        return decoded

    def _compile(self, schema: Schema) -> Decode:  # noqa: PLR0911 one line for each type
        reference = schema.get("$ref")
        if reference is not None:
            if reference not in self._compiled:
                self._compiled[reference] = self._deferred(reference)  # while recursive
                self._compiled[reference] = self._compile(self._schemas[reference])
            return self._compiled[reference]
        if "anyOf" in schema:
            return _any_of([self._compile(branch) for branch in schema["anyOf"]])
        match schema.get("type"):
            case "object" if "properties" in schema:
                return self._closed_object(schema)
            case "object":
                return _open_object(self._compile(schema.get("additionalProperties") or {}))
            case "array":
                return _array(self._compile(schema["items"]))
            case "integer":
                return _integer
            case "number":
                return _number
            case "boolean":
                return _boolean
            case "string":
                return _enum(frozenset(known)) if (known := _values(schema)) else _string
            case None:
                return lambda raw, _: raw
        raise NotImplementedError(f"no decoder for the schema {schema}")

    def _deferred(self, reference: str) -> Decode:
        def decode(raw: Any, path: str) -> Any:
            return self._compiled[reference](raw, path)

        return decode

    def _closed_object(self, schema: Schema) -> Decode:
        fields = {name: self._compile(field) for name, field in schema["properties"].items()}
        required = schema.get("required", ())

        def decode(raw: Any, path: str) -> dict[str, Any]:
            if not isinstance(raw, dict):
                raise ApiError("Invalid object", param=path)
            decoded = {}
            for name, value in raw.items():
                inner = f"{path}[{name}]" if path else name
                field = fields.get(name)
                if field is None:
                    raise ApiError(f"Received unknown parameter: {inner}", code="parameter_unknown", param=inner)
                decoded[name] = field(value, inner)
            for name in required:
                if name not in decoded:
                    inner = f"{path}[{name}]" if path else name
                    raise ApiError(f"Missing required param: {inner}.", code="parameter_missing", param=inner)
            return decoded

        return decode


def _values(schema: Schema) -> list[str]:
    return list(schema.get("enum") or schema.get("x-known-values") or [])


def _any_of(branches: list[Decode]) -> Decode:
    def decode(raw: Any, path: str) -> Any:
        refusals = []
        for branch in branches:
            try:
                return branch(raw, path)
            except ApiError as refusal:
                refusals.append(refusal)
        # The most specific refusal names a parameter below this one; otherwise the last branch speaks.
        raise max(refusals, key=lambda refusal: len(refusal.param or ""))

    return decode


def _open_object(value: Decode) -> Decode:
    def decode(raw: Any, path: str) -> dict[str, Any]:
        if not isinstance(raw, dict):
            raise ApiError("Invalid object", param=path)
        return {name: value(item, f"{path}[{name}]") for name, item in raw.items()}

    return decode


def _array(item: Decode) -> Decode:
    def decode(raw: Any, path: str) -> list[Any]:
        if not isinstance(raw, dict) or not all(_INDEX.match(index) for index in raw):
            raise ApiError("Invalid array", param=path)
        return [item(raw[index], f"{path}[{index}]") for index in sorted(raw, key=int)]

    return decode


def _number(raw: Any, path: str) -> float:
    try:
        return float(raw)
    except (TypeError, ValueError):
        raise ApiError(f"Invalid number: {raw}", code="parameter_invalid_number", param=path) from None


def _integer(raw: Any, path: str) -> int:
    if not isinstance(raw, str) or not _INTEGER.match(raw):
        raise ApiError(f"Invalid integer: {raw}", code="parameter_invalid_integer", param=path)
    return int(raw)


def _boolean(raw: Any, path: str) -> bool:
    if raw not in ("true", "false"):
        raise ApiError(f"Invalid boolean: {raw}", param=path)
    return bool(raw == "true")


def _string(raw: Any, path: str) -> str:
    if not isinstance(raw, str):
        raise ApiError("Invalid string", param=path)
    return raw


def _enum(values: frozenset[str]) -> Decode:
    def decode(raw: Any, path: str) -> str:
        if not isinstance(raw, str) or raw not in values:
            raise ApiError(f"Invalid {path}: must be one of {', '.join(sorted(values - {''}))}", param=path)
        return str(raw)

    return decode
