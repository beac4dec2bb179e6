"""Keeps the documents in step with the code: tables that code prints, catalogues that contracts hold.

python -m tests.docs --check    fails if a document says something else than the code, or the site of them has a fault
python -m tests.docs --write    writes what the code says into the documents
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Final

from services.access import TABLE
from services.gateway.checkout import modes
from services.gateway.diagnosis import checks as gateway_checks
from services.gateway.disputes import domain as disputes
from services.gateway.disputes import evidence
from services.gateway.payouts import domain as payouts
from services.gateway.webhooks import events, refusals
from services.orchestrator.diagnosis import checks as orchestrator_checks
from services.orchestrator.domain import declines, recovery
from services.shared import diagnosis
from services.status.domain.state_tables import render_tables
from tests import calling_printed, metrics, settings, sharding_rules
from tests.batzen import printed as batzen
from tests.contracts import comments_of_reasons
from tests.gateway import printed_ledger as ledger
from tests.gateway import printed_money as money
from tests.orchestrator import printed as refunds
from tests.orchestrator import printed_notifications as notifications
from tests.orchestrator import printed_webhooks as webhooks
from tests.pricing import printed as pricing
from tests.reference.build import faults
from tests.web.openapi import openapi

ROOT: Final = Path(__file__).parents[1]
PACKAGES: Final = ("orchestrator", "pricing", "status", "gateway")


def reasons() -> str:
    """Return the catalogue of error reasons as Markdown, from the comments in the contracts."""
    lines = []
    for package in PACKAGES:
        lines += [f"### batzen.{package}.v1", "", "| reason | meaning |", "| --- | --- |"]
        lines += [f"| `{reason}` | {meaning} |" for reason, meaning in comments_of_reasons(package).items()]
        lines.append("")
    return "\n".join(lines)


def access() -> str:
    """Return who may call what, as Markdown."""
    lines = ["| method | all of the tenant | only their own | proof of |", "| --- | --- | --- | --- |"]
    for method, rule in TABLE.items():
        everything = [*sorted(rule.roles), *(f"the service `{subject}`" for subject in sorted(rule.subjects))]
        service, _, name = method.removeprefix("/batzen.").rpartition("/")
        columns = (everything, sorted(rule.own), sorted(rule.proof))
        lines.append(f"| `{service}/{name}` | {' | '.join(', '.join(one) or '–' for one in columns)} |")
    return "\n".join(lines) + "\n"


def checks() -> str:
    """Return the checks of a diagnosis, as Markdown."""
    return diagnosis.table((orchestrator_checks.CHECKS, gateway_checks.OURS, gateway_checks.AT_STRIPE))


PRINTED: Final = {
    "ARCHITECTURE.md": {"state tables": render_tables},
    "docs/calling.md": calling_printed.PRINTED,
    "docs/errors.md": {"reasons": reasons},
    "docs/access.md": {"access": access},
    "docs/settings.md": {"settings": settings.tables},
    "docs/checkout.md": {"modes": modes.table},
    "docs/doctor.md": {"checks": checks},
    "docs/disputes.md": {"dispute states": disputes.table, "evidence": evidence.table},
    "docs/scheduled.md": {"declines": declines.table},
    "docs/gateway.md": {"subscriptions": events.table, "refusals": refusals.table},
    "docs/metrics.md": {"metrics": metrics.table},
    "docs/scaling.md": {"sharding": sharding_rules.table},
    "docs/sellers.md": {"payout states": payouts.table},
    "docs/vocabularies.md": {
        "words": batzen.words,
        "nearest": batzen.nearest,
        "refusal words": batzen.refusal_words,
    },
    "docs/recovery.md": {"recoveries": recovery.table},
    "docs/money.md": {"lives": money.lives},
    "docs/ledger.md": {"accounts": ledger.accounts, "facts": ledger.kinds, "worked postings": ledger.worked},
    "docs/refunds.md": {
        "by line": refunds.by_line,
        "bearers": refunds.bearers,
        "defaults": refunds.defaults,
        "policy": refunds.policy,
    },
    "docs/notifications.md": {"notification kinds": notifications.kinds},
    "docs/webhooks-out.md": {
        "webhook types": webhooks.types,
        "webhook statuses": webhooks.statuses,
        "webhook tries": webhooks.tries,
    },
    "docs/pricing.md": {"stages": pricing.stages, "worked cart": pricing.worked_cart, "rates": pricing.rates},
}
"""Document → name of a printed part → what prints it. The part stands between two comments that name it."""


WHOLE: Final = {"docs/openapi.json": openapi}
"""Document → what prints all of it."""


def in_step(text: str, printed: dict[str, object]) -> str:
    """Return the text of a document with its printed parts as the code has them."""
    for name, render in printed.items():
        pattern = re.compile(rf"(<!-- printed: {re.escape(name)} -->\n).*?(<!-- end -->)", re.DOTALL)
        if not pattern.search(text):
            raise SystemExit(f"no part named {name!r}")
        part = render() if callable(render) else ""
        text = pattern.sub(lambda found, part=part: f"{found[1]}\n{part}\n{found[2]}", text)  # type: ignore[misc]
    return text


def main(arguments: list[str]) -> None:
    """Check or write all documents."""
    if arguments not in (["--check"], ["--write"]):
        raise SystemExit(__doc__)
    behind = []
    wanted = {name: in_step((ROOT / name).read_text(), dict(printed)) for name, printed in PRINTED.items()}
    wanted |= {name: render() for name, render in WHOLE.items()}
    for name, text in wanted.items():
        path = ROOT / name
        if not path.exists() or path.read_text() != text:
            behind.append(name)
            if arguments == ["--write"]:
                path.write_text(text)
    if behind and arguments == ["--check"]:
        raise SystemExit(f"{', '.join(behind)}: not what the code says; run `make format`")
    if arguments == ["--check"] and (wrong := faults()):
        raise SystemExit("\n".join(wrong))


if __name__ == "__main__":
    main(sys.argv[1:])
