"""Dataclasses as JSON and back, by the types that they declare: the one way in which they are stored whole. Pure.

A field that is None is left out, and one that is missing has its default: a row of an older release is read. A field
that is not known any more is passed over. A value of another type raises, before anything is concluded from it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime
from enum import StrEnum
from functools import cache, partial
from types import UnionType
from typing import TYPE_CHECKING, Any, TypeVar, Union, get_args, get_origin, get_type_hints

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Json = Mapping[str, object]
D = TypeVar("D", bound="DataclassInstance")
_Ways = tuple[Callable[[Any], object], Callable[[Any], object]]


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    read: Callable[[Any], object]
    write: Callable[[Any], object]


def to_json(value: DataclassInstance) -> dict[str, object]:
    """Return what `from_json` reads back."""
    return {
        field.name: field.write(held)
        for field in _fields(type(value))
        if (held := getattr(value, field.name)) is not None
    }


def from_json(kind: type[D], stored: Json) -> D:
    """Read what `to_json` wrote. Raises TypeError or ValueError for what was never written so."""
    known = {field.name: field.read(held) for field in _fields(kind) if (held := stored.get(field.name)) is not None}
    return kind(**known)


@cache
def _fields(kind: type[DataclassInstance]) -> tuple[_Field, ...]:
    hints = get_type_hints(kind)
    return tuple(_Field(field.name, *_ways(hints[field.name])) for field in fields(kind))


def _ways(hint: Any) -> _Ways:
    """Return how a value of a type is read and written."""
    if get_origin(hint) in (Union, UnionType):
        [hint] = [one for one in get_args(hint) if one is not type(None)]
    origin = get_origin(hint)
    if origin is tuple:
        return _tuple_ways(get_args(hint))
    if origin is Mapping:
        return partial(_checked, dict), _same
    return _plain_ways(hint)


def _tuple_ways(hints: tuple[Any, ...]) -> _Ways:
    ways = [_ways(one) for one in hints if one is not ...]
    reads, writes = [read for read, _ in ways], [write for _, write in ways]
    if hints[-1] is ...:
        return partial(_each, reads[0], tuple), partial(_each, writes[0], list)
    return partial(_both, reads, tuple), partial(_both, writes, list)


def _plain_ways(hint: type) -> _Ways:
    if is_dataclass(hint):
        return partial(from_json, hint), to_json
    if hint is datetime:
        return datetime.fromisoformat, datetime.isoformat
    if issubclass(hint, StrEnum):
        return hint, str
    return partial(_checked, hint), _same


def _same(value: object) -> object:
    return value


def _checked(kind: type, value: object) -> object:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise TypeError(f"a {kind.__name__} is stored as {type(value).__name__}")
    return value


def _each(way: Callable[[Any], object], kind: type, values: list[object]) -> object:
    return kind(map(way, values))


def _both(ways: list[Callable[[Any], object]], kind: type, values: list[object]) -> object:
    return kind(way(value) for way, value in zip(ways, values, strict=True))
