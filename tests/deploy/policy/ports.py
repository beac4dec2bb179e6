"""Ports: what is dialled is what listens, and no gRPC port is public."""

from __future__ import annotations

from collections.abc import Iterator

from services.gateway.webhooks.endpoint import CONNECT_PATH, PLATFORM_PATH
from services.runtime.rpc import health
from tests.deploy.manifests import Manifests, called, dig
from tests.deploy.policy.rule import rule

HEALTH_PORT = 7400
METRICS_PORT = 7500
WEBHOOK_PORT = 7104
PROBES = {"startupProbe": health.STARTUP, "readinessProbe": health.READINESS, "livenessProbe": health.LIVENESS}
WEBHOOKS = {("Exact", path, "POST", "gateway-webhooks", WEBHOOK_PORT) for path in (PLATFORM_PATH, CONNECT_PATH)}
GRPC_PORTS = {"orchestrator": 7001, "pricing": 7002, "status": 7003, "gateway": 7004}
HTTP_PORTS = {"bff": 7080, "console": 7090}
OLD_WEBHOOK_PATH = "/api/payments/webhook"
"""Where Stripe posts to in systems that this one takes the place of."""
PAGES = {
    ("PathPrefix", "/", None, "bff", HTTP_PORTS["bff"]),
    ("Exact", OLD_WEBHOOK_PATH, "POST", "gateway-webhooks", WEBHOOK_PORT),
}
INTERNAL = {("PathPrefix", "/", None, "console", HTTP_PORTS["console"])}
PUBLIC_GATEWAY = "public"
Way = tuple[str | None, str | None, str | None, str, int]


@rule
def probes_ask_the_health_port(manifests: Manifests) -> Iterator[str]:
    for pod in manifests.servers:
        container = pod.spec["containers"][0]
        for probe, service in PROBES.items():
            asked = dig(container, probe, "grpc", default={})
            if asked != {"port": HEALTH_PORT, "service": service}:
                yield f"{pod.name} {probe} asks {asked}"
        listen = manifests.environment(container).get("BATZEN_HEALTH_LISTEN")
        if listen != f"0.0.0.0:{HEALTH_PORT}":
            yield f"{pod.name} answers probes at {listen}"


@rule
def listeners_are_declared(manifests: Manifests) -> Iterator[str]:
    """Each BATZEN_…LISTEN is for every address of the pod, and its port is declared under the name it goes by."""
    for pod in manifests.servers:
        container = pod.spec["containers"][0]
        environment = manifests.environment(container)
        listening = {
            "BATZEN_LISTEN": (HTTP_PORTS[pod.service], "http")
            if pod.service in HTTP_PORTS
            else (GRPC_PORTS[pod.service], "grpc"),
            "BATZEN_HEALTH_LISTEN": (HEALTH_PORT, "health"),
            "BATZEN_METRICS_LISTEN": (METRICS_PORT, "metrics"),
        }
        if pod.service == "gateway":
            listening["BATZEN_WEBHOOK_LISTEN"] = (WEBHOOK_PORT, "webhooks")
        for setting, (port, name) in listening.items():
            if environment.get(setting) != f"0.0.0.0:{port}":
                yield f"{pod.name} {setting} is {environment.get(setting)}"
            if pod.ports.get(port) != name:
                yield f"{pod.name} does not declare port {port} as {name}"
        for port in pod.ports:
            if port not in [number for number, _ in listening.values()]:
                yield f"{pod.name} declares port {port}, where nothing listens"


@rule
def services_dial_what_listens(manifests: Manifests) -> Iterator[str]:
    for service in manifests.of("Service"):
        pods = manifests.selected(dig(service, "spec", "selector", default={}))
        for port in dig(service, "spec", "ports", default=[]):
            target = port.get("targetPort", port.get("port"))
            if any(target not in pod.ports and target not in pod.ports.values() for pod in pods):
                yield f"{called(service)} ends at {target}, which is not declared"


@rule
def grpc_services_are_headless(manifests: Manifests) -> Iterator[str]:
    for name, port in GRPC_PORTS.items():
        service = manifests.find("Service", name)
        if service is None:
            yield f"there is no Service {name}"
            continue
        if dig(service, "spec", "clusterIP") != "None":
            yield f"{called(service)} has an address of its own: callers would stick to one pod"
        if [(one.get("port"), one.get("targetPort")) for one in dig(service, "spec", "ports", default=[])] != [
            (port, port)
        ]:
            yield f"{called(service)} has other ports than {port} on both sides"


@rule
def peers_are_dialled_by_name(manifests: Manifests) -> Iterator[str]:
    """dns:/// makes a client see every pod behind the name."""
    for pod in manifests.suite:
        for container in pod.containers:
            for setting, value in manifests.environment(container).items():
                if setting.startswith("BATZEN_") and setting.endswith("_ADDRESS"):
                    peer = setting.removeprefix("BATZEN_").removesuffix("_ADDRESS").lower()
                    if value != f"dns:///{peer}:{GRPC_PORTS.get(peer)}":
                        yield f"{pod.name} {setting} is {value}"


def ways(manifests: Manifests, *, public: bool) -> set[Way]:
    """Return what the routes of the public Gateway let in, or those of all others."""
    return {
        (dig(match, "path", "type"), dig(match, "path", "value"), match.get("method"), backend["name"], backend["port"])
        for route in manifests.of("HTTPRoute")
        if public == any(one.get("name") == PUBLIC_GATEWAY for one in dig(route, "spec", "parentRefs", default=[{}]))
        for part in dig(route, "spec", "rules", default=[])
        for match in part.get("matches", [{}])
        for backend in part.get("backendRefs", [])
    }


@rule
def nothing_is_public_but_webhooks_and_pages(manifests: Manifests) -> Iterator[str]:
    for service in manifests.of("Service"):
        if dig(service, "spec", "type", default="ClusterIP") != "ClusterIP" or dig(service, "spec", "externalIPs"):
            yield f"{called(service)} can be reached from outside"
    for other in manifests.of("Ingress", "GRPCRoute", "TCPRoute", "TLSRoute", "VirtualService"):
        yield f"{called(other)} opens another way in"
    wanted = WEBHOOKS | PAGES
    for way in ways(manifests, public=True) - wanted:
        yield f"public besides webhooks and pages: {way}"
    for way in ways(manifests, public=False) - INTERNAL:
        yield f"let in besides the console: {way}"
    if manifests.is_cluster:
        yield from (f"there is no way in: {way}" for way in wanted - ways(manifests, public=True))
        yield from (f"operators have no way in: {way}" for way in INTERNAL - ways(manifests, public=False))


@rule
def the_old_path_of_webhooks_leads_to_the_new_one(manifests: Manifests) -> Iterator[str]:
    for route in manifests.of("HTTPRoute"):
        for part in dig(route, "spec", "rules", default=[]):
            paths = [dig(match, "path", "value") for match in part.get("matches", [{}])]
            rewritten = dig(part, "filters", 0, "urlRewrite", "path", "replaceFullPath")
            if (OLD_WEBHOOK_PATH in paths) != (rewritten is not None):
                yield f"{called(route)} rewrites {paths} to {rewritten}"
            if rewritten not in (None, PLATFORM_PATH):
                yield f"{called(route)} leads webhooks to {rewritten}"


@rule
def streams_are_not_cut_by_a_route(manifests: Manifests) -> Iterator[str]:
    for route in manifests.of("HTTPRoute"):
        for part in dig(route, "spec", "rules", default=[]):
            to_front = any(backend.get("name") in HTTP_PORTS for backend in part.get("backendRefs", []))
            if to_front and dig(part, "timeouts", "request") != "0s":
                yield f"{called(route)} ends streams after {dig(part, 'timeouts', 'request')}"
