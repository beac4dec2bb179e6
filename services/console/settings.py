"""What the operators' front is told when it starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from services.console.actions import limits
from services.console.actions.domain import Limits
from services.console.login.settings import LoginSettings
from services.runtime.process.settings import Form, Reader, address
from services.web.settings import FrontSettings, origin, web_address


def _sources(value: str) -> Mapping[str, str]:
    found = dict(pair.strip().split("=", 1) for pair in value.split(",") if "=" in pair)
    if len(found) != value.count(",") + 1:
        raise ValueError("is no list such as status=status-metrics:9090,gateway=gateway-metrics:9090")
    return {name: address.parse(place) for name, place in found.items()}


sources: Form[Mapping[str, str]] = Form(_sources, "list: name=host:port, comma separated")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleSettings:
    """A front, where its people log in, what one of them may move alone, and where figures of health come from."""

    front: FrontSettings
    login: LoginSettings
    limits: Limits
    metrics_sources: Mapping[str, str]
    bff_url: str | None
    onboarding_return_url: str
    """Empty: no links are made here."""

    @classmethod
    def read(cls, read: Reader) -> Self:
        """Read the settings."""
        return cls(
            front=FrontSettings.read(read, listen="127.0.0.1:7090", issuer="console"),
            login=LoginSettings.read(read),
            limits=limits.read(read),
            onboarding_return_url=read(
                "BATZEN_ONBOARDING_RETURN_URL",
                web_address,
                default="",
                shown="",
                doc="The platform's page that sellers come back to from an onboarding link that an operator made. Left "
                "out: operators make none.",
            ),
            metrics_sources=read(
                "BATZEN_METRICS_SOURCES",
                sources,
                default={},
                shown="",
                doc="Where the suite's processes answer with their figures, for the page of their health; a name with "
                "several addresses is several processes. Left out: the page shows none.",
            ),
            bff_url=read(
                "BATZEN_BFF_URL",
                origin,
                default=None,
                shown="",
                doc="Where the payers' front answers inside of the platform's network, for what payers say of paying. "
                "Left out: the page of figures says that nobody is asked.",
            ),
        )
