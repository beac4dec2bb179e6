"""The process dies where webhooks are kept or sent: each arrives at least once, in the order of its payment."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import timedelta

import pytest

from local.databases import ServiceDatabase
from services.orchestrator.webhooks_out.domain import Form, Receiver
from services.orchestrator.webhooks_out.log import Period
from services.runtime import crash_points
from services.runtime.database.lease import LEASE
from tests.orchestrator.hooks import Room, new_name, of, room
from tests.orchestrator.lives import Died, Life
from tests.orchestrator.receivers import Received, receiver, says

OK, BROKEN = says("200 OK"), says("500 Internal Server Error")
NEXT_TRY = timedelta(seconds=8)
REVISIONS = [1, 2, 3]
KNOWN = {
    *("facts.keep:written", "facts.keep:after_commit", "hooks.claim:after_commit", "hook.body:after_commit"),
    *("hook.send:before", "hook.send:after", "hook.record:before_commit", "hook.record:after_commit"),
    "hooks.end:after_commit",
}
"""Some of the places there are at least."""


class Recorder:
    """A life that is long enough, and remembers its places."""

    def __init__(self) -> None:
        self.places: dict[str, None] = {}
        self.place = ""

    def reach(self, place: str) -> None:
        self.places[place] = None


STEPS = pytest.mark.parametrize(
    "step", [pytest.param(6, id="some places"), pytest.param(1, id="every place", marks=pytest.mark.faults)]
)


def each_place(recorded: Recorder, *, step: int) -> Iterator[Life]:
    """Return lives that end at each place that was recorded, or at some of them."""
    assert recorded.places
    for place in list(recorded.places)[::step]:
        yield Life(ends_at=place)


_is_mine: ContextVar[bool] = ContextVar("is_mine", default=False)


class Mine:
    """Passes a life the places of the tasks begun here: what other tests left running has places of its own."""

    def __init__(self, life: Life | Recorder) -> None:
        self._life = life

    def reach(self, place: str) -> None:
        if _is_mine.get():
            self._life.reach(place)


@contextmanager
def living(monkeypatch: pytest.MonkeyPatch, life: Life | Recorder) -> Iterator[None]:
    """Pass the crash points with a life, which may end at one of them; then nothing passes any."""
    with monkeypatch.context() as patched, suppress(Died):
        patched.setattr(crash_points, "_points", Mine(life))
        token = _is_mine.set(True)
        try:
            yield
        finally:
            _is_mine.reset(token)


async def moved_and_sent(hooks: Room, payment_id: str) -> None:
    await hooks.happen(payment_id, *REVISIONS[:2])
    await hooks.send()
    await hooks.happen(payment_id, *REVISIONS[1:])  # the feed is at least once
    hooks.later(NEXT_TRY)
    await hooks.send()


# Who dies before a call made it, and did not begin it.
@pytest.mark.filterwarnings("ignore:coroutine 'Sender.send' was never awaited")
@STEPS
async def test_deliveries_arrive_at_least_once_and_in_order_wherever_the_process_dies(
    database: ServiceDatabase, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    refused: set[str] = set()

    async def answer(received: Received, writer: asyncio.StreamWriter) -> None:
        """Refuse the second revision of each payment once."""
        about = json.loads(received.body)["data"]
        is_first = about["revision"] == 2 and about["payment_id"] not in refused
        if is_first:
            refused.add(about["payment_id"])
        await (BROKEN if is_first else OK)(received, writer)

    async def lived(life: Life | Recorder) -> None:
        async with room(database.runtime_url) as hooks:
            await hooks.subscribe("full", full.url())
            await hooks.subscribe("old", old.url(), form=Form.LEGACY)
            payment_id, before = new_name("pay_"), len(old.requests)
            with living(monkeypatch, life):
                await moved_and_sent(hooks, payment_id)
            hooks.later(LEASE + NEXT_TRY)
            await moved_and_sent(hooks, payment_id)  # whoever comes next: the feed begins where it was
            hooks.later(NEXT_TRY)
            await hooks.send()
            arrived = of(payment_id, full.requests)
            assert arrived == sorted(arrived), life.place
            assert set(arrived) == set(REVISIONS), life.place
            assert len(arrived) <= len(REVISIONS) + 2, life.place  # what was refused, and one that died
            ids = {one.headers["webhook-id"] for one in full.requests if payment_id.encode() in one.body}
            assert len(ids) == len(REVISIONS), life.place
            told = Counter(one.headers["webhook-id"] for one in old.requests[before:])
            assert len(told) == len(REVISIONS), life.place
            assert max(told.values()) <= 2, life.place
            assert await hooks.states() == ["DELIVERED"] * 2 * len(REVISIONS), life.place

    async with receiver(answer) as full, receiver(OK) as old:
        await lived(recorded := Recorder())
        assert set(recorded.places) >= KNOWN
        for life in each_place(recorded, step=step):
            await lived(life)
            assert life.place, f"{life.ends_at} is not reached in every life"


@STEPS
async def test_what_an_operator_asks_for_is_done_once_wherever_the_process_dies(
    database: ServiceDatabase, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    async def lived(life: Life | Recorder) -> None:
        async with room(database.runtime_url) as hooks:
            operator, payment_id = Operator(hooks, good.url()), new_name("pay_")
            with living(monkeypatch, life):
                await operator.begin()
            assert len(await operator.begin()) == 2, life.place
            await hooks.happen(payment_id, *REVISIONS)
            await hooks.send()
            with living(monkeypatch, life):
                await operator.end()
            assert await operator.end() == len(REVISIONS), life.place
            await hooks.send()
            kept = "SELECT count(*) AS n FROM operator_actions WHERE tenant_id = $1"
            assert (await hooks.row(kept))["n"] == len(operator.actions), life.place

    async with receiver(OK) as good:
        await lived(recorded := Recorder())
        assert {"hook.put:written", "hook.rotate:written", "hook.replay:written", "hook.delete:written"} <= set(
            recorded.places
        )
        for life in each_place(recorded, step=step):
            await lived(life)
            assert life.place


class Operator:
    """Puts, rotates, replays and deletes, under the same ids each time."""

    def __init__(self, hooks: Room, url: str) -> None:
        self._hooks = hooks
        self._url = url
        self._began = hooks.clock.now()
        self.actions = {method: hooks.action(method) for method in ("put", "rotate", "replay", "delete")}

    async def begin(self) -> set[str]:
        """Put and rotate; return the secrets that were said."""
        subscriptions = self._hooks.webhooks.subscriptions
        receiving = Receiver(subscription_id="all", url=self._url, kinds=frozenset(), form=Form.FULL)
        _, first = await subscriptions.put(self.actions["put"], receiving)
        _, second = await subscriptions.rotate(self.actions["rotate"], "all", overlap=NEXT_TRY)
        return {first, second}

    async def end(self) -> int:
        """Replay, which may be sent before the end, and delete; return how many are replayed."""
        end = self._hooks.clock.now() + NEXT_TRY
        period = Period(subscription_id="all", from_time=self._began, to_time=end, delivered_too=True)
        replayed = await self._hooks.webhooks.log.replay(self.actions["replay"], period)
        await self._hooks.webhooks.subscriptions.delete(self.actions["delete"], "all")
        return replayed.count
