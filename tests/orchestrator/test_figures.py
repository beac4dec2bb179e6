"""Figures of payments: what a move adds, what is added up, and that nothing is added twice or lost."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any

import asyncpg
import pytest

from batzen.orchestrator.v1 import ops_pb2 as pb
from batzen.orchestrator.v1.ops_pb2_grpc import OrchestratorOpsServiceStub
from batzen.orchestrator.v1.orchestrator_pb2_grpc import OrchestratorServiceStub
from local.databases import ServiceDatabase
from services.orchestrator.facts.rules import Move, Revision, Seen, hear, now_seen
from services.orchestrator.figures import store
from services.orchestrator.figures.domain import BOUNDS_S, Dimension, Row, added, day_of
from services.runtime.database.connections import plain_dsn
from services.shared.paging import token_for
from services.shared.split import LinePart, Split
from tests.eventually import eventually
from tests.orchestrator.conftest import Journeys, Orchestrator
from tests.orchestrator.samples import TOTAL_MINOR, hold, new_id, refund, refused, submit
from tests.orchestrator.test_fact_rules import NOW, revision
from tests.rows_read import rows_read

DECLINED_CARD = "pm_card_visa_chargeDeclinedInsufficientFunds"
BY = pb.GetPaymentFiguresRequest
OPENED = NOW - timedelta(seconds=90)
PAID = {"collection": "SUCCEEDED", "captured_minor": 1_000}
CARD = {"method_type": "card"}


def moved(before: dict[str, Any] | None, after: dict[str, Any], **changes: Any) -> Move:
    fields: dict[str, Any] = {"open_time": OPENED, "method": CARD}
    known = None if before is None else Seen(**before)
    now = revision(seen=after, **(fields | changes))
    return Move(before=known, after=replace(now, seen=now_seen(known, now)))


def figures(*moves: Move, split: Split | None = None) -> dict[tuple[str, str], Counter[str]]:
    """Return what moves add, by what it is of; all of one day and currency."""
    found: dict[tuple[str, str], Counter[str]] = {}
    for place, amount in added([(move, split) for move in moves]).items():
        found.setdefault((place.dimension, place.subject), Counter())[place.figure] += amount
    return found


def split_of(*lines: tuple[str, int], platform_minor: int = 0) -> Split:
    parts = [
        LinePart(line_id=f"line_{number}", seller_id=seller_id, gross_minor=minor, seller_minor=minor)
        for number, (seller_id, minor) in enumerate(lines)
    ]
    if platform_minor:
        parts.append(
            LinePart(
                line_id="own",
                seller_id="main",
                gross_minor=platform_minor,
                seller_minor=platform_minor,
                is_platform=True,
            )
        )
    return Split(lines=tuple(parts))


# What a move adds.


def test_a_payment_that_is_paid_counts_once_for_each_whom_it_concerns() -> None:
    started = moved(None, {}, number=1, method={})
    paid = moved({"collection": "PROCESSING"}, PAID)

    counted = figures(started, paid, split=split_of(("guide", 1_000)))

    whole = {"STARTED": 1, "CONVERTED": 1, "PAID": 1, "REVENUE": 1_000, "TOOK:120": 1, "TOOK_S": 90}
    assert counted["ALL", ""] == whole
    assert counted["SELLER", "guide"] == whole
    assert counted["METHOD", "card"] == {"PAID": 1, "REVENUE": 1_000, "TOOK:120": 1, "TOOK_S": 90}


@pytest.mark.parametrize(
    ("before", "after", "adds"),
    [
        (PAID, PAID, {}),
        (PAID, PAID | {"refunded_minor": 300}, {"REFUNDED": 300}),
        (PAID | {"refunded_minor": 300}, PAID, {"REFUNDED": -300}),
        ({}, {"decline_count": 1}, {"DECLINED:insufficient_funds": 1}),
        ({"decline_count": 1}, {"decline_count": 1}, {}),
        # Held, captured in part, then done: the payer took until it was held, and pays what was captured.
        ({}, {"collection": "AUTHORIZED"}, {"TOOK:120": 1, "TOOK_S": 90}),
        (
            {"collection": "AUTHORIZED", "was_held": True},
            {"collection": "AUTHORIZED", "captured_minor": 400},
            {"REVENUE": 400},
        ),
        (
            {"collection": "PROCESSING", "captured_minor": 400, "was_held": True},
            PAID,
            {"REVENUE": 600, "PAID": 1, "CONVERTED": 1},
        ),
        # Charged by plan: nobody waits for that.
        (
            {"collection": "PROCESSING", "is_unattended": True},
            PAID,
            {"REVENUE": 1_000, "PAID": 1, "CONVERTED": 1},
        ),
        # Status lost its last commits: what was not true is taken back.
        (PAID, {"collection": "PROCESSING"}, {"REVENUE": -1_000, "PAID": -1, "CONVERTED": -1}),
        # Nothing to collect.
        ({}, {"collection": "SUCCEEDED"}, {}),
    ],
)
def test_what_a_move_adds(before: dict[str, Any], after: dict[str, Any], adds: dict[str, int]) -> None:
    move = moved(before, after, decline_code="insufficient_funds", error_code="card_declined")

    assert figures(move).get(("ALL", ""), Counter()) == adds


def test_what_is_free_is_not_started_and_what_was_followed_late_has_no_days() -> None:
    assert figures(moved(None, {}, number=1, total_minor=0)) == {}
    assert figures(moved(None, PAID, number=7)) == {}


def test_a_decline_without_a_code_has_one() -> None:
    assert figures(moved({}, {"decline_count": 2}))["ALL", ""] == {"DECLINED:unknown": 2}


def test_days_are_those_of_zurich_and_a_conversion_counts_on_the_day_of_the_start() -> None:
    before_midnight, after_midnight = (datetime(2026, 7, 1, 21, 59, tzinfo=UTC), datetime(2026, 7, 1, 22, tzinfo=UTC))
    paid = moved({}, PAID, open_time=before_midnight, record_time=after_midnight)

    days = {place.figure: place.day for place in added([(paid, None)]) if place.dimension is Dimension.ALL}

    assert (days["CONVERTED"], days["PAID"]) == (date(2026, 7, 1), date(2026, 7, 2))
    assert day_of(datetime(2026, 1, 1, 22, 59, tzinfo=UTC)) == date(2026, 1, 1)


def test_what_is_captured_falls_to_sellers_by_their_lines_and_nothing_is_lost() -> None:
    split = split_of(("guide", 333), ("guide", 334), ("hut", 333), platform_minor=100)
    parts = [0, 1, 500, 777, 1_100]
    moves = [
        moved({"captured_minor": before}, {"captured_minor": after}, seller_ids=("guide", "hut"), total_minor=1_100)
        for before, after in pairwise(parts)
    ]

    counted = figures(*moves, split=split)

    assert counted["SELLER", "guide"]["REVENUE"] == 667
    assert counted["SELLER", "hut"]["REVENUE"] == 333
    back = moved(PAID, PAID | {"refunded_minor": 200})
    assert ("SELLER", "guide") not in figures(back, split=split), "whose it is, is not known"
    alone = split_of(("guide", 600), ("guide", 400))
    assert figures(back, split=alone)["SELLER", "guide"] == {"REFUNDED": 200}


@pytest.mark.parametrize("seed", range(5))
def test_whatever_comes_twice_or_again_figures_are_what_payments_are(seed: int) -> None:
    """Random histories, heard in random pieces that overlap."""
    chance, known, total = random.Random(seed), {}, Counter[str]()
    histories: dict[str, list[Revision]] = {}
    for number in range(20):
        history, captured, refunded, declines = [], 0, 0, 0
        for step in range(1, chance.randint(2, 9)):
            captured = max(captured, chance.choice([0, 0, 500, 1_000]))
            refunded, declines = chance.randint(0, captured), declines + chance.randint(0, 1)
            collection = "SUCCEEDED" if captured else chance.choice(["PROCESSING", "FAILED"])
            seen = {
                "collection": collection if step > 1 else "INITIALIZED",
                "captured_minor": captured if step > 1 else 0,
                "refunded_minor": refunded if step > 1 else 0,
                "decline_count": declines,
            }
            history.append(revision(step, payment_id=f"pay_{number}", seen=seen, open_time=OPENED))
        histories[f"pay_{number}"] = history
    news = [one for history in histories.values() for one in history]
    pieces = [news[: chance.randint(1, len(news))] for _ in range(4)] + [news]
    for piece in pieces:
        heard = hear("main", known, piece)
        known |= {payment_id: (one.revision, one.seen) for payment_id, one in heard.last.items()}
        for place, amount in added([(move, None) for move in heard.moves]).items():
            if place.dimension is Dimension.ALL:
                total[place.figure] += amount

    last = [history[-1].seen for history in histories.values()]
    assert total["STARTED"] == len(histories)
    assert total["REVENUE"] == sum(seen.captured_minor for seen in last)
    assert total["REFUNDED"] == sum(seen.refunded_minor for seen in last)
    assert total["DECLINED:unknown"] == sum(seen.decline_count for seen in last)
    assert total["PAID"] == total["CONVERTED"] == sum(seen.collection == "SUCCEEDED" for seen in last)


# What figures say together.


def test_how_long_payers_took_is_read_off_the_buckets() -> None:
    def took(**numbers: int) -> Any:
        counted = {name.replace("up_to_", "TOOK:"): count for name, count in numbers.items()}
        return Row(subject="", day=None, currency_code="CHF", numbers=counted).time_to_pay

    assert (took().at_share(50), took().count) == (0, 0)
    assert took(up_to_15=10).at_share(50) == 7
    half = took(up_to_60=5, up_to_120=5)
    assert (half.at_share(50), half.at_share(90)) == (60, 108)
    assert took(up_to_0=3).at_share(50) == BOUNDS_S[-1], "of those beyond the last bound no more is known"
    assert took(up_to_30=1, up_to_0=1).buckets == ((30, 1), (0, 1))


def test_declines_are_the_most_frequent_first() -> None:
    row = Row(subject="", day=None, currency_code="CHF", numbers={"DECLINED:b": 2, "DECLINED:a": 2, "DECLINED:c": 3})

    assert row.declines == [("c", 3), ("a", 2), ("b", 2)]


# What is asked and answered.


@pytest.fixture
async def ops(replica: Orchestrator) -> AsyncIterator[OrchestratorOpsServiceStub]:
    async with replica.connect_ops() as stub:
        yield stub


@pytest.fixture
async def rows(database: ServiceDatabase) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(plain_dsn(database.owner_url))
    yield connection
    await connection.close()


def ask(start: str = "2020-01-01", end: str = "2020-12-31", **changes: Any) -> pb.GetPaymentFiguresRequest:
    return pb.GetPaymentFiguresRequest(**({"start_date": start, "end_date": end} | changes))


async def test_figures_follow_what_payments_do(
    replica: Orchestrator,
    orchestrator: OrchestratorServiceStub,
    ops: OrchestratorOpsServiceStub,
    journeys: Journeys,
    rows: asyncpg.Connection,
) -> None:
    today, day = day_of(datetime.now(UTC)), timedelta(days=1)  # by status's clock, which no test moves
    span = {"start": str(today - day), "end": str(today + day)}

    async def now(**changes: Any) -> Counter[str]:
        """Return all figures of the span, whichever days they fall on."""
        answer = await ops.GetPaymentFigures(ask(**span, currency_code="CHF", **changes))
        total: Counter[str] = Counter()
        for row in answer.rows:
            total += Counter(
                started=row.started_count,
                converted=row.converted_count,
                paid=row.paid_count,
                revenue=row.revenue_minor,
                refunded=row.refunded_minor,
                took=row.time_to_pay.count,
                **{f"declined {one.code}": one.count for one in row.declines},
            )
        return total

    async def is_heard(*payment_ids: str) -> None:
        for payment_id in payment_ids:
            revision_now = (await journeys.payment(payment_id)).revision

            async def caught_up(payment_id: str = payment_id, revision_now: int = revision_now) -> bool:
                await replica.hear()
                known = "SELECT revision FROM followed_payments WHERE payment_id = $1"
                return bool(await rows.fetchval(known, payment_id) == revision_now)

            await eventually(caught_up)

    await is_heard(await journeys.started())  # and so all that other tests did before
    before, before_card = await now(), await now(method_type="card")
    unpaid = await journeys.started()
    paid = await journeys.started()
    await orchestrator.SubmitPayment(submit(paid, DECLINED_CARD))
    await orchestrator.SubmitPayment(submit(paid))
    await orchestrator.RefundPayment(refund(paid, 2_500))
    held = (await orchestrator.StartPayment(hold())).session.payment.payment_id
    await orchestrator.SubmitPayment(submit(held))
    await is_heard(unpaid, paid, held)

    grown = {"paid": 1, "revenue": TOTAL_MINOR, "refunded": 2_500, "took": 2, "declined insufficient_funds": 1}
    after = await now()
    after.subtract(before)
    assert +after == Counter(started=3, converted=1, **grown)
    by_card = await now(method_type="card")
    by_card.subtract(before_card)
    assert +by_card == Counter(grown)
    seller_id = (await journeys.payment(paid)).seller_ids[0]
    of_seller = await now(seller_id=seller_id)
    by_sellers = await ops.GetPaymentFigures(ask(**span, by=BY.BY_SELLER, currency_code="CHF"))
    [row] = [row for row in by_sellers.rows if row.seller_id == seller_id]
    assert (row.paid_count, row.revenue_minor, row.date) == (of_seller["paid"], of_seller["revenue"], "")
    assert by_sellers.HasField("heard_time")

    whole = await now()
    await rows.execute("UPDATE feeds SET cursor = 'of another database' WHERE tenant_id = 'main'")
    await replica.hear()
    await is_heard(unpaid, paid, held)
    assert await now() == whole, "what is heard again adds nothing"
    async with replica.connect_ops(tenant="other") as elsewhere:
        assert not (await elsewhere.GetPaymentFigures(ask(**span))).rows


async def kept(
    rows: asyncpg.Connection, tenant_id: str, numbers: Sequence[tuple[str, str, str, str, str, int]]
) -> None:
    """Keep numbers of a tenant of a test's own: dimension, subject, day, currency, figure, amount."""
    await rows.executemany(
        "INSERT INTO payment_figures VALUES ($1, $2, $3, $4, $5, $6, $7)",
        [(tenant_id, one[0], one[1], date.fromisoformat(one[2]), *one[3:]) for one in numbers],
    )


async def test_rows_come_page_by_page(replica: Orchestrator, rows: asyncpg.Connection) -> None:
    tenant_id = f"tenant-{new_id()}"
    days = [f"2020-03-{day:02}" for day in (1, 2, 3)]
    await kept(rows, tenant_id, [("ALL", "", day, code, "PAID", 1) for day in days for code in ("CHF", "EUR")])
    sellers = [f"seller_{number}" for number in range(5)]
    await kept(rows, tenant_id, [("SELLER", one, day, "CHF", "PAID", 1) for one in sellers for day in days])
    await kept(rows, tenant_id, [("SELLER", "seller_0", "2020-03-01", "EUR", "PAID", 7)])
    await kept(rows, tenant_id, [("METHOD", "twint", "2020-03-02", "CHF", "REVENUE", 5)])
    async with replica.connect_ops(tenant=tenant_id) as ops:

        async def walk(**changes: Any) -> list[tuple[str, ...]]:
            found, request = [], ask(page_size=2, **changes)
            while True:
                answer = await ops.GetPaymentFigures(request)
                found += [
                    (row.date or row.seller_id or row.method_type, row.currency_code, row.paid_count)
                    for row in answer.rows
                ]
                if not answer.next_page_token:
                    return found
                request.page_token = answer.next_page_token

        assert await walk() == [(day, code, 1) for day in days for code in ("CHF", "EUR")]
        assert await walk(currency_code="EUR", start="2020-03-02", end="2020-03-02") == [("2020-03-02", "EUR", 1)]
        by_seller = await walk(by=BY.BY_SELLER)
        assert by_seller == [
            ("seller_0", "CHF", 3),
            ("seller_0", "EUR", 7),
            *((one, "CHF", 3) for one in sellers[1:]),
        ]
        assert await walk(by=BY.BY_SELLER, start="2021-01-01", end="2021-01-01") == [], "all are passed over"
        assert await walk(by=BY.BY_METHOD) == [("twint", "CHF", 0)]
        assert await walk(seller_id="seller_1") == [(day, "CHF", 1) for day in days]
        token = (await ops.GetPaymentFigures(ask(page_size=2))).next_page_token
        assert token
        for wrong in (ask(page_token=token, currency_code="CHF"), ask(page_token=token_for("x", walk="figures"))):
            assert (await refused(ops.GetPaymentFigures(wrong))).reason == "PAGE_TOKEN_INVALID"


async def test_a_page_reads_no_more_than_it_adds_up(rows: asyncpg.Connection) -> None:
    tenant_id = f"tenant-{new_id()}"
    await rows.execute(
        """INSERT INTO payment_figures
           SELECT $1, 'SELLER', 'seller_' || to_char(s, 'FM0000'), date '2020-01-01' + d, 'CHF', 'PAID', 1
           FROM generate_series(1, 400) s, generate_series(0, 49) d""",
        tenant_id,
    )
    await rows.execute("ANALYZE payment_figures")
    day = date(2020, 1, 10)
    one = (tenant_id, "SELLER", "seller_0007", day, day, "", day, "", 401)
    assert len(await rows.fetch(store.BY_DAY, *one)) == 1
    assert await rows_read(rows, store.BY_DAY, *one) <= 5
    ten = (tenant_id, "SELLER", day, day, "", "seller_0100", 10)
    first, *_ = await rows.fetch(store.BY_SUBJECT, *ten)
    assert first["subject"] == "seller_0101"
    assert await rows_read(rows, store.BY_SUBJECT, *ten) <= 100


@pytest.mark.parametrize(
    ("wanted", "path", "reason"),
    [
        ({"start": ""}, "start_date", "FIELD_MISSING"),
        ({"end": ""}, "end_date", "FIELD_MISSING"),
        ({"start": "1.1.2020"}, "start_date", "FIELD_INVALID"),
        ({"start": "2020-02-30"}, "start_date", "FIELD_INVALID"),
        ({"end": "2019-12-31"}, "end_date", "FIELD_INVALID"),
        ({"end": "2021-01-01"}, "end_date", "FIELD_INVALID"),
        ({"by": 99}, "by", "FIELD_INVALID"),
        ({"by": BY.BY_METHOD, "seller_id": "s"}, "by", "FIELD_INVALID"),
        ({"seller_id": "s", "method_type": "card"}, "method_type", "FIELD_INVALID"),
        ({"method_type": "a card"}, "method_type", "FIELD_INVALID"),
        ({"currency_code": "chf"}, "currency_code", "FIELD_INVALID"),
        ({"page_size": 1001}, "page_size", "FIELD_INVALID"),
    ],
)
async def test_figures_that_make_no_sense_are_refused(
    ops: OrchestratorOpsServiceStub, wanted: dict[str, Any], path: str, reason: str
) -> None:
    refusal = await refused(ops.GetPaymentFigures(ask(**wanted)))

    assert (refusal.reason, refusal.field) == (reason, path)
