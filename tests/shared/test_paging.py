"""A token goes on with its own walk, and with no other."""

from __future__ import annotations

import pytest

from services.errors import InvalidRequest
from services.shared.paging import position_in, token_for

TOKEN = token_for("7", walk="payments of main")


class TokenInvalid(InvalidRequest):
    """The token is none of ours."""

    reason = "PAGE_TOKEN_INVALID"


def position(token: str, *, walk: str = "payments of main") -> int:
    return position_in(token, walk=walk, parse=int, invalid=TokenInvalid)


def test_a_token_gives_its_position_back() -> None:
    assert position(TOKEN) == 7


@pytest.mark.parametrize(
    "token", ["", "x", "ä", "=", TOKEN + "x", TOKEN[:-1], TOKEN * 100, token_for("no number", walk="payments of main")]
)
def test_another_token_is_refused(token: str) -> None:
    with pytest.raises(TokenInvalid) as refused:
        position(token)
    assert refused.value.field == "page_token"


def test_a_token_of_another_walk_is_refused() -> None:
    with pytest.raises(TokenInvalid):
        position(TOKEN, walk="payments of other")
