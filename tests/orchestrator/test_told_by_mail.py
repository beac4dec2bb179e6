"""A payer reads of their payment: from what status recorded to the mail, with everything between them real."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta

import asyncpg
import pytest
from grpc import aio

from batzen.gateway.v1 import sellers_pb2
from batzen.gateway.v1.contacts_pb2_grpc import ContactServiceStub
from batzen.gateway.v1.sellers_pb2_grpc import SellerServiceStub
from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from batzen.orchestrator.v1.orchestrator_pb2_grpc import OrchestratorServiceStub
from batzen.pricing.v1.pricing_pb2_grpc import PricingServiceStub
from local.databases import ServiceDatabase
from sandbox.control import SandboxControl
from services.errors import DependencyUnavailable
from services.orchestrator.mail.building import mails
from services.orchestrator.mail.outbox import MailOutbox, Return
from services.orchestrator.mail.settings import MailSettings
from services.orchestrator.mail.smtp import Smtp, SmtpServer
from services.orchestrator.mail.store import MailStore
from services.orchestrator.peers.contacts import GatewayContacts
from services.orchestrator.peers.pricing import Pricing
from services.orchestrator.peers.sellers import ReceiptSellers
from services.orchestrator.receipts import Receipts
from services.orchestrator.wire.responses import for_payer
from services.receipts.wording import ReceiptWording
from services.runtime.database.connections import plain_dsn
from services.runtime.process.followed import Followed
from services.runtime.rpc import call_context
from services.runtime.work.kinds import Work
from tests.conftest import Databases
from tests.eventually import WITHIN_S, eventually
from tests.gateway.stubs import GatewayStubs
from tests.orchestrator.conftest import Journeys, Orchestrator, World, running_world, travelling
from tests.orchestrator.lives import Died, Mortal, each_life
from tests.orchestrator.mailboxes import Mailboxes, mailboxes
from tests.orchestrator.samples import REFUND_FAILS, SELLER, Clock, new_id, refund, refused, submit

PIA = "pia@example.ch"
NAME = "Skischule Anna"
VAT_ID = "CHE-109.322.551"
EN = ReceiptWording("en", locale="en-GB", zone="UTC")


@pytest.fixture(scope="module")
async def own_database(databases: Databases) -> AsyncIterator[ServiceDatabase]:
    database = await databases.create("orchestrator")
    yield database
    await databases.drop(database)


@pytest.fixture(scope="module")
async def own_world(
    databases: Databases,
    own_database: ServiceDatabase,
    stripe: SandboxControl,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[World]:
    """By a clock that no other test moves: no mail is sent of what status recorded more than 30 days ago."""
    folder = tmp_path_factory.mktemp("told_by_mail")
    async with running_world(databases, own_database, stripe, Clock(), folder) as world:
        yield world


@pytest.fixture(scope="module")
async def replica(own_world: World) -> AsyncIterator[Orchestrator]:
    async with own_world.orchestrator(address=own_world.address("orchestrator")) as running:
        yield running


@pytest.fixture(scope="module")
async def orchestrator(replica: Orchestrator) -> AsyncIterator[OrchestratorServiceStub]:
    async with replica.connect() as stub:
        yield stub


@pytest.fixture(scope="module")
async def journeys(
    own_world: World, replica: Orchestrator, orchestrator: OrchestratorServiceStub
) -> AsyncIterator[Journeys]:
    async with travelling(own_world, replica, orchestrator) as made:
        yield made


@pytest.fixture
async def rows(own_database: ServiceDatabase) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(plain_dsn(own_database.owner_url))
    yield connection
    await connection.close()


@pytest.fixture
async def boxes() -> AsyncIterator[Mailboxes]:
    async with mailboxes() as boxes:
        yield boxes


@pytest.fixture
async def outbox(own_world: World, replica: Orchestrator, boxes: Mailboxes) -> AsyncIterator[MailOutbox]:
    settings = MailSettings(
        server=Followed(SmtpServer.parse(f"smtp://127.0.0.1:{boxes.port}?tls=off")),
        ca=None,
        sent_by=Return(address="pay@batzen.example", name="Batzen"),
        unsubscribe_keys=None,
    )
    async with own_world.channel(own_world.ports["gateway"], "orchestrator") as gateway:
        contacts = GatewayContacts(ContactServiceStub(gateway))
        receipts = replica.parts.receipts
        yield mails(replica.held, contacts, settings, receipts=receipts, clock=own_world.clock).outbox


@pytest.fixture(autouse=True)
def patient_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page waits for what sellers are called for as long as a busy machine needs to say it."""
    monkeypatch.setattr("services.orchestrator.receipts.SELLERS_WAIT_S", WITHIN_S)


@pytest.fixture(scope="module", autouse=True)
async def named_seller(own_world: World) -> None:
    """What receipts call the seller of these payments."""
    async with own_world.channel(own_world.ports["gateway"], "shop") as channel:
        await _call_seller(channel, NAME, VAT_ID)


async def _call_seller(channel: aio.Channel, name: str, vat_id: str) -> None:
    """Have receipts call the seller so from now on."""
    request = sellers_pb2.PutSellerAccountRequest(
        request_id=new_id(),
        seller_id=SELLER,
        country_code="CH",
        email="seller@example.org",
        receipt_name=name,
        vat_id=vat_id,
    )
    await GatewayStubs(channel).PutSellerAccount(request)


@dataclass(frozen=True, kw_only=True)
class Post:
    """What takes payments, and what mails of them."""

    world: World
    replica: Orchestrator
    orchestrator: OrchestratorServiceStub
    journeys: Journeys
    outbox: MailOutbox
    boxes: Mailboxes
    rows: asyncpg.Connection

    async def work(self, payment_id: str) -> Work:
        """Have it heard that a payment was made, and return the mail to its payer as work."""

        async def heard() -> asyncpg.Record | None:
            await self.replica.hear()
            return await self.rows.fetchrow(
                "SELECT * FROM mails WHERE payment_id = $1 AND kind = 'PAYMENT_RECEIVED' AND recipient_kind = 'PAYER'",
                payment_id,
            )

        row = await eventually(heard)
        key = (str(row["fact_id"]), row["recipient_kind"], row["recipient_id"])
        return Work(kind=self.outbox.kind, tenant_id="main", key=key, fence=0, failures=0)

    async def wait_again(self, work: Work) -> None:
        """Have a mail not sent yet."""
        await self.rows.execute(
            "UPDATE mails SET state = 'WAITING', due_time = NULL WHERE tenant_id = 'main' AND fact_id = $1::text::uuid",
            work.key[0],
        )

    def server(self) -> Smtp:
        return Smtp(Followed(SmtpServer.parse(f"smtp://127.0.0.1:{self.boxes.port}?tls=off")))


@pytest.fixture
async def post(
    own_world: World,
    replica: Orchestrator,
    journeys: Journeys,
    outbox: MailOutbox,
    rows: asyncpg.Connection,
    *,
    boxes: Mailboxes,
) -> Post:
    return Post(
        world=own_world,
        replica=replica,
        orchestrator=journeys.orchestrator,
        journeys=journeys,
        outbox=outbox,
        boxes=boxes,
        rows=rows,
    )


def body(boxes: Mailboxes, payment_id: str, place: int) -> str:
    """Return what one of the mails of a payment says, with spaces that may break."""
    said = [one.get_body(("plain",)).get_content() for one in boxes.messages]  # type: ignore[union-attr]
    return [text for text in said if payment_id in text][place].replace("\N{NO-BREAK SPACE}", " ")


async def read(
    replica: Orchestrator, outbox: MailOutbox, boxes: Mailboxes, payment_id: str, *, count: int
) -> list[str]:
    """Have what happened heard and mailed, and return what the payer's mails of a payment are about."""

    def about() -> list[str]:
        return [
            str(one["Subject"]).replace("\N{NO-BREAK SPACE}", " ")
            for one in boxes.messages
            if one["To"] == f"Pia Payer <{PIA}>" and payment_id in one.get_body(("plain",)).get_content()  # type: ignore[union-attr]
        ]

    async def is_read() -> bool:
        await replica.hear()
        await replica.engine(outbox.kind).once()
        return len(about()) >= count

    await eventually(is_read)
    return about()


async def test_a_payer_is_mailed_the_refund_and_that_it_failed(
    replica: Orchestrator,
    orchestrator: OrchestratorServiceStub,
    journeys: Journeys,
    outbox: MailOutbox,
    boxes: Mailboxes,
) -> None:
    """Each with the receipt as it was then: later ones have what came since, earlier ones not."""
    payment_id = await journeys.started()
    await orchestrator.SubmitPayment(submit(payment_id, REFUND_FAILS))
    assert await read(replica, outbox, boxes, payment_id, count=1) == ["Zahlung erhalten: CHF 100.00"]
    await orchestrator.RefundPayment(refund(payment_id, 2_500))
    told = await read(replica, outbox, boxes, payment_id, count=2)
    assert told[1:] == ["Rückerstattung von CHF 25.00"]
    replica.world.clock.advance(timedelta(days=3))
    await journeys.stripe.settle()
    await journeys.deliver(await journeys.synced(payment_id))
    await replica.sweep()
    told = await read(replica, outbox, boxes, payment_id, count=3)
    assert told[2:] == ["Ihre Rückerstattung von CHF 25.00 ist nicht angekommen"]
    received, refunded, failed = (body(boxes, payment_id, place) for place in range(3))
    for said in (received, refunded, failed):
        assert "Beleg: Skiing for two" in said
        assert "Leistungen von: Skischule Anna, MWST-Nummer CHE-109.322.551 MWST" in said
        assert "Bezahlt: CHF 100.00" in said
    assert "Erstattet am" not in received
    assert "−CHF 25.00" in refunded
    assert "Bezahlt nach Erstattungen: CHF 75.00" in refunded
    assert "Erstattung fehlgeschlagen am" in failed
    assert "Bezahlt nach Erstattungen: CHF 100.00" in failed


async def test_a_receipt_is_the_same_whoever_dies_over_it_and_whatever_came_since(post: Post) -> None:
    """Right before and right after each statement, each question and each mail; the payment is refunded meanwhile."""
    payment_id = await post.journeys.paid()
    work = await post.work(payment_id)
    await post.orchestrator.RefundPayment(refund(payment_id, 2_500))
    places = []
    async with post.world.channel(post.world.ports["gateway"], "orchestrator") as gateway:
        for life in each_life():
            await post.wait_again(work)
            mortal = MailOutbox(
                Mortal(MailStore(post.replica.held), life),
                Mortal(GatewayContacts(ContactServiceStub(gateway)), life),
                server=Mortal(post.server(), life),
                sent_by=Return(address="pay@batzen.example", name="Batzen"),
                tokens=None,
                receipts=Mortal(post.replica.parts.receipts, life),
                now=post.world.clock.now,
            )
            with call_context.acting_for("main"):
                with suppress(Died):
                    await mortal.send(work)
                await post.outbox.send(work)
            places.append(life.place)
    assert {"before then", "after then", "before send", "after send", "before ended", "after ended"} < set(places)
    assert await post.rows.fetchval("SELECT state FROM mails WHERE fact_id = $1::text::uuid", work.key[0]) == "SENT"
    assert len(post.boxes.arrived) == len(places) + 2  # twice where it died after sending, and before that was kept
    assert len({one.content for one in post.boxes.arrived}) == 1
    assert "Bezahlt: CHF 100.00" in body(post.boxes, payment_id, 0)
    assert "Erstattet am" not in body(post.boxes, payment_id, 0)


async def test_a_receipt_waits_for_what_it_is_written_of(post: Post) -> None:
    """While who knows the price is away nothing is sent. Without the quote, or the fact, less is said."""
    payment_id = await post.journeys.paid()
    work, parts = await post.work(payment_id), post.replica.parts
    async with (
        post.world.channel(post.world.ports["gateway"], "orchestrator") as gateway,
        post.world.channel(1, "orchestrator") as nowhere,
    ):
        cut_off = Receipts(
            parts.store,
            replace(parts.peers, pricing=Pricing(PricingServiceStub(nowhere))),
            ReceiptSellers(SellerServiceStub(gateway)),
            parts.telling.policies.current,
        )
        alone = MailOutbox(
            MailStore(post.replica.held),
            GatewayContacts(ContactServiceStub(gateway)),
            server=post.server(),
            sent_by=Return(address="pay@batzen.example", name="Batzen"),
            tokens=None,
            receipts=cut_off,
            now=post.world.clock.now,
        )
        with call_context.acting_for("main"), pytest.raises(DependencyUnavailable):
            await alone.send(work)
    assert not post.boxes.arrived
    with call_context.acting_for("main"):
        await post.rows.execute("UPDATE payments SET quote_id = 'quote_of_nobody' WHERE payment_id = $1", payment_id)
        await post.outbox.send(work)
        await post.wait_again(work)
        await post.rows.execute("DELETE FROM facts WHERE fact_id = $1::text::uuid", work.key[0])
        await post.outbox.send(work)
    assert "Total: CHF 100.00" in body(post.boxes, payment_id, 0)
    assert "Termin" not in body(post.boxes, payment_id, 0)
    assert "Beleg" not in body(post.boxes, payment_id, 1)


async def test_while_the_gateway_is_away_a_page_shows_the_receipt_and_a_mail_waits(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It lacks what sellers are called, whether the gateway is not there or does not answer in time."""
    payment_id, parts = await post.journeys.paid(), post.replica.parts
    async with (
        post.world.channel(post.world.ports["gateway"], "orchestrator") as gateway,
        post.world.channel(1, "orchestrator") as nowhere,
    ):
        late, cut_off = (
            Receipts(parts.store, parts.peers, ReceiptSellers(SellerServiceStub(one)), parts.telling.policies.current)
            for one in (gateway, nowhere)
        )
        with call_context.acting_for("main"):
            plan = await parts.store.read("main", payment_id, payer_id=None)
            assert plan is not None
            away = await cut_off.now(plan)
            payment = away.payment.SerializeToString()
            assert (list(away.sellers), away.payment.snapshot.amounts.captured_minor) == ([], 10_000)
            with pytest.raises(DependencyUnavailable):
                await cut_off.then("main", payment, EN, issuer="")
            assert [one.seller_id for one in (await late.now(plan)).sellers] == [SELLER]
            monkeypatch.setattr("services.orchestrator.receipts.SELLERS_WAIT_S", 0)
            assert list((await late.now(plan)).sellers) == []


async def test_a_receipt_keeps_what_its_sellers_were_called_when_it_was_paid(post: Post) -> None:
    """On the page and in a mail that leaves late."""
    payment_id = await post.journeys.paid()
    work = await post.work(payment_id)
    asked = pb.GetReceiptRequest(payment_id=payment_id)
    before = (await post.orchestrator.GetReceipt(asked)).receipt
    async with post.world.channel(post.world.ports["gateway"], "shop") as channel:
        try:
            await _call_seller(channel, "Ski & Berg AG", "CHE-123.456.788")
            await post.orchestrator.RefundPayment(refund(payment_id, 2_500))
            after = (await post.orchestrator.GetReceipt(asked)).receipt
            with call_context.acting_for("main"):
                await post.outbox.send(work)
        finally:
            await _call_seller(channel, NAME, VAT_ID)

    assert [(one.name, one.vat_id) for one in before.sellers] == [(NAME, f"{VAT_ID} MWST")]
    assert after.sellers == before.sellers
    assert NAME in body(post.boxes, payment_id, 0)
    assert "Ski & Berg AG" not in body(post.boxes, payment_id, 0)


async def test_a_receipt_is_its_payers_and_there_is_none_before_money_was_taken(
    replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    unpaid_id, paid_id = await journeys.started(), await journeys.paid()
    await orchestrator.RefundPayment(refund(paid_id, 2_500))
    before = await refused(orchestrator.GetReceipt(pb.GetReceiptRequest(payment_id=unpaid_id)))
    assert (before.code, before.reason) == ("FAILED_PRECONDITION", "PAYMENT_STATE")
    shown = (await orchestrator.GetReceipt(pb.GetReceiptRequest(payment_id=paid_id))).receipt
    assert shown.session_name == "Skiing for two"
    assert [(one.seller_id, one.name, one.vat_id) for one in shown.sellers] == [(SELLER, NAME, f"{VAT_ID} MWST")]
    assert [one.snapshot.amounts.refunded_minor for one in shown.history] == [2_500]
    assert shown.quote == for_payer(shown.quote)
    async with replica.connect("payer_of_another", roles=["payer"]) as stranger:
        answer = await refused(stranger.GetReceipt(pb.GetReceiptRequest(payment_id=paid_id)))
        assert (answer.code, answer.reason) == ("NOT_FOUND", "PAYMENT_NOT_FOUND")
