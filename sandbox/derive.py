"""Derive JSON Schemas of Stripe's API from the type annotations inside the installed `stripe` package.

The package's generated source files are parsed, never executed. A parameter class becomes a closed object whose keys
are required as annotated; a resource class becomes a closed object whose non-Optional fields are required. An open enum
(`Literal[...] | str`) becomes a string with `x-known-values`: an enum for requests, documentation for answers.
"""

import ast
import importlib.util
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

Schema = dict[str, Any]
Document = dict[str, Any]

# The services whose operations the sandbox models at least in part; every other operation is only listed by name.
SERVICES = (
    "_account_link_service",
    "_account_service",
    "_application_fee_refund_service",
    "_application_fee_service",
    "_balance_service",
    "_balance_transaction_service",
    "_charge_service",
    "_confirmation_token_service",
    "_customer_payment_method_service",
    "_customer_service",
    "_dispute_service",
    "_event_service",
    "_mandate_service",
    "_payment_intent_service",
    "_payment_method_service",
    "_payout_service",
    "_refund_service",
    "_review_service",
    "_setup_intent_service",
    "_transfer_reversal_service",
    "_transfer_service",
    "_webhook_endpoint_service",
    "checkout/_session_line_item_service",
    "checkout/_session_service",
    "radar/_early_fraud_warning_service",
    "test_helpers/_confirmation_token_service",
)
RESOURCES = {
    "Account": "_account",
    "AccountLink": "_account_link",
    "Application": "_application",
    "ApplicationFee": "_application_fee",
    "ApplicationFeeRefund": "_application_fee_refund",
    "Balance": "_balance",
    "BalanceTransaction": "_balance_transaction",
    "Capability": "_capability",
    "Charge": "_charge",
    "ConfirmationToken": "_confirmation_token",
    "Customer": "_customer",
    "Dispute": "_dispute",
    "EarlyFraudWarning": "radar/_early_fraud_warning",
    "ErrorObject": "_error_object",
    "Event": "_event",
    "LineItem": "_line_item",
    "Mandate": "_mandate",
    "PaymentIntent": "_payment_intent",
    "PaymentMethod": "_payment_method",
    "Payout": "_payout",
    "Price": "_price",
    "Refund": "_refund",
    "Review": "_review",
    "SetupIntent": "_setup_intent",
    "Session": "checkout/_session",  # the only one of that name that a modelled resource refers to
    "Topup": "_topup",
    "Transfer": "_transfer",
    "TransferReversal": "_transfer_reversal",
    "WebhookEndpoint": "_webhook_endpoint",
}
_PRIMITIVES: dict[str, Schema] = {
    "str": {"type": "string"},
    "int": {"type": "integer"},
    "bool": {"type": "boolean"},
    "float": {"type": "number"},
    "Any": {},
    "object": {},
    "Decimal": {"type": "string", "format": "decimal"},
    "datetime": {"type": "integer", "format": "unix-time"},
    "None": {"type": "null"},
    "StripeObject": {"type": "object"},
    "UntypedStripeObject": {"type": "object"},
}
_CALL = re.compile(r'_request\(\s*"(get|post|delete)",\s*"(/v[12]/[^"]+)"')


def package_folder() -> Path:
    """Return where the installed `stripe` package lies; importing it would cost most of the start time."""
    spec = importlib.util.find_spec("stripe")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("The sandbox derives its schema from the `stripe` package, which is not installed.")
    return Path(spec.submodule_search_locations[0])


def versions(folder: Path) -> tuple[str, str]:
    """Return (package version, API version) of the `stripe` package in `folder`."""
    package = re.search(r'VERSION = "([^"]+)"', (folder / "_version.py").read_text())
    api = re.search(r'CURRENT = "([^"]+)"', (folder / "_api_version.py").read_text())
    if package is None or api is None:
        raise RuntimeError("The installed `stripe` package does not name its versions where they are expected.")
    return package.group(1), api.group(1)


def derive(folder: Path) -> Document:
    """Return {operations: {"post /v1/…": {request, response}}, known: [every operation], schemas: {name: schema}}."""
    derivation = _Derivation(folder)
    operations: dict[str, Any] = {}
    for service in SERVICES:
        for name, request, response in derivation.operations(service):
            operations[name] = {"request": request, "response": response}
    for resource in RESOURCES:
        derivation.resource(resource)
    known = sorted({f"{verb} {path}" for text in _service_texts(folder) for verb, path in _CALL.findall(text)})
    package, api = versions(folder)
    return {
        "package": package,
        "api_version": api,
        "operations": operations,
        "known": known,
        "schemas": derivation.schemas,
    }


def _service_texts(folder: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("*_service.py")):
        yield path.read_text()


class _Scope:
    """Where an annotation stands: its module, the classes visible around it, and whether it describes parameters."""

    __slots__ = ("classes", "module", "parameters")

    def __init__(self, module: str, *, classes: dict[str, Callable[[], Schema]], parameters: bool) -> None:
        self.module = module
        self.classes = classes
        self.parameters = parameters


class _Derivation:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.schemas: dict[str, Schema] = {}
        self._tree = cache(self._parse)
        self._imports = cache(self._read_imports)

    def operations(self, service: str) -> Iterator[tuple[str, Schema | None, Schema]]:
        """Yield ("verb /path", request schema or None, response schema) for each method of a service class."""
        cls = [node for node in self._tree(service).body if isinstance(node, ast.ClassDef)][-1]
        for method in cls.body:
            if not isinstance(method, ast.FunctionDef) or method.returns is None:
                continue
            call = _request_in(method)
            if call is None:
                continue
            params = next((arg.annotation for arg in method.args.args if arg.arg == "params"), None)
            request = self._request_schema(service, params) if params is not None else None
            scope = _Scope(service, classes={}, parameters=False)
            yield f"{_text(call.args[0])} {_url(call.args[1])}", request, self._convert(method.returns, scope)

    def resource(self, name: str) -> Schema:
        """Return a reference to the schema of a resource, deriving it if need be."""
        return self._resource_class(self._class(RESOURCES[name], name), scope=(RESOURCES[name], {}), key=name)

    def _parse(self, module: str) -> ast.Module:
        return ast.parse((self.folder / f"{module}.py").read_text())

    def _class(self, module: str, name: str) -> ast.ClassDef:
        return next(node for node in self._tree(module).body if isinstance(node, ast.ClassDef) and node.name == name)

    def _has_class(self, module: str, name: str) -> bool:
        return any(isinstance(node, ast.ClassDef) and node.name == name for node in self._tree(module).body)

    def _read_imports(self, module: str) -> dict[str, tuple[str, str]]:
        found = {}
        for node in ast.walk(self._tree(module)):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("stripe."):
                source = node.module.removeprefix("stripe.").replace(".", "/")
                found.update({alias.asname or alias.name: (source, alias.name) for alias in node.names})
        return found

    def _request_schema(self, service: str, annotation: ast.expr) -> Schema:
        inner = annotation.slice if isinstance(annotation, ast.Subscript) else annotation
        module, name = self._imports(service)[_text(inner)]
        return self._parameter_class(module, self._class(module, name))

    def _parameter_class(self, module: str, cls: ast.ClassDef) -> Schema:
        key = f"params.{cls.name}"
        if key not in self.schemas:
            schema = self.schemas[key] = _closed_object()
            required = []
            scope = _Scope(module, classes={}, parameters=True)
            for name, annotation in _fields(cls):
                schema["properties"][name] = self._convert(annotation, scope)
                if _head(annotation) != "NotRequired":
                    required.append(name)
            if required:
                schema["required"] = required
        return {"$ref": key}

    def _resource_class(
        self, cls: ast.ClassDef, *, scope: tuple[str, dict[str, Callable[[], Schema]]], key: str
    ) -> Schema:
        if key in self.schemas:
            return {"$ref": key}
        schema = self.schemas[key] = _closed_object()
        module, outer = scope
        classes = dict(outer)
        for node in cls.body:
            if isinstance(node, ast.ClassDef):
                classes[node.name] = self._nested(node, scope=(module, classes), key=f"{key}.{node.name}")
        renames = _wire_names(cls)
        required = []
        for name, annotation in _fields(cls):
            if name.startswith("_") or _head(annotation) == "ClassVar":
                continue
            wire = renames.get(name, name)
            schema["properties"][wire] = self._convert(annotation, _Scope(module, classes=classes, parameters=False))
            if _head(annotation) != "Optional":
                required.append(wire)
        if required:
            schema["required"] = required
        return {"$ref": key}

    def _nested(
        self, cls: ast.ClassDef, *, scope: tuple[str, dict[str, Callable[[], Schema]]], key: str
    ) -> Callable[[], Schema]:
        return lambda: self._resource_class(cls, scope=scope, key=key)

    def _convert(self, node: ast.expr, scope: _Scope) -> Schema:
        match node:
            case ast.Constant(value=None):
                return {"type": "null"}
            case ast.Constant(value=str(text)):
                return self._convert(ast.parse(text, mode="eval").body, scope)
            case ast.BinOp(op=ast.BitOr()):
                return self._union(_alternatives(node), scope)
            case ast.Name(id=name) | ast.Attribute(attr=name):
                return self._named(name, scope)
            case ast.Subscript():
                return self._generic(node, scope)
        raise NotImplementedError(f"{scope.module}: {ast.unparse(node)}")

    def _generic(self, node: ast.Subscript, scope: _Scope) -> Schema:  # noqa: PLR0911 one line for each generic
        arguments = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        match _head(node):
            case "NotRequired" | "Required" | "ClassVar":
                return self._convert(arguments[0], scope)
            case "Optional":
                return _nullable(self._convert(arguments[0], scope))
            case "List" | "list" | "Sequence":
                return {"type": "array", "items": self._convert(arguments[0], scope)}
            case "Dict" | "dict" | "Mapping":
                return {"type": "object", "additionalProperties": self._convert(arguments[1], scope)}
            case "UntypedStripeObject":
                return {"type": "object", "additionalProperties": self._convert(arguments[0], scope)}
            case "Union":
                return self._union(arguments, scope)
            case "Literal":
                values = [argument.value for argument in arguments if isinstance(argument, ast.Constant)]
                return {"type": "boolean" if isinstance(values[0], bool) else "string", "enum": values}
            case "ExpandableField":
                target = self._convert(arguments[0], scope)
                known = target != {"type": "object"}
                return {"anyOf": [{"type": "string"}, target]} if known else {"type": "string"}
            case "ListObject":
                return _list_of(self._convert(arguments[0], scope), object_name="list")
            case "SearchResultObject":
                return _list_of(self._convert(arguments[0], scope), object_name="search_result")
        raise NotImplementedError(f"{scope.module}: {ast.unparse(node)}")

    def _union(self, nodes: list[ast.expr], scope: _Scope) -> Schema:
        found: list[Schema] = []
        for node in nodes:
            schema = self._convert(node, scope)
            if schema not in found:
                found.append(schema)
        enums = [schema for schema in found if schema.get("type") == "string" and "enum" in schema]
        if {"type": "string"} in found and enums:
            found = [schema for schema in found if schema not in enums and schema != {"type": "string"}]
            known = [value for schema in enums for value in schema["enum"]]
            if known == [""]:  # any text, or the empty one that unsets it
                found.append({"type": "string"})
            else:
                found.append({"type": "string", "x-known-values": known})
        return found[0] if len(found) == 1 else {"anyOf": found}

    def _named(self, name: str, scope: _Scope) -> Schema:
        if name in scope.classes:
            return scope.classes[name]()
        if name in _PRIMITIVES:
            return dict(_PRIMITIVES[name])
        if name in RESOURCES and not scope.parameters:
            return self.resource(name)
        if scope.parameters:
            if self._has_class(scope.module, name):
                return self._parameter_class(scope.module, self._class(scope.module, name))
            module, original = self._imports(scope.module)[name]
            if self._has_class(module, original):
                return self._parameter_class(module, self._class(module, original))
        return {"type": "object"}  # a resource the sandbox does not model


def _list_of(items: Schema, *, object_name: str) -> Schema:
    properties: Schema = {
        "object": {"type": "string", "enum": [object_name]},
        "data": {"type": "array", "items": items},
        "has_more": {"type": "boolean"},
        "url": {"type": "string"},
        "total_count": {"type": "integer"},
    }
    if object_name == "search_result":
        properties["next_page"] = {"type": ["string", "null"]}
    required = ["object", "data", "has_more", "url"]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _closed_object() -> Schema:
    return {"type": "object", "additionalProperties": False, "properties": {}}


def _nullable(schema: Schema) -> Schema:
    if not schema:
        return schema
    if isinstance(schema.get("type"), str) and "enum" not in schema:
        return {**schema, "type": [schema["type"], "null"]}
    if "anyOf" in schema:
        return {"anyOf": [*schema["anyOf"], {"type": "null"}]}
    return {"anyOf": [schema, {"type": "null"}]}


def _fields(cls: ast.ClassDef) -> Iterator[tuple[str, ast.expr]]:
    for node in cls.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id, node.annotation


def _wire_names(cls: ast.ClassDef) -> dict[str, str]:
    for node in cls.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "_field_remappings":
            return dict(ast.literal_eval(node.value))
    return {}


def _alternatives(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.BinOp):
        return [*_alternatives(node.left), *_alternatives(node.right)]
    return [node]


def _head(node: ast.expr) -> str:
    if not isinstance(node, ast.Subscript):
        return ""
    return node.value.id if isinstance(node.value, ast.Name) else getattr(node.value, "attr", "")


def _request_in(method: ast.FunctionDef) -> ast.Call | None:
    for node in ast.walk(method):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "_request":
            return node
    return None


def _text(node: ast.expr) -> str:
    return str(node.value) if isinstance(node, ast.Constant) else ""


def _url(node: ast.expr) -> str:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):  # "/v1/…{id}".format(…)
        return _text(node.func.value)
    return _text(node)
