"""The client without asyncio, in threads beside the service's event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from batzen import errors
from batzen.client import Addresses, Client
from batzen.status.v1 import status_pb2 as pb
from batzen.sync import ClientClosed, SyncClient
from tests.batzen.conftest import Status
from tests.eventually import WITHIN_S
from tests.status.conftest import move
from tests.status.samples import new_payment_id, snapshot, succeeded


@pytest.fixture
async def batzen(status: Status) -> AsyncIterator[SyncClient]:
    addresses = Addresses(status=status.address)
    client = await asyncio.to_thread(SyncClient, token=status.token("bff", "service"), addresses=addresses)
    yield client
    await asyncio.to_thread(client.close)


async def test_a_call_waits_for_its_answer(status: Status, batzen: SyncClient) -> None:
    payment_id = await status.open()
    request = pb.GetPaymentRequest(payment_id=payment_id)

    answer = await asyncio.to_thread(batzen.status.GetPayment, request, timeout=WITHIN_S)
    other = await asyncio.to_thread(batzen.call, lambda client: client.status.GetPayment(request))

    assert (answer.payment.payment_id, answer) == (payment_id, other)


async def test_a_refusal_is_raised_where_the_call_is_made(batzen: SyncClient) -> None:
    request = pb.GetPaymentRequest(payment_id=new_payment_id())

    with pytest.raises(errors.by_reason["PAYMENT_NOT_FOUND"]):
        await asyncio.to_thread(batzen.status.GetPayment, request)


async def test_a_watch_is_a_loop(status: Status, batzen: SyncClient) -> None:
    payment_id = await status.open()
    seen: list[int] = []
    began = threading.Event()

    def follow() -> None:
        for update in batzen.watch(payment_id, until_settled=True):
            seen.append(update.revision)
            began.set()

    following = asyncio.create_task(asyncio.to_thread(follow))
    await asyncio.to_thread(began.wait)
    await move(status.stub, payment_id, snapshot(), succeeded())
    await following

    assert seen == [1, 2, 3]


async def test_leaving_the_loop_ends_the_watch_and_not_the_client(status: Status, batzen: SyncClient) -> None:
    payment_id = await status.open()

    def first() -> int:
        for update in batzen.watch(payment_id):
            return update.revision
        raise AssertionError

    assert [await asyncio.to_thread(first) for _ in range(3)] == [1, 1, 1]
    assert batzen.call(_nobody_watches)


async def _nobody_watches(client: Client) -> bool:
    return not client.watcher.payment_ids


async def test_a_refused_watch_raises(batzen: SyncClient) -> None:
    with pytest.raises(errors.NotFound):
        await asyncio.to_thread(next, batzen.watch(new_payment_id()))


async def test_other_streams_are_iterators_too(batzen: SyncClient) -> None:
    def first() -> bool:
        return any(True for _ in batzen.status.WatchPayments(pb.WatchPaymentsRequest()))

    assert await asyncio.to_thread(first)


async def test_many_threads_share_a_client(status: Status, batzen: SyncClient) -> None:
    payment_ids = [await status.open() for _ in range(8)]

    def first(payment_id: str) -> str:
        return next(batzen.watch(payment_id)).payment_id

    assert await asyncio.gather(*(asyncio.to_thread(first, each) for each in payment_ids)) == payment_ids


async def test_closing_ends_what_other_threads_wait_for(status: Status, batzen: SyncClient) -> None:
    payment_id = await status.open()
    began = threading.Event()

    def follow() -> None:
        for _ in batzen.watch(payment_id):
            began.set()

    following = asyncio.create_task(asyncio.to_thread(follow))
    await asyncio.to_thread(began.wait)
    await asyncio.to_thread(batzen.close)

    with pytest.raises(errors.Cancelled):
        await following
    with pytest.raises(ClientClosed):
        await asyncio.to_thread(next, batzen.watch(payment_id))


async def test_a_call_from_the_clients_own_thread_is_refused_and_does_not_hang(batzen: SyncClient) -> None:
    async def from_inside(_: object) -> None:
        batzen.status.GetPayment(pb.GetPaymentRequest())

    with pytest.raises(RuntimeError, match="wait for itself"):
        await asyncio.to_thread(batzen.call, from_inside)


def test_without_a_token_it_says_what_to_do() -> None:
    with pytest.raises(ValueError, match="BATZEN_TOKEN"):
        SyncClient.from_environ({})


async def test_it_offers_every_service_that_the_client_offers(status: Status, batzen: SyncClient) -> None:
    async with status.client() as client:
        for name in Client.__annotations__:
            methods = [method for method in vars(getattr(client, name)) if method[0].isupper()]
            assert methods, name
            assert all(callable(getattr(getattr(batzen, name), method)) for method in methods), name
