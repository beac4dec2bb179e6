"""A payer is shown what they pay and how it came about; what platform and sellers settle between them is not."""

from __future__ import annotations

from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from batzen.orchestrator.v1.orchestrator_pb2_grpc import OrchestratorServiceStub
from batzen.pricing.v1 import price_book_pb2, pricing_pb2
from services.orchestrator.wire.responses import for_payer
from tests.orchestrator.conftest import Journeys, Orchestrator, World
from tests.orchestrator.samples import refused, start

SETTLED_BETWEEN_OTHERS = {"fee", "share", "funder", "funded", "revision", "basis", "platform"}


def names_set_in(message: object, above: str = "") -> set[str]:
    """Return the paths of all fields that are set, without the lines, whose VAT names its rate's revision."""
    names = set()
    for field, value in message.ListFields():  # type: ignore[attr-defined]
        path = f"{above}{field.name}"
        names.add(path)
        if field.message_type is not None and path not in ("lines", "total_display", "rows.display"):
            for each in value if field.is_repeated else (value,):
                if hasattr(each, "ListFields"):
                    names |= names_set_in(each, f"{path}.")
    return names


async def test_a_payer_sees_no_fee_share_or_fee_plan_of_their_quote(
    orchestrator: OrchestratorServiceStub, as_payer: OrchestratorServiceStub
) -> None:
    session = (await orchestrator.StartPayment(start())).session
    request = pb.GetPaymentSessionRequest(payment_id=session.payment.payment_id)

    seen = (await as_payer.GetPaymentSession(request)).session.quote

    assert (await orchestrator.GetPaymentSession(request)).session.quote == session.quote
    assert any(not row.payer_facing for row in session.quote.rows)
    assert session.quote.sellers[0].platform_fee_minor > 0
    assert all(row.payer_facing for row in seen.rows)
    assert not [
        name
        for name in names_set_in(seen)
        if SETTLED_BETWEEN_OTHERS & {word for part in name.split(".") for word in part.split("_")}
    ]
    [line], [whole] = seen.lines, session.quote.lines
    assert (whole.seller_share_minor, whole.platform_fee_minor) == (8_500, 1_500)
    assert (line.seller_share_minor, line.platform_fee_minor) == (0, 0), "that is between platform and seller"
    assert (seen.total, line.gross_minor, line.tax, seen.quote_id) == (
        session.quote.total,
        whole.gross_minor,
        whole.tax,
        session.quote.quote_id,
    )
    [seller] = seen.sellers
    assert (seller.seller_id, seller.gross_minor) == (
        session.quote.sellers[0].seller_id,
        session.quote.sellers[0].gross_minor,
    )


async def test_a_session_is_found_by_what_stripe_calls_it_and_says_that(
    orchestrator: OrchestratorServiceStub, as_payer: OrchestratorServiceStub, journeys: Journeys
) -> None:
    waiting, paid = await journeys.started(), await journeys.paid()

    for payment_id in (waiting, paid):
        [intent] = await journeys.intents(payment_id)
        charge_id = intent["latest_charge"] or ""
        for stripe_id in filter(None, (intent["id"], charge_id)):
            for stub in (orchestrator, as_payer):
                session = (await stub.GetPaymentSession(pb.GetPaymentSessionRequest(stripe_id=stripe_id))).session
                assert session.payment.payment_id == payment_id
                assert (session.intent_id, session.charge_id) == (intent["id"], charge_id)
                assert bool(session.client_secret) is (payment_id == waiting)
        by_id = (await as_payer.GetPaymentSession(pb.GetPaymentSessionRequest(payment_id=payment_id))).session
        assert (by_id.intent_id, by_id.charge_id) == (intent["id"], charge_id)


async def test_what_another_pays_is_not_there_by_stripes_ids_either(
    replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    payment_id = await journeys.started()
    [intent] = await journeys.intents(payment_id)
    by_intent = pb.GetPaymentSessionRequest(stripe_id=intent["id"])

    async with replica.connect("other", roles=["payer"]) as other, replica.connect(tenant="other") as elsewhere:
        assert (await refused(other.GetPaymentSession(by_intent))).reason == "PAYMENT_NOT_FOUND"
        assert (await refused(elsewhere.GetPaymentSession(by_intent))).reason == "PAYMENT_NOT_FOUND"
    for unknown in ("pi_unknown", "nonsense"):
        refusal = await refused(orchestrator.GetPaymentSession(pb.GetPaymentSessionRequest(stripe_id=unknown)))
        assert (refusal.code, refusal.reason) == ("NOT_FOUND", "PAYMENT_NOT_FOUND")
    both = pb.GetPaymentSessionRequest(payment_id=payment_id, stripe_id=intent["id"])
    refusal = await refused(orchestrator.GetPaymentSession(both))
    assert (refusal.reason, refusal.field) == ("FIELD_INVALID", "stripe_id")


async def test_a_payment_that_is_over_is_shown_while_the_gateway_is_away(world: World, journeys: Journeys) -> None:
    payment_id = await journeys.paid()

    async with world.orchestrator(away=frozenset({"gateway"})) as alone, alone.connect() as stub:
        session = (await stub.GetPaymentSession(pb.GetPaymentSessionRequest(payment_id=payment_id))).session
        by_stripe_id = pb.GetPaymentSessionRequest(stripe_id="pi_unknown")
        assert (await refused(stub.GetPaymentSession(by_stripe_id))).reason == "DEPENDENCY_UNAVAILABLE"

    assert session.payment.payment_id == payment_id
    assert (session.intent_id, session.charge_id) == ("", "")


def test_what_a_payer_sees_still_adds_up_to_the_total() -> None:
    quote = pricing_pb2.Quote(
        rows=[
            pricing_pb2.QuoteRow(
                kind=pricing_pb2.ROW_KIND_LINE, amount_minor=900, payer_facing=True, included_in_total=True
            ),
            pricing_pb2.QuoteRow(kind=pricing_pb2.ROW_KIND_PLATFORM_FEE, amount_minor=90),
        ],
        stages=[
            pricing_pb2.StageContribution(stage=pricing_pb2.STAGE_BASE_LINES, amount_minor=1_000),
            pricing_pb2.StageContribution(stage=pricing_pb2.STAGE_ADJUSTMENTS, amount_minor=-100),
            pricing_pb2.StageContribution(stage=pricing_pb2.STAGE_PLATFORM_FEE, amount_minor=90),
        ],
        adjustments=[
            pricing_pb2.AppliedAdjustment(
                adjustment_id="summer", amount_minor=-100, funder=price_book_pb2.FUNDER_PLATFORM, revision=3
            )
        ],
    )
    quote.total.amount_minor = 900

    seen = for_payer(quote)

    assert sum(row.amount_minor for row in seen.rows) == seen.total.amount_minor
    assert sum(stage.amount_minor for stage in seen.stages) == seen.total.amount_minor
    assert seen.adjustments[0] == pricing_pb2.AppliedAdjustment(adjustment_id="summer", amount_minor=-100)
    assert len(quote.rows) == 2, "the quote itself stays as it is"
