"""The examples of the contracts: for each RPC what a test asked and what it was answered, in `docs/examples/`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from google.protobuf import json_format, message_factory
from google.protobuf.message import Message

from tests.reference.contracts import contracts, descriptor_of

ROOT: Final = Path(__file__).parents[2]
FOLDER: Final = ROOT / "docs/examples"
READABLE_MAX: Final = 2800
"""Characters of JSON that somebody still reads as an example."""
TEXT_MAX: Final = 120
"""Characters of one text; longer ones are those of tests about limits."""

_SECRETS: Final = (
    (re.compile(r"_secret_\w+"), "_secret_…"),
    (re.compile(r"whsec_[A-Za-z0-9+/=_]+"), "whsec_…"),
    (re.compile(r"https?://(?:127\.0\.0\.1|localhost|\[::1\])(?::\d+)?"), "https://stripe.example"),
    (re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]+"), "eyJ…"),
)
"""What opens something, or is of one machine, and what stands in its place."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """An RPC: its message types and whether they come as streams."""

    input: type[Message]
    output: type[Message]
    asks_often: bool
    answers_often: bool


@dataclass(frozen=True, kw_only=True)
class Example:
    """What was asked and answered, as the JSON of protobuf."""

    test: str
    """The test that did so, as pytest names it."""
    requests: list[dict[str, Any]]
    responses: list[dict[str, Any]]

    @property
    def worth(self) -> tuple[bool, int]:
        """How much it shows: as many fields as can still be read."""
        text = json.dumps([self.requests, self.responses], ensure_ascii=False)
        leaves = list(_leaves([self.requests, self.responses]))
        is_plain = len(text) <= READABLE_MAX and all(len(one) <= TEXT_MAX and one.isprintable() for one in leaves)
        return is_plain, len(leaves) if is_plain else -len(text)

    def told(self) -> dict[str, Any]:
        """Return it as values of JSON."""
        return asdict(self)


@cache
def methods() -> Mapping[str, Method]:
    """Return every RPC by its full name, `batzen.status.v1.StatusService/GetPayment`."""
    return {
        rpc.method: Method(
            input=message_factory.GetMessageClass(descriptor_of(rpc.input)),
            output=message_factory.GetMessageClass(descriptor_of(rpc.output)),
            asks_often=rpc.asks_often,
            answers_often=rpc.answers_often,
        )
        for rpc in contracts().rpcs
    }


def as_json(message: Message) -> dict[str, Any]:
    """Return a message as JSON, without what opens something."""
    text = json_format.MessageToJson(message, preserving_proto_field_name=True, ensure_ascii=False)
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    told: dict[str, Any] = json.loads(text)
    return told


def read_examples() -> dict[str, Example]:
    """Return the examples that are kept, by the full name of their RPC."""
    return {
        f"{path.stem}/{rpc}": Example(**told)
        for path in sorted(FOLDER.glob("*.json"))
        for rpc, told in json.loads(path.read_text()).items()
    }


def write_examples(examples: Mapping[str, Example]) -> None:
    """Keep examples, a file for each service; what no RPC has any more goes."""
    FOLDER.mkdir(exist_ok=True)
    by_service: dict[str, dict[str, Any]] = {}
    for name in methods():
        if name in examples:
            service, _, rpc = name.partition("/")
            by_service.setdefault(service, {})[rpc] = examples[name].told()
    for path in FOLDER.glob("*.json"):
        if path.stem not in by_service:
            path.unlink()
    for service, told in by_service.items():
        (FOLDER / f"{service}.json").write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n")


def faults_of(name: str, example: Example) -> list[str]:
    """Return what is wrong with an example: it has to be what the contract says, and of a test that there is."""
    method = methods().get(name)
    if method is None:
        return [f"{name}: an example of an RPC that there is not"]
    faults = []
    for kind, told, often in (
        (method.input, example.requests, method.asks_often),
        (method.output, example.responses, method.answers_often),
    ):
        if not told or (len(told) > 1 and not often):
            faults.append(f"{name}: {len(told)} messages of {kind.DESCRIPTOR.name}")
        for one in told:
            try:
                json_format.ParseDict(one, kind())
            except json_format.ParseError as error:
                faults.append(f"{name}: no {kind.DESCRIPTOR.name}: {error}")
    file, _, test = example.test.partition("::")
    if not (ROOT / file).is_file() or f"def {test.rpartition('::')[2]}(" not in (ROOT / file).read_text():
        faults.append(f"{name}: its example is of a test that there is not, {example.test}")
    return faults


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for one in value.values():
            yield from _leaves(one)
    elif isinstance(value, list):
        for one in value:
            yield from _leaves(one)
    else:
        yield str(value)
