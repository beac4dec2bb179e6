"""How the demo shows its books: what sellers have, the trial balance, and the comparison with Stripe."""

from __future__ import annotations

from collections import Counter
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from batzen.cli import money
from batzen.cli.output import as_document
from local.books import Books
from local.demo_view import WIDTH_MAX


def show_books(console: Console, books: Books) -> None:
    """Print them, and what is wrong with them if something is."""
    width = min(console.width, WIDTH_MAX)
    for title, shown in (
        ("What the sellers of carts have", _parts(books)),
        ("Trial balance", _trial_balance(books)),
        ("Compared with Stripe", _report(books)),
    ):
        console.print()
        console.print(Text(title, style="bold"))
        console.print(shown, width=width)
    for problem in books.problems:
        console.print(Text(f"✗ {problem}", style="red"), width=width)


def books_document(books: Books) -> dict[str, Any]:
    """Return the books for programs."""
    return {
        "ok": not books.problems,
        "problems": books.problems,
        "trial_balance": [as_document(balance) for balance in books.balances],
        "sellers": [
            {
                "seller_id": part.seller_id,
                "currency_code": part.currency_code,
                "quoted_minor": part.quoted_minor,
                "returned_minor": part.returned_minor,
                "has_minor": part.has_minor,
            }
            for part in books.parts
        ],
        "reconciliation": as_document(books.report),
    }


def _parts(books: Books) -> Table:
    table = _table("seller", "by the quotes", "given back", "transferred, less taken back")
    for part in books.parts:
        amounts = (part.quoted_minor, part.returned_minor, part.has_minor)
        is_right = part.has_minor == part.due_minor
        quoted, returned, has = (money.shown(minor, part.currency_code) for minor in amounts)
        table.add_row(part.seller_id, quoted, returned, Text(has, style="green" if is_right else "bold red"))
    return table


def _trial_balance(books: Books) -> Table:
    """Show each account, currency by currency, and both sums of each."""
    table = _table("account (those at 0 are left out)", "debit", "credit")
    for currency_code in books.sums:
        debit = credit = 0
        for balance in books.balances:
            if balance.amount.currency_code == currency_code:
                minor = balance.amount.amount_minor
                debit, credit = debit + max(minor, 0), credit + max(-minor, 0)
                table.add_row(
                    balance.account, _shown(max(minor, 0), currency_code), _shown(max(-minor, 0), currency_code)
                )
        style = "bold green" if debit == credit else "bold red"
        table.add_row(
            Text("sum", style=style),
            Text(money.shown(debit, currency_code), style=style),
            Text(money.shown(credit, currency_code), style=style),
            end_section=True,
        )
    return table


def _report(books: Books) -> RenderableType:
    counts: Counter[str] = Counter()
    for one in books.report.sums:
        counts[one.list.replace("_", " ")] += one.matched_count
    matched = " · ".join(f"{what} {count}" for what, count in counts.items() if count)
    rests = Text(" · ").join(
        Text(money.shown(rest.amount_minor, rest.currency_code), style="bold red" if rest.amount_minor else "green")
        for rest in books.report.unexplained
    )
    return Group(Text(f"the same: {matched}"), Text.assemble("remainder: ", rests))


def _table(*titles: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 4, 0, 0))
    for number, title in enumerate(titles):
        table.add_column(title, justify="right" if number else "left", no_wrap=bool(number))
    return table


def _shown(minor: int, currency_code: str) -> str:
    return money.shown(minor, currency_code) if minor else ""
