"""Builds pricing and runs it: `python -m services.pricing` serves, `python -m services.pricing migrate` migrates."""

from __future__ import annotations

import sys
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Final

from batzen.pricing.v1 import pricing_pb2_grpc
from services.access import TABLE
from services.pricing.metrics import PricingMetrics
from services.pricing.seed import load_currencies, load_entries
from services.pricing.servicer import PricingServicer
from services.pricing.storage.idempotency import FORGET
from services.pricing.storage.price_books import PriceBookStore
from services.pricing.storage.store import QuoteStore
from services.runtime.database.connections import DirectConnections, make_engine
from services.runtime.database.engine_pool import EnginePool
from services.runtime.database.migrations import wait_for_schema
from services.runtime.database.request_expiry import forgetting
from services.runtime.observability.process_metrics import show_pools
from services.runtime.process.lifecycle import until_terminated, utc_now
from services.runtime.process.program import Program
from services.runtime.process.service import SCHEMA_WAIT_S, ProcessSettings
from services.runtime.process.settings import Reader
from services.runtime.rpc.limits import Limits

SERVICE: Final = "pricing"
MIGRATIONS: Final = Path(__file__).parent / "migrations"
DIRECT_CONNECTIONS: Final = 4
"""For keeping and redeeming quotes, one statement of less than a millisecond each."""
LIMITS: Final = Limits(message_bytes_max=1_536 * 1024)
"""1,000 lines with every field at its longest have 1.2 MB."""


def read_settings(read: Reader) -> ProcessSettings:
    """Read the settings."""
    return ProcessSettings.read(read, listen="127.0.0.1:7002")


async def serve(settings: ProcessSettings) -> None:
    """Serve until the process is terminated."""
    settings.arm()
    async with AsyncExitStack() as stack:
        stack.enter_context(settings.observed(SERVICE))
        meter = await stack.enter_async_context(settings.metering())
        engine = make_engine(settings.database_url, application_name=SERVICE)
        stack.push_async_callback(engine.dispose)
        held = await stack.enter_async_context(
            DirectConnections(settings.database_url, application_name=SERVICE, size=DIRECT_CONNECTIONS)
        )
        show_pools(meter, held, EnginePool(engine))
        await wait_for_schema(engine, MIGRATIONS, timeout_s=SCHEMA_WAIT_S)
        await stack.enter_async_context(forgetting(held, (FORGET,), now=utc_now))
        currencies = load_currencies()
        servicer = PricingServicer(
            engine,
            store=QuoteStore(engine, held=held),
            books=PriceBookStore(engine, seed=load_entries(), currencies=currencies),
            currencies=currencies,
            now=utc_now,
            metrics=PricingMetrics(meter),
        )
        await stack.enter_async_context(
            settings.server(
                partial(pricing_pb2_grpc.add_PricingServiceServicer_to_server, servicer),
                access=TABLE,
                engine=engine,
                limits=LIMITS,
                meter=meter,
            )
        )
        await until_terminated()


PROGRAM: Final = Program(service=SERVICE, migrations=MIGRATIONS, read=read_settings, serve=serve)

if __name__ == "__main__":
    PROGRAM.main(sys.argv[1:])
