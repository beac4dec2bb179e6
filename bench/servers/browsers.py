"""Streams to browsers from one process: ours as the payer's front has them, or plain ASGI with nothing around it.

`python -m bench.servers.browsers ours PORT STATUS_PORT`, or `bare PORT`; both print a line when they serve. Of ours the
look-up of the session is left out, one statement as a stream opens or a poll comes. The bare one makes its moves
itself, at the rate that a line on its input says.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import time
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from functools import partial
from types import SimpleNamespace
from typing import Final, cast

import uvicorn
import uvloop
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from batzen.client import Addresses, Client
from batzen.status.v1.status_pb2 import GetPaymentRequest, Payment
from services.bff.api.application import Beneath, described
from services.bff.api.who import CALLERS
from services.bff.callers import Asker
from services.bff.events.one import Transitions
from services.bff.events.told import Frames
from services.bff.tenants import Tenants
from services.runtime.observability.metrics import OFF
from services.web.assertions import AssertionMinter, Person
from services.web.events.streams import EventStreams
from services.web.front import Front
from services.web.measured import Measured
from services.web.rates import AddressLimited, AddressRates
from services.web.security.guard import CORRELATION, Guard
from services.web.security.headers import Origins
from services.web.serving import serving

TICK_S: Final = 0.005
FILLER: Final = b"x" * 300
TAGGED: Final = [(b"etag", b'"1"'), (b"cache-control", b"private, no-cache")]


class Asking:
    """Says who polls: the payer of the payment, whose session is not looked up."""

    def __init__(self, minter: AssertionMinter) -> None:
        self._minter = minter

    async def of(self, request: Request) -> Asker:
        person = person_of(request.path_params["payment_id"])
        return Asker(
            tenant_id=person.tenant_id,
            subject=person.subject,
            is_service=False,
            metadata=self._minter.metadata(person),
            language="de",
            correlation_id=request.scope[CORRELATION],
        )


def person_of(payment_id: str) -> Person:
    """Return the payer of a payment, who proved long ago who they are."""
    return Person(
        tenant_id="main",
        subject=f"payer_{payment_id}",
        role="payer",
        auth_time=datetime.min.replace(year=2026, tzinfo=UTC),
    )


class Ours:
    """The endpoint of the payer's front, for a person of each payment."""

    def __init__(self, client: Client, minter: AssertionMinter, streams: EventStreams) -> None:
        self._client = client
        self._minter = minter
        self._streams = streams
        self._frames = Frames()

    async def __call__(self, scope: Scope, _: Receive, send: Send) -> None:
        payment_id: str = scope["path_params"]["payment_id"]
        person = person_of(payment_id)
        payment = await self._payment(payment_id)
        source = Transitions(
            self._client.watch(
                payment_id,
                after_revision=payment.revision,
                until_settled=True,
                assertion=partial(self._minter.mint, person),
            ),
            self._frames,
            begins_with=payment,
            before=None,
            read=partial(self._payment, payment_id),
        )
        await self._streams.open(scope, send, session_key=payment_id.encode(), source=source)

    async def _payment(self, payment_id: str) -> Payment:
        return (await self._client.status.GetPayment(GetPaymentRequest(payment_id=payment_id))).payment


async def ours(port: int, status_port: int) -> None:
    """Serve as the payer's front does, until the input ends."""
    draining = asyncio.Event()
    streams = EventStreams(living=_all, draining=draining, meter=OFF)
    key = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    minter = AssertionMinter(key.decode, issuer="bff", audience="batzen", now=partial(datetime.now, UTC))
    async with Client(token=str, addresses=Addresses(status=f"127.0.0.1:{status_port}")) as client:
        rest = described(cast("Front", SimpleNamespace(peers=SimpleNamespace(calls=client))), Tenants())
        setattr(rest.state, CALLERS, Asking(minter))
        streaming = Route("/v1/payments/{payment_id}/events", Ours(client, minter, streams))
        app = Starlette(routes=[streaming, Beneath(("/v1/",), rest)])
        limited = AddressLimited(app, AddressRates(now=time.monotonic), free=())
        guard = Guard(
            limited, own_origin=f"http://127.0.0.1:{port}", cookie_name="batzen", origins=Origins(), answer=_answer
        )
        async with (
            streams.running(),
            serving(
                Measured(guard, meter=OFF),
                listen=f"127.0.0.1:{port}",
                draining=draining,
                trusted_proxies=["127.0.0.1"],
            ),
        ):
            await _until_told(lambda _: None)


class Bare:
    """A queue for each client, and nothing else."""

    def __init__(self) -> None:
        self.queues: dict[str, asyncio.Queue[bytes]] = {}
        self.per_s = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not scope["path"].endswith("/events"):
            is_known = any(name == b"if-none-match" for name, _ in scope["headers"])
            await send({"type": "http.response.start", "status": 304 if is_known else 200, "headers": TAGGED})
            await send({"type": "http.response.body", "body": b"" if is_known else FILLER})
            return
        queue: asyncio.Queue[bytes] = asyncio.Queue(64)
        self.queues[scope["path"]] = queue
        sending = asyncio.create_task(self._send(send, queue))
        while (await receive())["type"] != "http.disconnect":
            pass
        sending.cancel()

    async def move(self) -> None:
        """Tell one client after the other, at the rate that holds."""
        due = asyncio.get_running_loop().time()
        for number in itertools.count():
            await asyncio.sleep(TICK_S)
            now, queues = asyncio.get_running_loop().time(), list(self.queues.values())
            if not self.per_s or not queues:
                due = now
                continue
            count, due = int((now - due) * self.per_s), due + int((now - due) * self.per_s) / self.per_s
            for n in range(count):
                frame = b'event: payment_status_update\ndata: {"reason":"at=%019d","body":"%s"}\nid: 2\n\n'
                queues[(number * 7919 + n) % len(queues)].put_nowait(frame % (time.monotonic_ns(), FILLER))

    @staticmethod
    async def _send(send: Send, queue: asyncio.Queue[bytes]) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        await send({"type": "http.response.body", "body": b"retry: 1000\n\n", "more_body": True})
        while True:
            await send({"type": "http.response.body", "body": await queue.get(), "more_body": True})


async def bare(port: int) -> None:
    """Serve with nothing around it, until the input ends."""
    app = Bare()
    config = uvicorn.Config(app, port=port, http="httptools", lifespan="off", log_level="error", backlog=2048)
    server = uvicorn.Server(config)
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    moving = asyncio.create_task(app.move())

    def told(line: str) -> None:
        app.per_s = float(line)

    await _until_told(told)
    moving.cancel()


async def _until_told(told: Callable[[str], object]) -> None:
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while line := await asyncio.to_thread(sys.stdin.readline):
        told(line)


async def _all(keys: Collection[bytes]) -> Collection[bytes]:
    return keys


async def _answer(_: Request, error: Exception) -> Response:
    raise error


if __name__ == "__main__":
    uvloop.run(ours(int(sys.argv[2]), int(sys.argv[3])) if sys.argv[1] == "ours" else bare(int(sys.argv[2])))
