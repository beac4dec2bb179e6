"""What a process remembers of the payments it has seen, and of its connection."""

from __future__ import annotations

import asyncio

from batzen.status.v1.status_pb2 import Transition
from batzen.watching.connection import Connection, ConnectionState
from batzen.watching.seen import Seen


def at(revision: int, payment_id: str = "pay_1", *, settled: bool = False) -> Transition:
    return Transition(payment_id=payment_id, revision=revision, settled=settled)


def test_the_newest_of_a_payment_is_remembered_whatever_comes_after_it() -> None:
    seen = Seen(payments_max=10)
    for revision in (2, 1, 3, 2):
        seen.note(at(revision))

    assert seen.get("pay_1") == at(3)
    assert len(seen) == 1


def test_a_payment_is_active_until_it_is_settled_and_again_when_something_is_awaited() -> None:
    seen = Seen(payments_max=10)
    seen.note(at(1, "pay_1"))
    seen.note(at(1, "pay_2"))
    assert seen.active() == [at(1, "pay_1"), at(1, "pay_2")]

    seen.note(at(2, "pay_1", settled=True))
    assert seen.active() == [at(1, "pay_2")]
    seen.note(at(3, "pay_1"))
    assert seen.active() == [at(1, "pay_2"), at(3, "pay_1")]


def test_so_many_are_remembered_and_the_settled_are_forgotten_first() -> None:
    seen = Seen(payments_max=2)
    for payment_id, settled in (("a", False), ("b", True), ("c", False)):
        seen.note(at(1, payment_id, settled=settled))
    assert [payment_id for payment_id in "abc" if seen.get(payment_id)] == ["a", "c"]

    seen.note(at(1, "d"))
    assert [payment_id for payment_id in "abcd" if seen.get(payment_id)] == ["c", "d"]


class Clock:
    """A clock that is set."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


async def test_stability_is_the_share_of_the_time_a_stream_was_wanted_and_there() -> None:
    clock = Clock()
    connection = Connection(clock)
    clock.now += 50
    assert connection.stability_percent == 100.0
    for state, seconds in (
        (ConnectionState.CONNECTING, 1),
        (ConnectionState.STREAMING, 6),
        (ConnectionState.POLLING, 2),
        (ConnectionState.IDLE, 500),
        (ConnectionState.STREAMING, 1),
    ):
        connection.to(state)
        clock.now += seconds

    assert (connection.connected_s, connection.wanted_s, connection.stability_percent) == (7.0, 10.0, 70.0)


async def test_a_state_can_be_waited_for_by_several() -> None:
    connection = Connection(Clock())
    waiting = [
        asyncio.create_task(connection.until(ConnectionState.STREAMING)),
        asyncio.create_task(connection.until(ConnectionState.POLLING, ConnectionState.CLOSED)),
    ]
    await asyncio.sleep(0)
    connection.to(ConnectionState.STREAMING)
    assert await waiting[0] is ConnectionState.STREAMING
    connection.to(ConnectionState.CLOSED)
    connection.to(ConnectionState.STREAMING)

    assert await waiting[1] is ConnectionState.CLOSED
    assert connection.state is ConnectionState.CLOSED
