"""Figures: declared as values, made by the one `Meter` of a process, and nothing at all where nobody asks for them.

    SENT: Final = counter("batzen_letters_sent_total", "Letters that were sent.", one_of("size", "small", "large"))
    …
    self._sent = meter.counter(SENT)
    …
    self._sent.add("large")

What a label may say is bounded by its declaration; all else is counted as "other". Series are kept by what their labels
say, since looking one up in the library takes longer than to count.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Generic, TypeVar

import prometheus_client
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

OTHER: Final = "other"
"""What a label says for whatever its declaration does not know."""
PRESET_SERIES_MAX: Final = 64
"""A figure with no more series than this has them all from the start, so that the first event is seen as one more."""

# Or each counter and histogram has a series more, which no rule of ours reads.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]


class Kind(StrEnum):
    """How a figure moves, in the words of Prometheus."""

    COUNTER = "counter"
    """Only up."""
    GAUGE = "gauge"
    """Up and down."""
    HISTOGRAM = "histogram"
    """How often it was at most so much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """What tells the series of a figure apart."""

    name: str
    values: tuple[str, ...] = ()
    """All that it may say; empty where they are not known before."""
    series_max: int = 0
    """Where they are not: how many come to have a series of their own."""
    bound: str = ""
    """Where they are not: what they are, in words."""


def one_of(name: str, *values: str) -> Label:
    """Return a label that says one of the values, or "other"."""
    return Label(name=name, values=values)


def up_to(series_max: int, name: str, bound: str) -> Label:
    """Return a label that says what `bound` describes; from the next after `series_max` on it says "other"."""
    return Label(name=name, series_max=series_max, bound=bound)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A figure, as declared."""

    kind: Kind
    name: str
    meaning: str
    labels: tuple[Label, ...] = ()
    buckets: tuple[float, ...] = ()


def counter(name: str, meaning: str, *labels: Label) -> Metric:
    return Metric(kind=Kind.COUNTER, name=name, meaning=meaning, labels=labels)


def gauge(name: str, meaning: str, *labels: Label) -> Metric:
    return Metric(kind=Kind.GAUGE, name=name, meaning=meaning, labels=labels)


def histogram(name: str, meaning: str, *labels: Label, buckets: tuple[float, ...]) -> Metric:
    return Metric(kind=Kind.HISTOGRAM, name=name, meaning=meaning, labels=labels, buckets=buckets)


S = TypeVar("S", prometheus_client.Counter, prometheus_client.Gauge, prometheus_client.Histogram)


class _Series(Generic[S]):
    """The series of one figure, by what their labels say."""

    def __init__(self, metric: Metric, family: S) -> None:
        self._labels = metric.labels
        self._family: S = family
        self._known: dict[tuple[str, ...], S] = {}
        self._seen: list[set[str]] = [set(label.values) for label in metric.labels]
        closed = [label.values for label in metric.labels if label.values]
        if len(closed) == len(metric.labels):
            combinations = list(itertools.islice(itertools.product(*closed), PRESET_SERIES_MAX + 1))
            if len(combinations) <= PRESET_SERIES_MAX and metric.kind is not Kind.GAUGE:
                for values in combinations:
                    self.of(values)

    def of(self, values: tuple[str, ...]) -> S:
        """Return the series of these values, each of them within the bound of its label."""
        series = self._known.get(values)
        if series is not None:
            return series
        bounded = tuple(
            self._bounded(label, seen, value)
            for label, seen, value in zip(self._labels, self._seen, values, strict=True)
        )
        series = self._known.get(bounded)
        if series is None:
            # Only what is within the bounds is kept here, or a flood of names would grow it without end.
            series = self._known[bounded] = self._family.labels(*bounded) if bounded else self._family
        return series

    @staticmethod
    def _bounded(label: Label, seen: set[str], value: str) -> str:
        if value in seen:
            return value
        if label.values or len(seen) >= label.series_max:
            return OTHER
        seen.add(value)
        return value


class Counter:
    """Goes up."""

    __slots__ = ("_series",)

    def __init__(self, series: _Series[prometheus_client.Counter] | None) -> None:
        self._series = series

    def add(self, *labels: str, amount: float = 1) -> None:
        """Count what happened, `amount` times."""
        if self._series is not None:
            self._series.of(labels).inc(amount)

    def begin(self, *labels: str) -> None:
        """Show a series before anything was counted in it."""
        if self._series is not None:
            self._series.of(labels)


class Gauge:
    """Goes up and down."""

    __slots__ = ("_series",)

    def __init__(self, series: _Series[prometheus_client.Gauge] | None) -> None:
        self._series = series

    def set(self, value: float, *labels: str) -> None:
        if self._series is not None:
            self._series.of(labels).set(value)

    def add(self, *labels: str, amount: float = 1) -> None:
        """Take it up by an amount, or down by a negative one."""
        if self._series is not None:
            self._series.of(labels).inc(amount)


class Histogram:
    """Says how often something was at most so much."""

    __slots__ = ("_series",)

    def __init__(self, series: _Series[prometheus_client.Histogram] | None) -> None:
        self._series = series

    def observe(self, value: float, *labels: str) -> None:
        if self._series is not None:
            self._series.of(labels).observe(value)


class Tally:
    """Counts where nothing can be injected: in what a process has once, whatever services run in it."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0

    def add(self) -> None:
        self.count += 1

    def counts(self) -> Mapping[tuple[str, ...], int]:
        """Return the count as `Meter.follow` takes it."""
        return {(): self.count}


class Meter:
    """Makes the figures of one process, and writes them out; one that is off makes figures that count nothing."""

    def __init__(self, *, is_on: bool = True) -> None:
        self._registry = CollectorRegistry() if is_on else None
        self._counters: dict[Metric, Counter] = {}
        self._gauges: dict[Metric, Gauge] = {}
        self._histograms: dict[Metric, Histogram] = {}
        self._readings: list[Callable[[], None]] = []
        self._writing = asyncio.Lock()
        if self._registry is not None:
            ProcessCollector(registry=self._registry)

    @property
    def is_on(self) -> bool:
        """Whether anything is counted."""
        return self._registry is not None

    def counter(self, metric: Metric) -> Counter:
        """Return what counts this figure, always the same."""
        if self._registry is None:
            return Counter(None)
        if metric not in self._counters:
            family = prometheus_client.Counter(metric.name, metric.meaning, _names(metric), registry=self._registry)
            self._counters[metric] = Counter(_Series(metric, family))
        return self._counters[metric]

    def gauge(self, metric: Metric) -> Gauge:
        """Return what sets this figure, always the same."""
        if self._registry is None:
            return Gauge(None)
        if metric not in self._gauges:
            family = prometheus_client.Gauge(metric.name, metric.meaning, _names(metric), registry=self._registry)
            self._gauges[metric] = Gauge(_Series(metric, family))
        return self._gauges[metric]

    def histogram(self, metric: Metric) -> Histogram:
        """Return what observes this figure, always the same."""
        if self._registry is None:
            return Histogram(None)
        if metric not in self._histograms:
            family = prometheus_client.Histogram(
                metric.name, metric.meaning, _names(metric), registry=self._registry, buckets=metric.buckets
            )
            self._histograms[metric] = Histogram(_Series(metric, family))
        return self._histograms[metric]

    def read_when_asked(self, read: Callable[[], None]) -> None:
        """Have `read` set figures each time that the figures are asked for, on the event loop; it has to be quick."""
        if self._registry is not None:
            self._readings.append(read)

    def follow(self, metric: Metric, counts: Callable[[], Mapping[tuple[str, ...], int]]) -> None:
        """Count in a figure what the process counts itself from now on, by the values of the labels."""
        counting, seen = self.counter(metric), dict(counts())

        def read() -> None:
            for labels, count in counts().items():
                counting.add(*labels, amount=count - seen.get(labels, 0))
                seen[labels] = count

        self.read_when_asked(read)

    async def text(self) -> bytes:
        """Return all figures in Prometheus' text format, written beside the event loop, once at a time."""
        if self._registry is None:
            return b""
        async with self._writing:
            for read in self._readings:
                read()
            return await asyncio.to_thread(generate_latest, self._registry)


OFF: Final = Meter(is_on=False)


def _names(metric: Metric) -> list[str]:
    return [label.name for label in metric.labels]
