"""The pages of payments in the console, in each of their states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from starlette.datastructures import QueryParams

from services.console.amounts import written
from services.console.desk import Shell
from services.console.payments import filters
from services.console.payments.offers import Offer
from services.console.payments.page import DASHBOARD, Sheet
from services.console.payments.parts import AttemptRow, Booking, Record
from services.console.payments.reading import Missing
from services.console.payments.shown import Badge, moment_of
from services.console.payments.table import CHOICES, Row, Table
from services.console.payments.timeline import Entry
from services.console.payments.verdict import Finding, Line, Verdict
from services.web.failures import Failure
from services.web.security.headers import PageKind
from tests.web.state import State

SHELL: Final = Shell(here="payments", operator="anna", may_act=True, form="form")
READER: Final = Shell(here="payments", operator="ruth", may_act=False, form="form")
TROUBLE: Final = Failure(
    status=503,
    code="DEPENDENCY_UNAVAILABLE",
    message="Status does not answer.",
    field=None,
    recoverable=True,
    retryable=True,
    retry_after=1,
    correlation_id="5f0e8c1f7a9d4f6f9d0a64c2f5b1c3d7",
)


def state(template: str, values: Mapping[str, object], *, shell: Shell = SHELL) -> State:
    """Return a page of the console in one state."""
    return State(front="console", template=template, values=lambda _: {"shell": shell, **values}, kind=PageKind.CONSOLE)


PAYMENT_ID: Final = "pay_01m8kqdmt5akn315sb8p8ewpdc"
LIVE: Final = "/payments/live?after=cursor"
NOW: Final = datetime(2026, 11, 29, 13, 5, 7, tzinfo=UTC)
AT: Final = moment_of(NOW)


def row(number: int, state_of: Badge, total: str, **more: Any) -> Row:
    """Return one payment of the table."""
    given: dict[str, Any] = {"moved": "", "method": "Visa •••• 4242", "payer_id": "payer_17", "attention": ()} | more
    return Row(
        payment_id=f"{PAYMENT_ID[:-2]}{number:02}",
        revision=4,
        state=state_of,
        total=total,
        opened=moment_of(NOW - timedelta(minutes=7 * number)),
        **given,
    )


ROWS: Final = (
    row(1, Badge("Awaits method", "quiet"), written(4_550, "CHF"), method=""),
    row(2, Badge("Authorized", "busy"), written(9_900, "CHF"), moved=f"{written(9_900, 'CHF')} held"),
    row(3, Badge("Disputed", "bad"), written(125_000, "CHF"), attention=("Dispute due",)),
    row(4, Badge("Partly refunded", "warn"), written(75_000, "EUR"), moved=f"{written(2_500, 'EUR')} back"),
    row(5, Badge("Succeeded", "good"), written(1_234_567, "JPY"), method="Twint", payer_id="payer_" + "x" * 60),
)


def table(query: str = "", *, rows: Sequence[Row] = ROWS, **more: Any) -> Mapping[str, object]:
    """Return the table with the filters of an address."""
    given: dict[str, Any] = {
        "rows": rows,
        "next": "",
        "first": "",
        "here": "/payments",
        "csv": "/payments.csv" if rows else "",
        "live": LIVE,
    }
    return {"table": Table(filters=filters.read(QueryParams(query))[0], **(given | more)), **CHOICES}


def sheet(asked: str = "", **more: Any) -> Mapping[str, object]:
    """Return one payment's page."""
    given: dict[str, Any] = {
        "payment_id": PAYMENT_ID,
        "revision": 5,
        "state": Badge("Partly refunded", "warn"),
        "settled": True,
        "reason": "",
        "total": written(12_000, "CHF"),
        "method": "Visa •••• 4242",
        "error": "",
        "attentions": (),
        "amounts": (("Total", written(12_000, "CHF")), ("Captured", written(12_000, "CHF"))),
        "facts": (("Payer", "payer_17"), ("Sellers", "seller_1"), ("Opened", AT.text)),
        "offers": (Offer("refund", "Refund", ""), Offer("resolve", "Resolve", "quiet")),
        "timeline": (
            Entry(
                at=NOW,
                service="operator",
                title="RefundPayment by anna",
                tone="busy",
                ids=("0198e1f0-5f0e-7c1f-8a9d-4f6f9d0a64c2",),
                more=(("Asked for", '{\n  "amount_minor": 2500\n}'),),
            ),
            Entry(at=NOW - timedelta(minutes=3), service="gateway", title="Webhook charge.refunded, done", tone="warn",
                  detail="4 min after Stripe made it", ids=("evt_1PfogGydraOuN9ekf",)),
            Entry(at=NOW - timedelta(hours=2), service="status", title="Succeeded (revision 4)", tone="good"),
            Entry(at=NOW - timedelta(hours=2), service="status", title="Awaits method (revision 3)",
                  detail="Your card has insufficient funds. (insufficient_funds)"),
        ),
        "attempts": (
            AttemptRow(
                number=1,
                kind="Intent",
                state="Succeeded",
                counts=True,
                amount=written(12_000, "CHF"),
                moved=f"{written(12_000, 'CHF')} taken",
                method="Visa 4242",
                error="",
                mismatch="",
                stripe_ids=(("Intent", "pi_JR0BKR6kv48EzturelsEdTuf"), ("Charge", "ch_JR0BKR6kv48EzturelsEdTuf")),
                at=AT,
            ),
        ),
        "bookings": (
            Booking(fact="Captured", account="stripe_clearing", debit=written(12_000, "CHF"), credit="", at=AT,
                    stripe_id="ch_JR0BKR6kv48EzturelsEdTuf", begins=True),
            Booking(fact="Captured", account="seller:seller_1", debit="", credit=written(12_000, "CHF"), at=AT,
                    stripe_id="ch_JR0BKR6kv48EzturelsEdTuf", begins=False),
        ),
        "records": (
            Record(name="refund_fogGydraOuN9ekfPcMeqYAYo", stripe_id="re_fogGydraOuN9ekfPcMeq", kind="Refund",
                   state=Badge("Succeeded", "good"), amount=written(2_500, "CHF"), detail="by anna", at=AT),
        ),
        "verdict": Verdict(words="all records agree", is_good=True, is_moving=False, with_stripe=False,
                           keepers=("plan", "status"), lines=(Line(name="total", cells=("CHF 120.00", "CHF 120.00"),
                           differs=False),), findings=(), problems=()),
        "missing": (),
        "dashboard": DASHBOARD,
    }  # fmt: skip
    return {"sheet": Sheet(**(given | more)), "asked": asked}


DISAGREES: Final = Verdict(
    words="1 disagreement, without Stripe",
    is_good=False,
    is_moving=True,
    with_stripe=True,
    keepers=("plan", "status", "ledger"),
    lines=(Line(name="captured", cells=("", written(12_000, "CHF"), written(9_000, "CHF")), differs=True),),
    findings=(
        Finding(
            check="LEDGER_CAPTURED",
            about="",
            meaning="The ledger has booked another amount than status says was taken.",
            sayings=(("status", "120.00 CHF"), ("ledger", "90.00 CHF")),
            remedy=f"Read it anew: batzen resolve {PAYMENT_ID} settle-as-seen",
            waits_for="A webhook is on its way.",
        ),
    ),
    problems=(("Stripe", "It did not answer within 5 s."),),
)

STATES: Final = {
    "console-payments": state("payments/table.html", table()),
    "console-payments-page": state("payments/table.html", table(next="/payments?page=t", first="/payments", live="")),
    "console-payments-none": state("payments/table.html", table(rows=())),
    "console-payments-no-match": state("payments/table.html", table("payer=nobody&currency=CHF&least=10", rows=())),
    "console-payments-unreadable": state("payments/table.html", table("least=ten&currency=CHF", rows=(), live="")),
    "console-found": state("payments/found.html", {"wanted": "booking_7", "rows": ROWS[:2]}),
    "console-found-nothing": state("payments/found.html", {"wanted": "booking_8", "rows": ()}),
    "console-payment": state("payments/page.html", sheet()),
    "console-payment-asked": state("payments/page.html", sheet(asked="The refund was taken on.")),
    "console-payment-reader": state("payments/page.html", sheet(offers=()), shell=READER),
    "console-payment-attention": state(
        "payments/page.html",
        sheet(
            state=Badge("Processing", "busy"),
            settled=False,
            reason="Outcome unknown",
            error="Your card was declined. (do_not_honor)",
            attentions=(("Dispute due", "Evidence is due on 24 December, 12:00."), ("Stuck", "No answer for 12 min.")),
            verdict=DISAGREES,
        ),
    ),
    "console-payment-missing": state(
        "payments/page.html",
        sheet(
            attempts=(),
            bookings=(),
            records=(),
            timeline=(),
            verdict=None,
            missing=(Missing(what="The ledger", trouble=TROUBLE), Missing(what="Attempts", trouble=TROUBLE)),
        ),
    ),
    "console-trouble": state("trouble.html", {"trouble": TROUBLE, "title": "A service does not answer"}),
    "console-trouble-reader": state(
        "trouble.html", {"trouble": TROUBLE, "title": "A service does not answer"}, shell=READER
    ),
}
