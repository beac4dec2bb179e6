"""Receivers of webhooks: who wants what, how it goes, and what was sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

from batzen.orchestrator.v1.webhooks_pb2 import WebhookDelivery, WebhookSubscription
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
    Option,
    Row,
    Table,
    Text,
    Tone,
)

PATH: Final = "/webhooks"
FORMS: Final = {
    "full": (WebhookSubscription.FORM_FULL, "Full: the whole payment"),
    "legacy": (WebhookSubscription.FORM_LEGACY, "That of the platform before"),
}
STATES: Final[Mapping[WebhookDelivery.State, tuple[str, str, Tone]]] = {
    WebhookDelivery.STATE_WAITING: ("waiting", "Waiting", Tone.WARN),
    WebhookDelivery.STATE_DELIVERED: ("delivered", "Delivered", Tone.GOOD),
    WebhookDelivery.STATE_DEAD: ("dead", "Dead letter", Tone.BAD),
    WebhookDelivery.STATE_CANCELED: ("canceled", "Canceled", Tone.QUIET),
}
_NEVER: Final = Empty(
    title="Nobody is sent anything.", hint="Put a subscription, and what happens to payments is posted to it."
)
REASON: Final = Field(name="reason", label="Reason", kind="area", is_required=True, hint="Kept for ever.")


def table(subscriptions: Iterable[WebhookSubscription], *, now: datetime) -> Table:
    """Return subscriptions as a table."""
    return Table(
        key="subscriptions",
        caption="Subscriptions, by name",
        columns=(
            Column(title="Subscription"),
            Column(title="Address", is_wide=True),
            Column(title="Stands"),
            Column(title="Waiting", is_number=True),
            Column(title="Dead letters", is_number=True),
            Column(title="Form"),
            Column(title="Last put"),
        ),
        rows=tuple(
            Row(
                key=one.subscription_id,
                cells=(
                    cells.code(one.subscription_id, href=f"{PATH}/{one.subscription_id}"),
                    cells.said(one.url),
                    stands(one, now),
                    cells.count(one.waiting_count, tone=Tone.WARN if one.waiting_count else Tone.PLAIN),
                    cells.count(one.dead_count, tone=Tone.BAD if one.dead_count else Tone.PLAIN),
                    cells.said(_form_name(one.form)),
                    cells.moment(one.update_time, now=now),
                ),
            )
            for one in subscriptions
        ),
        empty=_NEVER,
    )


def details(one: WebhookSubscription, *, now: datetime, may_act: bool) -> tuple[Block, ...]:
    """Return what is known of a subscription, and what may be done with it."""
    facts = Facts(
        key="subscription",
        title="What is sent where",
        facts=(
            Fact(name="Stands", value=stands(one, now)),
            Fact(name="Address", value=cells.said(one.url)),
            Fact(name="Kinds", value=cells.said(", ".join(one.kinds) or "All that have a body")),
            Fact(name="Form", value=cells.said(_form_name(one.form))),
            Fact(name="Waiting", value=cells.count(one.waiting_count)),
            Fact(name="Dead letters", value=cells.count(one.dead_count)),
            Fact(name="First put", value=cells.moment(one.create_time)),
            Fact(name="Last put", value=cells.moment(one.update_time, now=now)),
        ),
    )
    secrets = Table(
        key="secrets",
        caption="Secrets that sign",
        columns=(Column(title="Secret"), Column(title="Made"), Column(title="Signs until")),
        rows=tuple(
            Row(
                key=secret.secret_id,
                cells=(
                    cells.code(secret.secret_id),
                    cells.moment(secret.create_time, now=now),
                    cells.moment(secret.expire_time, now=now)
                    if secret.HasField("expire_time")
                    else cells.said("replaced"),
                ),
            )
            for secret in one.secrets
        ),
        empty=Empty(title="No secret signs."),
    )
    return (facts, secrets, *(_forms(one) if may_act else ()))


def stands(one: WebhookSubscription, now: datetime) -> Cell:
    """Return how a subscription does."""
    if one.paused:
        return cells.badge("Paused", Tone.QUIET, note="what happens meanwhile waits")
    if one.HasField("rest_end_time") and cells.instant(one.rest_end_time) > now:
        return cells.badge("Rests", Tone.BAD, note=f"until {cells.at(cells.instant(one.rest_end_time))}")
    if one.HasField("failing_time"):
        length = cells.span(now - cells.instant(one.failing_time))
        return cells.badge("Fails", Tone.BAD, note=f"{one.failures} in a row, for {length}")
    return cells.badge("Works", Tone.GOOD)


def put_form(one: WebhookSubscription | None) -> Form:
    """Return how a subscription is put: a new one, or `one` anew."""
    base = WebhookSubscription() if one is None else one
    name = (
        Field(
            name="subscription",
            label="Name",
            is_required=True,
            hint="Lower case letters, digits, _ and -, such as reservations",
            characters_max=64,
        )
        if one is None
        else Field(name="subscription", label="", kind="hidden", value=one.subscription_id)
    )
    fields: Sequence[Field] = (
        name,
        Field(name="url", label="Address", value=base.url, is_required=True, hint="https://…", characters_max=2_000),
        Field(
            name="kinds",
            label="Kinds of facts",
            value=" ".join(base.kinds),
            hint="Such as PAYMENT_MOVED, with spaces between; empty for all",
        ),
        Field(
            name="form",
            label="Form of the body",
            kind="select",
            value=_form_key(base.form),
            options=[Option(value=key, text=text) for key, (_, text) in FORMS.items()],
        ),
        Field(name="paused", label="Paused: send nothing yet", kind="check", value="on" if base.paused else ""),
        REASON,
    )
    return Form(
        key="put",
        title="New subscription" if one is None else "Change",
        action=f"{PATH}/put",
        submit="Put it" if one is None else "Save the change",
        consequence="It is sent what happens from now on. Its secret is shown once."
        if one is None
        else "It holds from the next delivery on.",
        fields=fields,
    )


def secret(text: str) -> Note:
    """Return a secret that was made, which is shown this once."""
    return Note(
        title="This secret signs from now on.",
        text="It is shown this once. Give it to the receiver by a safe way.",
        tone=Tone.WARN,
        secret=text,
    )


def deliveries(found: Iterable[WebhookDelivery], *, now: datetime, replay: Form | None) -> Table:
    """Return deliveries as a table."""
    return Table(
        key="deliveries",
        caption="Deliveries, the newest first",
        columns=(
            Column(title="Delivery"),
            Column(title="State"),
            Column(title="Kind"),
            Column(title="Payment"),
            Column(title="Revision", is_number=True),
            Column(title="Tries", is_number=True),
            Column(title="Last answer", is_wide=True),
            Column(title="Made"),
            Column(title="Next try"),
        ),
        rows=tuple(_delivery(one, now) for one in found),
        empty=Empty(title="Nothing was sent.", hint="Deliveries are listed here once something happens."),
        choose=replay,
    )


def delivery_filters(query: Mapping[str, str]) -> tuple[Field, ...]:
    """Return what may be asked for among deliveries."""
    states = [
        Option(value="", text="In any state"),
        *(Option(value=key, text=text) for key, text, _ in STATES.values()),
    ]
    return (
        Field(name="state", label="State", kind="select", value=query.get("state", ""), options=states),
        Field(name="payment", label="Payment", value=query.get("payment", "")),
    )


def delivery(one: WebhookDelivery, *, now: datetime) -> tuple[Block, ...]:
    """Return a delivery with its tries: what came of a test."""
    note = Note(
        title="The receiver took it."
        if one.state == WebhookDelivery.STATE_DELIVERED
        else "The receiver did not take it.",
        text=_last(one).text,
        tone=Tone.GOOD if one.state == WebhookDelivery.STATE_DELIVERED else Tone.BAD,
    )
    tries = Table(
        key="tries",
        caption="Tries",
        columns=(
            Column(title="When"),
            Column(title="Outcome"),
            Column(title="HTTP", is_number=True),
            Column(title="Took", is_number=True),
            Column(title="What was answered", is_wide=True),
        ),
        rows=tuple(
            Row(
                key=str(place),
                cells=(
                    cells.moment(one_try.time, now=now),
                    cells.said(cells.word(one_try.outcome)),
                    cells.said(str(one_try.status or "")),
                    Cell(text=f"{one_try.duration.ToMilliseconds()}\N{NO-BREAK SPACE}ms", kind=CellKind.NUMBER),
                    cells.said(one_try.answer or one_try.problem),
                ),
            )
            for place, one_try in enumerate(one.tries)
        ),
        empty=Empty(title="It was not tried yet."),
    )
    return (note, tries, Text(key="body", title="What is sent", text=one.body))


def replayed(number: int) -> Note:
    """Return what came of sending deliveries again."""
    if not number:
        return Note(title="None of them is there any more.", tone=Tone.WARN)
    deliveries_said = "1 delivery is" if number == 1 else f"{number} deliveries are"
    return Note(
        title=f"{deliveries_said} sent again.", text="What comes of each stands among the deliveries.", tone=Tone.GOOD
    )


def _delivery(one: WebhookDelivery, now: datetime) -> Row:
    _, text, tone = STATES.get(one.state, ("", str(one.state), Tone.PLAIN))
    return Row(
        key=one.delivery_id,
        cells=(
            cells.code(one.delivery_id),
            cells.badge(text, tone),
            cells.said(cells.word(one.kind)),
            cells.payment(one.payment_id),
            cells.count(one.revision) if one.revision else cells.said(""),
            cells.count(one.try_count),
            _last(one),
            cells.moment(one.create_time, now=now),
            cells.moment(one.next_time, now=now),
        ),
    )


def _last(one: WebhookDelivery) -> Cell:
    if not one.tries:
        return cells.said("")
    last = one.tries[-1]
    status = f"HTTP {last.status}" if last.status else cells.word(last.outcome)
    return cells.said(status, note=last.answer or last.problem)


def _form_name(form: int) -> str:
    return next((text for value, text in FORMS.values() if value == form), FORMS["full"][1])


def _form_key(form: int) -> str:
    return next((key for key, (value, _) in FORMS.items() if value == form), "full")


def _forms(one: WebhookSubscription) -> tuple[Form, ...]:
    base = f"{PATH}/{one.subscription_id}"
    return (
        Form(
            key="test",
            title="Send a test event",
            action=f"{base}/test",
            submit="Send it now",
            consequence="One try of an event of the kind TEST; what comes of it is shown.",
        ),
        put_form(one),
        Form(
            key="rotate",
            title="Make a new secret",
            action=f"{base}/rotate",
            submit="Make a new secret",
            consequence="The secrets before sign beside it for a day. The new one is shown once.",
            fields=(REASON,),
            tone=Tone.WARN,
        ),
        Form(
            key="delete",
            title="Delete",
            action=f"{base}/delete",
            submit="Delete the subscription",
            consequence="Nothing is sent there any more; what waits is canceled.",
            fields=(
                REASON,
                Field(
                    name="typed",
                    label=f"To confirm: type {one.subscription_id}",
                    is_required=True,
                    wanted=one.subscription_id,
                    characters_max=64,
                ),
            ),
            tone=Tone.BAD,
        ),
    )
