"""`/sellers`: a seller's account and onboarding, balances, what sellers owe, payouts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import urlencode

from starlette.responses import Response
from starlette.routing import BaseRoute

from batzen.gateway.v1.ops_pb2 import GetBalancesRequest, ListReceivablesRequest
from batzen.gateway.v1.sellers_pb2 import CreateOnboardingLinkRequest, GetSellerAccountRequest, ListPayoutsRequest
from services.console.desk import Desk, Endpoint, Visit
from services.console.operating.blocks import Block, Page, Table, View
from services.console.operating.listing import Listing
from services.console.operating.showing import Act, acting, show, text_of
from services.console.operating.views import sellers as views
from services.web.failures import Refusal
from services.web.security.forms import Form

SECTION: Final = "sellers"
OWED: Final = f"{views.PATH}/receivables"
PAID_OUT: Final = f"{views.PATH}/payouts"
BALANCES_SHOWN_MAX: Final = 200
"""Of one page; the ledger's own list has all."""


def routes(desk: Desk, return_url: str) -> list[BaseRoute]:
    """Return the routes of the pages; sellers come back to `return_url` from Stripe. Empty: they are sent nowhere."""
    return [
        desk.route(views.PATH, _showing(return_url), here=SECTION),
        *RECEIVABLES.routes(desk),
        *PAYOUTS.routes(desk),
        desk.route(
            f"{views.PATH}/link", acting(_linking(return_url), moves_money=True), methods=("POST",), here=SECTION
        ),
    ]


def _views(here: str) -> tuple[View, ...]:
    return tuple(
        View(title=title, path=path, is_here=path == here)
        for title, path in (("Accounts", views.PATH), ("What sellers owe", OWED), ("Payouts", PAID_OUT))
    )


def _showing(return_url: str) -> Endpoint:
    async def show_sellers(visit: Visit) -> Response:
        return await _sellers(visit, makes_links=bool(return_url))

    return show_sellers


async def _sellers(visit: Visit, *, makes_links: bool) -> Response:
    seller_id = visit.request.query_params.get("seller", "").strip()[: views.SELLER_CHARACTERS_MAX]
    blocks = await _of(visit, seller_id, makes_links=makes_links) if seller_id else await _all(visit)
    page = Page(
        title="Sellers",
        lead=f"What {seller_id} may do at Stripe, is owed and owes."
        if seller_id
        else "What is owed to sellers by the ledger; find one by id to see the account and its onboarding.",
        section=SECTION,
        path=views.PATH,
        views=_views(views.PATH),
        filters=views.finding(seller_id),
        blocks=blocks,
    )
    return show(visit, page)


async def _all(visit: Visit) -> Sequence[Block]:
    answer = await visit.calls.gateway_ops.GetBalances(GetBalancesRequest(account="seller"), metadata=visit.word)
    del answer.balances[BALANCES_SHOWN_MAX:]
    return (views.balances(answer),)


async def _of(visit: Visit, seller_id: str, *, makes_links: bool) -> Sequence[Block]:
    now = visit.front.now()
    request = GetSellerAccountRequest(seller_id=seller_id)
    account = (await visit.calls.sellers.GetSellerAccount(request, metadata=visit.word)).account
    balances = await visit.calls.gateway_ops.GetBalances(GetBalancesRequest(seller_id=seller_id), metadata=visit.word)
    owed = await visit.calls.gateway_ops.ListReceivables(
        ListReceivablesRequest(seller_id=seller_id), metadata=visit.word
    )
    payouts = await visit.calls.sellers.ListPayouts(ListPayoutsRequest(seller_id=seller_id), metadata=visit.word)
    return (
        *views.account(account, now=now, may_act=visit.may_act and makes_links),
        views.balances(balances),
        views.receivables(owed.receivables, now=now),
        views.payouts(payouts.payouts, now=now),
    )


def _linking(return_url: str) -> Act:
    async def make(visit: Visit, _: str, form: Form) -> Response:
        return await _link(visit, text_of(form, "seller"), return_url)

    return make


async def _link(visit: Visit, seller_id: str, return_url: str) -> Response:
    """Make a link. Where it leads back to is set, never asked: the link is worth what the seller's account is."""
    if not return_url:
        raise Refusal(404, "NOT_FOUND", explanation="BATZEN_ONBOARDING_RETURN_URL says nowhere for sellers to return.")
    request = CreateOnboardingLinkRequest(seller_id=seller_id, return_url=return_url, refresh_url=return_url)
    answer = await visit.calls.sellers.CreateOnboardingLink(request, metadata=visit.word)
    await visit.audit("onboarding link", about=seller_id)
    page = Page(
        title="Onboarding link",
        lead=f"For {seller_id}.",
        section=SECTION,
        crumb=("Seller", f"{views.PATH}?{urlencode({'seller': seller_id})}"),
        blocks=(views.link(answer),),
    )
    return show(visit, page)


async def _receivables(visit: Visit, query: Mapping[str, str], token: str, size: int) -> tuple[Table, str]:
    request = ListReceivablesRequest(seller_id=query.get("seller", ""), page_size=size, page_token=token)
    answer = await visit.calls.gateway_ops.ListReceivables(request, metadata=visit.word)
    return views.receivables(answer.receivables, now=visit.front.now()), answer.next_page_token


async def _payouts(visit: Visit, query: Mapping[str, str], token: str, size: int) -> tuple[Table, str]:
    request = ListPayoutsRequest(seller_id=query.get("seller", ""), page_size=size, page_token=token)
    answer = await visit.calls.sellers.ListPayouts(request, metadata=visit.word)
    return views.payouts(answer.payouts, now=visit.front.now()), answer.next_page_token


RECEIVABLES: Final = Listing(
    path=OWED,
    section=SECTION,
    title="What sellers owe",
    lead="Of refunds and disputes that their balances at Stripe did not cover. It is asked back by itself.",
    load=_receivables,
    filters=lambda query: views.finding(query.get("seller", "")),
    views=_views(OWED),
)
PAYOUTS: Final = Listing(
    path=PAID_OUT,
    section=SECTION,
    title="Payouts",
    lead="Of the platform; of a seller, where one is named.",
    load=_payouts,
    filters=lambda query: views.finding(query.get("seller", "")),
    views=_views(PAID_OUT),
)
