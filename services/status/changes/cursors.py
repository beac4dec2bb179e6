"""Where a feed goes on: a place in the order of each database server, as an opaque token.

A position names a transaction that is in the history, never the horizon: after a crash, PostgreSQL gives the numbers of
transactions that left no trace again, and what commits under them would lie before the position.

Transaction numbers are a server's own, so a cursor holds a position for each server. There is one today, which has the
number `ONLY`; a token with others is refused, and its form need not change when there are more (docs/scaling.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from services.shared.paging import position_in, token_for
from services.status.domain.errors import CursorInvalid
from services.status.domain.records import PAYMENT_ID

ONLY: Final = 0
"""The number of the one server."""
SHARDS_MAX: Final = 10
"""Positions in one token, of 73 characters at most each: a token has no more than 1,024 when that is encoded."""
XID_END: Final = 2**63
"""PostgreSQL would take 292,000 years to get there at a million a second."""
REVISIONS_END: Final = 2**63


class Position(NamedTuple):
    """A place in the order of the feed."""

    xid: int
    payment_id: str = ""
    revision: int = 0

    @classmethod
    def after(cls, xid: int) -> Position:
        """Return the place after all that a transaction did."""
        return cls(xid + 1)


def cursor_of(positions: Mapping[int, Position], *, tenant_id: str) -> str:
    """Return the opaque form of the position on each server."""
    parts = [f"{shard}:{at.xid} {at.payment_id} {at.revision}" for shard, at in sorted(positions.items())]
    return token_for(",".join(parts), walk=_walk(tenant_id))


def positions_of(cursor: str, *, tenant_id: str) -> Mapping[int, Position]:
    """Return the position on each server that a cursor names; raise CursorInvalid."""
    return position_in(cursor, walk=_walk(tenant_id), parse=_parsed, invalid=CursorInvalid, field="cursor")


def _walk(tenant_id: str) -> str:
    return f"changes {tenant_id}"


def _parsed(text: str) -> Mapping[int, Position]:
    parts = [part.partition(":") for part in text.split(",")]
    positions = {int(shard): _position(place) for shard, _, place in parts}
    if len(positions) != len(parts) or len(parts) > SHARDS_MAX or min(positions) < 0:
        raise ValueError("no positions of ours")
    return positions


def _position(text: str) -> Position:
    xid, payment_id, revision = text.split(" ")
    position = Position(int(xid), payment_id, int(revision))
    if not (0 <= position.xid < XID_END and 0 <= position.revision < REVISIONS_END):
        raise ValueError("no position of ours")
    if payment_id and not PAYMENT_ID.fullmatch(payment_id):
        raise ValueError("no payment of ours")
    return position
