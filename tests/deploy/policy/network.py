"""Who reaches whom. The policies are evaluated as a network would, between every two pods there are, and some that
should not be, on either side: what is let out, and what is let in, has to be exactly what the code says.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from services.access import TABLE
from services.orchestrator.webhooks_out.guard import PORTS as RECEIVERS
from services.runtime.process.program import SERVE
from tests.deploy.manifests import COMPONENT, FRONTS, NAME, PROCESSES, SERVER, Manifests, called, dig
from tests.deploy.policy.ports import GRPC_PORTS, HTTP_PORTS, METRICS_PORT, WEBHOOK_PORT
from tests.deploy.policy.rule import rule
from tests.settings import PROGRAMS

OURS: Final = "batzen"
MAIL_PORTS: Final = (465, 587)
"""At which mails are handed in, by TLS."""
SINK: Final = "GatewayEventSinkService"
"""Stands in the gateway's package, and is served by the orchestrator."""
PORTS: Final = (
    25,
    53,
    80,
    *sorted(RECEIVERS),
    *MAIL_PORTS,
    4317,
    5432,
    6443,
    8000,
    9187,
    METRICS_PORT,
    7400,
    WEBHOOK_PORT,
    *GRPC_PORTS.values(),
    *HTTP_PORTS.values(),
)
Flow = tuple[str, str, int]


_DECIDED: Final[dict[str, set[Flow]]] = {}
"""What was evaluated already: most mutations leave the policies alone."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A pod, or an address outside of the cluster."""

    name: str
    namespace: str = OURS
    labels: Mapping[str, str] = field(default_factory=dict)
    namespace_labels: Mapping[str, str] = field(default_factory=dict)
    ports: Mapping[str, int] = field(default_factory=dict)
    """By name."""
    address: str | None = None
    """Of what is outside of the cluster."""


def _outside(name: str, namespace: str, labels: Mapping[str, str], **namespace_labels: str) -> Endpoint:
    names = {key.replace("__", "/"): value for key, value in namespace_labels.items()}
    return Endpoint(
        name, namespace, labels, {"kubernetes.io/metadata.name": namespace, **names}, {"grpc": 7001, "metrics": 7500}
    )


OUTSIDE: Final = ("internet", "internet by IPv6")
PRIVATE: Final = ("10.1.2.3", "100.64.1.2", "127.0.0.2", "172.16.3.4", "192.168.5.6", "fd00::1", "fe80::1")
NEIGHBOURS: Final = (
    Endpoint("caller", OURS, {"batzen/caller": "true"}),
    Endpoint("stranger", OURS, {}),
    _outside("caller elsewhere", "shop", {}, batzen__caller="true"),
    _outside("stranger elsewhere", "other", {"batzen/caller": "true", NAME: "gateway", COMPONENT: SERVER}),
    _outside("prometheus", "monitoring", {NAME: "prometheus"}),
    _outside("collector", "monitoring", {NAME: "opentelemetry-collector"}),
    _outside("grafana", "monitoring", {NAME: "grafana"}),
    _outside("names", "kube-system", {"k8s-app": "kube-dns"}),
    _outside("system", "kube-system", {}),
    _outside("operator", "cnpg-system", {NAME: "cloudnative-pg"}),
    _outside("ingress", "ingress", {}, batzen__webhooks="true"),
    _outside("payers' ingress", "pages", {}, batzen__pages="true"),
    _outside("operators' ingress", "inside", {}, batzen__console="true"),
    _outside("another prometheus", "other", {NAME: "prometheus"}),
    _outside("another collector", "other", {NAME: "opentelemetry-collector"}),
    _outside("other names", "other", {"k8s-app": "kube-dns"}),
    _outside("another operator", "other", {NAME: "cloudnative-pg"}),
    _outside("beside the operator", "cnpg-system", {}),
    Endpoint(OUTSIDE[0], "", address="198.51.100.7"),
    Endpoint(OUTSIDE[1], "", address="2001:db8::7"),
    Endpoint("metadata of the cloud", "", address="169.254.169.254"),
    *(Endpoint(f"a private address, {one}", "", address=one) for one in PRIVATE),
)


OF_THE_PLATFORM = frozenset({"BATZEN_BOOKING_CHECK_ADDRESS"})
"""Whom our services call beside each other: what the platform runs, and lets them reach (docs/operating.md)."""


def edges() -> set[tuple[str, str]]:
    """Return who calls whom by the access table: what is open to one service alone, that service calls."""
    found = set()
    for method, allow in TABLE.items():
        _, package, _ = method.split("/")[1].split(".", 2)
        served_by = "orchestrator" if SINK in method else package
        found |= {(subject, served_by) for subject in allow.subjects}
    return found


def dialled() -> set[tuple[str, str]]:
    """Return who calls whom by the addresses that the services' settings ask for."""
    return {
        (program.service, one.name.removeprefix("BATZEN_").removesuffix("_ADDRESS").lower())
        for program in PROGRAMS
        if program.service not in FRONTS  # which call in people's name, so that no method is theirs alone
        for one in program.declarations()[SERVE]
        if one.name.endswith("_ADDRESS") and one.name not in OF_THE_PLATFORM
    }


def endpoints(manifests: Manifests) -> list[Endpoint]:
    """Return the pods of the suite, those of its databases, and their neighbours."""
    ours = {"kubernetes.io/metadata.name": OURS}
    pods = [
        Endpoint(pod.name, OURS, pod.labels, ours, {name: port for port, name in pod.ports.items()})
        for pod in manifests.pods
    ]
    databases = [
        Endpoint(f"database of {one}", OURS, {"cnpg.io/cluster": f"{one}-database"}, ours) for one in PROCESSES
    ]
    return [*pods, *databases, *NEIGHBOURS]


def sent(manifests: Manifests) -> set[Flow]:
    """Return what the policies let pods of ours send."""
    return _decided(manifests, "Egress")


def received(manifests: Manifests) -> set[Flow]:
    """Return what the policies let pods of ours receive."""
    return _decided(manifests, "Ingress")


def _decided(manifests: Manifests, direction: str) -> set[Flow]:
    policies, places = manifests.of("NetworkPolicy"), endpoints(manifests)
    key = repr((direction, policies, places))
    if key not in _DECIDED:
        _DECIDED[key] = set(_evaluated(policies, places, direction))
    return _DECIDED[key]


def _evaluated(policies: Sequence[Any], places: Sequence[Endpoint], direction: str) -> Iterator[Flow]:
    """Yield what the policies of one side let through; a pod that none of them selects is free on that side."""
    peers = "to" if direction == "Egress" else "from"
    for subject in (one for one in places if one.namespace == OURS):
        ruling = [
            policy["spec"]
            for policy in policies
            if direction in dig(policy, "spec", "policyTypes", default=["Ingress"])
            and _selects(dig(policy, "spec", "podSelector", default={}), subject.labels)
        ]
        parts = [part for spec in ruling for part in spec.get(direction.lower()) or []] if ruling else [{}]
        for other in places:
            source, target = (subject, other) if direction == "Egress" else (other, subject)
            opened = [part for part in parts if not part.get(peers) or any(_is_peer(one, other) for one in part[peers])]
            for port in PORTS:
                if any(_is_at(part, target, port) for part in opened):
                    yield source.name, target.name, port


def wanted(manifests: Manifests) -> set[Flow]:
    """Return what has to get through, and nothing else."""
    found: set[Flow] = set()
    for caller, peer in edges():
        found.add((f"Deployment/{caller}", f"Deployment/{peer}", GRPC_PORTS[peer]))
    for server, port in ((f"Deployment/{service}", port) for service, port in GRPC_PORTS.items()):
        found |= {(one, server, port) for one in ("caller", "caller elsewhere")}
        found |= {(f"Deployment/{front}", server, port) for front in FRONTS}
    for service in PROCESSES:
        server, database = f"Deployment/{service}", f"database of {service}"
        found |= {("prometheus", server, METRICS_PORT), (server, "collector", 4317)}
        found |= {(database, database, port) for port in (5432, 8000)}
        found |= {("operator", database, 5432), ("operator", database, 8000), ("prometheus", database, 9187)}
        found |= {(database, "names", 53)}
        found |= {(pod.name, database, 5432) for pod in manifests.suite if pod.service == service}
    found |= {(pod.name, "names", 53) for pod in manifests.pods}
    found |= {(one, "names", 53) for one in ("caller", "stranger")}
    found |= {("ingress", "Deployment/gateway", WEBHOOK_PORT)}
    found |= {("payers' ingress", "Deployment/bff", HTTP_PORTS["bff"])}
    found |= {("operators' ingress", "Deployment/console", HTTP_PORTS["console"])}
    found |= {("Deployment/console", "Deployment/bff", HTTP_PORTS["bff"])}  # what payers say of paying
    found |= {("Deployment/console", one, 443) for one in OUTSIDE}  # where operators log in
    found |= {
        ("Deployment/console", f"Deployment/{service}", METRICS_PORT) for service in GRPC_PORTS
    }  # its page of health
    found |= {("Deployment/gateway", one, 443) for one in OUTSIDE}
    if any("mails" in pod.secrets for pod in manifests.pods):
        found |= {("Deployment/orchestrator", one, port) for one in OUTSIDE for port in MAIL_PORTS}
    found |= {("Deployment/orchestrator", one, port) for one in OUTSIDE for port in RECEIVERS}
    return found


@rule
def what_is_let_out_is_what_is_called(manifests: Manifests) -> Iterator[str]:
    if not manifests.of("NetworkPolicy"):
        if manifests.is_cluster:
            yield "there are no network policies"
        return
    ours = {one.name for one in endpoints(manifests) if one.namespace == OURS}
    right = {flow for flow in wanted(manifests) if flow[0] in ours}
    # Instances of a database reach the API server and the store of backups, which have no labels to be named by.
    actual = {flow for flow in sent(manifests) if not (flow[0].startswith("database of") and flow[2] in (443, 6443))}
    yield from (f"{source} may send to {target} at {port}" for source, target, port in sorted(actual - right))
    yield from (f"{source} may not send to {target} at {port}" for source, target, port in sorted(right - actual))


@rule
def what_is_let_in_is_what_is_called(manifests: Manifests) -> Iterator[str]:
    if not manifests.of("NetworkPolicy"):
        return
    ours = {one.name for one in endpoints(manifests) if one.namespace == OURS}
    right = {flow for flow in wanted(manifests) if flow[1] in ours}
    actual = received(manifests)
    yield from (f"{target} may be reached by {source} at {port}" for source, target, port in sorted(actual - right))
    yield from (f"{target} may not be reached by {source} at {port}" for source, target, port in sorted(right - actual))


@rule
def names_are_asked_by_both_protocols(manifests: Manifests) -> Iterator[str]:
    for policy in manifests.of("NetworkPolicy"):
        for part in dig(policy, "spec", "egress", default=[]):
            protocols = {one.get("protocol", "TCP") for one in part.get("ports", []) if one.get("port") == 53}
            if protocols not in (set(), {"UDP", "TCP"}):
                yield f"{called(policy)} lets names be asked by {protocols} alone"


@rule
def selectors_are_evaluated_as_meant(manifests: Manifests) -> Iterator[str]:
    for policy in manifests.of("NetworkPolicy"):
        for operator in re.findall(r"'operator': '(\w*)'", str(policy)):
            if operator not in ("In", "NotIn", "Exists", "DoesNotExist"):
                yield f"{called(policy)} has no operator {operator}"


@rule
def settings_and_access_table_name_the_same_edges(_: Manifests) -> Iterator[str]:
    for caller, peer in edges() ^ dialled():
        yield f"{caller} → {peer} is in one of the two alone"


@rule
def policies_name_real_ports(manifests: Manifests) -> Iterator[str]:
    """A port that nobody listens at is a misspelt one."""
    for policy in manifests.of("NetworkPolicy"):
        selected = [pod for pod in manifests.pods if _selects(dig(policy, "spec", "podSelector"), pod.labels)]
        for part in dig(policy, "spec", "ingress", default=[]):
            for port in part.get("ports", []):
                real = [
                    port.get("port") in pod.ports or port.get("port") in pod.ports.values()
                    for pod in selected
                    if pod.is_server
                ]
                if real and not all(real):
                    yield f"{called(policy)} opens {port.get('port')}, where nothing listens"
        if not dig(policy, "spec", "policyTypes"):
            yield f"{called(policy)} does not say of which direction it is"


def _is_at(part: Any, target: Endpoint, port: int) -> bool:
    at = part.get("ports")
    return not at or any(
        one.get("port") in (None, port) or target.ports.get(str(one.get("port"))) == port for one in at
    )


def _is_peer(peer: Any, other: Endpoint) -> bool:
    if "ipBlock" in peer:
        if other.address is None:
            return False
        address = ipaddress.ip_address(other.address)
        block = peer["ipBlock"]
        return address in ipaddress.ip_network(block["cidr"]) and not any(
            address in ipaddress.ip_network(one) for one in block.get("except", [])
        )
    if other.address is not None:
        return False
    if "namespaceSelector" in peer:
        if not _selects(peer["namespaceSelector"], other.namespace_labels):
            return False
    elif other.namespace != OURS:
        return False
    return _selects(peer.get("podSelector", {}), other.labels)


def _selects(selector: Any, labels: Mapping[str, str]) -> bool:
    selector = selector or {}
    if not selector.get("matchLabels", {}).items() <= labels.items():
        return False
    return all(_expressed(one, labels) for one in selector.get("matchExpressions", []))


def _expressed(expression: Any, labels: Mapping[str, str]) -> bool:
    value = labels.get(expression["key"])
    match expression["operator"]:
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "In":
            return value in expression["values"]
        case "NotIn":
            return value not in expression["values"]
    return False  # a finding of its own
