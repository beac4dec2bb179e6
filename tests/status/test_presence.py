"""What a replica knows of the others, by a clock that moves when it is told to, and the promise that silence keeps."""

from __future__ import annotations

import random
from collections import deque

import pytest

from services.status.watches.presence import GONE_AFTER, HELLO_EVERY_S, Presence

HISTORIES = 200
STEPS = 300


class Channel:
    """Delivers to each listener in one order, when the listener reads, as PostgreSQL does."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.inboxes: dict[Replica, deque[str | int]] = {}
        self.commits = 0

    async def notify(self, message: str | int) -> None:
        for inbox in self.inboxes.values():
            inbox.append(message)

    def clock(self) -> float:
        return self.now_s


class Replica:
    """Commits moves, numbered over all replicas, and knows those it was hinted at and those it has read."""

    def __init__(self, channel: Channel) -> None:
        self.presence = Presence(monotonic_s=channel.clock)
        self.known: set[int] = set()
        self._channel = channel

    async def commit(self) -> bool:
        """Return whether the move was announced."""
        self._channel.commits += 1
        self.known.add(self._channel.commits)
        if announced := self.presence.may_be_heard():
            await self._channel.notify(self._channel.commits)
        return announced

    async def listen(self) -> None:
        self.cut_off()
        self.presence.end()
        self.presence.begin()
        self._channel.inboxes[self] = deque()
        self._read()

    def cut_off(self) -> None:
        """Lose what comes from now on, and not know it yet."""
        self._channel.inboxes.pop(self, None)

    async def hear(self) -> None:
        """Take the next message, if there is one."""
        inbox = self._channel.inboxes.get(self)
        if not inbox:
            return
        message = inbox.popleft()
        if isinstance(message, int):
            self.known.add(message)
        elif self.presence.hear(message):
            self._read()

    async def beat(self) -> None:
        """Do what a listener does at each beat of its heart, or find that its connection is lost."""
        if self not in self._channel.inboxes:
            self.presence.end()
            return
        self.presence.forget_gone()
        if self.presence.is_due():
            await self.presence.say(self._channel.notify)

    def _read(self) -> None:
        self.known |= set(range(1, self._channel.commits + 1))


async def settle(channel: Channel, *replicas: Replica) -> None:
    """Let everybody say and hear all that is due now."""
    while any(channel.inboxes[replica] or replica.presence.is_due() for replica in replicas):
        for replica in replicas:
            await replica.beat()
            await replica.hear()


async def joined(channel: Channel, *replicas: Replica) -> None:
    for replica in replicas:
        await replica.listen()
    await settle(channel, *replicas)


async def test_only_one_that_hears_itself_and_no_other_is_alone() -> None:
    channel = Channel()
    first, second = Replica(channel), Replica(channel)
    assert await first.commit()
    await first.listen()
    assert await first.commit()
    await settle(channel, first)
    assert not await first.commit()

    await joined(channel, second)
    await settle(channel, first, second)

    assert await first.commit()
    assert await second.commit()


async def test_one_that_was_not_heard_for_three_intervals_is_gone_and_new_when_it_comes_back() -> None:
    channel = Channel()
    first, second = Replica(channel), Replica(channel)
    await joined(channel, first, second)
    second.cut_off()

    channel.now_s += GONE_AFTER * HELLO_EVERY_S
    await settle(channel, first)
    assert await first.commit()
    channel.now_s += 1
    await settle(channel, first)
    assert not await first.commit()

    await joined(channel, second)
    assert await first.commit() is False
    await settle(channel, first, second)
    assert await first.commit()
    await settle(channel, first, second)
    assert second.known == first.known


async def test_one_that_did_not_listen_for_long_gives_the_others_time_to_be_heard() -> None:
    channel = Channel()
    first, second = Replica(channel), Replica(channel)
    await joined(channel, first, second)
    first.cut_off()
    channel.now_s += 10 * HELLO_EVERY_S

    await joined(channel, first)

    assert await first.commit()


async def test_a_hello_that_could_not_be_said_is_due_again_and_says_the_same() -> None:
    channel = Channel()
    replica, other = Replica(channel), Replica(channel)
    await joined(channel, replica)
    assert not await replica.commit()

    async def refuse(_: str) -> None:
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await replica.presence.say(refuse)

    assert replica.presence.is_due()
    said: list[str] = []

    async def keep(hello: str) -> None:
        said.append(hello)

    await replica.presence.say(keep)
    await replica.presence.say(keep)
    assert [other.presence.hear(hello) for hello in said] == [True, False]


async def test_one_that_finds_its_listener_lost_is_not_alone() -> None:
    channel = Channel()
    replica = Replica(channel)
    await joined(channel, replica)
    replica.cut_off()
    assert not await replica.commit()
    await replica.beat()

    assert await replica.commit()


async def test_one_whose_process_was_stopped_is_answered_when_it_goes_on() -> None:
    channel = Channel()
    first, stopped = Replica(channel), Replica(channel)
    await joined(channel, first, stopped)
    channel.now_s += GONE_AFTER * HELLO_EVERY_S + 1
    await settle(channel, first)
    assert not await first.commit()

    await settle(channel, stopped, first)

    assert stopped.known == first.known
    assert await first.commit()


async def test_one_that_lost_its_listener_before_the_answer_is_answered_again() -> None:
    channel = Channel()
    first, second = Replica(channel), Replica(channel)
    await joined(channel, first)
    await second.listen()
    await second.beat()
    await first.listen()
    await first.beat()
    await settle(channel, second)  # it has heard the first, and the answer comes to nobody
    await first.listen()
    await settle(channel, first, second)

    assert await first.commit()


async def test_whatever_comes_between_every_listener_comes_to_know_every_move() -> None:
    for seed in range(HISTORIES):
        assert await all_know_all(random.Random(seed)), seed


async def all_know_all(chance: random.Random) -> bool:
    """Whether all moves of a history by chance became known to all replicas."""
    channel = Channel()
    replicas = [Replica(channel) for _ in range(chance.choice((2, 3)))]

    async def pass_time() -> None:
        channel.now_s += chance.choice((1.0, HELLO_EVERY_S, (GONE_AFTER + 1) * HELLO_EVERY_S))

    for _ in range(STEPS):
        replica = chance.choice(replicas)

        async def cut_off(replica: Replica = replica) -> None:
            replica.cut_off()

        steps = [replica.commit, replica.hear, replica.beat, replica.listen, cut_off, pass_time]
        await chance.choices(steps, weights=(6, 12, 8, 1, 1, 1))[0]()

    # Those who are cut off come back, and one interval passes at the most.
    for replica in replicas:
        if replica not in channel.inboxes:
            await replica.listen()
    await settle(channel, *replicas)
    channel.now_s += HELLO_EVERY_S
    await settle(channel, *replicas)
    return all(replica.known == set(range(1, channel.commits + 1)) for replica in replicas)
