"""Random clients over all ways to pay, while webhooks and Stripe misbehave and clocks move: after each step it is true
what a small model says.

make soak                                                for three minutes, from a new seed
BATZEN_MODEL_SEED=7 BATZEN_MODEL_SECONDS=600 make soak
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from services.runtime.work.engine import Engine
from services.shared.states import State
from services.status.domain.snapshot import ENDS
from tests.orchestrator.conftest import Journeys, Orchestrator, Say, World
from tests.orchestrator.random_clients import (
    ACTS,
    COLLECTIONS,
    FAULTS,
    ROUTES,
    SILENCE,
    SWITCHES,
    TIMINGS,
    Clients,
    sensible,
)
from tests.orchestrator.stripe_truth import Followed
from tests.orchestrator.webhook_gateway import webhooks_on

# Read now: no setting of the person who runs the tests reaches a test.
SEED: Final = int(os.environ.get("BATZEN_MODEL_SEED") or random.SystemRandom().randrange(1_000_000))
SECONDS: Final = float(os.environ.get("BATZEN_MODEL_SECONDS") or 180)
EXAMPLES: Final = 10
"""Of one seed of a long run."""
STEPS: Final = 40
SHORT_SEED: Final = 17
FEW_EXAMPLES: Final = 2
SHORT_EXAMPLES: Final = 5
SHORT_STEPS: Final = 16
PAYMENTS_MAX: Final = 4
"""At once, in one example."""
STEP_S: Final = 120.0
"""After which a step is taken to hang."""

HOURS: Final = st.sampled_from((1, 12, 23, 24, 25, 49, 170))


@dataclass(slots=True)
class Stage:
    """Where the machine, which runs in a thread of its own, plays: on the loop of the services."""

    replica: Orchestrator
    journeys: Journeys
    gateway_work: Engine
    loop: asyncio.AbstractEventLoop
    counts: Counter[str] = field(default_factory=Counter)

    def run(self, step: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(step, self.loop).result(timeout=STEP_S)


def machine(stage: Stage, *, faults: tuple[dict[str, Any], ...]) -> type[RuleBasedStateMachine]:
    """Return the machine that plays on a stage."""
    numbers = st.integers(min_value=0, max_value=255)
    acts = st.tuples(st.sampled_from(sorted(ACTS)), numbers)

    class Machine(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.clients = Clients(stage.replica, stage.journeys, stage.gateway_work, counts=stage.counts)

        def step(self, what: str, coroutine: Coroutine[Any, Any, None], touched: Followed | None = None) -> None:
            stage.counts["steps"] += 1
            self.clients.log.append(what)
            try:
                stage.run(coroutine)
                stage.run(self.clients.check(touched))
            except BaseException as failure:
                failure.add_note("\n".join(self.clients.log))
                raise

        def teardown(self) -> None:
            self.step("settle", self.clients.settle())
            for one in self.clients.followed:
                stage.counts.update(f"{origin} → {target}" for origin, target in one.moves)

        def one(self, who: int) -> Followed:
            """Return a payment, rather one that is not over."""
            followed = self.clients.followed
            alive = [one for one in followed if one.collection not in ENDS]
            chosen = alive if alive and who % 4 else followed
            return chosen[who % len(chosen)]

        @initialize(timing=st.sampled_from(TIMINGS), collection=st.sampled_from(COLLECTIONS), extra=numbers)
        def first(self, timing: int, collection: int, extra: int) -> None:
            self.step("start", self.clients.start(timing=timing, collection=collection, extra=extra, days=1))

        @precondition(lambda self: len(self.clients.followed) < PAYMENTS_MAX)
        @rule(
            timing=st.sampled_from(TIMINGS),
            collection=st.sampled_from(COLLECTIONS),
            extra=numbers,
            days=st.integers(min_value=0, max_value=6),
        )
        def start(self, timing: int, collection: int, extra: int, days: int) -> None:
            self.step("start", self.clients.start(timing=timing, collection=collection, extra=extra, days=days))

        @precondition(lambda self: self.clients.followed)
        @rule(who=numbers, act=acts)
        def act(self, who: int, act: tuple[str, int]) -> None:
            one = self.one(who)
            self.step(f"{act} on {one.payment_id}", ACTS[act[0]](self.clients, one, act[1]), one)

        @precondition(lambda self: self.clients.followed)
        @rule(who=numbers, number=numbers)
        def go_on(self, who: int, number: int) -> None:
            one = self.one(who)
            name = sensible(one, number)
            self.step(f"{name} {number} on {one.payment_id}", ACTS[name](self.clients, one, number), one)

        @precondition(lambda self: self.clients.followed)
        @rule(who=numbers, card=numbers)
        def go_on_and_pay(self, who: int, card: int) -> None:
            """Pay as the payment is collected, and pass what the bank asks for."""
            one = self.one(who)
            name = "pay_in_browser" if one.pages and not one.secrets else "submit"
            self.step(f"{name} {card} on {one.payment_id}", ACTS[name](self.clients, one, card), one)
            if one.collection is State.REQUIRES_ACTION:
                self.step(f"authenticate {card}", self.clients.authenticate(one, card), one)

        @precondition(lambda self: self.clients.followed)
        @rule(who=numbers, fault=st.sampled_from(faults), route=st.sampled_from(ROUTES), number=numbers)
        def go_on_in_trouble(self, who: int, fault: dict[str, Any], route: str, number: int) -> None:
            self.step(f"{fault} at {route}", self.clients.go_wrong(fault, route), self.one(who))
            self.go_on(who, number)

        @precondition(lambda self: self.clients.followed)
        @rule(who=numbers, several=st.lists(numbers, min_size=2, max_size=4))
        def go_on_at_once(self, who: int, several: list[int]) -> None:
            one = self.one(who)
            chosen = [(sensible(one, number), number) for number in several]
            self.step(f"{chosen} at once on {one.payment_id}", self._at_once(one, chosen), one)

        async def _at_once(self, one: Followed, chosen: list[tuple[str, int]]) -> None:
            await asyncio.gather(
                self.clients.work(), *(ACTS[name](self.clients, one, number) for name, number in chosen)
            )

        @rule(minutes=st.sampled_from((1, 6, 59)))
        def a_moment_passes(self, minutes: int) -> None:
            self.step(f"{minutes} min pass", self.clients.pass_time(timedelta(minutes=minutes)))

        @rule(hours=HOURS, fault=st.sampled_from((*faults, {})))
        def days_pass(self, hours: int, fault: dict[str, Any]) -> None:
            if fault:
                self.step(f"{fault}", self.clients.go_wrong(fault, "POST /v1/*"))
            self.step(f"{hours} h pass", self.clients.pass_time(timedelta(hours=hours)))

        @rule(switches=st.sampled_from(SWITCHES), is_set_back=st.booleans())
        def mischief(self, switches: dict[str, Any], *, is_set_back: bool) -> None:
            if is_set_back:
                self.clients.log.append("clocks jump back")
                self.clients.set_back()
            self.step(f"webhooks {switches}", self.clients.mischief(switches))

        @rule()
        def settle(self) -> None:
            self.step("settle", self.clients.settle())

    return Machine


@pytest.fixture
async def stage(world: World, replica: Orchestrator, journeys: Journeys, tmp_path: Path) -> AsyncIterator[Stage]:
    async with webhooks_on(world, tmp_path) as gateway_work:
        yield Stage(replica, journeys, gateway_work, asyncio.get_running_loop())


async def _play(stage: Stage, seed: int, *, examples: int, steps: int, faults: tuple[dict[str, Any], ...]) -> None:
    """Play so many examples of a seed: the same ones each time, as far as the services are as fast."""
    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    played = hypothesis.seed(seed)(machine(stage, faults=faults))
    await asyncio.to_thread(run_state_machine_as_test, played, settings=chosen)


@pytest.mark.parametrize("examples", [FEW_EXAMPLES, pytest.param(SHORT_EXAMPLES, marks=pytest.mark.faults)])
async def test_random_clients_find_what_the_model_says(stage: Stage, examples: int) -> None:
    await _play(stage, SHORT_SEED, examples=examples, steps=SHORT_STEPS, faults=FAULTS)
    assert stage.counts["payments"] >= examples


@pytest.mark.soak
async def test_random_clients_find_what_the_model_says_for_long(stage: Stage, say: Say) -> None:
    began, seed = time.monotonic(), SEED
    while time.monotonic() - began < SECONDS:
        say(f"BATZEN_MODEL_SEED={seed}")
        await _play(stage, seed, examples=EXAMPLES, steps=STEPS, faults=(*FAULTS, SILENCE))
        seed += 1
    say("\n".join(f"{count:8} {what}" for what, count in sorted(stage.counts.items())) + "\n")
