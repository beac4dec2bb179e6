"""What we demand of the manifests beyond their form: rules over what is rendered, each a function that names faults.

findings(Manifests("prod", documents))   -> ["hpa_targets: HorizontalPodAutoscaler/gateway scales nothing", …]
"""

from __future__ import annotations

from tests.deploy.manifests import Manifests
from tests.deploy.policy import apis, availability, network, pods, ports, references, release, secrets, settings
from tests.deploy.policy.rule import RULES

__all__ = ["MODULES", "findings"]

MODULES = (apis, availability, network, pods, ports, references, release, secrets, settings)


def findings(manifests: Manifests) -> list[str]:
    """Return every fault, with the rule that found it."""
    return [f"{name}: {fault}" for name, rule in RULES.items() for fault in rule(manifests)]
