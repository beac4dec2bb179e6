"""What was booked of one payment: kept with it, so that what is to be booked next is known without a reading. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, cast

from services.gateway.ledger.domain import Account, Entry, Place
from services.shared.split import LineAmount


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One thing that moves money, as it was when it was booked last."""

    of: str
    """`charge:<attempt>`, or the id of a refund, a dispute or a movement."""
    minor: int = 0
    """What was captured, refunded, withdrawn or moved, in the payment's currency; 0 once it is undone."""
    shown: str = ""
    """Of a movement in another currency than the payment: what it came to there."""
    is_lost: bool = False
    """Of a dispute: the money is gone."""
    is_surplus: bool = False
    """Of a charge: another attempt counts."""
    parts: tuple[LineAmount, ...] = ()
    """What of it falls to each line; of a charge only where that was said."""
    labels: tuple[str, ...] = ()
    """Of the facts that were booked of it, so that each has a name of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """All that was booked of one payment by what is mirrored of it."""

    marks: Mapping[str, Mark]
    sums: tuple[Entry, ...]
    """What the facts come to, place by place."""
    carried: tuple[Entry, ...] = ()
    """What of that another system booked before the payment was imported: it is in no entry here."""


NOTHING: Final = Books(marks={}, sums=())


def to_json(books: Books) -> dict[str, object]:
    """Return what `from_json` reads back: short, as it is written with the payment each time that this changes."""
    return {
        "marks": [_mark_to_json(one) for one in books.marks.values()],
        "sums": [_sum_to_json(one) for one in books.sums],
        **({"carried": [_sum_to_json(one) for one in books.carried]} if books.carried else {}),
    }


def from_json(stored: Mapping[str, object]) -> Books:
    """Read what `to_json` wrote. Raises TypeError, KeyError or ValueError for what was never written so."""
    marks = [_mark(one) for one in _items(stored, "marks")]
    return Books(
        marks={one.of: one for one in marks},
        sums=tuple(_sum(one) for one in _items(stored, "sums")),
        carried=tuple(_sum(one) for one in _items(stored, "carried")),
    )


def _items(stored: Mapping[str, object], name: str) -> list[object]:
    held = stored.get(name, [])
    if not isinstance(held, list):
        raise TypeError(f"{name} are stored as {type(held).__name__}")
    return held


def _mark_to_json(mark: Mark) -> dict[str, object]:
    fields: dict[str, object] = {
        "of": mark.of,
        "minor": mark.minor,
        "shown": mark.shown,
        "is_lost": mark.is_lost,
        "is_surplus": mark.is_surplus,
        "parts": _parts_to_json(mark.parts),
        "labels": list(mark.labels),
    }
    return {name: held for name, held in fields.items() if held}


def _parts_to_json(parts: Iterable[LineAmount]) -> list[list[object]]:
    return [[one.line_id, one.amount_minor] for one in parts]


def _mark(stored: object) -> Mark:
    if not isinstance(stored, dict):
        raise TypeError(f"a mark is stored as {type(stored).__name__}")
    return Mark(
        of=str(stored["of"]),
        minor=int(stored.get("minor", 0)),
        shown=str(stored.get("shown", "")),
        is_lost=bool(stored.get("is_lost", False)),
        is_surplus=bool(stored.get("is_surplus", False)),
        parts=tuple(LineAmount(line_id=line_id, amount_minor=minor) for line_id, minor in stored.get("parts", [])),
        labels=tuple(stored.get("labels", [])),
    )


def _sum_to_json(entry: Entry) -> list[object]:
    place = entry.place
    amounts = [entry.amount_minor, entry.vat_minor]
    return [str(place.account), place.currency_code, place.seller_id, place.country, *amounts]


def _sum(stored: object) -> Entry:
    account, currency_code, seller_id, country, amount_minor, vat_minor = cast(
        "tuple[str, str, str, str, int, int]", stored
    )
    place = Place(account=Account(account), currency_code=currency_code, seller_id=seller_id, country=country)
    return Entry(place=place, amount_minor=amount_minor, vat_minor=vat_minor)
