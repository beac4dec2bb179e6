"""Stripe and we say the same, or it is said what is different: each planted fault is found, what is safe is mended."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from batzen.gateway.v1 import ops_pb2
from batzen.type.v1.money_pb2 import Money
from local.issuer import Issuer
from sandbox.control import SandboxControl
from services.gateway.reconciliation import repairs, standing
from services.gateway.reconciliation.domain import IN_TRANSIT_MAX, Kind
from services.gateway.reconciliation.metrics import ReconciliationMetrics
from services.gateway.reconciliation.schedule import ScheduleSettings, daily, schedule
from services.gateway.reconciliation.store import Tally
from services.runtime.observability.metrics import Meter
from services.runtime.process.lifecycle import StartRefused
from services.runtime.process.service import OwnerSettings
from services.runtime.rpc.call_context import acting_for
from services.runtime.work.kinds import WorkClass
from tests.clock import Clock
from tests.conftest import Databases
from tests.eventually import eventually
from tests.gateway.clocks import level
from tests.gateway.conftest import Sink, running_gateway
from tests.gateway.reconciling import Reconciling, Report, kinds, reconciling, remainder
from tests.gateway.samples import refusal, refused
from tests.gateway.settling import TENANT, part
from tests.metrics import Figures

PLAIN = {"reverse_transfer": False, "refund_application_fee": False}
"""Of a refund: what sellers give back follows by calls of its own."""


@pytest.fixture(scope="module")
async def platform(
    databases: Databases, stripe: SandboxControl, sink: tuple[Sink, str], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Reconciling]:
    """A gateway with books and a Stripe account of its own, and a clock that is ahead of Stripe's."""
    database, clock, meter = await databases.create("gateway"), Clock(), Meter()
    await level(clock, stripe)  # what the stand-in makes is not to be of a time to come
    start = partial(
        running_gateway,
        database.runtime_url,
        stripe_key=f"sk_test_{secrets.token_hex(16)}",
        stripe_base=stripe.base_url,
        sink_address=sink[1],
        issuer=Issuer(tmp_path_factory.mktemp("reconciled") / "keys", now=clock.now),
        clock=clock,
    )
    async with start(meter=meter) as replica, reconciling(replica, database, stripe, clock, meter, start) as made:
        yield made
    await databases.drop(database)


async def test_a_clean_month_leaves_nothing(platform: Reconciling) -> None:
    payments, carts, stripe = platform.payments, platform.carts, platform.stripe
    first = await payments.paid()
    await payments.gateway.CreateRefund(payments.refund_request(first, 4_000, **PLAIN))
    lost = await payments.paid()
    await stripe.dispute(await payments.intent_id(lost), amount=3_000)
    cart = await carts.paid(part(await carts.seller(), 10_000), part(await carts.seller(), 5_000))
    for payment_id in (first, lost, cart):
        await platform.synced(payment_id)
    await stripe.top_up(platform.account, 5_000, currency="chf")
    payout = await stripe.pay_out(platform.account, currency="chf", amount=2_000, automatic=False)
    await stripe.move_payout(payout["id"], "failed", failure_code="account_closed")
    swept = await stripe.pay_out(platform.account, currency="chf")
    await stripe.reconcile_payout(swept["id"])
    await platform.read_on()

    report = await platform.run()

    assert not report.differences, report.differences
    assert (remainder(report), report.problem, report.cut_short) == ({"CHF": 0}, "", "")
    assert {one.list for one in report.sums if one.matched_count} == {
        "balance_transactions", "charges", "refunds", "transfers", "application_fees", "disputes", "payouts", "clearing"
    }  # fmt: skip
    code, said = await platform.by_command_line()
    assert (code, "remainder 0.00 CHF" in said, "say the same" in said) == (0, True, True), said
    [balance] = [one for one in report.sums if one.list == "balance_transactions"]
    shown = await stripe.balance(platform.account)
    assert balance.matched.amount_minor == sum(
        one["amount"] for name in ("available", "pending") for one in shown[name]
    )


async def test_a_residue_of_exchange_is_never_netted_with_another_currency(platform: Reconciling) -> None:
    payments, carts, stripe = platform.payments, platform.carts, platform.stripe
    await stripe.settle_in(platform.account, "chf", currencies=["chf", "eur"], rates={"usd": "0.90"})
    eur = Money(amount_minor=10_000, currency_code="EUR")
    clean = await payments.paid(amount=eur, application_fee=Money(amount_minor=1_500, currency_code="EUR"))
    usd = Money(amount_minor=10_000, currency_code="USD")
    no_fee = Money(currency_code="USD")
    exchanged = await carts.paid(part(await carts.seller(), 10_000), amount=usd, application_fee=no_fee)
    for payment_id in (clean, exchanged):
        await platform.synced(payment_id)
    await platform.read_on()
    [charge] = await payments.charges(exchanged)
    await stripe.change_booking(charge["balance_transaction"], amount=9_007)

    report = await platform.run()

    assert kinds(report) == {"AMOUNT": {charge["balance_transaction"]}}
    assert remainder(report) == {"CHF": 7, "EUR": 0, "USD": 0}


async def test_the_way_back_of_an_exchanged_destination_charge_is_in_what_it_was_exchanged_into(
    platform: Reconciling,
) -> None:
    payments, stripe = platform.payments, platform.stripe
    await stripe.settle_in(platform.account, "chf", rates={"usd": "0.90"})

    def usd(minor: int) -> Money:
        return Money(amount_minor=minor, currency_code="USD")

    payment_id = await payments.paid(amount=usd(10_000), application_fee=usd(1_500))
    await stripe.settle()
    await platform.synced(payment_id)

    await payments.gateway.CreateRefund(
        payments.refund_request(payment_id, 4_000, amount=usd(4_000), expected_refundable=usd(10_000))
    )
    await platform.synced(payment_id)

    [transfer] = await stripe.objects(
        "transfer", transfer_group=(await payments.charges(payment_id))[0]["transfer_group"]
    )
    [charge] = await payments.charges(payment_id)
    [fee] = [one for one in await stripe.objects("application_fee") if one["charge"] == charge["id"]]
    assert (transfer["currency"], transfer["amount"], transfer["amount_reversed"]) == ("chf", 9_000, 3_600)
    assert (fee["currency"], fee["amount"], fee["amount_refunded"]) == ("chf", 1_350, 540)
    await platform.read_on()
    report = await platform.run()
    assert not [one for one in report.differences if one.payment_id == payment_id], report.differences


async def test_what_moved_abroad_is_so_much_of_the_payment_by_the_rate_of_its_charge(platform: Reconciling) -> None:
    payments, stripe = platform.payments, platform.stripe
    await stripe.settle_in(platform.account, "chf", rates={"usd": "0.90"})
    usd = [Money(amount_minor=minor, currency_code="USD") for minor in (10_000, 1_500, 6_000, 900)]
    payment_id = await payments.held(amount=usd[0], application_fee=usd[1])
    await payments.gateway.CaptureIntent(payments.capture_request(payment_id, amount=usd[2], application_fee=usd[3]))
    await stripe.settle()
    with acting_for(TENANT):
        await platform.replica.parts.reader.resync(TENANT, payment_id, origin="test", with_movements=True)

    kept = (await platform.replica.parts.store.require(TENANT, payment_id)).movements.values()
    assert {(one.kind, one.charge_minor, one.amount_minor, one.currency_code) for one in kept} == {
        ("TRANSFER", 6_000, 5_400, "CHF"),
        ("FEE", 900, 810, "CHF"),
    }


async def test_planted_faults_are_all_found_and_what_is_safe_is_mended(platform: Reconciling, tmp_path: Path) -> None:
    payments, carts, stripe = platform.payments, platform.carts, platform.stripe
    dropped = await carts.paid(part(await carts.seller(), 10_000))
    doubled, wrong, without_fee, only_here = [await payments.paid() for _ in range(4)]
    await payments.gateway.CreateRefund(payments.refund_request(doubled, 2_000, **PLAIN))
    for payment_id in (dropped, doubled, wrong, without_fee, only_here):
        await platform.synced(payment_id)
    topped_up = await stripe.top_up(platform.account, 5_000, currency="chf")
    payout = await stripe.pay_out(platform.account, currency="chf")
    await stripe.reconcile_payout(payout["id"])
    mystery = await stripe.book(platform.account, "issuing_disputed", amount=-77, currency="chf")
    await platform.read_on()
    before = kinds(await platform.run())

    [transfer] = await carts.transfers(dropped)
    again = await stripe.refund(await payments.intent_id(doubled), amount=2_000)
    [changed], [gone], [feeless] = [await payments.charges(one) for one in (wrong, only_here, without_fee)]
    only_there = await platform.paid_elsewhere()
    missed = await stripe.book(platform.account, "stripe_fee", amount=-450, currency="chf")
    await stripe.change_booking(changed["balance_transaction"], amount=10_100)
    await stripe.change_booking(topped_up["balance_transaction"], amount=5_001)
    await platform.add_to_entry(f"captured:{feeless['id']}:10000", 1)
    for stripe_id in (transfer["id"], gone["id"], feeless["application_fee"]):
        await stripe.forget(stripe_id)
    report = await platform.run()

    found = kinds(report)
    assert before["UNCLASSIFIED"] == {f"bt:{mystery['id']}"}
    assert found["MISSING_THERE"] == {transfer["id"], gone["id"], feeless["application_fee"]}
    assert {again["id"], only_there["latest_charge"], missed["id"]} <= found["MISSING_HERE"]
    assert {changed["balance_transaction"], topped_up["balance_transaction"]} <= found["AMOUNT"]
    assert found["PAYOUT"] == {payout["id"]}
    assert found["LEDGER_UNBALANCED"] == {f"captured:{feeless['id']}:10000"}
    assert remainder(report)["CHF"] > 0
    figures = await platform.figures()
    assert (figures["clean"], figures["LEDGER_UNBALANCED"], figures["MISSING_THERE"]) == (0, 1, 3)

    file = tmp_path / "report.html"
    code, said = await platform.by_command_line("--html", str(file))
    written = file.read_text(encoding="utf-8")
    assert code == 1
    assert all(one["id"] in written and one["id"][:9] in said for one in (again, transfer))
    assert (await platform.by_command_line("--json"))[1].strip().endswith("}")

    report = await platform.run(repair=True)
    mended = {one.stripe_id: one.repair_reason for one in report.differences if one.repaired}
    assert mended[missed["id"]] == repairs.BOOKED
    assert mended[again["id"]] == repairs.READ
    assert only_there["latest_charge"] not in mended
    report = await platform.run()
    found = kinds(report)
    assert not {again["id"], missed["id"]} & found["MISSING_HERE"]
    assert found["UNASKED"] == {again["id"]}
    assert not report.repaired_count
    [unknown] = [one for one in report.differences if one.stripe_id == only_there["latest_charge"]]
    assert (unknown.payment_id, unknown.theirs.amount_minor, unknown.ours.amount_minor) == ("", 4_200, 0)


async def test_a_run_is_asked_for_once_and_only_of_a_span_that_is_one(platform: Reconciling) -> None:
    request = platform.request()
    begun = await platform.ops.Reconcile(request)
    assert begun == await platform.ops.Reconcile(request)
    request.repair = True
    assert (await refusal(platform.ops.Reconcile(request)))[1] == "REQUEST_ID_REUSED"

    for seconds in (0, 31 * 86_400 + 1):
        wrong = platform.request()
        wrong.end_time.FromDatetime(wrong.start_time.ToDatetime() + timedelta(seconds=seconds))
        assert (await refused(platform.ops.Reconcile(wrong)))[1:3] == ("FIELD_INVALID", "end_time")
    unknown = ops_pb2.GetReconciliationRequest(reconciliation_id="reconciliation_a")
    assert (await refusal(platform.ops.GetReconciliation(unknown)))[1] == "RECONCILIATION_NOT_FOUND"
    report = await platform.ended(begun.reconciliation_id)
    pages = await platform.pages(begun.reconciliation_id, size=1)
    assert pages == list(report.differences)
    forged = ops_pb2.GetReconciliationRequest(reconciliation_id=begun.reconciliation_id, page_token="forged")
    assert (await refusal(platform.ops.GetReconciliation(forged)))[1] == "PAGE_TOKEN_INVALID"


async def test_what_waits_for_too_long_is_found_and_made_due(platform: Reconciling) -> None:
    payments, carts, stripe = platform.payments, platform.carts, platform.stripe
    cart = await carts.paid(part(await carts.seller(), 10_000), settlement_terms=platform.paid_later(days=2))
    young = kinds(await platform.run())
    charge_ids = {one["id"] for one in await payments.charges(cart)}
    assert not charge_ids & (young.get("NOT_SETTLED", set()) | young.get("CLEARING_OLD", set()))

    await platform.execute("DELETE FROM settlements WHERE payment_id = $1", cart)
    assert charge_ids <= kinds(await platform.run())["NOT_SETTLED"]
    report = await platform.run(repair=True)
    [woken] = [one for one in report.differences if one.payment_id == cart and one.list == "settlement"]
    assert (woken.repaired, woken.repair_reason, woken.ours.amount_minor) == (False, standing.WOKEN, 8_500)
    assert not charge_ids & kinds(await platform.run()).get("NOT_SETTLED", set())

    unread = await payments.charges(await payments.paid())
    await stripe.settle()
    assert unread[0]["id"] not in kinds(await platform.run()).get("CLEARING_OLD", set())
    platform.clock.advance(IN_TRANSIT_MAX)
    assert unread[0]["id"] in kinds(await platform.run())["CLEARING_OLD"]


def matched(report: Report) -> dict[str, int]:
    """Return how many of each of Stripe's lists were the same on both sides, in francs."""
    ours = "settlement"
    return {
        one.list: one.matched_count for one in report.sums if one.matched.currency_code == "CHF" and one.list != ours
    }


async def test_a_run_goes_on_where_it_stopped_when_its_process_ends(platform: Reconciling) -> None:
    before = await platform.run()
    await platform.stripe.fault("server_error", route="GET /v1/refunds", times=None)
    begun = await platform.ops.Reconcile(platform.request())
    stopped = await platform.stopped_at(begun.reconciliation_id, "refunds")
    await platform.stripe.clear_faults()
    async with platform.another() as replica, replica.connect_ops() as ops:
        platform.clock.advance(timedelta(minutes=1))
        platform.replica.parts.work.wake(WorkClass.READS)
        replica.parts.work.wake(WorkClass.READS)
        report = await platform.ended(begun.reconciliation_id)
        assert (
            await ops.GetReconciliation(ops_pb2.GetReconciliationRequest(reconciliation_id=begun.reconciliation_id))
            == report
        )
    assert {one.list for one in stopped.sums} == {"balance_transactions", "charges"}
    # What other tests left is settled meanwhile, and only adds: nothing is left out over the stop, nor counted twice.
    least, came_to, most = matched(before), matched(report), matched(await platform.run())
    assert least.keys() == came_to.keys() == most.keys()
    assert all(least[name] <= came_to[name] <= most[name] for name in came_to), (least, came_to, most)


async def test_what_was_mended_before_a_crash_is_told_as_found_and_mended(platform: Reconciling) -> None:
    runs, stripe = platform.replica.parts.reconciliations, platform.stripe
    missed = await stripe.book(platform.account, "stripe_fee", amount=-333, currency="chf")
    await stripe.fault("server_error", route="GET /v1/balance_transactions", times=None)
    begun = await platform.ops.Reconcile(platform.request(repair=True))
    await platform.put_back(begun.reconciliation_id)
    await stripe.clear_faults()
    with acting_for(TENANT):
        for crashes in (False, True):  # what is different is kept, and then it is mended
            run = await runs.store.require(TENANT, begun.reconciliation_id)
            assert run.position is not None
            if crashes:
                assert run.position.is_mending
                await runs.step(run, run.position)
            assert await runs.store.keep(run, await runs.step(run, run.position))
            assert not await runs.store.keep(run, await runs.step(run, run.position))
    [one] = [one for one in await platform.pages(begun.reconciliation_id, size=50) if one.stripe_id == missed["id"]]
    assert (one.repaired, one.repair_reason) == (True, repairs.BOOKED)
    booked = await platform.owner.fetch("SELECT FROM ledger_entries WHERE fact = $1", f"bt:{missed['id']}")
    assert len(booked) == 2


async def test_the_run_of_a_day_is_asked_for_once(platform: Reconciling) -> None:
    settings = ScheduleSettings(
        owner=OwnerSettings(owner_url=platform.database.owner_url, runtime_url=platform.database.runtime_url),
        tenant_id=TENANT,
    )
    for _ in range(2):
        await schedule(settings, ["7"])
    asked = await platform.owner.fetch("SELECT since, until FROM reconciliations WHERE actor_id = 'schedule'")
    assert [(one["until"] - one["since"]).days for one in asked] == [7]
    for wrong in ([], ["0"], ["32"], ["week"], ["1", "2"]):
        with pytest.raises(StartRefused):
            await schedule(settings, wrong)


async def test_each_process_shows_the_last_run_and_how_old_it_is(platform: Reconciling) -> None:
    await platform.all_ended()  # none of another test ends last
    await platform.paid_elsewhere()
    await platform.run()
    platform.clock.advance(timedelta(hours=30))
    meter = Meter()
    async with platform.another(meter=meter):

        async def shown() -> Figures | None:
            now = Figures.read(await meter.text())
            return now if now.says("batzen_reconciliation_findings", "kind") else None

        now = await eventually(shown, what="it looked up what was compared last")
    hour_s = timedelta(hours=1).total_seconds()
    assert 30 * hour_s <= now["batzen_reconciliation_age_seconds"] < 31 * hour_s
    assert now.of("batzen_reconciliation_findings", kind="MISSING_HERE") >= 1
    assert now["batzen_reconciliation_clean"] == 0


async def test_a_currency_without_a_difference_any_more_is_shown_as_zero() -> None:
    meter = Meter()
    metrics = ReconciliationMetrics(meter)
    run = daily("main", Clock(), days=1)
    euros = Tally(kind=Kind.AMOUNT, currency_code="EUR", count=1, remainder_minor=250, repaired_count=0)
    metrics.show(run, [euros], age=timedelta(hours=1))
    before = Figures.read(await meter.text())
    metrics.show(run, [], age=timedelta(0))
    now = Figures.read(await meter.text())

    remainder_of = "batzen_reconciliation_remainder_minor"
    assert (before.of(remainder_of, currency="EUR"), now.of(remainder_of, currency="EUR")) == (250, 0)
    assert (before["batzen_reconciliation_findings"], now["batzen_reconciliation_findings"]) == (1, 0)
    assert (before["batzen_reconciliation_clean"], now["batzen_reconciliation_clean"]) == (0, 1)
    assert before["batzen_reconciliation_age_seconds"] == timedelta(hours=1).total_seconds()


async def test_where_nothing_was_ever_compared_its_age_is_that_of_the_account() -> None:
    meter = Meter()
    ReconciliationMetrics(meter).show(None, [], age=timedelta(days=2))
    now = Figures.read(await meter.text())

    assert now["batzen_reconciliation_age_seconds"] == timedelta(days=2).total_seconds()
    assert now["batzen_reconciliation_clean"] == 0
