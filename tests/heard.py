"""Whether callers were really refused for every reason that a contract documents: what servers of a test run answered.

The list of what has to be heard is read from the comments of the `.proto` files, so that none can be forgotten. Each
test process notes with what its servers refused; the one that started them puts that together, and fails the run for
what nobody heard (`--every-reason`, with which `make test` runs).
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Final

from tests.contracts import ROOT

CONTRACTS: Final = (
    "orchestrator/v1/orchestrator.proto",
    "orchestrator/v1/notifications.proto",
    "gateway/v1/intents.proto",
    "gateway/v1/checkout.proto",
    "gateway/v1/payment_methods.proto",
    "gateway/v1/sellers.proto",
    "gateway/v1/disputes.proto",
    "gateway/v1/transfers.proto",
    "gateway/v1/diagnosis.proto",
    "gateway/v1/contacts.proto",
)
"""Whose reasons have to be heard: those of the ways to pay, of who is paid, and of what the gateway is asked beside."""

Heard = tuple[str, str]
"""An RPC, as `OrchestratorService/StartPayment`, and a reason of it."""

_SERVICE: Final = re.compile(r"^service (\w+) \{\n(.*?)^\}", re.DOTALL | re.MULTILINE)
_RPC: Final = re.compile(r"((?:  //[^\n]*\n)+)  rpc (\w+)\(")
_AS: Final = re.compile(r"Errors: as `?(\w+)`?\.")
_ERRORS: Final = re.compile(r"- `[A-Z_]+` / ((?:`[A-Z_]+`(?:, )?)+)")


class Listener(logging.Handler):
    """Notes the refusals among the lines that servers write about their calls."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: set[Heard] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Note the method and the reason of a call that was refused."""
        fields = getattr(record, "fields", {})
        if "reason" in fields:
            package, method = str(fields["method"]).lstrip("/").rsplit("/", 1)
            self.heard.add((f"{package.rsplit('.', 1)[-1]}/{method}", str(fields["reason"])))


def listening() -> Listener:
    """Return what notes all refusals of this process from now on."""
    listener, calls = Listener(), logging.getLogger("batzen.calls")
    calls.addHandler(listener)
    calls.setLevel(logging.INFO)
    return listener


def documented(text: str) -> set[Heard]:
    """Return what each RPC of a contract says that it refuses with."""
    found: dict[str, set[str]] = {}
    copies: dict[str, str] = {}
    for service, body in _SERVICE.findall(text):
        for comment, rpc in _RPC.findall(body):
            said = " ".join(line.strip().removeprefix("//").strip() for line in comment.splitlines())
            method = f"{service}/{rpc}"
            errors = said.partition("Errors")[2]
            found[method] = {reason for names in _ERRORS.findall(errors) for reason in re.findall(r"\w+", names)}
            if copied := _AS.search(said):
                copies[method] = copied[1]
    for method, rpc in copies.items():
        found[method] |= next((reasons for name, reasons in found.items() if name.endswith(f"/{rpc}")), set())
    return {(method, reason) for method, reasons in found.items() for reason in reasons}


def unheard(heard: set[Heard]) -> list[str]:
    """Return what a contract documents and nobody heard."""
    wanted = {one for contract in CONTRACTS for one in documented(_text(contract))}
    return [f"{method} / {reason}" for method, reason in sorted(wanted - heard)]


def _text(contract: str) -> str:
    path: Path = ROOT / "protos" / "batzen" / contract
    return path.read_text()
