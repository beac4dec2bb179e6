"""The flows of the suite as sequence diagrams, read off the spans that all processes wrote while one ran.

What stands in docs/flows.md is held to what is recorded: the same calls, and none before one that it waited for.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from tests.reference.sequence import Block, Diagram, Message, Note
from tests.suite.collector import PACKAGE, Span

PAGE: Final = Path(__file__).parents[2] / "docs/flows.md"
STRIPE: Final = "Stripe"
NAMES: Final = {
    "shop": "your service",
    "payer": "payer",
    "operator": "operator",
    "orchestrator": "orchestrator",
    "pricing": "pricing",
    "status": "status",
    "gateway": "gateway",
    STRIPE: STRIPE,
}
"""Who takes part → what is shown, in the order of a diagram."""

DUE: Final = "due: "
"""What begins a note of work that was due."""
EVENTS: Final = DUE + "events"
"""May not come at all: an event that shows nothing new when it arrives is done then."""
DELIVERED: Final = frozenset({"DeliverEvent", "DeliverNotice"})
READS: Final = ("GET ", "Get", "List")
"""How what takes nothing begins: how often something is read depends on what was known by then."""
WRITES: Final = frozenset({"OpenPayment", "RecordTransition"})
AGAIN: Final = ", again"
KEPT: Final = frozenset({"GetLimits"})
"""What is asked once in a while for all payments, and kept."""

_PART: Final = re.compile(r"(<!-- recorded: (?P<name>[^>]+?) -->\n)(?P<text>.*?)(<!-- end -->)", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Step:
    """An arrow of a diagram, or work that falls due, as it was recorded."""

    said: Message | Note
    started_ns: int
    ended_ns: int
    trace_id: str = ""
    is_outside: bool = False
    """Whether it is a caller's, who does one thing after the other; what is in no trace of theirs waits for nobody."""

    def waits_for(self, other: Step) -> bool:
        """Whether the two have an order."""
        return self.trace_id == other.trace_id or (self.is_outside and other.is_outside)


@dataclass(frozen=True)
class Recording:
    """What was recorded of one run of a flow, in the order in which it began."""

    steps: Sequence[Step]

    @property
    def text(self) -> str:
        """The diagram as Mermaid's text."""
        taking = {one for step in self.steps for one in _parties(step.said)}
        lines = ["sequenceDiagram"]
        lines += [f"    participant {name} as {shown}" for name, shown in NAMES.items() if name in taking]
        lines += [f"    {_line(step.said)}" for step in self.steps]
        return "\n".join(lines)


def recording(
    spans: Sequence[Span],
    *,
    callers: Mapping[str, str],
    written: Sequence[tuple[int, str]] = (),
    beside: Sequence[Step] = (),
) -> Recording:
    """Return what spans say of a flow; `callers` says who called an RPC from outside.

    `written` says when status wrote which state, so that each call that wrote one says which.
    `beside` is what happened that leaves no span.
    """
    servers = {one.parent_id: one for one in spans if one.kind == "server" and one.parent_id}
    known = {one.span_id for one in spans}
    steps = [*(step for one in spans for step in _steps(one, servers, known, callers)), *beside]
    return Recording(_with_states(sorted(steps, key=lambda step: step.started_ns), written))


def _steps(one: Span, servers: Mapping[str, Span], known: set[str], callers: Mapping[str, str]) -> Iterator[Step]:
    name = PACKAGE.sub("", one.name)
    rpc = name.rpartition("/")[2]
    if rpc in KEPT:
        return
    if one.kind == "client" and one.name.startswith("stripe "):
        yield _step(one, Message(one.service, STRIPE, name.removeprefix("stripe "), is_answer=False))
    elif one.kind == "client" and one.span_id in servers:
        server = servers[one.span_id]
        yield _step(one, Message(one.service, server.service, rpc, is_answer=False))
    elif (
        one.kind == "server" and one.parent_id and one.parent_id not in known
    ):  # its caller died before it could say so
        caller = "gateway" if one.service == "orchestrator" else "orchestrator"
        yield _step(one, Message(caller, one.service, rpc, is_answer=False))
    elif one.kind == "server" and one.name == "webhook":
        yield _step(one, Message(STRIPE, one.service, str(one.attributes["batzen.event_type"]), is_answer=False))
    elif one.kind == "server" and not one.parent_id and rpc in callers:
        yield _step(one, Message(callers[rpc], one.service, rpc, is_answer=False), is_outside=True)
        answer = Message(one.service, callers[rpc], str(one.attributes["rpc.response.status_code"]), is_answer=True)
        yield replace(_step(one, answer, is_outside=True), started_ns=one.ended_ns)
    elif one.kind == "consumer":
        yield _step(one, Note(one.service, one.service, DUE + name.removeprefix("work ")))


def _step(one: Span, said: Message | Note, *, is_outside: bool = False) -> Step:
    return Step(
        said=said,
        started_ns=one.started_ns,
        ended_ns=one.ended_ns,
        trace_id=one.trace_id,
        is_outside=is_outside,
    )


def _with_states(steps: Sequence[Step], written: Sequence[tuple[int, str]]) -> list[Step]:
    """Return the steps, those that write to status with the last state that they wrote, or that they say it again."""
    found = []
    for step in steps:
        said = step.said
        if isinstance(said, Message) and said.text in WRITES:
            states = [state for at_ns, state in written if step.started_ns <= at_ns <= step.ended_ns]
            text = f"{said.text}: {states[-1]}" if states else said.text + AGAIN
            said = Message(said.sender, said.receiver, text, is_answer=False)
        found.append(replace(step, said=said))
    return found


def differences(told: Diagram, recorded: Recording) -> Iterator[str]:
    """Yield how a diagram and a run differ: what only one of them has, and what stands before what it waited for."""
    wanted = Counter(step for step in told.steps if isinstance(step, Message | Note))
    seen = Counter(step.said for step in recorded.steps)
    for said in {**wanted, **seen}:
        if said.text.endswith(AGAIN):
            continue  # whoever carries on says again what was not known to be heard
        if _is_by_the_way(said):
            if wanted[said] and not seen[said] and said.text != EVENTS:
                yield f"{_line(said)}: not in the run"
        elif wanted[said] != seen[said]:
            yield f"{_line(said)}: {wanted[said]} times in the diagram, {seen[said]} times in the run"
    yield from _out_of_order(told, recorded)


def _is_by_the_way(said: Message | Note) -> bool:
    """Whether a step may come more or less often: work is due once for several reasons, and reading takes nothing."""
    if isinstance(said, Note):
        return said.text.startswith(DUE)
    return said.text.startswith(READS) or said.text in DELIVERED or said.sender == STRIPE


def _out_of_order(told: Diagram, recorded: Recording) -> Iterator[str]:
    """Yield what stands in a diagram before something that was over when it began."""
    left: dict[Message | Note, list[Step]] = {}
    for step in recorded.steps:
        if not _is_by_the_way(step.said):
            left.setdefault(step.said, []).append(step)
    found = [(said, left[said].pop(0)) for said in told.steps if not isinstance(said, Block) and left.get(said)]
    for i, (said, step) in enumerate(found):
        waited_for = ((other, later) for other, later in found[i + 1 :] if step.waits_for(later))
        late = next((other for other, later in waited_for if later.ended_ns < step.started_ns), None)
        if late is not None:
            yield f"{_line(said)} stands before {_line(late)}, which was over when it began"


def stored() -> dict[str, str]:
    """Return the diagrams of the page as Mermaid's text, by the name of their flow."""
    return {
        part["name"]: part["text"].strip().removeprefix("```mermaid").removesuffix("```")
        for part in _PART.finditer(PAGE.read_text())
    }


def store(name: str, recorded: Recording) -> None:
    """Write a recorded flow into the page."""
    text = PAGE.read_text()
    part = f"\n```mermaid\n{recorded.text}\n```\n\n"
    changed = _PART.sub(lambda found: found[1] + part + found[4] if found["name"] == name else found[0], text)
    PAGE.write_text(changed)


def _parties(said: Message | Note) -> tuple[str, str]:
    return (said.sender, said.receiver) if isinstance(said, Message) else (said.first, said.last)


def _line(said: Message | Note) -> str:
    if isinstance(said, Note):
        return f"Note over {said.first}: {said.text}"
    return f"{said.sender}{'-->>' if said.is_answer else '->>'}{said.receiver}: {said.text}"
