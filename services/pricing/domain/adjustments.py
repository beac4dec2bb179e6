"""Stage: discounts, surcharges and coupons, one after the other on what the lines cost when its turn comes.

Each is computed and rounded once over all its lines, then spread over them by the largest remainder, so the shares sum
to it. What the platform funds changes what the payer pays and leaves what the sellers ask (`seller_base_minor`) alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from services.errors import FieldMissing
from services.pricing.domain.book import PriceBook
from services.pricing.domain.cart import Cart
from services.pricing.domain.errors import (
    CouponCurrencyMismatch,
    CouponMinimumNotReached,
    CouponNotApplicable,
    CouponNotCombinable,
    CouponNotValidNow,
    CouponUnknown,
)
from services.pricing.domain.exact import allocate, require_amount
from services.pricing.domain.price import AppliedAdjustment, Price, Stage
from services.pricing.domain.terms import CallerAdjustment, Direction, Discount, Funder


def adjustments(cart: Cart, book: PriceBook, price: Price) -> Price:
    """Apply what the caller names and what the price book holds for this cart.

    Raises one of the `Coupon…` errors at `coupon_codes[i]`, or `AmountOverflow`.
    """
    if not (cart.coupon_codes or cart.adjustments or book.discounts):
        return price
    turns = _turns(cart, book, price)
    if not turns:
        return price
    running, seller_running = list(price.base_minor), list(price.seller_base_minor)
    applied = []
    for turn in turns:
        of = turn.indexes
        weights = [running[index] for index in of]
        amount = turn.entry.terms.amount_minor(of_minor=sum(weights), rounding=cart.rounding)
        keys = [cart.lines[index].line_id for index in of]
        shares = allocate(amount, weights=weights, keys=keys, step_minor=cart.rounding.step_minor)
        for index, share in zip(of, shares, strict=True):
            running[index] = require_amount(running[index] + share, field="lines")
            if turn.entry.terms.funder is Funder.SELLER:
                # A discount may also take off what the platform put on before; a seller bears no more than its own.
                seller_running[index] = require_amount(max(0, seller_running[index] + share), field="lines")
        # After each turn: a later one may bring the sum back, but the quote says what each has come to.
        require_amount(sum(running), field="lines")
        applied.append(_applied(turn, amount=amount, shares=dict(zip(of, shares, strict=True))))
    require_amount(sum(seller_running), field="lines")
    total = sum(adjustment.amount_minor for adjustment in applied)
    return price._replace(
        base_minor=tuple(running),
        seller_base_minor=tuple(seller_running),
        adjustments=tuple(applied),
        contributions=(*price.contributions, (Stage.ADJUSTMENTS, total)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Turn:
    """An adjustment and the lines it is for, by index."""

    entry: Discount | CallerAdjustment
    indexes: list[int]

    @property
    def order(self) -> tuple[int, bool, str]:
        entry = self.entry
        of_caller = isinstance(entry, CallerAdjustment)
        return entry.terms.stacking_order, of_caller, _id_of(entry)


def _turns(cart: Cart, book: PriceBook, price: Price) -> list[_Turn]:
    coupons = [
        _coupon_turn(code, field=f"coupon_codes[{index}]", cart=cart, book=book, price=price)
        for index, code in enumerate(cart.coupon_codes)
    ]
    _refuse_exclusive(cart, coupons)
    own = [
        _Turn(entry=entry, indexes=[index for index, line in enumerate(cart.lines) if entry.covers(line)])
        for entry in cart.adjustments
    ]
    return sorted([*_automatic_turns(cart, book, price, coupons), *coupons, *own], key=lambda turn: turn.order)


def _coupon_turn(code: str, *, field: str, cart: Cart, book: PriceBook, price: Price) -> _Turn:
    discount = next((discount for discount in book.discounts if discount.code == code), None)
    if discount is None:
        raise CouponUnknown(field=field)
    if not discount.holds_at(cart.as_of):
        raise CouponNotValidNow(field=field)
    if discount.uses_per_payer_max is not None and not cart.payer_id:
        raise FieldMissing(field="payer_id")
    if discount.currency_code not in ("", cart.currency_code):
        raise CouponCurrencyMismatch(field=field, currency_code=discount.currency_code)
    turn = _turn_of(discount, cart)
    if not turn.indexes:
        raise CouponNotApplicable(field=field)
    if not _reaches_minimum(discount, turn, price):
        raise CouponMinimumNotReached(field=field, minimum_spend_minor=discount.minimum_spend_minor)
    return turn


def _refuse_exclusive(cart: Cart, coupons: list[_Turn]) -> None:
    discounts = [turn for turn in coupons if turn.entry.terms.direction is Direction.DISCOUNT]
    for index, turn in enumerate(coupons):
        if _is_exclusive(turn) and any(other is not turn for other in discounts):
            raise CouponNotCombinable(field=f"coupon_codes[{index}]", coupon_codes=len(cart.coupon_codes))


def _automatic_turns(cart: Cart, book: PriceBook, price: Price, coupons: list[_Turn]) -> Iterator[_Turn]:
    """Yield what applies by itself. Surcharges always; of discounts, none that must stand alone does beside another."""
    fitting = [
        turn
        for turn in (_turn_of(discount, cart) for discount in book.discounts if _is_offered(discount, cart))
        if turn.indexes and _reaches_minimum(turn.entry, turn, price)
    ]
    discounts = sorted((turn for turn in fitting if _is_discount(turn)), key=lambda turn: turn.order)
    yield from (turn for turn in fitting if not _is_discount(turn))
    if any(_is_exclusive(turn) for turn in coupons):
        return
    sociable = [turn for turn in discounts if not _is_exclusive(turn)]
    if sociable or any(_is_discount(turn) for turn in coupons):
        yield from sociable
    else:
        yield from discounts[:1]


def _is_offered(discount: Discount, cart: Cart) -> bool:
    countable = discount.uses_per_payer_max is None or bool(cart.payer_id)
    fits = discount.currency_code in ("", cart.currency_code)
    return not discount.code and countable and fits and discount.holds_at(cart.as_of)


def _turn_of(discount: Discount, cart: Cart) -> _Turn:
    return _Turn(entry=discount, indexes=[index for index, line in enumerate(cart.lines) if discount.covers(line)])


def _reaches_minimum(entry: Discount | CallerAdjustment, turn: _Turn, price: Price) -> bool:
    least = entry.minimum_spend_minor if isinstance(entry, Discount) else None
    return least is None or sum(price.list_minor[index] for index in turn.indexes) >= least


def _is_discount(turn: _Turn) -> bool:
    return turn.entry.terms.direction is Direction.DISCOUNT


def _is_exclusive(turn: _Turn) -> bool:
    return isinstance(turn.entry, Discount) and turn.entry.exclusive and _is_discount(turn)


def _applied(turn: _Turn, *, amount: int, shares: dict[int, int]) -> AppliedAdjustment:
    entry = turn.entry
    discount = entry if isinstance(entry, Discount) else None
    return AppliedAdjustment(
        adjustment_id=_id_of(entry),
        coupon_code=discount.code if discount else "",
        revision=discount.revision if discount else 0,
        direction=entry.terms.direction,
        funder=entry.terms.funder,
        amount_minor=amount,
        shares=shares,
        discount=discount,
    )


def _id_of(entry: Discount | CallerAdjustment) -> str:
    return entry.discount_id if isinstance(entry, Discount) else entry.adjustment_id
