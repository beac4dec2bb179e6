"""Pages of a list: what comes after a key, under a token that holds for the same question only."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Sequence
from typing import Final, TypeVar

from services.pricing.domain.errors import PageTokenInvalid
from services.shared import fields

PAGE_SIZE_DEFAULT: Final = 100
PAGE_SIZE_MAX: Final = 500
"""Answers of a few hundred KB at most."""
TOKEN_CHARACTERS_MAX: Final = 1_024

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
    after = _key_in(page_token, question=question) if page_token else None
    rest = [(key, thing) for key, thing in things if after is None or key > after]
    page = rest[:size]
    token = _token_of(page[-1][0], question=question) if len(page) < len(rest) else ""
    return [thing for _, thing in page], token


def _token_of(key: Key, *, question: Sequence[object]) -> str:
    return base64.urlsafe_b64encode(json.dumps([_digest(question), *key]).encode()).decode()


def _key_in(token: str, *, question: Sequence[object]) -> Key:
    try:
        if len(token) > TOKEN_CHARACTERS_MAX:
            raise ValueError("longer than any of ours")
        content = json.loads(base64.b64decode(token, altchars=b"-_", validate=True))
        digest, entry_id, revision = content
    except (ValueError, TypeError, RecursionError, binascii.Error) as error:
        raise PageTokenInvalid(field="page_token") from error
    if digest != _digest(question) or not isinstance(entry_id, str) or type(revision) is not int:
        raise PageTokenInvalid(field="page_token")
    return entry_id, revision


def _digest(question: Sequence[object]) -> str:
    return hashlib.sha256(json.dumps(list(question)).encode()).hexdigest()[:16]
