"""What an expression of PromQL reads: its selectors with their matchers, and the labels that it groups by."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from services.access import TABLE
from services.runtime.observability.metrics import OTHER, Kind, Metric
from tests.metrics import CATALOGUE, metrics_of

GROUPING: Final = re.compile(r"\b(?:by|on|without|ignoring|group_left|group_right) ?\(([^)]*)\)")
SELECTOR: Final = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{([^}]*)\})?(?!\w*\s*\()")
MATCHER: Final = re.compile(r'(\w+)(=~|!~|!=|=)"([^"]*)"')
RANGE: Final = re.compile(r"\[[^\]]*\]")
WORDS: Final = frozenset({"and", "or", "unless", "bool", "offset", "by"})
OF_A_SCRAPE: Final = frozenset({"job", "instance"})
FROM_OUTSIDE: Final = frozenset(
    {
        "up",
        "process_start_time_seconds",
        "process_resident_memory_bytes",
        "process_cpu_seconds_total",
        "process_open_fds",
    }
)
"""Prometheus' own, and those of its client library."""
PARTS: Final = ("_bucket", "_count", "_sum")
METHODS: Final = frozenset(method.removeprefix("/batzen.").partition(".v1.")[2] for method in TABLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """What is read."""

    name: str
    matchers: tuple[tuple[str, str, str], ...]
    """Label, operator, value."""


def selectors(expr: str) -> Iterator[Selector]:
    """Yield what an expression reads."""
    bare = RANGE.sub("", GROUPING.sub("", expr))
    for name, matchers in SELECTOR.findall(bare):
        if name not in WORDS and not re.search(rf"\b{re.escape(name)}\s*\(", bare):
            yield Selector(name=name, matchers=tuple(MATCHER.findall(matchers)))


def grouping(expr: str) -> set[str]:
    """Return the labels that an expression groups by."""
    return {label.strip() for labels in GROUPING.findall(expr) for label in labels.split(",") if label.strip()}


def problems(expr: str, *, recorded: frozenset[str] = frozenset()) -> list[str]:
    """Return what an expression reads that no code declares."""
    found, labels = [], set(OF_A_SCRAPE)
    read = list(selectors(expr))
    for selector in read:
        if selector.name in recorded:
            labels.add("slo")
        elif selector.name not in FROM_OUTSIDE:
            metric = _metric(selector)
            if metric is None:
                found.append(f"{selector.name} is declared by no service that it is read from")
                continue
            labels |= _labels(metric)
            found += [problem for matcher in selector.matchers for problem in _unmatched(metric, *matcher)]
    found += [f"{label} is a label of nothing that is read" for label in grouping(expr) - labels]
    return found if read else ["it reads nothing"]


def _metric(selector: Selector) -> Metric | None:
    jobs = [value for label, _, value in selector.matchers if label == "job"]
    known = (
        [*metrics_of(jobs[0])] if jobs and "|" not in jobs[0] else [one for all_ in CATALOGUE.values() for one in all_]
    )
    for metric in known:
        if metric.name == selector.name and metric.kind is not Kind.HISTOGRAM:
            return metric
        if metric.kind is Kind.HISTOGRAM and selector.name in {metric.name + part for part in PARTS}:
            return metric
    return None


def _labels(metric: Metric) -> set[str]:
    return {label.name for label in metric.labels} | ({"le"} if metric.kind is Kind.HISTOGRAM else set())


def _unmatched(metric: Metric, label: str, operator: str, value: str) -> Iterator[str]:
    if label in OF_A_SCRAPE:
        return
    if label not in _labels(metric):
        yield f"{metric.name} has no label {label}"
        return
    known = {OTHER} | {known for one in metric.labels if one.name == label for known in one.values}
    if label == "method":
        known |= METHODS
    if label == "le":
        known = {str(float(bound)) for bound in metric.buckets} | {"+Inf"}
    values = _alternatives(value) if operator in ("=~", "!~") else [value]
    if len(known) > 1:
        yield from (f"{metric.name} never says {label}={one}" for one in values if one not in known)


def _alternatives(pattern: str) -> list[str]:
    inner = re.fullmatch(r"(?P<head>[^(]*)\((?P<choices>[^)]*)\)(?P<tail>.*)", pattern)
    if inner:
        return [f"{inner['head']}{choice}{inner['tail']}" for choice in inner["choices"].split("|")]
    return pattern.split("|")
