"""Who asks too often waits: by address in a process, by payer and payment in the database."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from starlette.types import Message

from local.suite import Suite
from services.runtime.database.connections import DirectConnections
from services.web.failures import Refusal
from services.web.rates import AddressLimited, AddressRates, Rate, SharedRates, network_of

SOME = Rate(name="some", per_second=0.5, burst=3)


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("", ""),
    ],
)
def test_of_an_address_what_one_household_has_counts_as_one(address: str, network: str) -> None:
    assert network_of(address) == network


def test_an_address_waits_until_its_bucket_has_something_again() -> None:
    moment = [0.0]
    rates = AddressRates(SOME, now=lambda: moment[0])
    for _ in range(SOME.burst):
        rates.take("2001:db8::1")

    with pytest.raises(Refusal) as refused:
        rates.take("2001:db8::2")
    rates.take("2001:db8:0:1::1")  # another network
    moment[0] = 2.0
    rates.take("2001:db8::1")

    assert refused.value.code == "TOO_MANY_REQUESTS"
    assert refused.value.retry_after == timedelta(seconds=2)


def test_a_request_that_is_given_back_was_none() -> None:
    rates = AddressRates(SOME, now=lambda: 0.0)
    for _ in range(2 * SOME.burst):
        rates.take("192.0.2.1")
        rates.give_back("192.0.2.1")
    for _ in range(SOME.burst):
        rates.take("192.0.2.1")

    with pytest.raises(Refusal):
        rates.take("192.0.2.1")


@pytest.mark.parametrize("path", ["/x", "/free/below", "/livez2"])
@pytest.mark.parametrize("headers", [[], [(b"authorization", b"Bearer junk")], [(b"authorization", b"")]])
async def test_whatever_a_request_says_of_itself_its_address_is_counted(
    path: str, headers: list[tuple[bytes, bytes]]
) -> None:
    limited = AddressLimited(_answered, AddressRates(SOME, now=lambda: 0.0), free=("/livez", "/files/", "/free"))
    scope = {"type": "http", "client": ("192.0.2.1", 1), "headers": headers}
    for free in ("/livez", "/files/x", "/free"):
        for _ in range(2 * SOME.burst):
            await limited({**scope, "path": free}, _nothing, _nothing)
    for _ in range(SOME.burst):
        await limited({**scope, "path": path}, _nothing, _nothing)

    with pytest.raises(Refusal, match="TOO_MANY_REQUESTS"):
        await limited({**scope, "path": path}, _nothing, _nothing)


async def _answered(*_: object) -> None:
    """Answer nothing."""


async def _nothing(*_: object) -> Message:
    raise AssertionError("nothing is read or written")


@pytest.fixture
async def held(suite: Suite) -> AsyncIterator[DirectConnections]:
    url = suite.database_url("bff")
    async with DirectConnections(url, application_name="test", size=2) as made:
        yield made


async def test_all_processes_count_together_in_the_database(held: DirectConnections) -> None:
    moment = datetime.now(UTC)
    one, other = (SharedRates(held, now=lambda: moment) for _ in range(2))
    payer = uuid.uuid4().hex
    for rates in (one, other, one):
        await rates.take(SOME, "main", payer)

    with pytest.raises(Refusal) as refused:
        await other.take(SOME, "main", payer)
    await other.take(SOME, "main", f"{payer}-another")
    moment += timedelta(seconds=2)
    await one.take(SOME, "main", payer)

    assert refused.value.retry_after == timedelta(seconds=2)
    with pytest.raises(Refusal):
        await one.take(SOME, "main", payer)


async def test_what_was_not_used_for_long_is_forgotten_and_says_not_whose_it_was(held: DirectConnections) -> None:
    payer = uuid.uuid4().hex
    past = datetime.now(UTC) - timedelta(days=300)
    await SharedRates(held, now=lambda: past).take(SOME, "main", payer)
    names = "SELECT bucket FROM rate_buckets WHERE change_time < now() - interval '200 days'"
    async with held.statement(None) as connection:
        before = [row["bucket"] for row in await connection.fetch(names)]

    await SharedRates(held, now=lambda: datetime.now(UTC)).take(SOME, "main", f"{payer}-another")

    async with held.statement(None) as connection:
        after = await connection.fetch(names)
    assert len(before) == 1
    assert payer not in before[0]
    assert after == []
