"""What must be true after whatever happened to money: computed from what Stripe has and the quote says, by rules of
its own and not by the gateway's.

What of a refund that was made here falls to which line is the gateway's to say, once, and when that was; that it comes
to what Stripe moved is checked. All else follows: what of the dashboard's refunds and of disputes falls to which line
(tests/gateway/money_lines.py), and of what stands of a line the platform keeps its share, rounded half up, and the
seller the rest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from batzen.gateway.v1 import split_pb2
from services.gateway.disputes.domain import Dispute
from services.gateway.mirror.payment import MirroredPayment
from services.gateway.refunds.domain import Refund
from services.gateway.settlement.domain import MovementKind, MovementState, Wait
from services.gateway.settlement.positions import captured_of_lines
from services.shared.split import LineAmount
from tests.gateway.money_histories import PLATFORM, History, Sale
from tests.gateway.money_lines import DASHBOARD, DECIDED, DISPUTE, Took, falls, since
from tests.gateway.settling import TENANT

TO_SELLER: Final = {
    MovementKind.TRANSFER: 1,
    MovementKind.FEE_REFUND: 1,
    MovementKind.REVERSAL: -1,
    MovementKind.FEE: -1,
}
OUT: Final = ("pending", "requires_action", "succeeded")
"""The states of a refund that the payer has, or will have."""
Objects = Sequence[Mapping[str, Any]]


async def check(history: History, *, is_healed: bool) -> None:
    """Hold everything that happened to the rules. Once it is healed nobody waits for anything."""
    for sale in history.sales:
        with_it = _OfSale(history, sale)
        await with_it.read()
        if with_it.known is not None:
            try:
                with_it.amounts_are_stripes()
                with_it.each_fact_is_one_object()
                await with_it.sellers_have_their_parts(is_healed=is_healed)
            except AssertionError as failure:
                failure.add_note(str(with_it))
                raise
    await history.world.read_balance()
    await books_are_stripes(history)


async def books_are_stripes(history: History) -> None:
    """Every fact is balanced, nothing is unclassified or in clearing, and the balance is what Stripe says."""
    fetch = history.world.connection.fetch
    by_fact = "SELECT fact FROM ledger_entries GROUP BY fact, currency_code HAVING sum(amount_minor) <> 0"
    assert not await fetch(by_fact)
    open_query = """
        SELECT stripe_id, currency_code, sum(amount_minor)::bigint AS minor, array_agg(fact || ' ' || amount_minor)
        FROM ledger_entries WHERE account = 'stripe_clearing' GROUP BY stripe_id, currency_code
        HAVING sum(amount_minor) <> 0"""
    in_clearing = [tuple(row) for row in await fetch(open_query)]
    assert not in_clearing, in_clearing
    sums_query = "SELECT account, currency_code, sum(amount_minor)::bigint AS minor FROM ledger_entries GROUP BY 1, 2"
    sums = {(row["account"], row["currency_code"]): row["minor"] for row in await fetch(sums_query)}
    assert not [one for (account, _), one in sums.items() if account == "unclassified" and one]
    shown = await history.world.stripe.balance(history.world.account)
    at_stripe: Counter[str] = Counter()
    for one in (*shown["available"], *shown["pending"]):
        at_stripe[one["currency"].upper()] += one["amount"]
    ours = {currency: minor for (account, currency), minor in sums.items() if account == "stripe_balance" and minor}
    assert ours == {currency: minor for currency, minor in at_stripe.items() if minor}


class _OfSale:
    """One payment: what Stripe has of it, and what the gateway says."""

    def __init__(self, history: History, sale: Sale) -> None:
        self.history, self.sale = history, sale
        self.known: MirroredPayment | None = None
        self.charges: Objects = ()
        self.refunds: Objects = ()
        self.disputes: Objects = ()
        self.moved: dict[str, Mapping[str, Any]] = {}
        """Transfers, fees and what went back on them, by Stripe's id."""
        self.rates: list[float] = []
        """Of each capture."""

    def __str__(self) -> str:
        assert self.known is not None
        lines = [f"{self.sale}", *(f"{one}" for one in self.known.intents.values())]
        lines += [f"{one}" for one in (*self.known.refunds.values(), *self.known.movements.values())]
        return "\n".join([*lines, f"at Stripe: {self.refunds} {self.disputes} {self.moved}"])

    async def read(self) -> None:
        world, payment_id = self.history.world, self.sale.payment_id
        store, objects = world.replica.parts.store, world.stripe.objects
        intents = await world.payments.intents(payment_id)
        if not intents:
            return
        [intent] = intents  # asked for once, it is there once
        self.known = await store.require(TENANT, payment_id)
        assert not self.known.open_calls
        self.charges = await world.payments.charges(payment_id)
        self.refunds = await objects("refund", payment_intent=intent["id"])
        self.disputes = await objects("dispute", payment_intent=intent["id"])
        assert len(self.charges) <= 1
        for charge in self.charges:
            rows = await objects("balance_transaction", source=charge["id"])
            self.rates = [float(one["exchange_rate"] or 1) for one in rows if one["type"] in ("charge", "payment")]
            transfers = await objects("transfer", transfer_group=charge["transfer_group"] or payment_id)
            fees = await objects("application_fee", charge=charge["id"])
            if charge["transfer_group"] != payment_id:
                transfers += await objects("transfer", transfer_group=payment_id)
            self.moved = {one["id"]: one for one in (*transfers, *fees)}
            for transfer in transfers:
                back = await objects("transfer_reversal", transfer=transfer["id"])
                self.moved |= {one["id"]: one for one in back}
            for fee in fees:
                self.moved |= {one["id"]: one for one in await objects("fee_refund", fee=fee["id"])}

    def amounts_are_stripes(self) -> None:
        """What was captured, refunded and lost is what Stripe says; never is more refunded than was captured."""
        assert self.known is not None
        amounts = self.known.observation.amounts
        captured = sum(one["amount_captured"] for one in self.charges)
        out = [one for one in self.refunds if one["status"] in OUT]
        assert amounts.captured_minor == captured
        assert amounts.refunded_minor + amounts.refund_pending_minor == sum(one["amount"] for one in out) <= captured
        mirrored = {one.stripe_refund_id: one for one in self.known.refunds.values() if one.stripe_refund_id}
        # One of the dashboard's that came back before it was seen left nothing: the reconciliation names it.
        seen = [one for one in self.refunds if one["status"] in OUT or one["metadata"] or one["id"] in mirrored]
        assert {one["id"]: one["amount"] for one in seen} == {key: one.amount_minor for key, one in mirrored.items()}
        assert {one["id"]: one["status"] for one in self.disputes} == {
            one.dispute_id: one.status for intent in self.known.intents.values() for one in intent.disputes
        }

    def each_fact_is_one_object(self) -> None:
        """No two objects at Stripe are of one fact, and each is known with its amount."""
        assert self.known is not None
        claims = [one.get("metadata", {}).get("movement_id") for one in self.moved.values()]
        claims += [one["metadata"].get("refund_id") for one in self.refunds]
        assert [claim for claim, times in Counter(claims).items() if claim and times > 1] == []
        made = [
            one
            for one in self.known.movements.values()
            if one.state is MovementState.MADE and one.kind is not MovementKind.WRITE_OFF
        ]
        assert sorted((one.stripe_id, one.amount_minor) for one in made) == sorted(
            (key, one["amount"]) for key, one in self.moved.items()
        )
        facts = [one.fact for one in self.known.movements.values() if one.fact]
        assert len(facts) == len(set(facts))
        assert not [one for one in self.known.movements.values() if one.state is MovementState.PENDING]

    async def sellers_have_their_parts(self, *, is_healed: bool) -> None:
        """Each has what the quote says of what stands, or it is known for what it waits; the books say the same."""
        assert self.known is not None
        standing, released, by_seller = self._lines()
        query = """
            SELECT seller_id, account, sum(amount_minor)::bigint AS minor FROM ledger_entries
            WHERE payment_id = $1 AND account IN ('seller', 'seller_held') AND currency_code = $2 GROUP BY 1, 2"""
        rows = await self.history.world.connection.fetch(query, self.sale.payment_id, self.sale.currency_code)
        booked = {(row["seller_id"], row["account"]): row["minor"] for row in rows}
        waits = {one.seller_id: str(one.reason) for one in self.known.steps(None) if isinstance(one, Wait)}
        waits |= {one.seller_id: one.waits_for for one in self.known.observation.sellers if one.waits_for}
        for seller_id in sorted({one for one in self.sale.sellers.values() if one != PLATFORM}):
            own = [key for key, owner in self.sale.sellers.items() if owner == seller_id]
            borne = sum(by_seller[key] for key in own)
            owed = sum(self._share(key, standing[key], standing) for key in own) - borne
            target = sum(self._share(key, released[key], released) for key in own) - borne
            has = self._has(seller_id)
            self._is_in_francs(seller_id, has)
            what = f"{seller_id} is owed {owed}, to have {target}, has {has}, waits for {waits}"
            assert booked.get((seller_id, "seller"), 0) == has - target, what
            assert booked.get((seller_id, "seller_held"), 0) == target - owed, what
            if has == target or (has < target and seller_id in self.sale.by_hand):
                continue
            if self.sale.currency_code != "CHF" and abs(has - target) <= 1:  # comes to nothing in francs
                continue
            assert seller_id in waits, what
            # What it bears alone may be more than it ever had: that it owes until it is written off.
            assert not is_healed or (target < has and self._is_all_back(seller_id)), what

    def _lines(self) -> tuple[dict[str, int], dict[str, int], Counter[str]]:
        """Return what of each line stands, what of that is not withheld, and what its seller bears alone."""
        assert self.known is not None
        standing: Counter[str] = Counter()
        withheld: Counter[str] = Counter()
        by_seller: Counter[str] = Counter()
        for charge in self.charges:
            standing.update(self._captured(charge["amount_captured"]))
        captured = {key: standing[key] for key in self.sale.lines}
        found = falls(captured, (*self._refunded(), *self._contested()))
        for refund in self._out():
            parts = _line_amounts(refund.parts)
            assert parts == found[refund.refund_id], refund
            if refund.bearer == "SHARED":
                standing.subtract(parts)
            elif refund.bearer == "SELLER":
                by_seller.update(parts)
        for dispute in self.disputes:
            parts = _line_amounts(self._mirrored(dispute).parts)
            assert parts == found.get(dispute["id"], {}), dispute
            is_lost = dispute["status"] in ("lost", "prevented")
            if is_lost and self.sale.recovery != split_pb2.DISPUTE_RECOVERY_NONE:
                standing.subtract(parts)
            elif not is_lost and self.sale.recovery == split_pb2.DISPUTE_RECOVERY_AT_WITHDRAWAL:
                withheld.update(parts)
        lines = self.sale.lines
        stands = {key: standing[key] for key in lines}
        assert all(minor >= 0 for minor in stands.values())
        return stands, {key: stands[key] - withheld[key] for key in lines}, by_seller

    def _out(self) -> list[Refund]:
        """Return the refunds that Stripe made and the payer has, or will have."""
        assert self.known is not None
        status = {one["id"]: one["status"] for one in self.refunds}
        return [one for one in self.known.refunds.values() if status.get(one.stripe_refund_id) in OUT]

    def _refunded(self) -> Iterator[Took]:
        made = {one["id"]: one for one in self.refunds}
        for refund in self._out():
            at_stripe, is_ours = made[refund.stripe_refund_id], refund.actor_id != ""
            yield Took(
                time=refund.create_time if is_ours else datetime.fromtimestamp(at_stripe["created"], UTC),
                kind=DECIDED if is_ours else DASHBOARD,
                of=refund.refund_id,
                minor=at_stripe["amount"],
                decided=_line_amounts(refund.parts) if is_ours else {},
            )

    def _contested(self) -> Iterator[Took]:
        for dispute in self.disputes:
            taken = self._mirrored(dispute).withdrawn_minor
            assert abs(taken - _taken(dispute, self.sale.currency_code)) <= (self.sale.currency_code != "CHF")
            if taken:
                time = datetime.fromtimestamp(since(dispute["balance_transactions"]), UTC)
                yield Took(time=time, kind=DISPUTE, of=dispute["id"], minor=taken, decided={})

    def _mirrored(self, dispute: Mapping[str, Any]) -> Dispute:
        assert self.known is not None
        [found] = [
            one for each in self.known.intents.values() for one in each.disputes if one.dispute_id == dispute["id"]
        ]
        return found

    def _captured(self, amount_minor: int) -> dict[str, int]:
        assert self.known is not None
        if amount_minor == sum(line.gross_minor for line in self.sale.lines.values()):
            return {key: line.gross_minor for key, line in self.sale.lines.items()}
        # Of a part that named no lines it is the gateway's to say.
        [intent] = self.known.intents.values()
        found = captured_of_lines(intent)
        told = {one.line_id: one.amount_minor for one in intent.captured_parts}
        assert sum(found.values()) == amount_minor
        assert all(told.get(key, 0) <= minor <= self.sale.lines[key].gross_minor for key, minor in found.items())
        return found

    def _share(self, line_id: str, minor: int, stands: Mapping[str, int]) -> int:
        """Return what the seller of a line has of what stands of it: the platform's share is rounded half up."""
        line = self.sale.lines[line_id]
        assert line.gross_minor, stands
        kept = line.gross_minor - line.seller_minor
        return minor - (2 * kept * minor + line.gross_minor) // (2 * line.gross_minor)

    def _has(self, seller_id: str) -> int:
        """Return what a seller has of it, in the payment's currency; what was written off counts as given back."""
        assert self.known is not None
        has = 0
        for one in self.known.movements.values():
            if one.seller_id == seller_id and one.state is MovementState.MADE:
                has += TO_SELLER.get(one.kind, -1) * one.charge_minor
                if self.sale.currency_code == "CHF":
                    assert one.amount_minor == one.charge_minor
        return has

    def _is_in_francs(self, seller_id: str, has_minor: int) -> None:
        """Hold what a seller has, by the gateway, to the francs that it has at Stripe by the charge's rates."""
        assert self.known is not None
        if self.sale.currency_code == "CHF" or not self.rates:
            return
        account = self.history.accounts[seller_id]
        own = [one for one in self.moved.values() if account in (one.get("destination"), one.get("account"))]
        transferred = sum(one["amount"] - one["amount_reversed"] for one in own if one["object"] == "transfer")
        fees = sum(one["amount"] - one["amount_refunded"] for one in own if one["object"] == "application_fee")
        at_stripe = has_minor + sum(
            one.charge_minor
            for one in self.known.movements.values()
            if one.seller_id == seller_id and one.kind is MovementKind.WRITE_OFF and one.state is MovementState.MADE
        )
        low, high = min(self.rates), max(self.rates)
        off = len(self.moved) + 2 + fees * (high - low)
        lowest, highest = sorted((at_stripe * low, at_stripe * high))
        assert lowest - off <= transferred - fees <= highest + off, (
            seller_id,
            at_stripe,
            transferred,
            fees,
            self.rates,
        )

    def _is_all_back(self, seller_id: str) -> bool:
        account = self.history.accounts[seller_id]
        return not any(
            one["amount"] > one["amount_reversed"] for one in self.moved.values() if one.get("destination") == account
        )


def _line_amounts(parts: Iterable[LineAmount]) -> dict[str, int]:
    return {one.line_id: one.amount_minor for one in parts if one.amount_minor}


def _taken(dispute: Mapping[str, Any], currency_code: str) -> int:
    """Return what of a dispute is out, in the payment's currency."""
    moved = [one["amount"] / (one["exchange_rate"] or 1) for one in dispute["balance_transactions"]]
    out = -sum(moved)
    if currency_code == "CHF":
        return max(0, round(out))
    taken = -sum(one for one in moved if one < 0)
    times = sum(one < 0 for one in moved)
    return max(0, round(int(dispute["amount"]) * times * out / taken)) if taken else 0
