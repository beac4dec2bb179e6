"""Objects in the order in which they were made, of which a page is found without looking at all the others.

A list of a hundred thousand balance transactions is read page by page: each has to cost what is on it.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from typing import Any

Object = dict[str, Any]
Bounds = int | dict[str, int] | None
"""A time a list is asked for: a second, or bounds `gt`, `gte`, `lt`, `lte`."""


class Shelf:
    """Objects by id, oldest first. Their `created` never falls, unless a list was put together by hand."""

    def __init__(self, objects: Iterable[Object] = ()) -> None:
        self._rows: list[Object | None] = []  # none: removed
        self._created: list[int] = []
        self._place: dict[str, int] = {}
        for obj in objects:
            self.add(obj)

    def add(self, obj: Object) -> None:
        """Put an object at the end, or in the place of the one with its id."""
        place = self._place.get(obj["id"])
        if place is not None:
            self._rows[place] = obj
            return
        self._place[obj["id"]] = len(self._rows)
        self._rows.append(obj)
        self._created.append(obj.get("created", 0))

    def remove(self, object_id: str) -> None:
        place = self._place.pop(object_id, None)
        if place is not None:
            self._rows[place] = None

    def get(self, object_id: str) -> Object | None:
        place = self._place.get(object_id)
        return None if place is None else self._rows[place]

    def place(self, object_id: str) -> int | None:
        """Return where an object stands, if it is here."""
        return self._place.get(object_id)

    def span(self, created: Bounds) -> tuple[int, int]:
        """Return the places from the first to after the last of what was made in a time."""
        low, high = 0, len(self._rows)
        if created is None:
            return low, high
        bounds = {"gte": created, "lte": created} if isinstance(created, int) else created
        for name, when in bounds.items():
            find = bisect_left if name in ("gte", "lt") else bisect_right
            at = find(self._created, when)
            low, high = (max(low, at), high) if name in ("gt", "gte") else (low, min(high, at))
        return low, high

    def upwards(self, low: int, high: int) -> Iterator[Object]:
        """Yield what stands in places, oldest first."""
        for place in range(low, high):
            if (row := self._rows[place]) is not None:
                yield row

    def downwards(self, low: int, high: int) -> Iterator[Object]:
        """Yield what stands in places, newest first."""
        for place in range(high - 1, low - 1, -1):
            if (row := self._rows[place]) is not None:
                yield row

    def __contains__(self, object_id: str) -> bool:
        return object_id in self._place

    def __iter__(self) -> Iterator[Object]:
        return self.upwards(0, len(self._rows))

    def __len__(self) -> int:
        return len(self._place)


def within(when: int, bounds: Bounds) -> bool:
    """Whether a time is one that is asked for."""
    if bounds is None:
        return True
    if isinstance(bounds, int):
        return when == bounds
    return (
        ("gt" not in bounds or when > bounds["gt"])
        and ("gte" not in bounds or when >= bounds["gte"])
        and ("lt" not in bounds or when < bounds["lt"])
        and ("lte" not in bounds or when <= bounds["lte"])
    )
