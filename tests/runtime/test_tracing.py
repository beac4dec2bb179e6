"""Traces: one for all that a call causes at once, decided before any span, and nothing at all while they are off."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import StringValue
from grpc import aio
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind, StatusCode

from local.issuer import Issuer
from services.errors import NotFound
from services.runtime.observability import span_export
from services.runtime.observability.spans import span
from services.runtime.observability.trace_context import SpanRef, trace_id_of
from services.runtime.observability.tracing import SAYABLE, UNSAYABLE, Kind, exporting, recording, said
from services.runtime.rpc import call_context
from services.runtime.rpc.channels import TokenDirectory, peer_channel
from tests.eventually import WITHIN_S
from tests.logged import said_by
from tests.runtime.echo import SERVICE, bearer, echo, refusal, serving, unary, watch
from tests.runtime.spans import Written, id_of, parent_of, recorded, trace_of

HELLO = StringValue(value="hello")
CORRELATION = "0af7651916cd43dd8448eb211c80319c"
OTHER = SpanRef(trace_id_of("another"), 77)
UNDER = SpanRef(trace_id_of(CORRELATION), 7)


class Gone(NotFound):
    """It is not here."""

    reason = "GONE"


@pytest.fixture
def tokens(issuer: Issuer, tmp_path: Path) -> TokenDirectory:
    issuer.write_service_tokens(tmp_path, services=["orchestrator"], tenants=["main"])
    return TokenDirectory(tmp_path / "orchestrator")


def stub(channel: aio.Channel) -> Any:
    return channel.unary_unary(f"/{SERVICE}/Back", StringValue.SerializeToString, StringValue.FromString)


def sent_with(token: str, correlation: str = CORRELATION, traceparent: str | None = None) -> Any:
    pairs = (*bearer(token), ("x-correlation-id", correlation))
    return pairs if traceparent is None else (*pairs, ("traceparent", traceparent))


@asynccontextmanager
async def two_hops(issuer: Issuer, tokens: TokenDirectory, seen: list[dict[str, Any]]) -> AsyncIterator[Any]:
    """Serve a service that asks the one behind it, of which `seen` gets the metadata; yield the front's stub."""

    async def look(request: StringValue, context: Any) -> StringValue:
        seen.append(dict(context.invocation_metadata()))
        return request

    async def ask(request: StringValue, _context: object) -> StringValue:
        answer: StringValue = await stub(channel)(request)
        return answer

    async with (
        serving(issuer, {"Back": unary(look)}) as back,
        peer_channel(back.address, tokens=tokens) as channel,
        serving(issuer, {"Front": unary(ask)}) as front,
    ):
        yield front.unary("Front")


async def test_a_call_and_what_it_asks_of_others_are_one_trace(issuer: Issuer, tokens: TokenDirectory) -> None:
    seen: list[dict[str, Any]] = []
    with recorded() as written:
        async with two_hops(issuer, tokens, seen) as front:
            await front(HELLO, metadata=sent_with(issuer.mint("payer_9", roles={"payer"})))
    server = written.named("Front")
    client, behind = sorted(by_name(written, "Back"), key=lambda one: one.kind is SpanKind.SERVER)

    assert [server.kind, client.kind, behind.kind] == [SpanKind.SERVER, SpanKind.CLIENT, SpanKind.SERVER]
    assert {f"{trace_of(one):032x}" for one in (server, client, behind)} == {CORRELATION}
    assert [parent_of(one) for one in (server, client, behind)] == [None, id_of(server), id_of(client)]
    assert seen[0]["traceparent"] == SpanRef(trace_of(client), id_of(client)).traceparent
    assert dict(server.attributes or {}) == {
        "rpc.system.name": "grpc",
        "rpc.method": f"{SERVICE}/Front",
        "rpc.response.status_code": "OK",
        "batzen.correlation_id": CORRELATION,
        "batzen.tenant": "main",
    }


def by_name(written: Written, ending: str) -> list[ReadableSpan]:
    return [one for one in written.spans() if one.name.endswith(ending)]


async def test_off_there_is_no_span_and_nothing_on_the_wire(issuer: Issuer, tokens: TokenDirectory) -> None:
    seen: list[dict[str, Any]] = []
    async with two_hops(issuer, tokens, seen) as front:
        await front(HELLO, metadata=sent_with(issuer.mint("svc", roles={"service"}), traceparent=UNDER.traceparent))

    assert "traceparent" not in seen[0]
    assert call_context.origin() is None


async def test_what_is_not_chosen_has_no_span_and_nothing_on_the_wire(issuer: Issuer, tokens: TokenDirectory) -> None:
    chosen, not_chosen = f"{7:016x}7{'f' * 15}", f"{7:016x}8{'0' * 15}"  # the lower half decides
    seen: list[dict[str, Any]] = []
    with recorded(ratio=0.5) as written:
        async with two_hops(issuer, tokens, seen) as front:
            for correlation in (chosen, not_chosen):
                under = SpanRef(trace_id_of(correlation), 7).traceparent
                await front(HELLO, metadata=sent_with(issuer.mint("shop", roles={"service"}), correlation, under))

    assert ["traceparent" in metadata for metadata in seen] == [True, False]
    assert {f"{trace_of(one):032x}" for one in written.spans()} == {chosen}


@pytest.mark.parametrize("role", ["payer", "seller", "operator"])
@pytest.mark.parametrize("under", [UNDER, OTHER])
async def test_a_person_says_nothing_about_the_span_they_call_under(issuer: Issuer, role: str, under: SpanRef) -> None:
    with recorded() as written:
        async with serving(issuer, {"Echo": unary(echo)}) as served:
            token = issuer.mint("person_1", roles={role})
            await served.unary()(HELLO, metadata=sent_with(token, traceparent=under.traceparent))
    one = written.named("Echo")

    assert (f"{trace_of(one):032x}", parent_of(one), list(one.links)) == (CORRELATION, None, [])


async def test_a_service_calls_under_its_span_in_the_same_trace(issuer: Issuer) -> None:
    with recorded() as written:
        async with serving(issuer, {"Echo": unary(echo)}) as served:
            token = issuer.mint("shop", roles={"service"})
            await served.unary()(HELLO, metadata=sent_with(token, traceparent=UNDER.traceparent))
    one = written.named("Echo")

    assert (f"{trace_of(one):032x}", parent_of(one), list(one.links)) == (CORRELATION, UNDER.span_id, [])


async def test_a_service_with_another_trace_is_linked_to(issuer: Issuer) -> None:
    with recorded() as written:
        async with serving(issuer, {"Echo": unary(echo)}) as served:
            token = issuer.mint("shop", roles={"service"})
            await served.unary()(HELLO, metadata=sent_with(token, traceparent=OTHER.traceparent))
    one = written.named("Echo")

    assert (f"{trace_of(one):032x}", parent_of(one)) == (CORRELATION, None)
    assert [(link.context.trace_id, link.context.span_id) for link in one.links] == [(OTHER.trace_id, OTHER.span_id)]


async def test_nobody_is_heard_who_was_not_let_in(issuer: Issuer) -> None:
    with recorded() as written:
        async with serving(issuer, {"Echo": unary(echo)}) as served:
            await refusal(served.unary()(HELLO, metadata=sent_with("nonsense", traceparent=UNDER.traceparent)))
    one = written.named("Echo")

    assert parent_of(one) is None
    assert (one.attributes or {})["rpc.response.status_code"] == "UNAUTHENTICATED"
    assert "batzen.tenant" not in (one.attributes or {})


async def test_a_bug_has_its_span_though_it_was_not_chosen(issuer: Issuer) -> None:
    async def broken(_request: StringValue, _context: object) -> StringValue:
        raise RuntimeError("oh")

    async def gone(_request: StringValue, _context: object) -> StringValue:
        raise Gone

    with recorded(ratio=0) as written:
        async with serving(issuer, {"Broken": unary(broken), "Gone": unary(gone), "Echo": unary(echo)}) as served:
            await refusal(served.unary("Broken")(HELLO))
            await refusal(served.unary("Gone")(HELLO))
            await served.unary()(HELLO)
    (one,) = (span for span in written.spans() if span.name.startswith(SERVICE))

    assert (one.name, one.status.status_code) == (f"{SERVICE}/Broken", StatusCode.ERROR)
    assert (one.start_time or 0) < (one.end_time or 0)


async def test_a_refusal_is_an_answer_with_its_reason(issuer: Issuer) -> None:
    async def gone(_request: StringValue, _context: object) -> StringValue:
        raise Gone

    with recorded() as written:
        async with serving(issuer, {"Echo": unary(gone)}) as served:
            await refusal(served.unary()(HELLO))
    one = written.named("Echo")

    assert one.status.status_code is StatusCode.UNSET
    assert (one.attributes or {})["batzen.reason"] == "GONE"


async def test_a_stream_is_one_span(issuer: Issuer) -> None:
    async def three(request: StringValue, _context: object) -> AsyncIterator[StringValue]:
        for _ in range(3):
            yield request

    with recorded() as written:
        async with serving(issuer, {"Watch": watch(three)}) as served:
            assert len([one async for one in served.watch()(HELLO)]) == 3
    assert written.named("Watch").kind is SpanKind.SERVER


async def test_work_that_goes_on_after_its_call_stays_in_its_trace(issuer: Issuer) -> None:
    going_on: list[asyncio.Task[None]] = []

    async def step() -> None:
        with span("later"):
            pass

    async def leave(request: StringValue, _context: object) -> StringValue:
        with call_context.acting_for("main", correlation=call_context.correlation_id()):
            going_on.append(asyncio.create_task(step()))
        return request

    with recorded() as written:
        async with serving(issuer, {"Echo": unary(leave)}) as served:
            await served.unary()(HELLO)
            await going_on[0]
    assert parent_of(written.named("later")) == id_of(written.named("Echo"))


def run(origin: str | None, correlation: str | None = None, *, name: str = "run") -> AbstractContextManager[Any]:
    return call_context.following("main", origin=origin, name=name, kind=Kind.CONSUMER, correlation=correlation)


def links_of(one: ReadableSpan) -> list[tuple[int, int]]:
    return [(link.context.trace_id, link.context.span_id) for link in one.links]


def test_due_work_is_a_trace_of_its_own_linked_to_what_made_it_due() -> None:
    with recorded() as written:
        with run(None, "order-7", name="origin"):
            row = call_context.origin()
        with run(row):
            pass
    (first, then) = written.named("origin"), written.named("run")

    assert trace_of(first) != trace_of(then)
    assert links_of(then) == [(trace_of(first), id_of(first))]


def is_recorded() -> bool:
    return call_context.current_trace() is not None


@pytest.mark.parametrize("number", range(6))
def test_due_work_is_recorded_when_what_made_it_due_is(number: int) -> None:
    with recorded(ratio=0.5):
        with run(None, f"order-{number}"):
            row, expected = call_context.origin(), is_recorded()
        for _ in range(8):
            with run(row):
                assert is_recorded() is expected
                again = call_context.origin()
            with run(again):
                assert is_recorded() is expected


@pytest.mark.parametrize("number", range(6))
def test_an_event_is_recorded_when_the_payment_is_that_it_turns_out_to_be_about(number: int) -> None:
    with recorded(ratio=0.5) as written:
        with run(None, f"order-{number}", name="payment"):
            payment, expected = call_context.origin(), is_recorded()
        for event in range(8):
            with run(None, f"evt_{event}"):
                is_chosen = is_recorded()
                with span("before it is known"):
                    pass
                call_context.about("pay_1", origin=payment)
                row = call_context.origin()
                assert is_recorded() is (expected or is_chosen)
                assert call_context.log_fields()["correlation_id"] == f"evt_{event}"  # by which its lines are found
            with run(row):
                assert is_recorded() is (expected or is_chosen)
    known = {id_of(one) for one in written.spans()}

    assert [one for one in written.spans() if parent_of(one) not in {None, *known}] == []
    runs = [one for one in written.spans() if one.name == "run"]
    assert all(links_of(one) for one in runs) is expected
    assert expected is False or {span_id for one in runs for _, span_id in links_of(one)} <= known


def test_a_log_line_names_trace_and_payment_beside_the_correlation_id() -> None:
    with recorded(), run(None, CORRELATION):
        call_context.about("pay_1")
        assert call_context.log_fields() == {
            "correlation_id": CORRELATION,
            "trace_id": CORRELATION,
            "payment_id": "pay_1",
        }
    with run(None, CORRELATION):
        assert call_context.log_fields() == {"correlation_id": CORRELATION}
    assert call_context.log_fields() == {}


MARKED = {
    "batzen.payment_id": "4242 4242 4242 4242",
    "batzen.subject": "4242-4242-4242-4242",
    "batzen.reason": "payer@example.org",
    "batzen.correlation_id": "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln",
    "batzen.call_id": "pi_3Abc_secret_Def",
    "stripe.request_id": "sk_test_51Abc",
    "batzen.work": "whsec_abc",
    "batzen.event_type": "x" * 200,
    "batzen.tenant": "Jürg Müller",
}


def test_what_is_no_id_name_or_code_is_withheld() -> None:
    assert said(MARKED) == dict.fromkeys(MARKED, UNSAYABLE)
    assert said({"payer.email": "a", "amount": 12}) == {}
    assert said(dict.fromkeys(SAYABLE, "pay_0af7651916cd43dd8448eb211c80319c")) == dict.fromkeys(
        SAYABLE, "pay_0af7651916cd43dd8448eb211c80319c"
    )


def test_no_exported_span_holds_a_marked_value() -> None:
    with recorded() as written, run(None):
        with span("step") as attributes:
            assert attributes is not None
            attributes.update(MARKED | {"payer.email": "payer@example.org"})
        with pytest.raises(RuntimeError), span("failing"):
            raise RuntimeError("payer@example.org paid with 4242 4242 4242 4242")
    everything = "\n".join(written.texts())

    assert "failing" in everything
    assert [value for value in {*MARKED.values(), "payer@example.org"} if value in everything] == []


class Stuck(SpanExporter):
    """A collector that takes nothing until it is let go."""

    def __init__(self) -> None:
        self.is_asked, self.let_go = threading.Event(), threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.is_asked.set()
        self.let_go.wait()
        return SpanExportResult.SUCCESS


class Away(SpanExporter):
    """A collector that cannot be reached, for as long as it is away; in the worst way."""

    is_away = True

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        if self.is_away:
            raise ConnectionError("nobody there")
        return SpanExportResult.SUCCESS


async def test_a_collector_that_hangs_holds_up_no_call_and_no_end(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(span_export, "QUEUE_MAX", 8)
    monkeypatch.setattr(span_export, "BATCH_MAX", 4)
    monkeypatch.setattr(span_export, "GATHER_S", WITHIN_S)  # so that four calls are one batch, however slow they are
    monkeypatch.setattr(span_export, "FLUSH_S", 0.05)
    stuck = Stuck()
    try:
        async with serving(issuer, {"Echo": unary(echo)}) as served:
            with recording(stuck, service="tests", ratio=1) as exported:
                for _ in range(4):
                    await served.unary()(HELLO)
                assert await asyncio.to_thread(stuck.is_asked.wait, WITHIN_S)
                for _ in range(20):
                    assert await served.unary()(HELLO) == HELLO
                # What else runs in this process has spans, too: as many are kept as there is room for.
                assert (exported.written >= 24, exported.written - exported.dropped) == (True, 8 + 4)
            assert not stuck.let_go.is_set()  # and still the block was left
            assert await served.unary()(HELLO) == HELLO
    finally:
        stuck.let_go.set()


async def test_a_collector_that_is_away_costs_the_spans_alone(issuer: Issuer) -> None:
    async with serving(issuer, {"Echo": unary(echo)}) as served:
        with recording(Away(), service="tests", ratio=1) as exported:
            for _ in range(3):
                assert await served.unary()(HELLO) == HELLO
            exported.flush()
            assert exported.written == exported.dropped >= 3


def test_the_log_says_once_that_the_collector_is_away_and_once_that_it_is_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    collector = Away()
    with recording(collector, service="tests", ratio=1) as exported:
        for is_away in (False, True, True, True, False, False):
            collector.is_away = is_away
            with run(None):
                pass
            exported.flush()

    said = [record.getMessage() for record in said_by(span_export, caplog)]
    assert said == ["The trace collector is away: ConnectionError", "The trace collector is back"]


async def test_nobody_at_the_address_costs_the_spans_alone(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(span_export, "FLUSH_S", 0.05)
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))  # taken, and nobody listens
        async with serving(issuer, {"Echo": unary(echo)}) as served:
            with exporting(f"127.0.0.1:{reserved.getsockname()[1]}", service="tests", ratio=1):
                for _ in range(3):
                    assert await served.unary()(HELLO) == HELLO


def test_a_process_without_traces_does_not_load_the_sdk() -> None:
    look = (
        "import services.runtime.process.service, sys; print(sorted({'opentelemetry', 'sentry_sdk'} & {*sys.modules}))"
    )
    ran = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"
