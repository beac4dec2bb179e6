"""Pages of long lists: the same as a walk through all of it would find, and not by one."""

from __future__ import annotations

import random
from typing import Any

import pytest

from sandbox.answers import page
from sandbox.shelf import Shelf, within

Object = dict[str, Any]


def _expected(rows: list[Object], params: dict[str, Any], *, limit: int) -> tuple[list[str], bool]:
    """Return a page as a walk through all rows finds it."""
    found = [row for row in reversed(rows) if within(row["created"], params.get("created")) and row["odd"]]
    order = [row["id"] for row in reversed(rows)]
    if "starting_after" in params:
        found = [row for row in found if order.index(row["id"]) > order.index(params["starting_after"])]
    if "ending_before" in params:
        found = [row for row in found if order.index(row["id"]) < order.index(params["ending_before"])]
        return [row["id"] for row in found[-limit:]], len(found) > limit
    return [row["id"] for row in found[:limit]], len(found) > limit


@pytest.mark.parametrize("seed", range(20))
def test_a_page_is_what_a_walk_through_everything_finds(seed: int) -> None:
    chance = random.Random(seed)
    second, rows, shelf = 0, list[Object](), Shelf()
    for number in range(60):
        second += chance.choice((0, 0, 1, 3))
        row = {"id": f"x_{number}", "created": second, "odd": chance.random() < 0.6}
        rows.append(row)
        shelf.add(row)
    for gone in chance.sample(rows, 10):
        rows.remove(gone)
        shelf.remove(gone["id"])
    assert (list(shelf), len(shelf)) == (rows, 50)

    for _ in range(30):
        params: dict[str, Any] = {"limit": chance.randint(1, 12)}
        names = chance.sample(("gt", "gte", "lt", "lte"), chance.randint(0, 3))
        if names:
            params["created"] = {name: chance.randint(-1, second + 1) for name in names}
        elif chance.random() < 0.2:
            params["created"] = chance.choice(rows)["created"]
        if cursor := chance.choice((None, "starting_after", "ending_before")):
            params[cursor] = chance.choice(rows)["id"]

        found = page(shelf, params, url="/", keep=lambda row: bool(row["odd"]))

        assert ([row["id"] for row in found["data"]], found["has_more"]) == _expected(
            rows, params, limit=params["limit"]
        )
