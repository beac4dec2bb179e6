"""How long a shop's `StartPayment` takes while others wait, or ask again and again.

One shop starts payments one at a time, in peace and beside a crowd: submits that wait for one payment whose bank takes
its time, and syncs that a payer, or another service, keeps in flight and asks for again as soon as there is an answer,
whatever it says. The crowd is a process' worth of callers on connections of its own, on the same machine.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from grpc import aio

from batzen._channel import make_channel
from batzen.client import new_request_id
from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from batzen.orchestrator.v1.orchestrator_pb2_grpc import OrchestratorServiceStub
from bench.figures import Figures, Result, median, ms, percentile
from bench.goals import COLUMNS, at_most, judged
from bench.payments import suite_on_own_server
from bench.shop import CARD, LocalShop, Payer, open_shop
from local.suite import Suite

ROUNDS: Final = 3
CROWD: Final = 100
MEASURED_S: Final = 5.0
"""Of each kind in each round."""
BETWEEN_S: Final = 0.05
"""Between two starts, as a shop's payers come."""
WARM_UP: Final = 30
BANK_S: Final = MEASURED_S + 2.0
"""What the bank takes; below what the gateway gives one try."""
TIMEOUT_S: Final = 20.0
GOAL: Final = at_most(1.2)
CONFIRM: Final = "POST /v1/payment_intents/{intent}/confirm"
READ: Final = "GET /v1/payment_intents/{intent}"
PEACE: Final = "in peace"
OWN_CONNECTIONS: Final = (("grpc.use_local_subchannel_pool", 1),)

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """Who asks meanwhile, and what they heard."""

    bench: _Bench
    answers: Counter[str] = field(default_factory=Counter)

    async def submits(self) -> None:
        """Keep `CROWD` submits on one payment: one at the bank, the others waiting for it."""
        bench = self.bench
        payment_id = await bench.shop.start(bench.payer)
        await bench.suite.sandbox.fault("slow", route=CONFIRM, seconds=BANK_S, times=1)
        await asyncio.gather(*(self._count(self._submit(payment_id)) for _ in range(CROWD)))

    async def syncs(self, stub: OrchestratorServiceStub, payment_ids: Sequence[str]) -> None:
        """Keep `CROWD` syncs in flight, each asked again as soon as it is answered or refused."""

        async def ask_on(number: int) -> None:
            while True:
                request = pb.SyncPaymentRequest(payment_id=payment_ids[number % len(payment_ids)])
                await self._count(stub.SyncPayment(request))
                number += 1

        await asyncio.gather(*(ask_on(number) for number in range(CROWD)))

    async def _submit(self, payment_id: str) -> Any:
        request = pb.SubmitPaymentRequest(
            request_id=new_request_id(),
            payment_id=payment_id,
            payment_method_id=CARD,
            return_url="https://shop.example",
        )
        return await self.bench.service.SubmitPayment(request)

    async def _count(self, call: Any) -> None:
        try:
            await call
            self.answers["OK"] += 1
        except aio.AioRpcError as error:
            self.answers[error.code().name] += 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bench:
    suite: Suite
    shop: LocalShop
    payer: Payer
    service: OrchestratorServiceStub
    """Another service than the shop."""
    payers: OrchestratorServiceStub
    """The payer, as often as they like."""
    payment_ids: Sequence[str]

    async def round(self) -> dict[str, Any]:
        figures = {PEACE: await self._starts(None, Crowd(bench=self))}
        for name, begin in self.crowds().items():
            crowd = Crowd(bench=self)
            figures[name] = await self._starts(begin(crowd), crowd)
            await self.suite.sandbox.clear_faults()
            await self.shop.until_drained()
        return figures

    def crowds(self) -> dict[str, Callable[[Crowd], Any]]:
        one, many = self.payment_ids[:1], self.payment_ids
        return {
            f"{CROWD} submits wait for one payment": lambda crowd: crowd.submits(),
            f"a payer's {CROWD} syncs of one payment": lambda crowd: crowd.syncs(self.payers, one),
            f"a payer's {CROWD} syncs of {CROWD} payments": lambda crowd: crowd.syncs(self.payers, many),
            f"a service's {CROWD} syncs of one payment": lambda crowd: crowd.syncs(self.service, one),
        }

    async def _starts(self, asking: Any, crowd: Crowd) -> dict[str, Any]:
        """Start payments one at a time while the crowd asks."""
        await self.suite.sandbox.clear_metrics()
        task = None if asking is None else asyncio.create_task(asking)
        await asyncio.sleep(0.5)  # until all of the crowd are in
        took_s = []
        end = time.perf_counter() + MEASURED_S
        while time.perf_counter() < end:
            began = time.perf_counter()
            await self.shop.start(self.payer)
            took_s.append(time.perf_counter() - began)
            await asyncio.sleep(BETWEEN_S)
        if task is not None:
            if not task.done():
                task.cancel()
            await asyncio.wait({task})
        metrics = await self.suite.sandbox.metrics()
        return {
            "start_s": took_s,
            "p50_s": percentile(took_s, 0.5),
            "answers": dict(crowd.answers),
            "reads": metrics.get(READ, {}).get("count", 0),
        }


async def measure(say: Say) -> Result:
    """Run the bench, in about two minutes."""
    rounds = []
    async with _opened() as bench:
        say("warming up")
        for _ in range(WARM_UP):
            await bench.shop.start(bench.payer)
        for number in range(ROUNDS):
            say(f"round {number + 1} of {ROUNDS}")
            rounds.append(await bench.round())
        names = list(bench.crowds())
    return Result(title="StartPayment beside a crowd", tables=[_table(rounds, names)], rounds=rounds)


@asynccontextmanager
async def _opened() -> AsyncIterator[_Bench]:
    async with AsyncExitStack() as stack:
        suite, _ = await stack.enter_async_context(suite_on_own_server())
        shop = await stack.enter_async_context(open_shop(suite))
        payer = shop.new_payer()
        yield _Bench(
            suite=suite,
            shop=shop,
            payer=payer,
            service=await stack.enter_async_context(_calling(suite, suite.token("service", sub="another"))),
            payers=await stack.enter_async_context(_calling(suite, payer.token)),
            payment_ids=[await shop.start(payer) for _ in range(CROWD)],
        )


@asynccontextmanager
async def _calling(suite: Suite, token: str) -> AsyncIterator[OrchestratorServiceStub]:
    authorization = (("authorization", f"Bearer {token}"),)
    async with make_channel(
        suite.addresses.orchestrator, timeout_s=TIMEOUT_S, metadata=lambda: authorization, options=OWN_CONNECTIONS
    ) as channel:
        yield OrchestratorServiceStub(channel)


def _table(rounds: list[dict[str, Any]], names: Sequence[str]) -> Figures:
    def p50(name: str) -> str:
        return ms(median(one[name]["p50_s"] for one in rounds))

    def told(name: str) -> str:
        answers: Counter[str] = sum((Counter(one[name]["answers"]) for one in rounds), Counter())
        reads = median(one[name]["reads"] for one in rounds) / MEASURED_S
        counts = ", ".join(f"{count:,} {code}" for code, count in sorted(answers.items()))
        return f"{name}: {counts}; {reads:.1f} readings a second at Stripe."

    return Figures(
        title="StartPayment, p50, ms",
        columns=COLUMNS,
        rows=[
            judged(
                f"**beside {name}**",
                p50(name),
                p50(PEACE),
                [one[name]["p50_s"] / one[PEACE]["p50_s"] for one in rounds],
                GOAL,
            )
            for name in names
        ],
        notes=tuple(told(name) for name in names),
    )
