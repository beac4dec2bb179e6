"""What payers, sellers and operators are told: notifications, and mails with what became of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from batzen.orchestrator.v1.mails_pb2 import Mail, MailState
from batzen.orchestrator.v1.notifications_pb2 import Notification, NotificationRecipient
from services.console.operating import cells
from services.console.operating.blocks import Cell, Column, Empty, Field, Form, Note, Option, Row, Table, Tone

PATH: Final = "/notifications"
MAILS: Final = f"{PATH}/mails"
STATES: Final[Mapping[MailState, tuple[str, str, Tone]]] = {
    MailState.MAIL_STATE_WAITING: ("waiting", "Waiting", Tone.WARN),
    MailState.MAIL_STATE_SENT: ("sent", "Sent", Tone.GOOD),
    MailState.MAIL_STATE_REFUSED: ("refused", "Refused", Tone.BAD),
    MailState.MAIL_STATE_SKIPPED: ("skipped", "Nobody is to get it", Tone.QUIET),
    MailState.MAIL_STATE_GIVEN_UP: ("given-up", "Given up", Tone.BAD),
}


def mail_filters(query: Mapping[str, str]) -> tuple[Field, ...]:
    """Return what may be asked for among mails."""
    states = [
        Option(value="", text="However they stand"),
        *(Option(value=k, text=text) for k, text, _ in STATES.values()),
    ]
    return (
        Field(name="state", label="State", kind="select", value=query.get("state", ""), options=states),
        Field(name="payment", label="Payment", value=query.get("payment", "")),
    )


def mails(found: Iterable[Mail], *, now: datetime, is_filtered: bool) -> Table:
    """Return mails as a table."""
    return Table(
        key="mails",
        caption="Mails, the newest first",
        columns=(
            Column(title="What happened"),
            Column(title="State"),
            Column(title="To"),
            Column(title="Payment"),
            Column(title="Failures", is_number=True),
            Column(title="What the server said", is_wide=True),
            Column(title="Made"),
            Column(title="Ended"),
            Column(title="Next try"),
        ),
        rows=tuple(_mail(one, now) for one in found),
        empty=Empty(title="No mail fits.", hint="Take a filter away to see the others.")
        if is_filtered
        else Empty(title="No mails yet.", hint="What payers and sellers are mailed is listed here, without addresses."),
    )


def replay_form() -> Form:
    """Return how mails that were given up are tried again."""
    return Form(
        key="replay",
        title="Try again what was given up",
        action=f"{MAILS}/replay",
        submit="Try them again",
        consequence="All mails that were given up become due again, up to a limit.",
        fields=(Field(name="reason", label="Reason", kind="area", is_required=True, hint="Kept for ever."),),
    )


def replayed(count: int, *, has_more: bool) -> Note:
    """Return what came of that."""
    if not count:
        return Note(title="No mail was given up.", tone=Tone.PLAIN)
    mails_said = "1 mail is" if count == 1 else f"{count} mails are"
    return Note(
        title=f"{mails_said} tried again.", text="There are more: do it once more." if has_more else "", tone=Tone.GOOD
    )


def notifications(found: Iterable[Notification], *, now: datetime) -> Table:
    """Return notifications as a table."""
    return Table(
        key="notifications",
        caption="Notifications, the newest first",
        columns=(
            Column(title="What happened"),
            Column(title="What it says", is_wide=True),
            Column(title="Payment"),
            Column(title="Read"),
            Column(title="When"),
        ),
        rows=tuple(
            Row(
                key=one.notification_id,
                cells=(
                    Cell(text=cells.word(one.kind), raw=one.kind),
                    cells.said(", ".join(f"{cells.word(name)}: {value}" for name, value in sorted(one.values.items()))),
                    cells.payment(one.payment_id),
                    cells.badge("Read", Tone.QUIET) if one.HasField("read_time") else cells.badge("New", Tone.WARN),
                    cells.moment(one.create_time, now=now),
                ),
            )
            for one in found
        ),
        empty=Empty(title="No notifications.", hint="What the recipient should know is listed here."),
    )


def recipient_filters(query: Mapping[str, str]) -> tuple[Field, ...]:
    """Return whose notifications are asked for."""
    kinds = {"": "Operators", "payer": "A payer", "seller": "A seller"}
    return (
        Field(
            name="recipient",
            label="Of",
            kind="select",
            value=query.get("recipient", ""),
            options=[Option(value=value, text=text) for value, text in kinds.items()],
        ),
        Field(name="id", label="Payer or seller id", value=query.get("id", ""), characters_max=128),
    )


def _mail(one: Mail, now: datetime) -> Row:
    _, text, tone = STATES.get(one.state, ("", str(one.state), Tone.PLAIN))
    recipient = NotificationRecipient.Name(one.recipient).removeprefix("NOTIFICATION_RECIPIENT_")
    return Row(
        key=f"{one.fact_id}-{one.recipient_id}",
        cells=(
            Cell(text=cells.word(one.kind), raw=one.kind),
            cells.badge(text, tone, note=cells.word(one.end_reason)),
            cells.said(cells.word(recipient), note=one.recipient_id),
            cells.payment(one.payment_id),
            cells.count(one.failure_count),
            cells.said(one.problem),
            cells.moment(one.create_time, now=now),
            cells.moment(one.end_time),
            cells.moment(one.next_time, now=now),
        ),
    )
