"""What the gateway notices is a fact, once, with whom it concerns and all that follows from it."""

from __future__ import annotations

import uuid
from typing import Any

import asyncpg
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from batzen.gateway.v1 import observation_pb2 as pb
from local.databases import ServiceDatabase
from services.orchestrator.facts.domain import FactKind, fact_id
from services.orchestrator.wire.notices import KINDS
from services.runtime.database.connections import plain_dsn
from tests.orchestrator.conftest import Journeys
from tests.orchestrator.samples import PAYER, refused

OPENED = pb.Notice.KIND_DISPUTE_OPENED


def request(kind: pb.Notice.Kind = OPENED, **fields: Any) -> pb.DeliverNoticeRequest:
    ours = {"notice_id": str(uuid.uuid4()), "kind": kind, "seller_ids": ["s1"], "occur_time": Timestamp(seconds=1)}
    return pb.DeliverNoticeRequest(notice=pb.Notice(**{**ours, "values": {"amount_minor": "6000"}, **fields}))


async def facts(database: ServiceDatabase, said: pb.DeliverNoticeRequest) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(plain_dsn(database.owner_url))
    try:
        kind = KINDS[said.notice.kind]
        return await connection.fetch("SELECT * FROM facts WHERE fact_id = $1", fact_id(kind, said.notice.notice_id))
    finally:
        await connection.close()


async def test_a_notice_is_one_fact_however_often_it_comes(journeys: Journeys, database: ServiceDatabase) -> None:
    payment_id = await journeys.started()
    said = request(payment_id=payment_id)
    for _ in range(3):
        await journeys.sink.DeliverNotice(said)

    (fact,) = await facts(database, said)
    assert (fact["kind"], fact["payment_id"], fact["payer_id"]) == ("DISPUTE_OPENED", payment_id, PAYER)
    assert (fact["seller_ids"], fact["revision"], fact["occur_time"].timestamp()) == (["s1"], 0, 1)
    assert fact["values"] == '{"amount_minor": "6000"}'


@pytest.mark.parametrize("kind", KINDS)
async def test_each_kind_is_a_fact_also_of_no_payment_or_one_that_is_not_here(
    journeys: Journeys, database: ServiceDatabase, kind: pb.Notice.Kind
) -> None:
    for payment_id in ("", "pay_of_somebody"):
        said = request(kind, payment_id=payment_id)
        await journeys.sink.DeliverNotice(said)
        (fact,) = await facts(database, said)
        assert (fact["kind"], fact["payment_id"], fact["payer_id"]) == (KINDS[kind], payment_id, "")


def test_every_kind_of_the_contract_is_known() -> None:
    assert set(KINDS) == set(pb.Notice.Kind.values()) - {pb.Notice.KIND_UNSPECIFIED}
    assert set(KINDS.values()) <= set(FactKind)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"kind": 99}, "FIELD_INVALID"),
        ({"kind": 0}, "FIELD_INVALID"),
        ({"notice_id": "x"}, "FIELD_INVALID"),
        ({"occur_time": None}, "FIELD_MISSING"),
    ],
)
async def test_what_cannot_be_a_fact_is_refused_and_kept_by_the_gateway(
    journeys: Journeys, fields: dict[str, Any], reason: str
) -> None:
    refusal = await refused(journeys.sink.DeliverNotice(request(**fields)))
    assert (refusal.code, refusal.reason) == ("INVALID_ARGUMENT", reason)
