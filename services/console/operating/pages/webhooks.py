"""`/webhooks`: who is sent what happens, and how it goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from starlette.responses import Response
from starlette.routing import BaseRoute

from batzen.orchestrator.v1.webhooks_pb2 import (
    DeleteWebhookSubscriptionRequest,
    ListWebhookDeliveriesRequest,
    ListWebhookSubscriptionsRequest,
    PutWebhookSubscriptionRequest,
    ReplayWebhookDeliveriesRequest,
    RotateWebhookSecretRequest,
    TestWebhookSubscriptionRequest,
    WebhookDelivery,
    WebhookSubscription,
)
from services.console.desk import Desk, Visit
from services.console.operating.blocks import Block, Form, Page, Table
from services.console.operating.listing import Listing
from services.console.operating.showing import acting, back_to, chosen_of, confirmed, show, text_of
from services.console.operating.views import subscriptions as views
from services.web.failures import Refusal
from services.web.security.forms import Form as Sent

SECTION: Final = "webhooks"
SUBSCRIPTIONS_MAX: Final = 200
"""Of a tenant; the orchestrator takes no more."""


def routes(desk: Desk) -> list[BaseRoute]:
    """Return the routes of the pages."""
    one = f"{views.PATH}/{{subscription}}"
    return [
        *SUBSCRIPTIONS.routes(desk),
        desk.route(f"{views.PATH}/put", acting(_put, moves_money=True), methods=("POST",), here=SECTION),
        desk.route(f"{one}/test", acting(_test), methods=("POST",), here=SECTION),
        desk.route(f"{one}/rotate", acting(_rotate, moves_money=True), methods=("POST",), here=SECTION),
        desk.route(f"{one}/delete", acting(_delete, moves_money=True), methods=("POST",), here=SECTION),
        desk.route(f"{one}/replay", acting(_replay), methods=("POST",), here=SECTION),
        desk.route(f"{one}.csv", _export, here=SECTION),
        desk.route(one, _subscription, here=SECTION),
    ]


async def _load(visit: Visit, _: Mapping[str, str], token: str, size: int) -> tuple[Table, str]:
    request = ListWebhookSubscriptionsRequest(page_size=size, page_token=token)
    answer = await visit.calls.orchestrator_ops.ListWebhookSubscriptions(request, metadata=visit.word)
    return views.table(answer.subscriptions, now=visit.front.now()), answer.next_page_token


async def _below(visit: Visit, _: Mapping[str, str]) -> Sequence[Block]:
    return (views.put_form(None),) if visit.may_act else ()


async def _subscription(visit: Visit) -> Response:
    return await _deliveries(_id(visit)).page(visit)


async def _export(visit: Visit) -> Response:
    return await _deliveries(_id(visit)).export(visit)


def _deliveries(subscription_id: str) -> Listing:
    """Return the list of what one receiver was sent, below what is known of it."""
    path = f"{views.PATH}/{subscription_id}"
    states = {key: state for state, (key, _, _) in views.STATES.items()}

    async def load(visit: Visit, query: Mapping[str, str], token: str, size: int) -> tuple[Table, str]:
        request = ListWebhookDeliveriesRequest(
            subscription_id=subscription_id,
            payment_id=query.get("payment", ""),
            state=states.get(query.get("state", ""), WebhookDelivery.STATE_UNSPECIFIED),
            page_size=size,
            page_token=token,
        )
        answer = await visit.calls.orchestrator_ops.ListWebhookDeliveries(request, metadata=visit.word)
        replay = replay_form(path) if visit.may_act else None
        table = views.deliveries(answer.deliveries, now=visit.front.now(), replay=replay)
        return table, answer.next_page_token

    async def above(visit: Visit, _: Mapping[str, str]) -> Sequence[Block]:
        found = await _found(visit, subscription_id)
        return views.details(found, now=visit.front.now(), may_act=visit.may_act)

    return Listing(
        path=path,
        section=SECTION,
        title=subscription_id,
        lead="A receiver of webhooks, what it was sent, and what came of that.",
        crumb=("Webhooks", views.PATH),
        filters=views.delivery_filters,
        load=load,
        above=above,
    )


async def _found(visit: Visit, subscription_id: str) -> WebhookSubscription:
    request = ListWebhookSubscriptionsRequest(page_size=SUBSCRIPTIONS_MAX)
    answer = await visit.calls.orchestrator_ops.ListWebhookSubscriptions(request, metadata=visit.word)
    for one in answer.subscriptions:
        if one.subscription_id == subscription_id:
            return one
    raise Refusal(404, "WEBHOOK_SUBSCRIPTION_NOT_FOUND", explanation="There is no such subscription.")


async def _put(visit: Visit, request_id: str, form: Sent) -> Response:
    body, _ = views.FORMS.get(form.get("form", ""), views.FORMS["full"])
    request = PutWebhookSubscriptionRequest(
        request_id=request_id,
        subscription_id=text_of(form, "subscription"),
        url=text_of(form, "url"),
        kinds=text_of(form, "kinds").replace(",", " ").upper().split(),
        form=body,
        paused=form.get("paused") == "on",
        actor_id=visit.session.subject,
        reason=text_of(form, "reason"),
    )
    answer = await visit.calls.orchestrator_ops.PutWebhookSubscription(request, metadata=visit.word)
    path = f"{views.PATH}/{answer.subscription.subscription_id}"
    if not answer.secret:
        return back_to(path)
    return _secret(visit, answer.subscription.subscription_id, answer.secret)


async def _rotate(visit: Visit, request_id: str, form: Sent) -> Response:
    request = RotateWebhookSecretRequest(
        request_id=request_id,
        subscription_id=_id(visit),
        actor_id=visit.session.subject,
        reason=text_of(form, "reason"),
    )
    answer = await visit.calls.orchestrator_ops.RotateWebhookSecret(request, metadata=visit.word)
    return _secret(visit, _id(visit), answer.secret)


def _secret(visit: Visit, subscription_id: str, secret: str) -> Response:
    return _outcome(visit, subscription_id, "New secret", (views.secret(secret),))


async def _test(visit: Visit, request_id: str, _: Sent) -> Response:
    request = TestWebhookSubscriptionRequest(request_id=request_id, subscription_id=_id(visit))
    answer = await visit.calls.orchestrator_ops.TestWebhookSubscription(request, metadata=visit.word)
    return _outcome(visit, _id(visit), "Test event", views.delivery(answer.delivery, now=visit.front.now()))


async def _delete(visit: Visit, request_id: str, form: Sent) -> Response:
    confirmed(form, _id(visit))
    request = DeleteWebhookSubscriptionRequest(
        request_id=request_id,
        subscription_id=_id(visit),
        actor_id=visit.session.subject,
        reason=text_of(form, "reason"),
    )
    await visit.calls.orchestrator_ops.DeleteWebhookSubscription(request, metadata=visit.word)
    return back_to(views.PATH)


async def _replay(visit: Visit, request_id: str, form: Sent) -> Response:
    request = ReplayWebhookDeliveriesRequest(
        request_id=request_id,
        delivery_ids=chosen_of(form),
        actor_id=visit.session.subject,
        reason=text_of(form, "reason"),
    )
    answer = await visit.calls.orchestrator_ops.ReplayWebhookDeliveries(request, metadata=visit.word)
    return _outcome(visit, _id(visit), "Sent again", (views.replayed(answer.replayed_count),))


def replay_form(path: str) -> Form:
    """Return how deliveries to a receiver are sent again."""
    return Form(
        key="replay",
        title="Send again",
        action=f"{path}/replay",
        submit="Send the chosen again",
        consequence="Whatever has become of them, in the order in which they were made.",
        fields=(views.REASON,),
    )


def _outcome(visit: Visit, subscription_id: str, title: str, blocks: Sequence[Block]) -> Response:
    page = Page(
        title=title,
        lead=f"Of {subscription_id}.",
        section=SECTION,
        crumb=(subscription_id, f"{views.PATH}/{subscription_id}"),
        blocks=blocks,
    )
    return show(visit, page)


def _id(visit: Visit) -> str:
    found: str = visit.request.path_params["subscription"]
    return found


SUBSCRIPTIONS: Final = Listing(
    path=views.PATH,
    section=SECTION,
    title="Webhooks",
    lead="The platform's own systems that are sent what happens to payments.",
    load=_load,
    below=_below,
)
