"""A suite whose processes write down every call as spans, and what a test asks of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.environments import SERVICES
from local.suite import Suite
from tests.eventually import eventually
from tests.suite.collector import Collector, Span
from tests.suite.journeys import Traveller


@dataclass(frozen=True)
class Traced:
    """A suite whose spans all go to a collector."""

    suite: Suite
    collector: Collector
    traveller: Traveller
    armed: Path
    """The file that names the crash point at which the orchestrator dies."""

    async def until_told(self, payment_id: str, *titles: str) -> list[Span]:
        """Wait until spans of these titles arrived of the traces of a payment; return all of those traces."""

        def missing() -> set[str]:
            return set(titles) - {one.title for one in self.of_payment(payment_id)}

        def found() -> list[Span]:
            return [] if missing() else self.of_payment(payment_id)

        return await eventually(found, what=lambda: f"{missing()}")

    def of_payment(self, payment_id: str) -> list[Span]:
        """Return all spans of the traces of a payment that arrived."""
        spans = self.collector.spans()
        traces = {one.trace_id for one in spans if one.attributes.get("batzen.payment_id") == payment_id}
        return [one for one in spans if one.trace_id in traces]

    def lines(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield what each service has logged."""
        for service in SERVICES:
            for line in (self.suite.logs / f"{service}.log").read_text().splitlines():
                yield service, json.loads(line)
