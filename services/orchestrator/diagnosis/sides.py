"""What plan, status and quote say of a payment, figure by figure; the gateway says its own. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from services.orchestrator.diagnosis.domain import Examination, Recorded, Sources
from services.orchestrator.domain.price import Price
from services.shared.diagnosis import Figure, Keeper, Side
from services.shared.payment import Amounts

ABSENT = "It has no such payment."


def sides(sources: Sources) -> tuple[Side, ...]:
    """Return all sides; of one that did not answer, why."""
    plan, told, recorded, price = _plan(sources), sources.problems, sources.recorded, sources.price
    currency_code = sources.plan.currency_code or ""
    found = [
        Side(keeper=Keeper.PLAN, figures=tuple(plan)),
        _side(Keeper.STATUS, _recorded(recorded) if recorded else None, told.get(Keeper.STATUS)),
    ]
    if sources.plan.quote_id:
        found.append(_side(Keeper.QUOTE, _price(price) if price else None, told.get(Keeper.QUOTE)))
    if sources.examination is not None:
        found += sources.examination.sides
    elif sources.plan.attempt and currency_code:
        found.append(_side(Keeper.MIRROR, None, told.get(Keeper.MIRROR)))
    return tuple(found)


def without_plan(recorded: Recorded | None, examination: Examination | None) -> tuple[Side, ...]:
    """Return the sides of a payment of which there is no plan."""
    return (
        _side(Keeper.PLAN, None, None),
        _side(Keeper.STATUS, _recorded(recorded) if recorded else None, None),
        *(examination.sides if examination is not None else ()),
    )


def _side(keeper: Keeper, figures: Iterator[Figure] | None, problem: str | None) -> Side:
    if problem is not None or figures is None:
        return Side(keeper=keeper, problem=problem or ABSENT)
    return Side(keeper=keeper, figures=tuple(figures))


def _plan(sources: Sources) -> Iterator[Figure]:
    plan, standing = sources.plan, sources.standing
    yield Figure(name="collection", text=plan.latest_snapshot.collection)
    if plan.currency_code:
        yield Figure(name="total", amount_minor=plan.total_minor or 0, currency_code=plan.currency_code)
        yield from _amounts(plan.latest_snapshot.amounts, plan.currency_code)
    yield Figure(name="revision", text=str(plan.revision))
    yield Figure(name="attempt", text=str(plan.attempt))
    yield Figure(name="version", text=str(plan.mirror_version))
    yield Figure(name="payer", text=plan.payer_id)
    yield Figure(name="quote id", text=plan.quote_id or "")
    yield Figure(name="stage", text=plan.stage)
    if plan.next_step is not None and plan.next_time is not None:
        yield Figure(name="next step", text=f"{plan.next_step} at {plan.next_time:%Y-%m-%d %H:%M:%S} UTC")
    for one in plan.pending:
        yield Figure(name="to record", text=one.fact)
    if standing.problem:
        yield Figure(name="last problem", text=standing.problem)


def _recorded(recorded: Recorded) -> Iterator[Figure]:
    yield Figure(name="state", text=recorded.state)
    yield Figure(name="collection", text=recorded.snapshot.collection)
    yield Figure(name="total", amount_minor=recorded.total_minor, currency_code=recorded.currency_code)
    yield from _amounts(recorded.snapshot.amounts, recorded.currency_code)
    yield Figure(name="revision", text=str(recorded.revision))
    yield Figure(name="attempt", text=str(recorded.snapshot.attempt))
    yield Figure(name="payer", text=recorded.payer_id)
    yield Figure(name="quote id", text=recorded.quote_id)
    if recorded.history is not None:
        yield Figure(name="history", text=f"{len(recorded.history)} revisions")


def _price(price: Price) -> Iterator[Figure]:
    yield Figure(name="total", amount_minor=price.total_minor, currency_code=price.currency_code)
    for seller_id in price.split.seller_ids:
        lines = [line for line in price.split.lines if line.seller_id == seller_id and not line.is_platform]
        owed = sum(line.seller_minor for line in lines)
        yield Figure(name=f"{seller_id} priced", amount_minor=owed, currency_code=price.currency_code)
    yield Figure(name="quote id", text=price.quote_id)


def _amounts(amounts: Amounts, currency_code: str) -> Iterator[Figure]:
    for name, minor in (
        ("captured", amounts.captured_minor),
        ("held", amounts.capturable_minor),
        ("given back", amounts.refunded_minor + amounts.refund_pending_minor),
        ("contested", amounts.disputed_open_minor + amounts.disputed_lost_minor),
    ):
        yield Figure(name=name, amount_minor=minor, currency_code=currency_code)
    if amounts.surplus_minor:
        yield Figure(name="surplus", amount_minor=amounts.surplus_minor, currency_code=currency_code)
