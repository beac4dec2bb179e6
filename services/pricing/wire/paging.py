"""Pages of a list: what comes after a key, under a token that holds for the same question only."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final, TypeVar

from services.pricing.domain.errors import PageTokenInvalid
from services.shared import fields
from services.shared.paging import position_in, token_for

PAGE_SIZE_DEFAULT: Final = 100
PAGE_SIZE_MAX: Final = 500
"""Answers of a few hundred KB at most."""

Key = tuple[str, int]
"""Of an entry: its id and its revision."""

T = TypeVar("T")


def page_of(
    things: Sequence[tuple[Key, T]], *, question: Sequence[object], page_size: int, page_token: str
) -> tuple[list[T], str]:
    """Return the next things, which are sorted by their keys, and the token for those after them, empty at the end.

    `question` is what was asked besides. Raises `FieldInvalid` or `PageTokenInvalid`.
    """
    size = fields.page_size(page_size, default=PAGE_SIZE_DEFAULT, at_most=PAGE_SIZE_MAX)
    walk = json.dumps(list(question))
    after = position_in(page_token, walk=walk, parse=_parsed, invalid=PageTokenInvalid) if page_token else None
    rest = [(key, thing) for key, thing in things if after is None or key > after]
    page = rest[:size]
    token = token_for(json.dumps(page[-1][0]), walk=walk) if len(page) < len(rest) else ""
    return [thing for _, thing in page], token


def _parsed(position: str) -> Key:
    match json.loads(position):
        case [str() as entry_id, int() as revision]:
            return entry_id, revision
    raise ValueError("not the key of an entry")
