"""The figures of each service, as its process has them: for the documents, and for the tests of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Self

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from services.bff import metrics as bff
from services.console import metrics as console
from services.gateway import metrics as gateway
from services.orchestrator import metrics as orchestrator
from services.pricing import metrics as pricing
from services.runtime.observability import process_metrics, work_metrics
from services.runtime.observability.metrics import OTHER, Label, Metric
from services.status import metrics as status
from services.web import metrics as web

CATALOGUE: Final = {
    "every service": process_metrics.METRICS,
    "orchestrator and gateway": work_metrics.METRICS,
    "orchestrator": orchestrator.METRICS,
    "status": status.METRICS,
    "gateway": gateway.METRICS,
    "pricing": pricing.METRICS,
    "bff and console": web.METRICS,
    "bff": bff.METRICS,
    "console": console.METRICS,
}
"""Who has them → the figures."""
VALUES_SHOWN_MAX: Final = 16
"""More values than this are told by their number."""


def metrics_of(service: str) -> Iterator[Metric]:
    """Yield each figure that a process of the service has."""
    for owners, metrics in CATALOGUE.items():
        if owners == "every service" or service in owners.split(" and "):
            yield from metrics


def table() -> str:
    """Return all figures as Markdown."""
    lines = []
    for owners, metrics in CATALOGUE.items():
        lines += [f"### {owners.capitalize()}", "", "| figure | type | labels | meaning |", "| --- | --- | --- | --- |"]
        for metric in metrics:
            labels = "<br>".join(map(_label, metric.labels)) or "–"
            buckets = f" Buckets: {', '.join(f'{one:g}' for one in metric.buckets)}." if metric.buckets else ""
            lines.append(f"| `{metric.name}` | {metric.kind} | {labels} | {metric.meaning}{buckets} |")
        lines.append("")
    return "\n".join(lines)


def _label(label: Label) -> str:
    if not label.values:
        return f"`{label.name}`: {label.bound}; {label.series_max} at most, then `{OTHER}`"
    shown = ", ".join(f"`{value}`" for value in label.values[:VALUES_SHOWN_MAX])
    more = len(label.values) - VALUES_SHOWN_MAX
    return f"`{label.name}`: {shown}{f' and {more} more' if more > 0 else ''}, else `{OTHER}`"


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What a process answered to `GET /metrics`."""

    samples: Mapping[tuple[str, frozenset[tuple[str, str]]], float]

    @classmethod
    def read(cls, text: bytes) -> Self:
        return cls(
            samples={
                (sample.name, frozenset(sample.labels.items())): sample.value
                for family in text_string_to_metric_families(text.decode())
                for sample in family.samples
            }
        )

    def __getitem__(self, name: str) -> float:
        """Return a figure without labels, or the sum of all series of one with labels."""
        if not any(other == name for other, _ in self.samples):
            raise KeyError(name)
        return self.total(name)

    def total(self, name: str) -> float:
        """Return the sum of all series of a figure; 0 if it has none."""
        return sum(value for (other, _), value in self.samples.items() if other == name)

    def of(self, name: str, **labels: str) -> float:
        """Return the series of a figure that says this; 0 if there is none."""
        return self.samples.get((name, frozenset(labels.items())), 0.0)

    def says(self, name: str, label: str) -> set[str]:
        """Return what a label of a figure says."""
        return {dict(labels)[label] for other, labels in self.samples if other == name}

    @property
    def names(self) -> set[str]:
        """The names of the figures, those of histograms without what is behind them."""
        return {re.sub(r"_(bucket|sum|count)$", "", name) for name, _ in self.samples}


async def scraped(listen: str) -> Figures:
    """Ask a process for its figures, as a scraper does."""
    async with aiohttp.ClientSession() as session, session.get(f"http://{listen}/metrics") as answer:
        assert answer.status == 200
        return Figures.read(await answer.read())
