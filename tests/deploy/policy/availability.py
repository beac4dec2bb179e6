"""A payment goes on while pods come and go."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from services.gateway.webhooks.port import STOP_GRACE_S
from services.orchestrator.request_runner import DRAIN_S
from services.runtime.process.logs import CLOSE_S
from services.runtime.process.service import SCHEMA_WAIT_S
from services.runtime.rpc.health_port import LAST_WORDS_S as HEALTH_S
from services.runtime.rpc.limits import LAST_WORDS_S, Limits
from services.runtime.work.engine import GRACE_S
from services.web.serving import KEEP_ALIVE_S
from services.web.serving import STOP_GRACE_S as FRONT_GRACE_S
from services.web.settings import PARTING_S
from tests.deploy.manifests import FRONTS, Manifests, Pod, called, dig, name_of
from tests.deploy.policy.rule import rule
from tests.metrics import metrics_of

SPARE_S = 5.0
PRE_STOP_MIN_S = 5
"""The endpoints of a Service, then names, then clients have to hear of it."""
START_S = 10.0
"""What a start takes beside its waiting; measured: 2 s."""
CHECK_ORDER_S = {"status": SCHEMA_WAIT_S}
"""Status also waits for the order of its history."""
REPLICAS_MIN = 2
CONNECTIONS = 40
"""Of a process at most, as docs/database.md has it."""
DOMAIN_FIGURES = {
    "orchestrator": "batzen_transition_outbox_oldest_seconds",
    "status": "batzen_watches_open",
    "pricing": "batzen_rpc_in_flight",
    "gateway": "batzen_webhook_inbox_pending",
    "bff": "batzen_browser_streams_open",
    "console": "batzen_browser_streams_open",
}
_CALLS_S = Limits().stop_grace_s + 2 * LAST_WORDS_S + CLOSE_S
DRAIN = {
    "pricing": _CALLS_S,
    "status": _CALLS_S,
    # Due work gets a moment, then requests, then readings.
    "orchestrator": _CALLS_S + 3 * DRAIN_S,
    "gateway": _CALLS_S + STOP_GRACE_S + GRACE_S,
    # The health port, then answers on their way. Before those streams end themselves, and connections part.
    "bff": HEALTH_S + FRONT_GRACE_S + CLOSE_S,
    "console": HEALTH_S + FRONT_GRACE_S + CLOSE_S,
}
"""The longest that a process takes from SIGTERM to its end, without what a front waits for silent connections."""
PARTING: Final = "BATZEN_PARTING_S"


@rule
def grace_is_long_enough(manifests: Manifests) -> Iterator[str]:
    for pod in manifests.servers:
        pre_stop = dig(pod.spec, "containers", 0, "lifecycle", "preStop", "sleep", "seconds", default=0)
        if pre_stop < PRE_STOP_MIN_S:
            yield f"{pod.name} goes {pre_stop} s after it is told to, before callers know"
        grace = dig(pod.spec, "terminationGracePeriodSeconds", default=30)
        needed = pre_stop + parting(manifests, pod) + DRAIN[pod.service] + SPARE_S
        if grace < needed:
            yield f"{pod.name} is killed after {grace} s and may need {needed:.1f}"


@rule
def no_silent_connection_is_closed_by_a_restart(manifests: Manifests) -> Iterator[str]:
    for pod in manifests.servers:
        if pod.service in FRONTS and parting(manifests, pod) <= KEEP_ALIVE_S:
            yield f"{pod.name} closes connections as it ends on which a request may be on its way"


def parting(manifests: Manifests, pod: Pod) -> float:
    """Return how long a pod waits for connections that are silent."""
    said = manifests.environment(pod.spec["containers"][0]).get(PARTING, str(PARTING_S))
    return float(said) if pod.service in FRONTS else 0.0


@rule
def starts_may_wait_for_the_schema(manifests: Manifests) -> Iterator[str]:
    for pod in manifests.servers:
        probe = dig(pod.spec, "containers", 0, "startupProbe", default={})
        window = probe.get("periodSeconds", 10) * probe.get("failureThreshold", 3)
        needed = SCHEMA_WAIT_S + CHECK_ORDER_S.get(pod.service, 0) + START_S
        if window < needed:
            yield f"{pod.name} is killed after {window} s of starting and may need {needed:.0f}"


@rule
def liveness_is_patient(manifests: Manifests) -> Iterator[str]:
    for pod in manifests.servers:
        probe = dig(pod.spec, "containers", 0, "livenessProbe", default={})
        if probe.get("periodSeconds", 10) * probe.get("failureThreshold", 3) < 20:
            yield f"{pod.name} is killed for a pause of seconds"


@rule
def readiness_is_noticed_soon(manifests: Manifests) -> Iterator[str]:
    """A pod that drains, or has no database, is to get no calls within seconds."""
    for pod in manifests.servers:
        probe = dig(pod.spec, "containers", 0, "readinessProbe", default={})
        if probe.get("periodSeconds", 10) * probe.get("failureThreshold", 3) > 5:
            yield f"{pod.name} gets calls for long after it said that it is not ready"


@rule
def rollouts_add_before_they_take(manifests: Manifests) -> Iterator[str]:
    for pod in manifests.servers:
        strategy = dig(pod.owner, "spec", "strategy", default={})
        if strategy.get("type") != "RollingUpdate" or strategy.get("rollingUpdate") != {
            "maxUnavailable": 0,
            "maxSurge": 1,
        }:
            yield f"{pod.name} rolls by {strategy}"


@rule
def replicas_stand_apart(manifests: Manifests) -> Iterator[str]:
    wanted = {("kubernetes.io/hostname", "DoNotSchedule"), ("topology.kubernetes.io/zone", "ScheduleAnyway")}
    for pod in manifests.servers:
        spread = dig(pod.spec, "topologySpreadConstraints", default=[])
        if {(one.get("topologyKey"), one.get("whenUnsatisfiable")) for one in spread} != wanted:
            yield f"{pod.name} is not spread over hosts (hard) and zones (soft)"
        for one in spread:
            labels = dig(one, "labelSelector", "matchLabels", default={})
            keys = set(one.get("matchLabelKeys", []))
            own = labels.get("app.kubernetes.io/name") == pod.service or "app.kubernetes.io/name" in keys
            if one.get("maxSkew") != 1 or not own or not labels or not labels.items() <= pod.labels.items():
                yield f"{pod.name} is not spread by its own pods"
            if one.get("nodeTaintsPolicy") != "Honor":
                yield f"{pod.name}: a tainted host counts as an empty one, and no third replica finds a place"
            if "pod-template-hash" not in keys:
                yield f"{pod.name}: the pods of a rollout are counted with those they replace"


@rule
def disruptions_take_one(manifests: Manifests) -> Iterator[str]:
    if manifests.overlay == "local":
        return
    for pod in manifests.servers:
        budgets = [
            one
            for one in manifests.of("PodDisruptionBudget")
            if dig(one, "spec", "selector", "matchLabels", default={}).items() <= pod.labels.items()
        ]
        if len(budgets) != 1:
            yield f"{pod.name} has {len(budgets)} budgets of disruption"
    for one in manifests.of("PodDisruptionBudget"):
        spec = one["spec"]
        if (spec.get("maxUnavailable"), spec.get("minAvailable")) != (1, None):
            yield f"{called(one)} lets go of other than one at a time"
        if spec.get("unhealthyPodEvictionPolicy") != "AlwaysAllow":
            yield f"{called(one)} keeps a node for a pod that is not ready"


@rule
def replicas_follow_the_load(manifests: Manifests) -> Iterator[str]:
    if manifests.overlay == "local":
        return
    for pod in manifests.servers:
        scalers = [
            one
            for one in manifests.of("HorizontalPodAutoscaler", "ScaledObject")
            if dig(one, "spec", "scaleTargetRef", "name") == pod.service
        ]
        if len(scalers) != 1:
            yield f"{pod.name} is scaled by {len(scalers)} objects"
        if dig(pod.owner, "spec", "replicas") is not None:
            yield f"{pod.name} states replicas: an apply would undo what the autoscaler chose"
        for one in scalers:
            yield from _scaler_faults(one, pod.service)


def bounds(scaler: dict) -> tuple[int, int]:
    """Return how many replicas there are at least and at most."""
    spec = scaler["spec"]
    if scaler["kind"] == "ScaledObject":
        return spec.get("minReplicaCount", 0), spec.get("maxReplicaCount", 100)
    return spec.get("minReplicas", 1), spec.get("maxReplicas", 0)


def _scaler_faults(one: dict, service: str) -> Iterator[str]:
    spec = one["spec"]
    least, most = bounds(one)
    if least < REPLICAS_MIN or most <= least:
        yield f"{called(one)} scales from {least} to {most}"
    if one["kind"] == "ScaledObject":
        behavior = dig(spec, "advanced", "horizontalPodAutoscalerConfig", "behavior", default={})
        figures = [trigger["type"] for trigger in spec.get("triggers", [])]
        texts = [dig(trigger, "metadata", "query", default="") for trigger in spec.get("triggers", [])]
        if dig(spec, "fallback", "replicas", default=0) < REPLICAS_MIN:
            yield f"{called(one)} falls back to fewer than {REPLICAS_MIN}"
    else:
        behavior = dig(spec, "behavior", default={})
        figures = [dig(metric, "resource", "name", default="") for metric in spec.get("metrics", [])]
        texts = [dig(metric, "pods", "metric", "name", default="") for metric in spec.get("metrics", [])]
        targets = [
            dig(metric, "resource", "target", "averageUtilization") or dig(metric, "pods", "target", "averageValue")
            for metric in spec.get("metrics", [])
        ]
        if None in targets or not 50 <= int(dig(spec, "metrics", 0, "resource", "target", "averageUtilization")) <= 80:
            yield f"{called(one)} has no target for a figure: {targets}"
    if "cpu" not in figures:
        yield f"{called(one)} does not look at the CPU"
    if not any(DOMAIN_FIGURES[service] in text for text in texts):
        yield f"{called(one)} does not look at {DOMAIN_FIGURES[service]}"
    down = dig(behavior, "scaleDown", default={})
    if down.get("stabilizationWindowSeconds", 0) < 300 or [
        (policy.get("value"), policy.get("periodSeconds")) for policy in down.get("policies", [])
    ] != [(1, 60)]:
        yield f"{called(one)} takes pods, and their streams, faster than one a minute"


@rule
def figures_of_scaling_are_there(_: Manifests) -> Iterator[str]:
    for service, figure in DOMAIN_FIGURES.items():
        if figure not in {metric.name for metric in metrics_of(service)}:
            yield f"{service} has no figure {figure}"


@rule
def databases_survive_a_node(manifests: Manifests) -> Iterator[str]:
    clusters = {name_of(one): one for one in manifests.of("Cluster")}
    for pod in manifests.servers if manifests.is_cluster else []:
        if f"{pod.service}-database" not in clusters:
            yield f"{pod.name} has no database of its own"
    for one in clusters.values():
        spec = one["spec"]
        if spec.get("instances", 1) < 3:
            yield f"{called(one)} has {spec.get('instances', 1)} instances"
        if dig(spec, "postgresql", "synchronous") != {
            "method": "any",
            "number": 1,
            "dataDurability": "required",
            "failoverQuorum": True,
        }:
            yield f"{called(one)} may acknowledge what a failover loses"
        service = name_of(one).removesuffix("-database")
        scaler = manifests.find("HorizontalPodAutoscaler", service) or manifests.find("ScaledObject", service)
        needed = CONNECTIONS * (bounds(scaler)[1] + 1) + CONNECTIONS if scaler else 0
        if int(dig(spec, "postgresql", "parameters", "max_connections", default=100)) < needed:
            yield f"{called(one)} takes fewer than {needed} connections"
        role = f"batzen_{service}_runtime"
        statements = dig(spec, "bootstrap", "initdb", "postInitApplicationSQL", default=[])
        if statements != [
            f"CREATE ROLE {role} NOLOGIN",
            f"REVOKE ALL ON DATABASE batzen_{service} FROM PUBLIC",
            f"GRANT CONNECT ON DATABASE batzen_{service} TO {role}",
        ] or [user.get("name") for user in dig(spec, "managed", "roles", default=[])] != [role]:
            yield f"{called(one)} lets in others than its two roles"
        for what in ("cpu", "memory"):
            if dig(spec, "resources", "requests", what) is None or dig(spec, "resources", "limits", what) is None:
                yield f"{called(one)} does not state its {what}"
        if dig(spec, "postgresql", "parameters", "synchronous_commit") != "on":
            yield f"{called(one)} acknowledges before it is on disk"
        if dig(spec, "affinity", "podAntiAffinityType") != "required":
            yield f"{called(one)} may have all instances on one host"
