"""What we demand of the manifests beyond their form: rules over what is rendered, each a function that names faults.

findings(Manifests("prod", documents))   -> ["hpa_targets: HorizontalPodAutoscaler/gateway scales nothing", …]
"""

from __future__ import annotations

from tests.deploy.manifests import Manifests
from tests.deploy.policy import apis, availability, network, pods, ports, references, release, secrets, settings
from tests.deploy.policy.rule import RULES, Rule

__all__ = ["MODULES", "findings"]

MODULES = (apis, availability, network, pods, ports, references, release, secrets, settings)


def findings(manifests: Manifests) -> list[str]:
    """Return every fault, with the rule that found it."""
    return [f"{name}: {fault}" for name, rule in RULES.items() for fault in _faults(rule, manifests)]


def _faults(rule: Rule, manifests: Manifests) -> list[str]:
    try:
        return list(rule(manifests))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        return [f"cannot read the manifests: {error!r}"]  # something is missing, or is of another form
