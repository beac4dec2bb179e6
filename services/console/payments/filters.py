"""What the table of payments is filtered by: read from an address, written into one, told to status. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, cast
from urllib.parse import urlencode

from starlette.datastructures import QueryParams

from batzen.cli import money
from batzen.status.v1.status_pb2 import PaymentFilter
from batzen.type.v1.payment_pb2 import PaymentState
from services.console.payments.shown import ZONE, state_words

_PREFIX: Final = "PAYMENT_STATE_"
STATES: Final[Sequence[tuple[str, str]]] = tuple(
    (name.removeprefix(_PREFIX), state_words(name.removeprefix(_PREFIX)))
    for name, number in PaymentState.items()
    if number
)
"""What there is to choose from."""
TEXTS: Final = ("payer", "seller", "booking", "reference", "currency", "least", "most", "since", "until")
CHARACTERS_MAX: Final = 128
PLAIN: Final = {"open": "unsettled_only", "attention": "attention_only"}


CHIPS: Final = (
    ("All", "/payments"),
    ("Unsettled", "/payments?open=1"),
    ("Needs attention", "/payments?attention=1"),
    ("Processing", "/payments?state=PROCESSING"),
    ("On hold", "/payments?state=AUTHORIZED"),
    ("Disputed", "/payments?state=DISPUTED"),
)
"""What is looked at often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What an address says, as it says it, and what is wrong with it."""

    states: Sequence[str] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    """By name, as in `TEXTS`; those alone that are not empty."""
    switches: frozenset[str] = frozenset()
    """As in `PLAIN`."""
    errors: Mapping[str, str] = field(default_factory=dict)
    """By name of the field, a sentence."""

    def text(self, name: str) -> str:
        """Return what stands in a field."""
        return self.texts.get(name, "")

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left out."""
        return not (self.states or self.texts or self.switches)

    def address(self, path: str, **more: str) -> str:
        """Return the address of a page with these filters."""
        pairs = [("state", state) for state in self.states]
        pairs += [(name, value) for name, value in self.texts.items()]
        pairs += [(name, "1") for name in PLAIN if name in self.switches]
        pairs += [(name, value) for name, value in more.items() if value]
        return f"{path}?{urlencode(pairs)}" if pairs else path


def read(params: QueryParams) -> tuple[Filters, PaymentFilter]:
    """Return what an address says, and the filter for status; where there are errors the filter says nothing."""
    known = {state for state, _ in STATES}
    texts = {name: value for name in TEXTS if (value := params.get(name, "").strip()[:CHARACTERS_MAX])}
    if "currency" in texts:
        texts["currency"] = texts["currency"].upper()
    states = tuple(dict.fromkeys(state for state in params.getlist("state") if state in known))
    switches = frozenset(name for name in PLAIN if params.get(name) == "1")
    wanted, errors = PaymentFilter(), dict[str, str]()
    wanted.payer_id = texts.get("payer", "")
    wanted.seller_id = texts.get("seller", "")
    wanted.booking_id = texts.get("booking", "")
    wanted.client_reference = texts.get("reference", "")
    wanted.states.extend(cast("PaymentState", PaymentState.Value(f"{_PREFIX}{state}")) for state in states)
    wanted.unsettled_only = "open" in switches
    wanted.attention_only = "attention" in switches
    _read_amounts(texts, wanted, errors)
    _read_days(texts, wanted, errors)
    return Filters(states=states, texts=texts, switches=switches, errors=errors), wanted


def _read_amounts(texts: Mapping[str, str], wanted: PaymentFilter, errors: dict[str, str]) -> None:
    currency = texts.get("currency", "")
    if currency and not (len(currency) == 3 and currency.isascii() and currency.isalpha()):
        errors["currency"] = "A currency has three letters, such as CHF."
        return
    wanted.currency_code = currency
    for name in ("least", "most"):
        if name not in texts:
            continue
        if not currency:
            errors["currency"] = "An amount needs its currency."
            return
        try:
            minor = money.parse(f"{texts[name]} {currency}").amount_minor
        except ValueError as error:
            errors[name] = str(error)
            continue
        if name == "least":
            wanted.total_min_minor = minor
        else:
            wanted.total_max_minor = minor
    if (
        wanted.HasField("total_min_minor")
        and wanted.HasField("total_max_minor")
        and wanted.total_min_minor > wanted.total_max_minor
    ):
        errors["most"] = "Not below the least."


def _read_days(texts: Mapping[str, str], wanted: PaymentFilter, errors: dict[str, str]) -> None:
    days: dict[str, date] = {}
    for name in ("since", "until"):
        if name in texts:
            try:
                days[name] = date.fromisoformat(texts[name])
            except ValueError:
                errors[name] = "Write it as 2026-12-24."
    if "since" in days:
        wanted.open_start_time.FromDatetime(_midnight(days["since"]))
    if "until" in days and days["until"] < date.max:
        wanted.open_end_time.FromDatetime(_midnight(days["until"] + timedelta(days=1)))
    if "since" in days and "until" in days and days["until"] < days["since"]:
        errors["until"] = "Not before the first day."


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), tzinfo=ZONE).astimezone(UTC)
