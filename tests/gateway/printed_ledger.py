"""What docs/ledger.md shows, printed by the code it is about: the accounts, the facts, and worked postings."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterable
from typing import Final

from services.gateway.disputes.domain import Standing
from services.gateway.ledger import domain
from services.gateway.ledger.domain import FACT_KINDS, KINDS, OF_COUNTRIES, OF_SELLERS, Account, Fact
from services.gateway.refunds.domain import Bearer, RefundState
from services.gateway.settlement.domain import DisputeRecovery, MovementKind
from services.shared.split import LinePart
from tests.gateway.bookkeeping import Bookkeeping, by_account
from tests.gateway.quoted import CART, COUPON, ONE, WITH_VAT

Happens = Callable[[Bookkeeping], object]
Story = tuple[str, Bookkeeping, list[tuple[str, Happens]]]


def accounts() -> str:
    """Return the accounts."""
    meanings = _meanings(Account)
    rows = [(f"`{_full(one)}`", KINDS[one], _first(meanings[one.name])) for one in Account]
    return table(("account", "kind", "what it is"), rows)


def kinds() -> str:
    """Return the kinds of facts."""
    return table(("fact", "booked when"), [(f"`{kind}`", meaning) for kind, meaning in FACT_KINDS.items()])


def worked() -> str:
    """Return what is booked of payments of 100.00 CHF and more, fact by fact."""
    rows: list[tuple[str, str, str]] = []
    for title, books, steps in _stories():
        rows.append((f"**{title}**", "", ""))
        for what, happens in steps:
            happens(books)
            facts = books.post()
            rows += [(what if number == 0 else "", f"`{one.fact}`", postings(one)) for number, one in enumerate(facts)]
    return table(("", "fact", "postings, minor units"), rows)


def _stories() -> Iterable[Story]:
    yield "One seller, a destination charge", _books(ONE), [
        ("captured", _captured),
        ("transferred, and the fee taken", _both(MovementKind.TRANSFER, 10_000, MovementKind.FEE, 1_500)),
        ("40.00 refunded", lambda books: books.refunded(4_000)),
        ("the way back", _both(MovementKind.REVERSAL, 4_000, MovementKind.FEE_REFUND, 600)),
        ("the refund fails at the bank", lambda books: books.refund_is("refund_1", RefundState.FAILED)),
    ]  # fmt: skip
    yield "A seller's balance is short", _books(ONE), [
        ("captured", _captured),
        ("transferred", lambda books: books.moved(MovementKind.TRANSFER, 8_500)),
        ("40.00 refunded: a receivable", lambda books: books.refunded(4_000)),
        ("written off", lambda books: books.moved(MovementKind.WRITE_OFF, 3_400)),
    ]  # fmt: skip
    yield "Netted instead: where it was owed", _books(ONE), [
        ("captured", _captured),
        ("transferred", lambda books: books.moved(MovementKind.TRANSFER, 8_500)),
        ("40.00 refunded: a receivable", lambda books: books.refunded(4_000)),
        ("netted", lambda books: books.moved(MovementKind.NETTING_IN, 3_400)),
    ]  # fmt: skip
    yield "Netted instead: where it was kept back", _books(ONE), [
        ("captured", _captured),
        ("kept back", lambda books: books.moved(MovementKind.NETTING_OUT, 3_400)),
        ("the rest is transferred", lambda books: books.moved(MovementKind.TRANSFER, 5_100)),
    ]  # fmt: skip
    yield "With 8.1 % VAT on the fee", _books(WITH_VAT), [
        ("captured", _captured),
        ("40.00 refunded", lambda books: books.refunded(4_000)),
    ]  # fmt: skip
    yield "A coupon of 10.00 that the platform funds", _books(COUPON), [
        ("captured", _captured),
        ("half of it refunded", lambda books: books.refunded(4_500)),
    ]  # fmt: skip
    yield "Three sellers", _books(*CART), [
        ("captured", _captured),
        ("s2's line refunded", lambda books: books.refunded(5_000, of="of-s2")),
    ]  # fmt: skip
    yield "At whose cost a refund is", _books(ONE), [
        ("captured", _captured),
        ("40.00, the seller keeps its part", lambda books: books.refunded(4_000, bearer=Bearer.PLATFORM)),
        ("40.00, the platform keeps its fee", lambda books: books.refunded(4_000, bearer=Bearer.SELLER)),
    ]  # fmt: skip
    for recovery, title in (
        (DisputeRecovery.AT_WITHDRAWAL, "A dispute, recovered when it withdraws"),
        (DisputeRecovery.AT_LOSS, "A dispute, recovered when it is lost"),
        (DisputeRecovery.NONE, "A dispute, borne by the platform"),
    ):
        yield title, _books(ONE, recovery=recovery), [
            ("captured", _captured),
            ("60.00 withdrawn", lambda books: books.disputed(Standing.OPEN, 6_000)),
            ("lost", lambda books: books.disputed(Standing.LOST, 6_000)),
        ]  # fmt: skip
    yield "A dispute that is won", _books(ONE, recovery=DisputeRecovery.AT_WITHDRAWAL), [
        ("captured", _captured),
        ("60.00 withdrawn", lambda books: books.disputed(Standing.OPEN, 6_000)),
        ("won", lambda books: books.disputed(Standing.CLOSED, 6_000)),
    ]  # fmt: skip
    yield "More lost than what stands", _books(ONE, recovery=DisputeRecovery.AT_LOSS), [
        ("captured", _captured),
        ("40.00 refunded", lambda books: books.refunded(4_000)),
        ("100.00 lost", lambda books: books.disputed(Standing.LOST, 10_000)),
    ]  # fmt: skip
    yield "Money on a second attempt", _books(ONE), [
        ("captured", _captured),
        ("taken once more", lambda books: books.captured(10_000, attempt=2)),
        ("given back", lambda books: books.refunded(10_000, attempt=2)),
    ]  # fmt: skip
    yield "Charged in EUR, settled in CHF at 0.95", _books(ONE, currency_code="EUR"), [
        ("captured", _captured),
        ("transferred", lambda books: books.moved(MovementKind.TRANSFER, 8_500, at_stripe=(8_075, "CHF"))),
    ]  # fmt: skip


def _books(
    *lines: LinePart, recovery: DisputeRecovery = DisputeRecovery.NONE, currency_code: str = "CHF"
) -> Bookkeeping:
    return Bookkeeping(*lines, recovery=recovery, currency_code=currency_code)


def _captured(books: Bookkeeping) -> None:
    books.captured(books.first.amount_minor)


def _both(first: MovementKind, first_minor: int, second: MovementKind, second_minor: int) -> Happens:
    def happens(books: Bookkeeping) -> None:
        books.moved(first, first_minor)
        books.moved(second, second_minor)

    return happens


def postings(fact: Fact) -> str:
    """Return what a fact books."""
    currencies = list(dict.fromkeys(one.place.currency_code for one in fact.entries))
    parts = []
    for code in currencies:
        suffix = f" {code}" if len(currencies) > 1 or code != "CHF" else ""
        sums = by_account(fact.entries, currency_code=code)
        parts += [f"{name} {'+' if minor > 0 else '−'}{abs(minor)}{suffix}" for name, minor in sums.items()]
    return " · ".join(parts)


def _full(account: Account) -> str:
    owner: Final = {**dict.fromkeys(OF_SELLERS, ":<seller>"), **dict.fromkeys(OF_COUNTRIES, ":<country>")}
    return f"{account}{owner.get(account, '')}"


def _meanings(kind: type) -> dict[str, str]:
    """Return what stands below each member of a class."""
    [tree] = [
        one
        for one in ast.parse(inspect.getsource(domain)).body
        if isinstance(one, ast.ClassDef) and one.name == kind.__name__
    ]
    found = {}
    for member, below in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(member, ast.Assign) and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            [name] = member.targets
            found[ast.unparse(name)] = str(below.value.value)
    return found


def _first(text: str) -> str:
    return " ".join(text.split()).removesuffix(".")


def table(titles: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Return a table of Markdown."""
    lines = [f"| {' | '.join(titles)} |", f"|{' --- |' * len(titles)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"
