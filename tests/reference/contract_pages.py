"""The contracts as pages: one for each `.proto` file, with all that its comments say and an example of each RPC."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from services.access import TABLE
from tests.contracts import COMMON_BELOW, PREFIX, reasons_of
from tests.reference.contracts import Contracts, Enum, Field, File, Message, Rpc, Service
from tests.reference.examples import Example
from tests.reference.refusals import Refusal
from tests.reference.site import Names, Page, relative
from tests.reference.templating import Render

INDEX = "contracts/index.html"
PACKAGES = ("orchestrator", "status", "pricing", "gateway", "type")
"""In the order in which one reads them."""


def place(file: File) -> str:
    """Return where a file is on the site."""
    return "contracts/" + file.path.removeprefix("batzen/").removesuffix(".proto") + ".html"


def add_names(names: Names, contracts: Contracts) -> None:
    """Say where services, RPCs, messages, enums and reasons are explained."""
    for file in contracts.files:
        page = place(file)
        for service in file.services:
            names.add(service.name, f"{page}#{service.name}")
            names.add(service.full_name, f"{page}#{service.name}")
            for rpc in service.rpcs:
                anchor = f"{page}#{service.name}.{rpc.name}"
                for name in (rpc.name, f"{service.name}/{rpc.name}", f"{service.name}.{rpc.name}"):
                    names.add(name, anchor)
                names.add(f"{rpc.method.removeprefix('batzen.')}", anchor)
        for one in file.types:
            for name in (one.full_name, short(one.full_name)):
                names.add(name, f"{page}#{short(one.full_name)}")
        for enum in file.enums:
            for value, number, _ in enum.values:
                anchor = f"{page}#{short(enum.full_name)}.{value}"
                names.add(value, anchor)
                if value.startswith(PREFIX) and number >= COMMON_BELOW:
                    names.add(value.removeprefix(PREFIX), anchor)


def contract_pages(
    contracts: Contracts, names: Names, examples: Mapping[str, Example], render: Render
) -> Iterator[Page]:
    """Yield a page for each file, and their index."""
    for file in contracts.files:
        page = place(file)
        view = _View(names, page, examples)
        headings = [(2, service.name, service.name) for service in file.services]
        for service in file.services:
            headings += [(3, f"{service.name}.{rpc.name}", rpc.name) for rpc in service.rpcs]
        kinds = [short(one.full_name) for one in file.types]
        if kinds:
            headings += [(2, "types", "Messages and enums")] + [(3, one, one) for one in kinds]
        yield Page(
            path=page,
            title=f"{file.package} · {file.path.rpartition('/')[2]}",
            body=render("contract.html", page, file=file, view=view, as_text=as_text),
            headings=headings,
        )
    ordered = sorted(contracts.files, key=lambda file: (PACKAGES.index(file.package.split(".")[1]), file.path))
    yield Page(
        path=INDEX,
        title="Contracts",
        body=render("contracts.html", INDEX, files=ordered, place=lambda file: relative(place(file), on=INDEX)),
    )


@dataclass(frozen=True)
class _View:
    """What the template of a file asks for."""

    names: Names
    page: str
    examples: Mapping[str, Example]

    def kind(self, field: Field) -> str:
        """Return the type of a field as it is written in a contract."""
        shown = short(field.kind)
        if field.key:
            return f"map<{field.key}, {shown}>"
        return f"repeated {shown}" if field.is_repeated else f"optional {shown}" if field.is_optional else shown

    def link(self, full_name: str) -> str | None:
        """Return where a type is explained."""
        return self.names.found(full_name, on=self.page)

    def callers(self, rpc: Rpc) -> Sequence[tuple[str, str]]:
        """Return who may call an RPC, and of what; nothing of what others implement."""
        rule = TABLE.get(f"/{rpc.method}")
        if rule is None:
            return []
        rows = (
            ("all of the tenant", [*sorted(rule.roles), *(f"the service {one}" for one in sorted(rule.subjects))]),
            ("only their own", sorted(rule.own)),
            ("with a fresh proof of who they are, where a front speaks for them", sorted(rule.proof)),
        )
        return [(what, ", ".join(who)) for what, who in rows if who]

    def reason(self, rpc: Rpc, reason: str) -> str | None:
        """Return where a reason is explained: in the package of its RPC, or in that which it comes from."""
        package = rpc.service.split(".")[1]
        if package in PACKAGES[:4] and reason in reasons_of(package):
            return relative(f"contracts/{package}/v1/errors.html#ErrorReason.{PREFIX}{reason}", on=self.page)
        return self.names.found(reason, on=self.page)

    def shown(
        self, rpc: Rpc, refusals: Sequence[Refusal]
    ) -> Sequence[tuple[str, Sequence[tuple[str, str | None]], str, str]]:
        """Return lines of errors: statuses, reasons with where they are explained, whose they are, what is said."""
        return [
            (" ".join(one.codes), [(name, self.reason(rpc, name)) for name in one.reasons], one.whose, one.text)
            for one in refusals
        ]

    def example(self, rpc: Rpc) -> Example | None:
        """Return what a test asked and was answered."""
        return self.examples.get(rpc.method)

    def short(self, message: Message | Enum) -> str:
        """Return the name of a type within its package."""
        return short(message.full_name)

    def stream(self, rpc: Rpc) -> str:
        """Say in words what comes as a stream."""
        if rpc.asks_often:
            return "Requests and answers are streams." if rpc.answers_often else "The requests are a stream."
        return "The answers are a stream." if rpc.answers_often else ""

    def common(self, service: Service) -> bool:
        """Whether a service says which errors all of its methods have."""
        return "ommon errors" in service.comment


def short(full_name: str) -> str:
    """Return the name of a type within its package."""
    parts = full_name.split(".")
    return ".".join(parts[3:]) if parts[0] == "batzen" else full_name


def as_text(values: Sequence[Mapping[str, object]]) -> str:
    """Return messages as they are shown."""
    return "\n".join(json.dumps(one, indent=2, ensure_ascii=False) for one in values)
