"""`/notifications`: what people are told in the app, and by mail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from starlette.responses import Response
from starlette.routing import BaseRoute

from batzen.orchestrator.v1.mails_pb2 import ListMailsRequest, MailState, ReplayMailsRequest
from batzen.orchestrator.v1.notifications_pb2 import ListNotificationsRequest, NotificationRecipient
from services.console.desk import Desk, Visit
from services.console.operating.blocks import Block, Page, Table, View
from services.console.operating.listing import Listing
from services.console.operating.showing import acting, show, text_of
from services.console.operating.views import mails as views
from services.web.security.forms import Form

SECTION: Final = "notifications"
_RECIPIENTS: Final = {
    "": NotificationRecipient.NOTIFICATION_RECIPIENT_OPERATOR,
    "payer": NotificationRecipient.NOTIFICATION_RECIPIENT_PAYER,
    "seller": NotificationRecipient.NOTIFICATION_RECIPIENT_SELLER,
}


def routes(desk: Desk) -> list[BaseRoute]:
    """Return the routes of the pages."""
    return [
        *NOTIFICATIONS.routes(desk),
        *MAILS.routes(desk),
        desk.route(f"{views.MAILS}/replay", acting(_replay), methods=("POST",), here=SECTION),
    ]


def _views(here: str) -> tuple[View, ...]:
    return tuple(
        View(title=title, path=path, is_here=path == here)
        for title, path in (("Notifications", views.PATH), ("Mails", views.MAILS))
    )


async def _notifications(visit: Visit, query: Mapping[str, str], token: str, size: int) -> tuple[Table, str]:
    recipient = query.get("recipient", "")
    request = ListNotificationsRequest(
        recipient=_RECIPIENTS.get(recipient, _RECIPIENTS[""]),
        recipient_id=query.get("id", "") if recipient else "",
        page_size=size,
        page_token=token,
    )
    answer = await visit.calls.notifications.ListNotifications(request, metadata=visit.word)
    return views.notifications(answer.notifications, now=visit.front.now()), answer.next_page_token


async def _mails(visit: Visit, query: Mapping[str, str], token: str, size: int) -> tuple[Table, str]:
    states = {key: state for state, (key, _, _) in views.STATES.items()}
    request = ListMailsRequest(
        payment_id=query.get("payment", ""),
        state=states.get(query.get("state", ""), MailState.MAIL_STATE_UNSPECIFIED),
        page_size=size,
        page_token=token,
    )
    answer = await visit.calls.orchestrator_ops.ListMails(request, metadata=visit.word)
    table = views.mails(answer.mails, now=visit.front.now(), is_filtered=bool(query))
    return table, answer.next_page_token


async def _below_mails(visit: Visit, _: Mapping[str, str]) -> Sequence[Block]:
    return (views.replay_form(),) if visit.may_act else ()


async def _replay(visit: Visit, request_id: str, form: Form) -> Response:
    request = ReplayMailsRequest(request_id=request_id, actor_id=visit.session.subject, reason=text_of(form, "reason"))
    answer = await visit.calls.orchestrator_ops.ReplayMails(request, metadata=visit.word)
    page = Page(
        title="Mails tried again",
        lead="What was given up, and is due again.",
        section=SECTION,
        crumb=("Mails", views.MAILS),
        blocks=(views.replayed(answer.replayed_count, has_more=answer.has_more),),
    )
    return show(visit, page)


NOTIFICATIONS: Final = Listing(
    path=views.PATH,
    section=SECTION,
    title="Notifications",
    lead="What operators, a payer or a seller were told in the app.",
    filters=views.recipient_filters,
    load=_notifications,
    views=_views(views.PATH),
    is_personal=True,
)
MAILS: Final = Listing(
    path=views.MAILS,
    section=SECTION,
    title="Mails",
    lead="What became of each mail. Where it was sent is kept nowhere.",
    filters=views.mail_filters,
    load=_mails,
    below=_below_mails,
    views=_views(views.MAILS),
)
