"""How often somebody may ask: buckets in this process by address, and in the database by payer and payment.

A bucket in the database is one statement; it also takes out two that are as good as new, so that there are never many
more than are in use, and nobody has to tidy up.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from services.runtime.database.connections import DirectConnections
from services.runtime.rpc.buckets import Bucket
from services.web.failures import Refusal

CLIENT_ADDRESS: Final = "x-client-ip"
"""Metadata of a call in a person's name: where their browser is."""
ADDRESSES_MAX: Final = 20_000
"""Kept in a process, ~200 bytes each; who asked longest ago is forgotten first."""
IPV6_PREFIX: Final = 64
"""Of an IPv6 address: what one household or one server has."""

_TAKE: Final = """
WITH old AS (
    DELETE FROM rate_buckets WHERE bucket IN (
        SELECT bucket FROM rate_buckets WHERE change_time < $5 AND bucket <> $1
        ORDER BY change_time LIMIT 2 FOR UPDATE SKIP LOCKED
    )
)
INSERT INTO rate_buckets AS kept (bucket, level, change_time) VALUES ($1, 1, $2)
ON CONFLICT (bucket) DO UPDATE SET
    level = greatest(kept.level - $3 * extract(epoch FROM $2 - kept.change_time)::double precision, 0) + 1,
    change_time = greatest($2, kept.change_time)
WHERE greatest(kept.level - $3 * extract(epoch FROM $2 - kept.change_time)::double precision, 0) + 1 <= $4
RETURNING level
"""
_LEVEL: Final = "SELECT level, change_time FROM rate_buckets WHERE bucket = $1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """So many a second over time, and so many at once."""

    name: str
    per_second: float
    burst: int


ADDRESS: Final = Rate(name="address", per_second=50, burst=300)
"""Of one address or network: an office of people behind it reads and pays, and a flood ends."""
PAYER: Final = Rate(name="payer", per_second=1, burst=60)
"""What one payer changes: more than anybody clicks."""
PAYMENT: Final = Rate(name="payment", per_second=0.1, burst=20)
"""What one payer changes of one payment. Counted with the payer: another one would count it up from outside."""
WEBHOOKS: Final = Rate(name="webhooks", per_second=200, burst=2_000)
"""Of one address, at the old path of webhooks: Stripe catches up after an outage from few addresses, and sends again
what it is refused.
"""


READS: Final = Rate(name="reads", per_second=0.5, burst=3)
"""Reads of one payment at Stripe that its page asks for: coming back, a look, and another one right after it."""


class AddressRates:
    """Counts by address, in this process alone: it is to be cheap, and before anything else is done."""

    def __init__(self, rate: Rate = ADDRESS, *, now: Callable[[], float]) -> None:
        """`now` is a clock in seconds that never goes back."""
        self._rate = rate
        self._now = now
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def take(self, address: str) -> None:
        """Count a request. Raises `Refusal` where there were too many."""
        now, name = self._now(), network_of(address)
        bucket = self._buckets.get(name)
        if bucket is None:
            bucket = Bucket(rate=self._rate.per_second, burst=self._rate.burst, now=now)
            self._buckets[name] = bucket
            if len(self._buckets) > ADDRESSES_MAX:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(name)
        wait_s = bucket.take(now=now)
        if wait_s > 0:
            raise too_many(wait_s, self._rate)

    def give_back(self, address: str) -> None:
        """Count a request no longer: somebody asked whom other limits are for."""
        bucket = self._buckets.get(network_of(address))
        if bucket is not None:
            bucket.give_back()


class SharedRates:
    """Counts in the front's database, so that all its processes count together."""

    def __init__(self, held: DirectConnections, *, now: Callable[[], datetime]) -> None:
        self._held = held
        self._now = now

    async def take(self, rate: Rate, *whose: str) -> None:
        """Count what somebody does. Raises `Refusal` where there was too much."""
        bucket, now = _named(rate, whose), self._now()
        emptied = timedelta(seconds=rate.burst / rate.per_second)
        async with self._held.statement("web.rates.take") as connection:
            taken = await connection.fetchrow(
                _TAKE, bucket, now, rate.per_second, float(rate.burst), now - max(emptied, timedelta(hours=1))
            )
            if taken is not None:
                return
            kept = await connection.fetchrow(_LEVEL, bucket)
        level = float(rate.burst) if kept is None else kept["level"]
        since_s = 0.0 if kept is None else (now - kept["change_time"]).total_seconds()
        raise too_many((level + 1 - rate.burst) / rate.per_second - since_s, rate)


class AddressLimited:
    """Around a front: counts every request by its address, whatever it says of itself.

    Who turns out to ask as a service is given it back.
    """

    def __init__(self, inner: ASGIApp, rates: AddressRates, *, free: tuple[str, ...]) -> None:
        """The paths `free` are not counted: files that a page loads, and who asks whether we are alive. One that ends
        with a slash is all below it.
        """
        self._inner = inner
        self._rates = rates
        self._free = frozenset(free)
        self._free_below = tuple(path for path in free if path.endswith("/"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not self._is_free(scope["path"]):
            self._rates.take(address_of(scope))
        await self._inner(scope, receive, send)

    def _is_free(self, path: str) -> bool:
        return path in self._free or path.startswith(self._free_below)


def address_of(scope: Scope) -> str:
    """Return where a request comes from, as the trusted proxies say."""
    client = scope.get("client")
    return "" if client is None else str(client[0])


def too_many(wait_s: float, rate: Rate) -> Refusal:
    """Return the refusal of who asks too often."""
    return Refusal(429, "TOO_MANY_REQUESTS", retry_after=timedelta(seconds=max(wait_s, 1)), limit=rate.name)


def network_of(address: str) -> str:
    """Return what of an address counts as one: all of IPv4, the first 64 bits of IPv6."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, IPV6_PREFIX), strict=False))
    return address


def _named(rate: Rate, whose: tuple[str, ...]) -> str:
    """Return the name of a bucket, which says nothing of whose it is."""
    return f"{rate.name}:{hashlib.sha256(repr(whose).encode()).hexdigest()}"
