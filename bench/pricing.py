"""What a quote costs: `CreateQuote` over the wire, its price alone, and how both grow with the lines of the cart.

The peers take turns with it in the same run: the same figures in plain `Decimal` arithmetic (each line's net, VAT and
gross, each seller's fee and share, the total), and echoes of a bare grpc.aio server and of ours. The bare sum is such a
quote and such an echo together. Pricing runs alone, with a PostgreSQL of its own, and keeps every quote.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from rich.console import Console

from batzen._channel import make_channel
from batzen.pricing.v1 import price_book_pb2, pricing_pb2
from batzen.pricing.v1.pricing_pb2_grpc import PricingServiceStub
from batzen.type.v1 import money_pb2
from bench.echoes import running_peers
from bench.figures import Figures, Result, median, ms, percentile, times, us
from bench.machine import Machine, Meter, postgres_pid, process, process_and_children
from local.ports import free_ports
from local.storage import running_storage
from local.suite import Suite, running_suite
from services.pricing.domain.pipeline import price_cart
from services.pricing.seed import load_currencies, load_entries
from services.pricing.wire.entries import to_price_book
from services.pricing.wire.requests import read_create_quote
from services.pricing.wire.responses import write_quote

ROUNDS: Final = 3
LINES: Final = (1, 10, 100, 1_000)
USUAL: Final = 10
"""Lines of the cart that is measured closest."""
ALONE: Final = 400
TOGETHER: Final = 20_000
"""Lines priced by many calls at once, by at least and at most so many calls: processor time comes in ticks of 10 ms."""
CALLS_MIN: Final = 64
CALLS_MAX: Final = 1_000
CALLERS: Final = 16
WARM_UP: Final = 100
BATCHES: Final = 15
"""Of computations in this process; the fastest counts, since others can only slow it down."""
BATCH_LINES: Final = 2_000
SELLERS: Final = 3
TIMEOUT_S: Final = 20.0
NOW: Final = datetime(2026, 11, 20, 12, tzinfo=UTC)
WHOLE: Final = Decimal(1)
RATE: Final = Decimal("8.1")
FEE_PERCENT: Final = Decimal(15)

Say = Callable[[str], None]


async def measure(say: Say) -> Result:
    """Run the bench, in about a minute."""
    async with AsyncExitStack() as stack:
        suite, server_pid = await stack.enter_async_context(_pricing_alone())
        peers = await stack.enter_async_context(running_peers(suite.issuer, "bare", "factory", logs=suite.logs))
        channel = await stack.enter_async_context(_channel(suite))
        bench = _Bench(suite, PricingServiceStub(channel), server_pid=server_pid)
        say("warming up")
        await bench.alone(WARM_UP)
        rounds: list[dict[str, Any]] = []
        for number in range(ROUNDS):
            say(f"round {number + 1} of {ROUNDS}")
            steps: dict[str, Callable[[], Any]] = {
                "bare": peers["bare"].echoes,
                "alone": bench.alone,
                "factory": peers["factory"].echoes,
                "together": bench.together,
                "computed": bench.computed,
            }
            order = reversed(steps.items()) if number % 2 else steps.items()
            figures = {name: await step() for name, step in order}
            rounds.append({name: one if isinstance(one, dict) else asdict(one) for name, one in figures.items()})
    return Result(
        title="What a quote costs",
        tables=[_latencies(rounds), _processor(rounds), _ratios(rounds)],
        rounds=rounds,
    )


@asynccontextmanager
async def _pricing_alone() -> AsyncIterator[tuple[Suite, int]]:
    """Run pricing without the others, and tell the process id of its PostgreSQL."""
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory(prefix="batzen-bench-")))
        directory.chmod(0o711)  # noqa: ASYNC240 once; PostgreSQL's unprivileged user has to enter it
        storage = await stack.enter_async_context(running_storage(directory, server_url=None, prefix="bench_"))
        suite = await stack.enter_async_context(
            running_suite(directory / "suite", ports=free_ports(), storage=storage, services=("pricing",))
        )
        yield suite, await postgres_pid(storage.admin_url)


def _channel(suite: Suite) -> Any:
    token = suite.token("service", sub="bench")
    return make_channel(
        suite.addresses.pricing, timeout_s=TIMEOUT_S, metadata=lambda: (("authorization", f"Bearer {token}"),)
    )


class _Bench:
    def __init__(self, suite: Suite, pricing: PricingServiceStub, *, server_pid: int) -> None:
        self._pricing = pricing
        self._meter = Meter({"pricing": process(suite.pid("pricing")), "PostgreSQL": process_and_children(server_pid)})

    async def alone(self, count: int = ALONE) -> dict[str, Any]:
        """Ask for quotes one at a time."""
        waited = []
        for _ in range(count):
            request = _order(USUAL)
            began = time.perf_counter()
            await self._pricing.CreateQuote(request)
            waited.append(time.perf_counter() - began)
        return {"waited_s": waited}

    async def together(self) -> dict[str, Any]:
        """Ask for quotes of each size, many at once."""
        return {str(lines): await self._together(lines, locales=()) for lines in LINES} | {
            "two locales": await self._together(USUAL, locales=("de-CH", "fr-CH"))
        }

    async def _together(self, lines: int, *, locales: Sequence[str]) -> dict[str, float]:
        count = min(CALLS_MAX, max(CALLS_MIN, TOGETHER // lines))
        requests = [_order(lines, locales=locales) for _ in range(count)]
        left = iter(requests)

        async def call() -> None:
            for request in left:
                await self._pricing.CreateQuote(request)

        self._meter.start()
        began = time.perf_counter()
        await asyncio.gather(*(call() for _ in range(CALLERS)))
        took_s = time.perf_counter() - began
        used = self._meter.read()
        return {name: seconds / len(requests) for name, seconds in used.items()} | {"per_s": len(requests) / took_s}

    async def computed(self) -> dict[str, Any]:
        """Compute prices in this process: ours, plain ones, and what stands between the wire and ours."""
        return {str(lines): _computed(lines) for lines in LINES}


def _computed(lines: int) -> dict[str, float]:
    currencies = load_currencies()
    book = to_price_book(load_entries(), currencies=currencies)
    request = _order(lines)
    cart = read_create_quote(request, currencies=currencies, now=NOW).cart
    price = price_cart(cart, book=book)
    plain = [(line.line_id, line.seller_id, line.quantity, Decimal(line.unit_amount_minor)) for line in cart.lines]
    shares, total = _bare_quote(plain)[1:]
    assert total == price.total_minor, "the peer prices something else"
    assert [share[-1] for share in shares] == [seller.seller_share_minor for seller in price.sellers]
    return {
        "bare": _fastest(lambda: _bare_quote(plain), lines=lines),
        "price": _fastest(lambda: price_cart(cart, book=book), lines=lines),
        "read": _fastest(lambda: read_create_quote(request, currencies=currencies, now=NOW), lines=lines),
        "write": _fastest(
            lambda: write_quote(price, cart=cart, quote_id="quote", create_time=NOW, expire_time=NOW, formats={}),
            lines=lines,
        ),
    }


def _bare_quote(lines: Sequence[tuple[str, str, Decimal, Decimal]]) -> tuple[list[Any], list[Any], Decimal]:
    """Return net, VAT and gross of each line, the same with fee and share of each seller, and the total."""
    priced: list[Any] = []
    sellers: dict[str, tuple[Decimal, Decimal, Decimal]] = {}
    total = Decimal(0)
    for line_id, seller_id, quantity, unit_amount in lines:
        gross = (quantity * unit_amount).quantize(WHOLE, rounding=ROUND_HALF_UP)
        vat = (gross * RATE / (100 + RATE)).quantize(WHOLE, rounding=ROUND_HALF_UP)
        net = gross - vat
        priced.append((line_id, net, vat, gross))
        known = sellers.get(seller_id)
        sellers[seller_id] = (net, vat, gross) if known is None else (known[0] + net, known[1] + vat, known[2] + gross)
        total += gross
    shares = []
    for seller_id, (net, vat, gross) in sorted(sellers.items()):
        fee = (gross * FEE_PERCENT / 100).quantize(WHOLE, rounding=ROUND_HALF_UP)
        shares.append((seller_id, net, vat, gross, fee, gross - fee))
    return priced, shares, total


def _fastest(compute: Callable[[], object], *, lines: int) -> float:
    """Return the processor seconds that one computation takes."""
    count = max(2, BATCH_LINES // lines)
    best = float("inf")
    for _ in range(BATCHES):
        began = time.thread_time()
        for _ in range(count):
            compute()
        best = min(best, (time.thread_time() - began) / count)
    return best


def _order(lines: int, *, locales: Sequence[str] = ()) -> pricing_pb2.CreateQuoteRequest:
    return pricing_pb2.CreateQuoteRequest(
        request_id=str(uuid.uuid4()),
        payer_id="payer_1",
        locales=locales,
        lines=[
            pricing_pb2.Line(
                line_id=f"line_{number}",
                seller_id=f"seller_{number % SELLERS}",
                kind=price_book_pb2.LINE_KIND_SESSION,
                quantity="1.5" if number % 2 else "2",
                unit_amount=money_pb2.Money(amount_minor=1_234 + number, currency_code="CHF"),
            )
            for number in range(lines)
        ],
    )


def _latencies(rounds: list[dict[str, Any]]) -> Figures:
    def peer(kind: str) -> tuple[str, str]:
        return (ms(median(one[kind]["p50_s"] for one in rounds)), ms(median(one[kind]["p99_s"] for one in rounds)))

    waited = [one["alone"]["waited_s"] for one in rounds]
    return Figures(
        title="One call at a time, ms",
        columns=("", "p50", "p99"),
        rows=[
            (
                f"CreateQuote, {USUAL} lines",
                ms(median(percentile(one, 0.5) for one in waited)),
                ms(median(percentile(one, 0.99) for one in waited)),
            ),
            ("echo through our server and channel", *peer("factory")),
            ("bare grpc.aio echo", *peer("bare")),
        ],
    )


def _processor(rounds: list[dict[str, Any]]) -> Figures:
    def computed(part: str) -> tuple[str, ...]:
        return tuple(us(median(one["computed"][str(lines)][part] for one in rounds)) for lines in LINES)

    def served(part: str) -> tuple[str, ...]:
        return tuple(us(median(one["together"][str(lines)][part] for one in rounds)) for lines in LINES)

    two = median(one["together"]["two locales"]["pricing"] for one in rounds)
    return Figures(
        title="Processor time per quote, µs",
        columns=("", *(f"{lines:,} line{'s' * (lines > 1)}" for lines in LINES)),
        rows=[
            ("plain Decimal quote", *computed("bare")),
            ("our pipeline", *computed("price")),
            ("reading the request", *computed("read")),
            ("writing the quote", *computed("write")),
            (f"**CreateQuote at pricing**, {CALLERS} at once", *served("pricing")),
            ("CreateQuote at PostgreSQL", *served("PostgreSQL")),
        ],
        notes=(f"With display strings in two locales, a quote of {USUAL} lines takes {us(two)} µs at pricing.",),
    )


def _ratios(rounds: list[dict[str, Any]]) -> Figures:
    def ratio(value: Callable[[dict[str, Any]], float]) -> str:
        return times(median(value(one) for one in rounds))

    def served(one: dict[str, Any], lines: int) -> float:
        return float(one["together"][str(lines)]["pricing"])

    def computed(one: dict[str, Any], lines: int, part: str) -> float:
        return float(one["computed"][str(lines)][part])

    usual, most = USUAL, LINES[-1]
    return Figures(
        title="In the same round",
        columns=("", "times"),
        rows=[
            (
                f"our pipeline of {usual} lines / a plain Decimal quote",
                ratio(lambda one: computed(one, usual, "price") / computed(one, usual, "bare")),
            ),
            (
                f"our pipeline of {most:,} lines / a plain Decimal quote",
                ratio(lambda one: computed(one, most, "price") / computed(one, most, "bare")),
            ),
            (
                f"CreateQuote of {usual} lines / plain Decimal quote and bare echo together",
                ratio(lambda one: served(one, usual) / (computed(one, usual, "bare") + one["bare"]["cpu_s"])),
            ),
            (
                f"a line more, between 100 and {most:,} lines / between {usual} and 100",
                ratio(
                    lambda one: (
                        (served(one, most) - served(one, 100))
                        / (most - 100)
                        / ((served(one, 100) - served(one, usual)) / (100 - usual))
                    )
                ),
            ),
            (
                f"time of CreateQuote of {usual} lines / bare echo, p50",
                ratio(lambda one: percentile(one["alone"]["waited_s"], 0.5) / one["bare"]["p50_s"]),
            ),
        ],
        notes=(
            f"An echo takes {us(median(one['factory']['cpu_s'] for one in rounds))} µs of processor at our server, "
            f"{us(median(one['bare']['cpu_s'] for one in rounds))} µs at a bare one.",
        ),
    )


if __name__ == "__main__":
    console = Console(highlight=False)
    console.print(f"[dim]{Machine.look()}[/]")
    with console.status("pricing: starting …") as status:
        result = asyncio.run(measure(lambda what: status.update(f"pricing: {what} …")))
    result.show(console)
