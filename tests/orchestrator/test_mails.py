"""Mails that are due: each is sent at least once and as the same mail, whoever dies, refuses or declines meanwhile."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from typing import Any

import asyncpg
import pytest
from grpc import aio

from batzen.orchestrator.v1 import mails_pb2 as mails_pb
from batzen.orchestrator.v1 import notifications_pb2 as pb
from batzen.orchestrator.v1 import ops_pb2 as ops_pb
from batzen.orchestrator.v1.notifications_pb2_grpc import NotificationServiceStub
from local.databases import ServiceDatabase
from services.orchestrator.facts.domain import Fact, FactKind, fact_id
from services.orchestrator.facts.rules import Seen
from services.orchestrator.facts.store import FactStore
from services.orchestrator.mail.building import NO_MAILS, mails
from services.orchestrator.mail.domain import Contact
from services.orchestrator.mail.metrics import MailMetrics
from services.orchestrator.mail.outbox import ASKED_AGAIN_AFTER, KNOWN_WITHIN, RETRY, MailOutbox, Return
from services.orchestrator.mail.outdated import PLANS
from services.orchestrator.mail.settings import MailSettings
from services.orchestrator.mail.smtp import Smtp, SmtpServer
from services.orchestrator.mail.store import FORGET, MailStore, NotSent
from services.orchestrator.mail.unsubscribe_tokens import Declined, UnsubscribeTokens
from services.orchestrator.notifications.fact_sink import NotificationSink
from services.orchestrator.notifications.kinds import Channel, RecipientKind
from services.runtime.database.connections import DirectConnections, plain_dsn
from services.runtime.database.request_expiry import REQUESTS_KEPT, forget
from services.runtime.observability.metrics import Meter
from services.runtime.process.followed import Followed
from services.runtime.process.settings import SettingsError, settings_from
from services.runtime.work.engine import Engine
from services.runtime.work.kinds import RetryPolicy, Work
from services.shared import codec
from services.shared.states import State
from tests.conftest import Databases
from tests.eventually import WITHIN_S
from tests.metrics import Figures
from tests.orchestrator.conftest import Orchestrator, World
from tests.orchestrator.lives import Died, Life, Mortal, each_life
from tests.orchestrator.mailboxes import Mailboxes, mailboxes
from tests.orchestrator.samples import Clock, new_id, new_payment_id
from tests.refusals import details_of

OPS = "ops@example.ch"
LEA = "lea@example.ch"
KEY, OLD_KEY = "k" * 32, "o" * 32
A_MINUTE = timedelta(minutes=1)
MONEY = {"amount_minor": "12000", "currency_code": "CHF"}
POLICY = {
    "operator_addresses": [OPS],
    "sender_name": "Alpenblick",
    "payment_url": "https://alpenblick.example/payments/{payment_id}",
    "unsubscribe_url": "https://alpenblick.example/off?t={token}",
    "time_zone": "Europe/Zurich",
}


@dataclass
class Known:
    """How payers and sellers of a test are reached."""

    people: dict[str, Contact] = field(default_factory=dict)

    async def contact(self, recipient_kind: RecipientKind, recipient_id: str) -> Contact | None:
        return self.people.get(recipient_id)


@dataclass
class Post:
    """A tenant whose mails a test has sent."""

    tenant_id: str
    clock: Clock
    held: DirectConnections
    database: ServiceDatabase
    boxes: Mailboxes
    rows: asyncpg.Connection
    known: Known = field(default_factory=Known)
    meter: Meter = field(default_factory=Meter)
    step_timeout_s: float = WITHIN_S

    async def say(self, **policy: Any) -> None:
        """Put a policy."""
        await self.rows.execute(
            """INSERT INTO notification_policies
                (tenant_id, revision, policy, caller, request_id, request_hash, actor_id, reason, create_time)
            VALUES ($1, (SELECT count(*) + 1 FROM notification_policies WHERE tenant_id = $1), $2, 'test',
                gen_random_uuid(), '', '', '', now())""",
            self.tenant_id, json.dumps(POLICY | policy),
        )  # fmt: skip

    async def happens(self, kind: FactKind, values: Mapping[str, str] = MONEY, *, payer_id: str = "") -> Fact:
        """Keep a fact, with what follows from it."""
        payment_id = new_payment_id()
        fact = Fact(
            tenant_id=self.tenant_id,
            fact_id=fact_id(kind, payment_id, "3"),
            kind=kind,
            occur_time=self.clock.now(),
            payment_id=payment_id,
            payer_id=payer_id,
            values=values,
        )
        await self.keep(fact)
        return fact

    async def heard(self, payment_id: str, seen: Seen) -> None:
        """Keep what was heard of a payment last."""
        await self.rows.execute(
            "INSERT INTO followed_payments (tenant_id, payment_id, revision, seen, update_time)"
            " VALUES ($1, $2, 4, $3, now())",
            self.tenant_id, payment_id, json.dumps(codec.to_json(seen)),
        )  # fmt: skip

    async def keep(self, fact: Fact) -> None:
        sinks = [NotificationSink(now=self.clock.now)]
        store = FactStore(self.held, sinks=sinks, now=self.clock.now, wake=lambda _: None)
        await store.keep(self.tenant_id, [fact])

    def outbox(self, **parts: Any) -> MailOutbox:
        """Return what sends; `parts` go before what is usual."""
        url = f"smtp://127.0.0.1:{self.boxes.port}?tls=off"
        usual: dict[str, Any] = {
            "store": MailStore(self.held),
            "contacts": self.known,
            "server": Smtp(
                Followed(SmtpServer.parse(url)), step_timeout_s=self.step_timeout_s, mail_timeout_s=WITHIN_S
            ),
            "sent_by": Return(address="pay@batzen.example", name="Batzen"),
            "tokens": UnsubscribeTokens(Followed((KEY,))),
            "now": self.clock.now,
            "metrics": MailMetrics(self.meter),
        }
        wanted = usual | parts
        return MailOutbox(wanted.pop("store"), wanted.pop("contacts"), **wanted)

    async def send(self, *, retry: RetryPolicy = RETRY, **parts: Any) -> int:
        """Send what is due now, and return how many rows that were."""
        engine = Engine(
            self.database.runtime_url, self.held, clock=self.clock, application_name="mails", tenants=[self.tenant_id]
        )
        engine.register(replace(self.outbox(**parts).kind, retry=retry))
        return await engine.once()

    async def stands(self) -> list[asyncpg.Record]:
        return await self.rows.fetch("SELECT * FROM mails WHERE tenant_id = $1 ORDER BY create_time", self.tenant_id)

    async def ended(self) -> list[tuple[str, str]]:
        """Return what became of each mail, once nothing of it is due."""
        found = await self.stands()
        assert [row["due_time"] for row in found if row["state"] != "WAITING"] == [None] * len(
            [row for row in found if row["state"] != "WAITING"]
        )
        return [(row["state"], row["end_reason"]) for row in found]

    async def figures(self) -> Figures:
        return Figures.read(await self.meter.text())


def subject(message: EmailMessage) -> str:
    """Return what it says it is about, with spaces that may break."""
    return str(message["Subject"]).replace("\N{NO-BREAK SPACE}", " ")


@pytest.fixture(scope="module")
async def mail_database(databases: Databases) -> AsyncIterator[ServiceDatabase]:
    database = await databases.create("orchestrator")
    yield database
    await databases.drop(database)


@pytest.fixture(scope="module")
async def held(mail_database: ServiceDatabase) -> AsyncIterator[DirectConnections]:
    async with DirectConnections(mail_database.runtime_url, application_name="mail-tests", size=4) as held:
        yield held


@asynccontextmanager
async def posting(
    database: ServiceDatabase,
    held: DirectConnections,
    *,
    tenant_id: str = "",
    clock: Clock | None = None,
    **how: Any,
) -> AsyncIterator[Post]:
    """With a `clock` the mails go by that of others, too, as by that of a replica that is asked about them."""
    rows = await asyncpg.connect(plain_dsn(database.owner_url))
    tenant_id = tenant_id or f"tenant-{''.join(secrets.choice('abcdefghijkl') for _ in range(12))}"
    async with mailboxes() as boxes:
        yield Post(
            tenant_id=tenant_id,
            clock=clock or Clock(),
            held=held,
            database=database,
            boxes=boxes,
            rows=rows,
            **how,
        )
    await rows.close()


@pytest.fixture
async def post(mail_database: ServiceDatabase, held: DirectConnections) -> AsyncIterator[Post]:
    async with posting(mail_database, held) as post:
        await post.say()
        yield post


async def test_a_fact_is_mailed_once_however_often_it_is_heard(post: Post) -> None:
    fact = await post.happens(FactKind.REFUND_FAILED)
    await post.keep(fact)
    assert await post.send() == 1
    await post.keep(fact)
    assert await post.send() == 0
    [message] = post.boxes.messages
    assert post.boxes.arrived[0].rcpt_tos == [OPS]
    assert message["From"] == "Alpenblick <pay@batzen.example>"
    assert subject(message) == "Refund failed: CHF 120.00"
    assert await post.ended() == [("SENT", "")]


async def test_a_refund_is_told_and_so_is_its_failure(post: Post) -> None:
    """Its payer reads that the money comes, and later that it does not."""
    post.known.people["payer_1"] = Contact(addresses=(LEA,), name="Lea", locale="de-CH")
    await post.happens(FactKind.PAYMENT_REFUNDED, payer_id="payer_1")
    await post.send()
    await post.happens(FactKind.REFUND_FAILED, payer_id="payer_1")
    await post.send()
    to_lea = [subject(one) for one in post.boxes.messages if LEA in one["To"]]
    assert to_lea == ["Rückerstattung von CHF 120.00", "Ihre Rückerstattung von CHF 120.00 ist nicht angekommen"]
    assert "https://alpenblick.example/payments/" in post.boxes.messages[0].get_body(("plain",)).get_content()  # type: ignore[union-attr]


async def test_a_server_that_is_away_gets_it_later(post: Post) -> None:
    await post.happens(FactKind.REFUND_FAILED)
    post.boxes.to_data = ["451 4.3.0 busy, ask ops@example.ch"]
    await post.send()
    [row] = await post.stands()
    assert (row["state"], row["failures"]) == ("WAITING", 1)
    assert "451" in row["problem"]
    assert OPS not in row["problem"]
    assert await post.send() == 0
    post.clock.advance(2 * A_MINUTE)
    assert await post.send() == 1
    assert await post.ended() == [("SENT", "")]
    figures = await post.figures()
    assert figures.of("batzen_mails_total", outcome="not_taken") == 1
    assert figures.of("batzen_mails_total", outcome="sent") == 1
    assert figures.of("batzen_mail_send_seconds_count") == 1


def test_it_is_tried_for_two_days() -> None:
    assert RETRY.tries_max is not None
    delays = [RETRY.delay(failures) for failures in range(1, RETRY.tries_max)]
    assert timedelta(hours=40) < sum((one for one in delays if one), timedelta()) < timedelta(hours=60)
    assert RETRY.delay(RETRY.tries_max) is None


async def test_what_the_server_may_have_is_sent_again_as_the_same_mail(
    mail_database: ServiceDatabase, held: DirectConnections
) -> None:
    """It took the mail, and its answer did not come: nobody knows, so it gets it again, and can tell that it has it."""
    async with posting(mail_database, held, step_timeout_s=2.0) as post:
        await post.say()
        await post.happens(FactKind.REFUND_FAILED)
        post.boxes.held = asyncio.Event()
        await post.send()
        post.boxes.held.set()
        post.clock.advance(2 * A_MINUTE)
        post.step_timeout_s = WITHIN_S
        await post.send()
        first, second = post.boxes.arrived
        assert first.content == second.content
        assert await post.ended() == [("SENT", "")]


async def test_an_address_that_takes_none_is_not_tried_again(post: Post) -> None:
    await post.happens(FactKind.REFUND_FAILED)
    post.boxes.to_rcpt[OPS] = "550 5.1.1 no such user"
    await post.send()
    assert await post.ended() == [("REFUSED", NotSent.ADDRESS_REFUSED)]
    assert (await post.figures()).of("batzen_mails_total", outcome="refused") == 1


async def test_nothing_is_lost_wherever_the_process_dies(post: Post) -> None:
    """Right before and right after each statement, each question and each mail: then another process comes by."""
    post.known.people["payer_1"] = Contact(addresses=(LEA,))
    places = []
    for life in each_life():
        fact = await post.happens(FactKind.PAYMENT_RECEIVED, payer_id="payer_1")
        before = len(post.boxes.arrived)
        await _lived(post, fact, life)
        post.clock.advance(A_MINUTE)
        await post.send()
        arrived = post.boxes.arrived[before:]
        places.append(life.place)
        assert len(arrived) == (2 if life.place in ("after send", "before ended") else 1), life.place
        assert len({one.content for one in arrived}) == 1, life.place
    assert {state for state, _ in await post.ended()} == {"SENT"}
    assert {"before pending", "before contact", "before send", "after send", "before ended", "after ended"} < set(
        places
    )


async def _lived(post: Post, fact: Fact, life: Life) -> None:
    real = post.outbox()
    mortal = post.outbox(
        store=Mortal(MailStore(post.held), life),
        contacts=Mortal(post.known, life),
        server=Mortal(
            Smtp(Followed(SmtpServer.parse(f"smtp://127.0.0.1:{post.boxes.port}?tls=off"))), life
        ),
    )  # fmt: skip
    key = (str(fact.fact_id), RecipientKind.PAYER.value, "payer_1")
    work = Work(kind=real.kind, tenant_id=post.tenant_id, key=key, fence=0, failures=0)
    try:
        await mortal.send(work)
    except Died:
        assert life.place


async def test_two_that_send_the_same_mail_both_find_it_sent(post: Post) -> None:
    """As after a stall: the server gets the same mail twice, and the row is marked once."""
    await post.happens(FactKind.REFUND_FAILED)
    [row] = await post.stands()
    outbox = post.outbox()
    key = (str(row["fact_id"]), "OPERATOR", "")
    work = Work(kind=outbox.kind, tenant_id=post.tenant_id, key=key, fence=0, failures=0)
    await asyncio.gather(outbox.send(work), outbox.send(work))
    assert len({one.content for one in post.boxes.arrived}) == 1
    [row] = await post.stands()
    assert row["state"] == "SENT"
    await outbox.send(work)
    assert len(post.boxes.arrived) <= 2


async def test_who_declined_meanwhile_gets_none_but_what_they_have_to_know(post: Post) -> None:
    post.known.people["payer_1"] = Contact(addresses=(LEA,))
    for kind in (FactKind.PAYMENT_RECEIVED, FactKind.PAYMENT_FAILED):
        await post.happens(kind, payer_id="payer_1")
        await post.rows.execute(
            "INSERT INTO notification_opt_outs VALUES ($1, 'PAYER', 'payer_1', $2, $3, now())",
            post.tenant_id, kind, Channel.MAIL,
        )  # fmt: skip
    await post.send()
    assert sorted(await post.ended()) == [("SENT", ""), ("SKIPPED", NotSent.DECLINED)]
    [message] = post.boxes.messages
    assert subject(message) == "Your payment did not go through"


@pytest.mark.parametrize(
    ("contact", "reason"),
    [(None, NotSent.NO_CONTACT), (Contact(addresses=("not an address",)), NotSent.ADDRESS_UNFIT)],
)
async def test_who_cannot_be_reached_is_written_to_by_nobody(
    post: Post, contact: Contact | None, reason: NotSent
) -> None:
    """Such as a payer who was erased between the payment and the mail."""
    if contact is not None:
        post.known.people["payer_1"] = contact
    await post.happens(FactKind.PAYMENT_RECEIVED, payer_id="payer_1")
    await post.send()
    post.clock.advance(KNOWN_WITHIN)
    await post.send()
    assert await post.ended() == [("SKIPPED", reason)]
    assert post.boxes.arrived == []


async def test_an_address_may_come_after_the_money(post: Post) -> None:
    """A payer gave it on Stripe's page, and nobody here knew it yet when the mail was due."""
    await post.happens(FactKind.PAYMENT_RECEIVED, payer_id="payer_1")
    await post.send()
    assert await post.ended() == [("WAITING", "")]
    post.known.people["payer_1"] = Contact(addresses=(LEA,))
    post.clock.advance(ASKED_AGAIN_AFTER)
    await post.send()
    assert await post.ended() == [("SENT", "")]


async def test_operators_who_left_are_not_written_to(post: Post) -> None:
    await post.happens(FactKind.REFUND_FAILED)
    await post.say(operator_addresses=[])
    await post.send()
    assert await post.ended() == [("SKIPPED", NotSent.NO_CONTACT)]


IN_A_DAY, IN_TWO_DAYS = timedelta(days=1), timedelta(days=2)
PLANNED: dict[str, Any] = {"collection": State.SCHEDULED, "charge_time": IN_A_DAY}
SOFT = {"is_final": "false", "decline_code": "insufficient_funds"}
OVER = {"reason": "ABANDONED"}


@pytest.mark.parametrize(
    ("kind", "says", "seen", "end"),
    [
        (FactKind.PAYMENT_FAILED, SOFT, PLANNED, "SENT"),
        (FactKind.PAYMENT_FAILED, SOFT, {"collection": State.SUCCEEDED, "captured_minor": 12_000}, "OUTDATED"),
        (FactKind.PAYMENT_FAILED, SOFT, {"collection": State.PROCESSING, "charge_time": IN_A_DAY}, "OUTDATED"),
        (FactKind.PAYMENT_FAILED, SOFT, PLANNED | {"charge_time": IN_TWO_DAYS}, "OUTDATED"),
        (FactKind.PAYMENT_FAILED, {"is_final": "true"}, {"collection": State.FAILED}, "SENT"),
        (FactKind.PAYMENT_FAILED, {"is_final": "true"}, {"collection": State.SUCCEEDED}, "OUTDATED"),
        (FactKind.PAYMENT_EXPIRED, OVER, {"collection": State.EXPIRED}, "SENT"),
        (FactKind.PAYMENT_EXPIRED, OVER, {"collection": State.SUCCEEDED, "captured_minor": 12_000}, "OUTDATED"),
        (FactKind.PAYMENT_EXPIRED, OVER, {"collection": State.AUTHORIZED}, "OUTDATED"),
        (FactKind.ACTION_REQUIRED, {"action": "METHOD"}, {"collection": State.REQUIRES_PAYMENT_METHOD}, "SENT"),
        (FactKind.ACTION_REQUIRED, {"action": "METHOD"}, {"collection": State.SUCCEEDED}, "OUTDATED"),
        (FactKind.PAYMENT_SCHEDULED, {}, PLANNED, "SENT"),
        (FactKind.PAYMENT_SCHEDULED, {}, {"collection": State.CANCELED}, "OUTDATED"),
        (FactKind.CHARGE_UPCOMING, {}, PLANNED, "SENT"),
        (FactKind.CHARGE_UPCOMING, {}, PLANNED | {"charge_time": IN_TWO_DAYS}, "OUTDATED"),
        (FactKind.PAYMENT_REFUNDED, {"refunded_minor": "12000"}, {"refunded_minor": 12_000}, "SENT"),
        (FactKind.PAYMENT_REFUNDED, {"refunded_minor": "12000"}, {"refunded_minor": 0}, "OUTDATED"),
        (FactKind.PAYMENT_RECEIVED, {}, {"collection": State.SUCCEEDED, "refunded_minor": 12_000}, "SENT"),
        (FactKind.PAYMENT_FAILED, {"is_final": "true"}, None, "SENT"),
    ],
)
async def test_what_is_not_true_any_more_when_it_leaves_is_not_said(
    kind: FactKind, says: dict[str, str], seen: dict[str, Any] | None, end: str, post: Post
) -> None:
    """It was heard while no server took mails: money came, or what was planned is planned for another time."""
    post.known.people["payer_1"] = Contact(addresses=(LEA,))
    now = post.clock.now()
    names_time = kind in PLANS and says.get("is_final") != "true"
    values = {**MONEY, **says} | ({"charge_time": (now + IN_A_DAY).isoformat()} if names_time else {})
    fact = await post.happens(kind, values, payer_id="payer_1")
    post.boxes.to_data = ["451 4.3.0 busy"]
    await post.send()
    assert await post.ended() == [("WAITING", "")]
    if seen is not None:
        times = {name: now + value for name, value in seen.items() if name == "charge_time"}
        await post.heard(fact.payment_id, Seen(**(seen | times)))
    post.clock.advance(2 * A_MINUTE)
    await post.send()
    assert await post.ended() == [("SENT", "") if end == "SENT" else ("SKIPPED", NotSent.OUTDATED)]


async def test_no_charge_is_announced_for_a_time_that_has_passed(post: Post) -> None:
    post.known.people["payer_1"] = Contact(addresses=(LEA,))
    charge_time = post.clock.now() + IN_A_DAY
    fact = await post.happens(
        FactKind.PAYMENT_FAILED, {**MONEY, **SOFT, "charge_time": charge_time.isoformat()}, payer_id="payer_1"
    )
    await post.heard(fact.payment_id, Seen(collection=State.SCHEDULED, charge_time=charge_time))
    post.clock.advance(IN_A_DAY + A_MINUTE)
    await post.send()
    assert await post.ended() == [("SKIPPED", NotSent.OUTDATED)]


async def test_operators_are_not_written_to_of_what_needs_nobody_any_more(post: Post) -> None:
    await post.say(switches=[{"kind": "ATTENTION_RAISED", "recipient": "OPERATOR", "channels": ["MAIL"]}])
    for attentions in (("SURPLUS",), ("STUCK", "LATE_MONEY")):
        fact = await post.happens(FactKind.ATTENTION_RAISED, {"reason": "LATE_MONEY", "detail": "It came late."})
        await post.heard(fact.payment_id, Seen(attentions=attentions))
    await post.send()
    assert sorted(await post.ended()) == [("SENT", ""), ("SKIPPED", NotSent.OUTDATED)]


async def test_what_is_announced_is_not_once_it_happened(post: Post) -> None:
    """The server was away for as long as the reminder was ahead of the charge."""
    post.known.people["payer_1"] = Contact(addresses=(LEA,))
    charge_time = post.clock.now() + timedelta(days=1)
    await post.happens(FactKind.CHARGE_UPCOMING, {**MONEY, "charge_time": charge_time.isoformat()}, payer_id="payer_1")
    post.clock.advance(timedelta(days=1, minutes=1))
    await post.send()
    assert await post.ended() == [("SKIPPED", NotSent.OUTDATED)]


async def test_without_a_server_none_is_sent_and_none_is_kept_for_later(post: Post) -> None:
    await post.happens(FactKind.REFUND_FAILED)
    outbox = mails(post.held, post.known, NO_MAILS, clock=post.clock).outbox
    engine = Engine(
        post.database.runtime_url, post.held, clock=post.clock, application_name="mails", tenants=[post.tenant_id]
    )
    engine.register(outbox.kind)
    await engine.once()
    assert await post.ended() == [("SKIPPED", NotSent.NO_SERVER)]


async def test_a_mail_says_how_its_kind_is_declined_where_it_may_be(post: Post) -> None:
    post.known.people["payer_1"] = Contact(addresses=(LEA,))
    await post.happens(FactKind.PAYMENT_RECEIVED, payer_id="payer_1")
    await post.happens(FactKind.PAYMENT_REFUNDED, payer_id="payer_1")
    await post.send()
    links = {subject(one): one["List-Unsubscribe"] for one in post.boxes.messages}
    assert links["Refund of CHF 120.00"] is None
    token = links["Payment received: CHF 120.00"].removeprefix("<https://alpenblick.example/off?t=").removesuffix(">")
    assert UnsubscribeTokens(Followed((KEY,))).read(token) == Declined(
        tenant_id=post.tenant_id,
        recipient_kind=RecipientKind.PAYER,
        recipient_id="payer_1",
        kind=FactKind.PAYMENT_RECEIVED,
    )


async def test_what_waits_is_shown_and_what_is_old_goes(post: Post) -> None:
    await post.happens(FactKind.REFUND_FAILED)
    post.clock.advance(timedelta(hours=1))
    look = mails(post.held, post.known, NO_MAILS, clock=post.clock, meter=post.meter).look
    await look()
    figures = await post.figures()
    assert figures.of("batzen_mails_waiting") >= 1
    assert figures.of("batzen_mails_oldest_seconds") >= 3_600
    await post.send()
    await post.happens(FactKind.REFUND_FAILED)
    later = post.clock.now() + REQUESTS_KEPT + A_MINUTE
    await forget(post.held, FORGET, now=later)
    assert [state for state, _ in await post.ended()] == ["WAITING"]


# What operators see and do.


async def test_operators_see_what_became_of_mails_and_have_those_tried_again_that_were_given_up(
    replica: Orchestrator, database: ServiceDatabase
) -> None:
    """A tenant of the test's own: nobody else's mails are in the list, or are tried."""
    tenant_id = f"tenant-{''.join(secrets.choice('abcdefghijkl') for _ in range(12))}"
    async with (
        posting(database, replica.held, tenant_id=tenant_id, clock=replica.world.clock) as post,
        replica.connect_ops(tenant=tenant_id) as ops,
    ):
        post.known.people["payer_1"] = Contact(addresses=(LEA,))
        sent = await post.happens(FactKind.PAYMENT_RECEIVED, payer_id="payer_1")
        await post.send()
        dead = await post.happens(FactKind.PAYMENT_FAILED, payer_id="payer_1")
        post.boxes.to_data = ["554 5.7.1 we do not know you, pay@batzen.example"]
        await post.send(retry=RetryPolicy(tries_max=1, first_delay=timedelta(0)))

        [given_up] = (await ops.ListMails(mails_pb.ListMailsRequest(state=mails_pb.MAIL_STATE_GIVEN_UP))).mails
        assert (given_up.fact_id, given_up.failure_count) == (str(dead.fact_id), 1)
        assert "554" in given_up.problem
        assert "@batzen" not in given_up.problem
        assert not given_up.HasField("next_time")
        first = await ops.ListMails(mails_pb.ListMailsRequest(page_size=1))
        second = await ops.ListMails(mails_pb.ListMailsRequest(page_size=1, page_token=first.next_page_token))
        assert [one.fact_id for one in (*first.mails, *second.mails)] == [str(dead.fact_id), str(sent.fact_id)]
        assert (second.mails[0].state, second.next_page_token) == (mails_pb.MAIL_STATE_SENT, "")
        of_payment = await ops.ListMails(mails_pb.ListMailsRequest(payment_id=sent.payment_id))
        assert [one.fact_id for one in of_payment.mails] == [str(sent.fact_id)]

        replay = mails_pb.ReplayMailsRequest(request_id=new_id(), actor_id="anna", reason="the server is back")
        for _ in range(2):
            answer = await ops.ReplayMails(replay)
            assert (answer.replayed_count, answer.has_more) == (1, False)
        await post.send()
        assert {state for state, _ in await post.ended()} == {"SENT"}
        actions = (await ops.ListOperatorActions(ops_pb.ListOperatorActionsRequest())).actions
        assert [(one.actor_id, one.reason) for one in actions] == [("anna", "the server is back")]


@pytest.mark.parametrize(
    ("request_", "refusal"),
    [
        (mails_pb.ListMailsRequest(page_token="none"), ("INVALID_ARGUMENT", "PAGE_TOKEN_INVALID")),
        (mails_pb.ListMailsRequest(state=99), ("INVALID_ARGUMENT", "FIELD_INVALID")),  # type: ignore[arg-type]
        (
            mails_pb.ReplayMailsRequest(request_id=new_id(), actor_id="anna"),
            ("INVALID_ARGUMENT", "FIELD_MISSING"),
        ),
    ],
)
async def test_what_operators_ask_wrongly_of_mails_is_refused(
    replica: Orchestrator, request_: Any, refusal: tuple[str, str]
) -> None:
    async with replica.connect_ops() as ops:
        ask = ops.ListMails if isinstance(request_, mails_pb.ListMailsRequest) else ops.ReplayMails
        with pytest.raises(aio.AioRpcError) as refused:
            await ask(request_)
    assert (refused.value.code().name, details_of(refused.value).reason) == refusal


# Links by which mails are declined.

WHO = Declined(
    tenant_id="main", recipient_kind=RecipientKind.SELLER, recipient_id="séller_1", kind=FactKind.PAYMENT_RECEIVED
)


def test_a_link_lasts_while_its_key_is_believed() -> None:
    token = UnsubscribeTokens(Followed((OLD_KEY,))).make(WHO)
    assert UnsubscribeTokens(Followed((OLD_KEY,))).make(WHO) == token
    assert UnsubscribeTokens(Followed((KEY, OLD_KEY))).read(token) == WHO
    assert UnsubscribeTokens(Followed((KEY,))).read(token) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda token: token[:-2],
        lambda token: token[:0],
        lambda token: "." + token[:0],
        lambda token: token.partition(".")[0],
        lambda token: UnsubscribeTokens(Followed((KEY,))).make(replace(WHO, tenant_id="other")).partition(".")[0]
        + "."
        + token.partition(".")[2],
        lambda token: "é" + token,
        lambda token: token + "A" * 2_000,
    ],
)  # fmt: skip
def test_a_link_that_was_changed_declines_nothing(change: Callable[[str], str]) -> None:
    tokens = UnsubscribeTokens(Followed((KEY,)))
    assert tokens.read(change(tokens.make(WHO))) is None


@pytest.fixture
async def declining(world: World) -> AsyncIterator[NotificationServiceStub]:
    """The service as the platform's page calls it, where links are signed."""
    settings = replace(NO_MAILS, unsubscribe_keys=Followed((KEY,)))
    async with world.orchestrator(mail=settings) as signing, world.channel(signing.port, "shop") as channel:
        yield NotificationServiceStub(channel)


def decline(token: str) -> pb.UnsubscribeNotificationsRequest:
    return pb.UnsubscribeNotificationsRequest(request_id=new_id(), token=token)


async def test_who_follows_the_link_gets_no_more_mails_of_that_kind(
    declining: NotificationServiceStub, database: ServiceDatabase
) -> None:
    who = replace(WHO, recipient_id=f"seller-{secrets.token_hex(4)}")
    token = UnsubscribeTokens(Followed((KEY,))).make(who)
    for _ in range(2):
        assert (await declining.UnsubscribeNotifications(decline(token))).kind == "PAYMENT_RECEIVED"
    answer = await declining.GetNotificationPreferences(
        pb.GetNotificationPreferencesRequest(recipient=pb.NOTIFICATION_RECIPIENT_SELLER, recipient_id=who.recipient_id)
    )
    out = [(one.kind, one.channel) for one in answer.preferences if one.opted_out]
    rows = await asyncpg.connect(plain_dsn(database.owner_url))
    kept = await rows.fetch("SELECT kind, channel FROM notification_opt_outs WHERE recipient_id = $1", who.recipient_id)
    await rows.close()
    assert [tuple(row) for row in kept] == [("PAYMENT_RECEIVED", "MAIL")]
    assert out in ([("PAYMENT_RECEIVED", pb.NOTIFICATION_CHANNEL_MAIL)], [])  # a seller is not mailed it by default


@pytest.mark.parametrize(
    ("who", "refusal"),
    [
        (replace(WHO, tenant_id="other"), ("INVALID_ARGUMENT", "UNSUBSCRIBE_TOKEN_INVALID")),
        (replace(WHO, kind=FactKind.DISPUTE_OPENED), ("FAILED_PRECONDITION", "NOTIFICATION_MANDATORY")),
        (None, ("INVALID_ARGUMENT", "UNSUBSCRIBE_TOKEN_INVALID")),
    ],
    ids=["another tenant's", "has to be told", "made up"],
)
async def test_a_link_declines_nothing_else(
    declining: NotificationServiceStub, who: Declined | None, refusal: tuple[str, str]
) -> None:
    token = "made.up" if who is None else UnsubscribeTokens(Followed((KEY,))).make(who)
    with pytest.raises(aio.AioRpcError) as refused:
        await declining.UnsubscribeNotifications(decline(token))
    assert (refused.value.code().name, details_of(refused.value).reason) == refusal


# Settings.


def _settings(*, production: bool = False, **environ: str) -> MailSettings:
    named = {f"BATZEN_{name.upper()}": value for name, value in environ.items()}
    return settings_from(named, lambda read: MailSettings.read(read, production=production))


def test_without_settings_no_mail_is_sent() -> None:
    assert _settings() == NO_MAILS


def test_mails_have_a_sender() -> None:
    read = _settings(smtp_url="smtps://u:p@mail.example", mail_from="Alpenblick Yoga <pay@alpenblick.example>")
    assert read.sent_by == Return(address="pay@alpenblick.example", name="Alpenblick Yoga")
    with pytest.raises(SettingsError, match="BATZEN_MAIL_FROM is not set"):
        _settings(smtp_url="smtps://u:p@mail.example")
    with pytest.raises(SettingsError, match="BATZEN_MAIL_FROM is no address"):
        _settings(mail_from="Alpenblick")


def test_where_real_money_moves_mails_go_by_tls() -> None:
    url = {"smtp_url": "smtp://127.0.0.1:2525?tls=off", "mail_from": "pay@alpenblick.example"}
    assert _settings(**url).server is not None
    with pytest.raises(SettingsError, match=r"BATZEN_SMTP_URL has \?tls=off"):
        _settings(production=True, **url)


def test_a_short_key_signs_no_link() -> None:
    with pytest.raises(SettingsError, match="fewer than 32"):
        _settings(unsubscribe_keys=f"{KEY},short")


def test_times_of_facts_are_read_as_they_are_written() -> None:
    assert datetime.fromisoformat("2026-12-02T07:00:00Z") == datetime(2026, 12, 2, 7, tzinfo=UTC)
