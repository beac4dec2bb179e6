"""A reconciliation as one HTML page for people: the verdict, the sums, each difference. Pure; everything is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from typing import Final

from batzen.cli import moments, money
from batzen.gateway.v1.ops_pb2 import GetReconciliationResponse
from batzen.type.v1.money_pb2 import Money

_Difference = GetReconciliationResponse.Difference

KIND_NAMES: Final[Mapping[int, str]] = {
    _Difference.KIND_UNSPECIFIED: "different",
    _Difference.KIND_MISSING_HERE: "missing here",
    _Difference.KIND_MISSING_THERE: "missing at Stripe",
    _Difference.KIND_AMOUNT: "other amount",
    _Difference.KIND_UNCLASSIFIED: "unclassified",
    _Difference.KIND_NOT_SETTLED: "not settled",
    _Difference.KIND_LEDGER_UNBALANCED: "ledger unbalanced",
    _Difference.KIND_CLEARING_OLD: "in clearing for too long",
    _Difference.KIND_UNASKED: "not asked for by us",
    _Difference.KIND_PAYOUT: "payout's contents",
    _Difference.KIND_CLOSING: "closing",
    _Difference.KIND_NOT_DELIVERED: "not delivered",
}
"""For people."""

_STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1b1f24; max-width: 75rem; margin: 2.5rem auto; padding: 0 1.5rem }
h1 { font-size: 1.6rem; margin: 0 } h2 { font-size: 1.1rem; margin: 2.2rem 0 .6rem } p { margin: .3rem 0 }
.verdict { padding: .8rem 1.1rem; border-radius: .5rem; margin: 1.4rem 0; font-weight: 600 }
.clean { background: #e6f4ea; color: #14532d } .different { background: #fdecea; color: #7f1d1d }
table { border-collapse: collapse; width: 100% } th { text-align: left; font-weight: 600; color: #57606a }
th, td { padding: .4rem .9rem .4rem 0; border-bottom: 1px solid #d8dee4; vertical-align: top }
td.n, th.n { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums }
code { font: 13px ui-monospace, monospace; overflow-wrap: anywhere } .dim { color: #57606a }
tr.mended td { color: #57606a } .bad { color: #b42318; font-weight: 600 }
"""


def verdict(report: GetReconciliationResponse) -> tuple[bool, str]:
    """Return whether everything is the same, and that in words."""
    stands = sum(one.count for one in report.counts)
    mended = f"; {report.repaired_count} mended" if report.repaired_count else ""
    if report.cut_short:
        return False, f"It ended before everything was compared: {report.cut_short}"
    if stands:
        return False, f"{stands} difference{'s' if stands != 1 else ''}{mended}."
    return True, f"Stripe and we say the same{mended}."


def page(report: GetReconciliationResponse) -> str:
    """Return the page."""
    clean, said = verdict(report)
    span = f"{moments.shown(report.start_time)} to {moments.shown(report.end_time)}"
    mode = "mending what is safe" if report.repair else "looking only"
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f"<title>Reconciliation {escape(span)}</title><style>{_STYLE}</style></head><body>",
        "<h1>Reconciliation with Stripe</h1>",
        f'<p class="dim">{escape(span)} · {escape(mode)} · asked for by {escape(report.actor_id)}</p>',
        f'<div class="verdict {"clean" if clean else "different"}">{escape(said)}</div>',
        _section("Remainder by currency", ["Currency", "#Remainder"], map(_remainder, report.unexplained)),
        _section("Compared", ["What", "#Matched", "#Sum", "#In transit", "#Sum in transit"], map(_sum, report.sums)),
    ]
    if report.counts:
        rows = ((_cell(KIND_NAMES[one.kind]), _number(str(one.count))) for one in report.counts)
        parts.append(_section("Differences by kind", ["Kind", "#Stand"], rows))
    if report.differences:
        titles = ["Kind", "Object", "#Ours", "#Stripe's", "Payment", "What it means, what was done"]
        parts.append(_section("Differences", titles, map(_row, report.differences)))
    return "\n".join([*parts, "</body></html>", ""])


def _section(title: str, columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    heads = "".join(
        f'<th class="n">{escape(one[1:])}</th>' if one.startswith("#") else f"<th>{escape(one)}</th>" for one in columns
    )
    body = "\n".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    return f"<h2>{escape(title)}</h2>\n<table><thead><tr>{heads}</tr></thead><tbody>\n{body}\n</tbody></table>"


def _remainder(one: Money) -> Iterable[str]:
    style = "n bad" if one.amount_minor else "n"
    return _cell(one.currency_code), f'<td class="{style}">{escape(_money(one))}</td>'


def _sum(one: GetReconciliationResponse.Sum) -> Iterable[str]:
    in_transit = (str(one.in_transit_count), _money(one.in_transit)) if one.in_transit_count else ("", "")
    return (
        _cell(one.list.replace("_", " ")),
        _number(f"{one.matched_count:,}".replace(",", "'")),
        _number(_money(one.matched)),
        *map(_number, in_transit),
    )


def _row(one: GetReconciliationResponse.Difference) -> Iterable[str]:
    meaning = escape(one.detail)
    if one.repair_reason:
        done = "Mended. " if one.repaired else ""
        meaning += f'<br><span class="dim">{escape(done + one.repair_reason)}</span>'
    kind = KIND_NAMES.get(one.kind, "different")
    return (
        f'<td class="{"dim" if one.repaired else "bad"}">{escape(kind)}</td>',
        f'<td><code>{escape(one.stripe_id)}</code> <span class="dim">{escape(one.figure)}</span></td>',
        _number(_money(one.ours)),
        _number(_money(one.theirs)),
        f"<td><code>{escape(one.payment_id)}</code></td>",
        f"<td>{meaning}</td>",
    )


def _cell(text: str) -> str:
    return f"<td>{escape(text)}</td>"


def _number(text: str) -> str:
    return f'<td class="n">{escape(text)}</td>'


def _money(one: Money) -> str:
    return money.shown(one.amount_minor, one.currency_code)
