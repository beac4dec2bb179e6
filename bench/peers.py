"""What the suite is compared with: a bare grpc.aio server, and our own server with nothing behind it.

Each runs in a process of its own, as a service does: `python -m bench.peers bare|factory PORT`. Both echo a payment as
status would answer it, ~330 bytes, parsed and written at both ends; the bare one without a token or a deadline.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any, Final

import grpc
from google.protobuf.message import Message
from grpc import aio

from batzen.status.v1 import status_pb2
from batzen.type.v1 import money_pb2, payment_pb2
from local.issuer import AUDIENCE, ISSUER
from services.runtime.process.lifecycle import until_terminated, utc_now
from services.runtime.process.logs import json_logs
from services.runtime.rpc.access import Allow
from services.runtime.rpc.identity import SERVICE, TokenVerifier
from services.runtime.rpc.jwks import KeySet
from services.runtime.rpc.server import running_server

HOST: Final = "127.0.0.1"
NAME: Final = "batzen.bench.v1.EchoService"
ECHO: Final = f"/{NAME}/Echo"

Context = aio.ServicerContext[Any, Any]


def sample() -> status_pb2.Payment:
    """Return a payment with what one has in the middle of its life."""
    payment = status_pb2.Payment(
        payment_id="pay_01j9z6q3w8k5m2n7r4t6v8x0y1",
        revision=3,
        state=payment_pb2.PAYMENT_STATE_SUCCEEDED,
        settled=True,
        phase=status_pb2.PHASE_COLLECTED,
        snapshot=payment_pb2.PaymentSnapshot(
            collection=payment_pb2.PAYMENT_STATE_SUCCEEDED,
            cause=payment_pb2.PaymentSnapshot.CAUSE_OBSERVATION,
            amounts=payment_pb2.PaymentSnapshot.Amounts(authorized_minor=12_000, captured_minor=12_000),
            method=payment_pb2.PaymentSnapshot.Method(
                payment_method_id="pm_1QabcdefGhijklmnopQrstuv",
                type="card",
                brand="visa",
                last4="4242",
                expire_month=12,
                expire_year=2034,
            ),
            attempt=1,
        ),
        total=money_pb2.Money(amount_minor=12_000, currency_code="CHF"),
        payer_id="payer_7f3b2c",
        seller_ids=["seller_19ac5d"],
        booking_ids=["booking_5521"],
        client_reference="order 2026-000417",
        quote_id="quote_01j9z6q3w8k5m2n7r4t6v8x0y1",
        labels={"channel": "web"},
    )
    for stamp in (payment.open_time, payment.update_time, payment.complete_time):
        stamp.FromDatetime(utc_now())
    return payment


async def _echo(request: status_pb2.Payment, _: Context) -> status_pb2.Payment:
    return request


def _method(make: Any, behavior: Any, takes: type[Message]) -> Any:
    return make(behavior, request_deserializer=takes.FromString, response_serializer=_bytes_of)


def _bytes_of(message: Message) -> bytes:
    return message.SerializeToString()


async def _serve_bare(port: int) -> None:
    server = aio.server(options=[("grpc.so_reuseport", 0)])
    methods = {"Echo": _method(grpc.unary_unary_rpc_method_handler, _echo, status_pb2.Payment)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(NAME, methods),))
    server.add_insecure_port(f"{HOST}:{port}")
    await server.start()
    await server.wait_for_termination()


async def _serve_factory(port: int) -> None:
    methods = {"Echo": _method(grpc.unary_unary_rpc_method_handler, _echo, status_pb2.Payment)}
    verifier = TokenVerifier(KeySet(os.environ["BATZEN_JWKS"]), issuer=ISSUER, audience=AUDIENCE, now=utc_now)
    async with running_server(
        lambda server: server.add_registered_method_handlers(NAME, methods),
        address=f"{HOST}:{port}",
        access={ECHO: Allow(roles=frozenset({SERVICE}))},
        verifier=verifier,
        draining=asyncio.Event(),
        now=utc_now,
    ):
        await until_terminated()


def environment(jwks: Path) -> dict[str, str]:
    """Return what a peer has to be started with."""
    return {"BATZEN_JWKS": str(jwks), "PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}


if __name__ == "__main__":
    kind, port_text = sys.argv[1:]
    if kind == "factory":
        # On asyncio's own loop, as services ran when goals were set in echoes: a unit that gets faster with what is
        # measured in it hides what was gained. `bench/cost.py` runs the peer of an earlier checkout for that.
        with json_logs(service="echo"):
            asyncio.run(_serve_factory(int(port_text)))
    else:
        asyncio.run(_serve_bare(int(port_text)))
