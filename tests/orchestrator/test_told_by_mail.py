"""A payer reads of their payment: from what status recorded to the mail, with everything between them real."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import pytest

from batzen.gateway.v1.contacts_pb2_grpc import ContactServiceStub
from batzen.orchestrator.v1.orchestrator_pb2_grpc import OrchestratorServiceStub
from local.databases import ServiceDatabase
from sandbox.control import SandboxControl
from services.orchestrator.mail.building import mails
from services.orchestrator.mail.outbox import MailOutbox, Return
from services.orchestrator.mail.settings import MailSettings
from services.orchestrator.mail.smtp import SmtpServer
from services.orchestrator.peers.contacts import GatewayContacts
from services.runtime.database.connections import plain_dsn
from services.runtime.process.followed import Followed
from tests.conftest import Databases
from tests.eventually import eventually
from tests.orchestrator.conftest import Journeys, Orchestrator, World, running_world, travelling
from tests.orchestrator.mailboxes import Mailboxes, mailboxes
from tests.orchestrator.samples import REFUND_FAILS, Clock, refund, submit

PIA = "pia@example.ch"


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
        yield mails(replica.held, GatewayContacts(ContactServiceStub(gateway)), settings, clock=own_world.clock).outbox


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


async def test_who_was_erased_gets_no_mail(
    replica: Orchestrator, journeys: Journeys, outbox: MailOutbox, boxes: Mailboxes, rows: asyncpg.Connection
) -> None:
    """Nobody is known by that id any more when the mail is to be sent."""
    payment_id = await journeys.paid()

    async def is_skipped() -> bool:
        await replica.hear()
        await rows.execute(
            "UPDATE mails SET recipient_id = 'payer_who_is_gone' WHERE payment_id = $1 AND recipient_kind = 'PAYER'",
            payment_id,
        )
        await replica.engine(outbox.kind).once()
        # As if it had waited for long enough.
        await rows.execute(
            "UPDATE mails SET create_time = create_time - interval '1 hour', due_time = least(due_time, now())"
            " WHERE payment_id = $1 AND state = 'WAITING'",
            payment_id,
        )
        found = await rows.fetch("SELECT state, end_reason FROM mails WHERE payment_id = $1", payment_id)
        return [(row["state"], row["end_reason"]) for row in found] == [("SKIPPED", "NO_CONTACT")]

    await eventually(is_skipped)
    assert not [one for one in boxes.messages if payment_id in one.as_string()]
