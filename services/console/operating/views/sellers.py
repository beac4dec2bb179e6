"""Sellers: what they may do at Stripe, what is still wanted of them, what they are owed and owe."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from batzen.gateway.v1.ops_pb2 import GetBalancesResponse, Receivable
from batzen.gateway.v1.sellers_pb2 import CreateOnboardingLinkResponse, Payout, SellerAccount
from services.console.amounts import plain, written
from services.console.operating import cells
from services.console.operating.blocks import (
    Block,
    Cell,
    CellKind,
    Column,
    Empty,
    Fact,
    Facts,
    Field,
    Form,
    Note,
    Row,
    Table,
    Tone,
)

PATH: Final = "/sellers"
SELLER_CHARACTERS_MAX: Final = 128
_PAYOUTS: Final = {"paid": Tone.GOOD, "failed": Tone.BAD, "canceled": Tone.QUIET}


def finding(query_seller: str) -> tuple[Field, ...]:
    """Return how a seller is found."""
    return (
        Field(
            name="seller",
            label="Seller id",
            value=query_seller,
            hint="As the platform calls them",
            characters_max=SELLER_CHARACTERS_MAX,
        ),
    )


def balances(answer: GetBalancesResponse) -> Table:
    """Return what is owed to sellers, by the ledger."""
    return Table(
        key="balances",
        caption="Sellers with a balance in the ledger",
        columns=(
            Column(title="Seller"),
            Column(title="Account"),
            Column(title="Owed to the seller", is_number=True),
        ),
        rows=tuple(
            Row(
                key=f"{one.account}-{one.amount.currency_code}",
                cells=(_seller(one.seller_id), cells.code(one.account), _owed(one)),
            )
            for one in answer.balances
            if one.seller_id
        ),
        empty=Empty(title="No seller has a balance.", hint="Find a seller by id to see the account."),
    )


def receivables(found: Iterable[Receivable], *, now: datetime) -> Table:
    """Return what sellers owe."""
    return Table(
        key="receivables",
        caption="What sellers owe, the longest first",
        columns=(
            Column(title="Seller"),
            Column(title="Payment"),
            Column(title="Attempt", is_number=True),
            Column(title="Owed by the seller", is_number=True),
            Column(title="Since"),
        ),
        rows=tuple(
            Row(
                key=f"{one.payment_id}-{one.attempt}-{one.seller_id}",
                cells=(
                    _seller(one.seller_id),
                    cells.payment(one.payment_id),
                    cells.count(one.attempt),
                    cells.amount(one.amount, tone=Tone.BAD),
                    cells.moment(one.since_time, now=now),
                ),
            )
            for one in found
        ),
        empty=Empty(title="No seller owes anything."),
    )


def account(seller: SellerAccount, *, now: datetime, may_act: bool) -> tuple[Block, ...]:
    """Return a seller's account, and what Stripe still wants to know."""
    facts = Facts(
        key="account",
        title="Account at Stripe",
        facts=(
            Fact(name="Account", value=cells.code(seller.stripe_account_id)),
            Fact(name="May be paid", value=cells.yes_no(seller.transfers_enabled, good="Yes", bad="No")),
            Fact(name="Paid out", value=cells.yes_no(seller.payouts_enabled, good="Yes", bad="No")),
            Fact(name="Takes charges", value=cells.yes_no(seller.charges_enabled, good="Yes", bad="No")),
            Fact(name="Onboarding", value=_onboarding(seller)),
            Fact(name="Stopped because", value=cells.said(cells.word(seller.disabled_reason.replace(".", ": ")))),
            Fact(name="On statements", value=cells.said(seller.statement_descriptor_suffix)),
            Fact(name="On receipts", value=cells.said(seller.receipt_name)),
            Fact(name="VAT id", value=cells.said(seller.vat_id)),
            Fact(name="Last read at Stripe", value=cells.moment(seller.observe_time, now=now)),
        ),
    )
    gone = (
        Note(
            title="The account is gone at Stripe, or closed to us.",
            text="Nothing can be paid to this seller until another account is put.",
            tone=Tone.BAD,
        ),
    )
    forms = (_link_form(seller),) if may_act and not seller.gone else ()
    return (*(gone if seller.gone else ()), facts, _wanted(seller, now), *forms)


def link(answer: CreateOnboardingLinkResponse) -> Note:
    """Return a link for the seller, which is shown this once."""
    until = cells.at(cells.instant(answer.expire_time))
    return Note(
        title="Give this link to the seller alone.",
        text=f"Whoever opens it acts as the seller. It works once, until {until}.",
        tone=Tone.WARN,
        secret=answer.url,
    )


def payouts(found: Iterable[Payout], *, now: datetime) -> Table:
    """Return payouts."""
    return Table(
        key="payouts",
        caption="Payouts, the newest first",
        columns=(
            Column(title="Payout"),
            Column(title="Amount", is_number=True),
            Column(title="State"),
            Column(title="Arrives"),
            Column(title="Made"),
        ),
        rows=tuple(
            Row(
                key=one.payout_id,
                cells=(
                    cells.code(one.payout_id),
                    cells.amount(one.amount),
                    cells.badge(
                        cells.word(one.state), _PAYOUTS.get(one.state, Tone.WARN), note=cells.word(one.failure_code)
                    ),
                    cells.moment(one.arrival_time),
                    cells.moment(one.create_time, now=now),
                ),
            )
            for one in found
        ),
        empty=Empty(title="No payouts yet."),
    )


def _seller(seller_id: str) -> Cell:
    return cells.code(seller_id, href=f"{PATH}?seller={seller_id}" if is_plain(seller_id) else "")


def is_plain(seller_id: str) -> bool:
    """Tell whether an id may stand in an address as it is."""
    return seller_id.isascii() and all(sign.isalnum() or sign in "._:-" for sign in seller_id)


def _owed(balance: GetBalancesResponse.Balance) -> Cell:
    """Return what a seller is owed: a balance above 0 is debited with more, so it is the other way round."""
    owed = -balance.amount.amount_minor
    return Cell(
        text=written(owed, balance.amount.currency_code),
        kind=CellKind.NUMBER,
        tone=Tone.BAD if owed < 0 else Tone.PLAIN,
        raw=f"{plain(owed, balance.amount.currency_code)} {balance.amount.currency_code}",
    )


def _onboarding(seller: SellerAccount) -> Cell:
    wants = seller.requirements
    if not seller.details_submitted:
        return cells.badge("Not sent off", Tone.BAD)
    if wants.past_due:
        return cells.badge("Past due", Tone.BAD)
    if wants.currently_due:
        return cells.badge("More is wanted", Tone.WARN)
    if wants.pending_verification:
        return cells.badge("Being looked at", Tone.WARN)
    return cells.badge("Complete", Tone.GOOD)


def _wanted(seller: SellerAccount, now: datetime) -> Table:
    wants = seller.requirements
    wrong = {one.requirement: one.reason for one in wants.errors}
    due = cells.moment(wants.due_time, now=now)

    def rows(names: Sequence[str], when: str, tone: Tone, by: Cell) -> list[Row]:
        return [
            Row(
                key=f"{when}-{name}",
                cells=(cells.code(name), cells.badge(when, tone), by, cells.said(wrong.get(name, ""))),
            )
            for name in names
        ]

    none = cells.said("")
    late = set(wants.past_due)
    return Table(
        key="wanted",
        caption="What Stripe wants to know",
        columns=(
            Column(title="Piece, in Stripe's words"),
            Column(title="Wanted"),
            Column(title="Until"),
            Column(title="What is wrong", is_wide=True),
        ),
        rows=(
            *rows(wants.past_due, "Past due", Tone.BAD, none),
            *rows([name for name in wants.currently_due if name not in late], "Now", Tone.WARN, due),
            *rows(wants.pending_verification, "Being looked at", Tone.QUIET, none),
            *rows(wants.eventually_due, "Some day", Tone.QUIET, none),
        ),
        empty=Empty(title="Stripe wants nothing more."),
    )


def _link_form(seller: SellerAccount) -> Form:
    return Form(
        key="link",
        title="Make an onboarding link",
        action=f"{PATH}/link",
        submit="Make the link",
        consequence="The seller enters there what Stripe wants to know. The link works once, for minutes.",
        fields=(Field(name="seller", label="", kind="hidden", value=seller.seller_id),),
    )
