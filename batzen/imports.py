"""Records of a system before, one JSON object a line, as `batzen import` reads them.

What a record may say is in docs/import.md, and as a JSON Schema in docs/import.schema.json. Its fields are those of the
messages of batzen.orchestrator.v1.ImportRecord and what that is made of, by the same names. Times are RFC 3339, amounts
whole minor units. In the place of `total_minor` and `currency_code` a payment may have a `price` of the shapes that
`batzen.legacy_prices` knows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from google.protobuf.json_format import ParseDict, ParseError

from batzen.legacy_prices import LegacyPriceError, legacy_total
from batzen.orchestrator.v1.imports_pb2 import ImportRecord

KINDS: Final = ("payment", "customer", "seller")
LINE_BYTES_MAX: Final = 64 * 1024
"""Of one record: one of 100 refunds has about 20 KB."""

_PATH: Final = re.compile(r' at "?ImportRecord\.?(?P<path>[\w.\[\]]*)')
_LEAD: Final = re.compile(r"Failed to parse ([\w\[\]]+) field: ")
_UNKNOWN: Final = re.compile(r'has no field named "([^"]*)"')


class RecordError(ValueError):
    """A line that is no record."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field or 'the record'}: {problem}")
        self.field = field
        """Where, such as `charge.captured_minor`; empty for the whole."""
        self.problem = problem
        """What is wrong there."""


def read_line(line: bytes) -> ImportRecord:
    """Return the record of a line. Raises RecordError."""
    if len(line) > LINE_BYTES_MAX:
        raise RecordError("", f"It has more than {LINE_BYTES_MAX} bytes.")
    try:
        fields = json.loads(line, parse_float=Decimal)
    except ValueError as error:
        raise RecordError("", f"It is no JSON: {error}") from error
    if not isinstance(fields, dict):
        raise RecordError("", "It is no object.")
    return read_record(fields)


def read_record(fields: Mapping[str, Any]) -> ImportRecord:
    """Return a record whose fields are those of its kind, beside `type` and `record_id`. Raises RecordError."""
    rest = dict(fields)
    kind, record_id = rest.pop("type", None), rest.pop("record_id", None)
    if kind not in KINDS:
        raise RecordError("type", f"It is none of {', '.join(KINDS)}.")
    if not isinstance(record_id, str) or not record_id:
        raise RecordError("record_id", "It is missing, or no text.")
    if kind == "payment":
        rest = _payment(rest)
    try:
        return ParseDict({"record_id": record_id, kind: rest}, ImportRecord())
    except ParseError as error:
        raise _explained(error, kind) from error


def _payment(fields: dict[str, Any]) -> dict[str, Any]:
    """Return a payment with its price in minor units, and with the names that the contracts give."""
    if "price" in fields:
        if {"total_minor", "currency_code"} & set(fields):
            raise RecordError("price", "Either a price, or total_minor and currency_code.")
        try:
            total = legacy_total(fields.pop("price"))
        except LegacyPriceError as error:
            raise RecordError(".".join(filter(None, ("price", error.path))), error.problem) from error
        fields |= {"total_minor": total.amount_minor, "currency_code": total.currency_code}
    named = {"history": ("state", "PAYMENT_STATE_"), "refunds": ("bearer", "BEARER_")}
    for name, (field, prefix) in named.items():
        if isinstance(fields.get(name), list):
            fields[name] = [_prefixed(one, field, prefix) for one in fields[name]]
    return fields


def _prefixed(item: Any, field: str, prefix: str) -> Any:
    if not isinstance(item, dict) or not isinstance(item.get(field), str) or item[field].startswith(prefix):
        return item
    return {**item, field: prefix + item[field]}


def _explained(error: ParseError, kind: str) -> RecordError:
    said = str(error)
    found, unknown = _PATH.search(said), _UNKNOWN.search(said)
    path = found["path"].rstrip(".") if found else ".".join(_LEAD.findall(said))
    path = path.removeprefix(kind).removeprefix(".")
    if unknown is not None:
        return RecordError(".".join(filter(None, (path, unknown[1]))), "It is not known here.")
    problem = _LEAD.sub("", said[: found.start()] if found else said)
    return RecordError(path, problem.rstrip(".") + ".")
