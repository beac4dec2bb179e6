"""The schema the sandbox is held to: derived from the installed `stripe` package and kept per version.

Requests are always checked (sandbox/forms.py does it while decoding); answers are checked when the setting says so.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from sandbox.derive import Document, Schema, derive, package_folder, versions
from sandbox.errors import ApiError
from sandbox.forms import Decoder

_RECIPE_LENGTH = 12  # hexadecimal digits: enough for the few versions of one file
_WITHOUT_METHOD_TYPES = ("post /v1/payment_intents", "post /v1/setup_intents", "post /v1/checkout/sessions")
RESOURCE_OF = {
    "account": "Account",
    "account_link": "AccountLink",
    "application": "Application",
    "application_fee": "ApplicationFee",
    "balance": "Balance",
    "balance_transaction": "BalanceTransaction",
    "capability": "Capability",
    "charge": "Charge",
    "confirmation_token": "ConfirmationToken",
    "checkout.session": "Session",
    "customer": "Customer",
    "dispute": "Dispute",
    "event": "Event",
    "fee_refund": "ApplicationFeeRefund",
    "item": "LineItem",
    "mandate": "Mandate",
    "payment_intent": "PaymentIntent",
    "payment_method": "PaymentMethod",
    "radar.early_fraud_warning": "EarlyFraudWarning",
    "payout": "Payout",
    "refund": "Refund",
    "review": "Review",
    "setup_intent": "SetupIntent",
    "topup": "Topup",
    "transfer": "Transfer",
    "transfer_reversal": "TransferReversal",
    "webhook_endpoint": "WebhookEndpoint",
}


class ApiSchema:
    """Operations, parameters and resources at the API version the installed client sends."""

    def __init__(self, document: Document) -> None:
        self.api_version: str = document["api_version"]
        self.operations: dict[str, dict[str, Schema]] = document["operations"]
        self.schemas: dict[str, Schema] = document["schemas"]
        self.known: list[str] = document["known"]

    @cached_property
    def decoder(self) -> Decoder:
        return Decoder(self.schemas)

    def decode(self, operation: str, raw: dict[str, Any]) -> dict[str, Any]:
        """Return typed parameters of an operation ("post /v1/…"); raises ApiError (400)."""
        if "payment_method_types" in raw and operation.startswith(_WITHOUT_METHOD_TYPES):
            raise ApiError(
                "The parameter `payment_method_types` is no longer supported; use `automatic_payment_methods`, "
                "`allowed_payment_method_types` or `excluded_payment_method_types`.",
                code="payment_method_types_no_longer_supported",
                param="payment_method_types",
            )
        request = self.operations[operation]["request"] or {"type": "object", "properties": {}}
        return self.decoder.decode(request, raw)

    def resolve(self, schema: Schema) -> Schema:
        """Follow a reference to what it names."""
        return self.schemas[schema["$ref"]] if "$ref" in schema else schema

    def breaches(self, schema: Schema, value: Any, path: str = "") -> Iterator[str]:
        """Yield what is wrong with a value of ours, as "path: complaint"; nothing means that it conforms."""
        schema = self.resolve(schema)
        if "anyOf" in schema:
            branches = [list(self.breaches(branch, value, path)) for branch in schema["anyOf"]]
            if all(branches):
                yield from max(branches, key=len) if isinstance(value, dict) else branches[0]
            return
        types = schema.get("type")
        if types is not None and not any(_is(value, name) for name in ([types] if isinstance(types, str) else types)):
            yield f"{path}: {value!r} is not of type {types}"
            return
        if "enum" in schema and value not in schema["enum"]:
            yield f"{path}: {value!r} is not one of {schema['enum'][:8]}"
        if isinstance(value, list) and "items" in schema:
            for index, item in enumerate(value):
                yield from self.breaches(schema["items"], item, f"{path}[{index}]")
        if isinstance(value, dict):
            yield from self._object_breaches(schema, value, path)

    def resource_breaches(self, value: dict[str, Any]) -> list[str]:
        """Return what is wrong with a resource, by its `object` field; an event's payload is checked too."""
        if value.get("deleted"):
            return []  # The client types only the living object; the deleted one has three fields.
        found = list(self.breaches({"$ref": RESOURCE_OF[value["object"]]}, value, value["object"]))
        if value["object"] == "event":
            found += self.resource_breaches(value["data"]["object"])
        return found

    def _object_breaches(self, schema: Schema, value: dict[str, Any], path: str) -> Iterator[str]:
        properties = schema.get("properties", {})
        rest = schema.get("additionalProperties", True)
        for name in schema.get("required", ()):
            if name not in value:
                yield f"{path}.{name}: missing"
        for name, item in value.items():
            if name in properties:
                yield from self.breaches(properties[name], item, f"{path}.{name}")
            elif rest is False:
                yield f"{path}.{name}: not in the schema"
            elif isinstance(rest, dict):
                yield from self.breaches(rest, item, f"{path}.{name}")


def load() -> ApiSchema:
    """Return the schema of the installed `stripe` package, from the system's temporary folder if it is there."""
    folder = package_folder()
    package, _ = versions(folder)
    # Named by what derives it too: two checkouts side by side, or one and its next version, each find their own.
    recipe = hashlib.sha256(Path(derive.__code__.co_filename).read_bytes()).hexdigest()[:_RECIPE_LENGTH]
    cached = Path(tempfile.gettempdir()) / f"batzen-sandbox-{os.getuid()}" / f"stripe-{package}-{recipe}.json"
    document = _read(cached)
    if document is None:
        document = derive(folder)
        _write(cached, document)
    return ApiSchema(document)


def _read(path: Path) -> Document | None:
    """Return a cached document; none if it is absent, broken or another user's (the folder is shared)."""
    try:
        if path.parent.stat().st_uid != os.getuid():
            return None
        document: Document = json.loads(path.read_bytes())
    except (FileNotFoundError, json.JSONDecodeError, UnicodeDecodeError):
        return None
    return document


def _write(path: Path, document: Document) -> None:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    if path.parent.stat().st_uid != os.getuid():
        return
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
        json.dump(document, file)
    Path(file.name).replace(path)  # atomic: a reader sees the whole file or none


def _is(value: Any, name: str) -> bool:  # noqa: PLR0911 one line for each type
    match name:
        case "null":
            return value is None
        case "boolean":
            return isinstance(value, bool)
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "string":
            return isinstance(value, str)
        case "array":
            return isinstance(value, list)
        case "object":
            return isinstance(value, dict)
    raise NotImplementedError(f"unknown JSON type {name}")
