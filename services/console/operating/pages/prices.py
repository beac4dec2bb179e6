"""`/price-book`: rates, fee plans and discounts with their history, tried on a sample cart before they are changed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from starlette.responses import Response
from starlette.routing import BaseRoute

from batzen.pricing.v1.price_book_pb2 import Discount, FeePlan, TaxRate
from batzen.pricing.v1.pricing_pb2 import (
    CreateQuoteRequest,
    DraftPriceBook,
    ListDiscountsRequest,
    ListFeePlansRequest,
    ListTaxRatesRequest,
    PutDiscountRequest,
    PutFeePlanRequest,
    PutTaxRateRequest,
    Quote,
)
from services.console.desk import Desk, Visit
from services.console.operating.blocks import Block, Page, Table, View
from services.console.operating.drafts import Entry, cart_of, changed, draft_of
from services.console.operating.listing import Listing
from services.console.operating.showing import acting, back_to, show, text_of
from services.console.operating.views import price_changes, price_comparison
from services.console.operating.views import prices as views
from services.web.failures import Refusal
from services.web.security.forms import Form

SECTION: Final = "price-book"
PAGE_SIZE_MAX: Final = 500
"""The most that pricing answers at once."""
PAGES_MAX: Final = 20
"""That are looked through for one entry."""
REVISIONS_SHOWN_MAX: Final = 50
Load = Callable[[Visit, bool, str, int], Awaitable[tuple[Sequence[Entry], str]]]
"""Visit, whether every revision, page token, page size → entries, and the token of the next page."""


async def _tax_rates(visit: Visit, is_all: bool, token: str, size: int) -> tuple[Sequence[TaxRate], str]:
    request = ListTaxRatesRequest(all_revisions=is_all, page_size=size, page_token=token)
    answer = await visit.calls.pricing.ListTaxRates(request, metadata=visit.word)
    return answer.tax_rates, answer.next_page_token


async def _fee_plans(visit: Visit, is_all: bool, token: str, size: int) -> tuple[Sequence[FeePlan], str]:
    request = ListFeePlansRequest(all_revisions=is_all, page_size=size, page_token=token)
    answer = await visit.calls.pricing.ListFeePlans(request, metadata=visit.word)
    return answer.fee_plans, answer.next_page_token


async def _discounts(visit: Visit, is_all: bool, token: str, size: int) -> tuple[Sequence[Discount], str]:
    request = ListDiscountsRequest(all_revisions=is_all, page_size=size, page_token=token)
    answer = await visit.calls.pricing.ListDiscounts(request, metadata=visit.word)
    return answer.discounts, answer.next_page_token


LOADS: Final[Mapping[str, Load]] = {"tax-rates": _tax_rates, "fee-plans": _fee_plans, "discounts": _discounts}
TITLES: Final = {"tax-rates": "VAT rates", "fee-plans": "Fee plans", "discounts": "Discounts"}


def routes(desk: Desk) -> list[BaseRoute]:
    """Return the routes of the pages."""
    one = f"{views.PATH}/{{kind}}/{{key}}"
    return [
        desk.route(views.PATH, _first, here=SECTION),
        *(route for listing in LISTINGS for route in listing.routes(desk)),
        desk.route(one, _entry, here=SECTION),
        desk.route(f"{one}/try", _try, here=SECTION),
        desk.route(f"{one}/put", acting(_put, moves_money=True), methods=("POST",), here=SECTION),
    ]


async def _first(_: Visit) -> Response:
    return back_to(f"{views.PATH}/tax-rates")


def _listing(kind: str) -> Listing:
    async def load(visit: Visit, query: Mapping[str, str], token: str, size: int) -> tuple[Table, str]:
        entries, next_token = await LOADS[kind](visit, query.get("history") == "all", token, size)
        return _table(entries, kind, visit), next_token

    return Listing(
        path=f"{views.PATH}/{kind}",
        section=SECTION,
        title="Price book",
        lead="What prices are made from. Each change is a further revision; none is ever overwritten.",
        filters=views.filters,
        load=load,
        views=tuple(View(title=text, path=f"{views.PATH}/{key}", is_here=key == kind) for key, text in TITLES.items()),
    )


def _table(entries: Sequence[Entry], kind: str, visit: Visit) -> Table:
    now = visit.front.now()
    if kind == "tax-rates":
        return views.tax_rates([one for one in entries if isinstance(one, TaxRate)], now=now)
    if kind == "fee-plans":
        return views.fee_plans([one for one in entries if isinstance(one, FeePlan)], now=now)
    return views.discounts([one for one in entries if isinstance(one, Discount)], now=now)


async def _entry(visit: Visit) -> Response:
    revisions = await _revisions(visit)
    return show(
        visit, _page(visit, revisions[-1], (*_history(visit, revisions), price_changes.try_form(revisions[-1], {})))
    )


async def _try(visit: Visit) -> Response:
    entry = (await _revisions(visit))[-1]
    given = {name: value.strip() for name, value in visit.request.query_params.items()}
    new = changed(entry, given)
    before, after = await _priced(visit, given, None), await _priced(visit, given, draft_of(new))
    note = (price_comparison.unchanged(),) if before.total == after.total and before.sellers == after.sellers else ()
    put = (price_changes.put_form(entry, given),) if visit.may_act else ()
    page = _page(
        visit, entry, (*note, *price_comparison.comparison(before, after), price_changes.try_form(entry, given), *put)
    )
    return show(visit, page)


async def _priced(visit: Visit, given: Mapping[str, str], draft: DraftPriceBook | None) -> Quote:
    coupon = given.get("coupon", "")
    request = CreateQuoteRequest(
        lines=cart_of(given),
        preview=True,
        coupon_codes=[coupon] if coupon else [],
        payer_id="sample-payer",
        draft=draft,
    )
    return (await visit.calls.pricing.CreateQuote(request, metadata=visit.word)).quote


async def _put(visit: Visit, request_id: str, form: Form) -> Response:
    entry = (await _revisions(visit))[-1]
    new = changed(entry, {name: value.strip() for name, value in form.items()})
    reason = text_of(form, "reason")
    # A rate from another day is another entry, of which there is none yet.
    expected = text_of(form, "expected")
    is_same = views.key_of(new) == views.key_of(entry) and expected.isascii() and expected.isdigit()
    seen = int(expected) if is_same else 0
    match new:
        case TaxRate():
            rate = PutTaxRateRequest(request_id=request_id, tax_rate=new, expected_revision=seen, change_reason=reason)
            await visit.calls.pricing.PutTaxRate(rate, metadata=visit.word)
        case FeePlan():
            plan = PutFeePlanRequest(request_id=request_id, fee_plan=new, expected_revision=seen, change_reason=reason)
            await visit.calls.pricing.PutFeePlan(plan, metadata=visit.word)
        case Discount():
            other = PutDiscountRequest(
                request_id=request_id, discount=new, expected_revision=seen, change_reason=reason
            )
            await visit.calls.pricing.PutDiscount(other, metadata=visit.word)
    return back_to(views.path_of(new))


async def _revisions(visit: Visit) -> Sequence[Entry]:
    """Return the revisions of the entry that a request names, the first first."""
    kind, key = visit.request.path_params["kind"], visit.request.path_params["key"]
    found: list[Entry] = []
    token = ""
    for _ in range(PAGES_MAX if kind in LOADS else 0):
        entries, token = await LOADS[kind](visit, True, token, PAGE_SIZE_MAX)
        found += [one for one in entries if views.key_of(one) == key]
        if not token:
            break
    if not found:
        raise Refusal(404, "PRICE_BOOK_ENTRY_NOT_FOUND", explanation="The price book has no such entry.")
    return found


def _history(visit: Visit, revisions: Sequence[Entry]) -> Sequence[Block]:
    kind = visit.request.path_params["kind"]
    return (_table(list(reversed(revisions))[:REVISIONS_SHOWN_MAX], kind, visit),)


def _page(visit: Visit, entry: Entry, blocks: Sequence[Block]) -> Page:
    kind = visit.request.path_params["kind"]
    return Page(
        title=views.key_of(entry),
        lead="An entry of the price book, and what a change of it would do.",
        section=SECTION,
        crumb=(TITLES[kind], f"{views.PATH}/{kind}"),
        blocks=blocks,
    )


LISTINGS: Final = tuple(_listing(kind) for kind in LOADS)
