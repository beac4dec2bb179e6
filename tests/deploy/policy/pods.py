"""What a pod may do on its node, and how much of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal

from tests.deploy.manifests import PROCESSES, Manifests, Pod, called, dig
from tests.deploy.policy.rule import rule

UID = 10001
"""That of the image."""
QUANTITY = re.compile(r"(\d+(?:\.\d+)?)(m|k|Ki|M|Mi|G|Gi|T|Ti)?")
UNITS = {"m": "0.001", None: "1", "k": "1e3", "M": "1e6", "G": "1e9", "T": "1e12"}
BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4}
TMP_MAX = 64 * 1024**2
POD_FIELDS = {
    *("automountServiceAccountToken", "enableServiceLinks", "securityContext", "serviceAccountName", "volumes"),
    *("containers", "initContainers", "terminationGracePeriodSeconds", "topologySpreadConstraints", "restartPolicy"),
}
CONTAINER_FIELDS = {
    *("name", "image", "imagePullPolicy", "command", "args", "ports", "env", "envFrom", "resources", "volumeMounts"),
    *("startupProbe", "readinessProbe", "livenessProbe", "lifecycle", "securityContext"),
}
DEPLOYMENT_FIELDS = {"selector", "template", "strategy", "replicas", "revisionHistoryLimit", "progressDeadlineSeconds"}
SERVICE_FIELDS = {"clusterIP", "selector", "ports", "type"}
"""What we chose; whatever else there is was chosen by nobody."""
HOST = ("hostNetwork", "hostPID", "hostIPC", "hostUsers")


def quantity(text: object) -> Decimal:
    """Return the number that a quantity says; ValueError if it says none."""
    matched = QUANTITY.fullmatch(str(text))
    if not matched:
        raise ValueError(f"{text!r} is no quantity")
    number, unit = matched.groups()
    return Decimal(number) * (Decimal(1024) ** BINARY[unit] if unit in BINARY else Decimal(UNITS[unit]))


@rule
def pods_are_restricted(manifests: Manifests) -> Iterator[str]:
    for pod in manifests.pods:
        context = dig(pod.spec, "securityContext", default={})
        if context.get("runAsNonRoot") is not True:
            yield f"{pod.name} may run as root"
        if pod.service in PROCESSES:
            uids = {context.get("runAsUser"), context.get("runAsGroup"), context.get("fsGroup")}
            if uids != {UID}:
                yield f"{pod.name} runs as {uids}, not {UID}"
        elif not context.get("runAsUser"):
            yield f"{pod.name} says no user"
        if dig(context, "seccompProfile", "type") != "RuntimeDefault":
            yield f"{pod.name} may make any system call"
        yield from (f"{pod.name} has {one}" for one in HOST if pod.spec.get(one))
        if pod.spec.get("automountServiceAccountToken") is not False:
            yield f"{pod.name} has a token of the API server"
        if pod.spec.get("enableServiceLinks") is not False:
            yield f"{pod.name} gets other services' addresses as environment"
        for name, volume in pod.volumes.items():
            if "hostPath" in volume:
                yield f"{pod.name} mounts the host's {dig(volume, 'hostPath', 'path')} as {name}"


@rule
def containers_are_restricted(manifests: Manifests) -> Iterator[str]:
    for pod in manifests.pods:
        for container in pod.containers:
            name = f"{pod.name} {container.get('name')}"
            context = container.get("securityContext", {})
            if context.get("readOnlyRootFilesystem") is not True:
                yield f"{name} can write to its image"
            if context.get("allowPrivilegeEscalation") is not False:
                yield f"{name} can gain privileges"
            if dig(context, "capabilities", "drop") != ["ALL"] or dig(context, "capabilities", "add"):
                yield f"{name} has capabilities"
            yield from (f"{name} takes port {port['hostPort']} of the host" for port in _ports(container, "hostPort"))


def _ports(container: dict, key: str) -> list[dict]:
    return [port for port in dig(container, "ports", default=[]) if key in port]


@rule
def there_is_room_for_temporary_files(manifests: Manifests) -> Iterator[str]:
    for pod in manifests.pods:
        for container in pod.containers:
            mounts = {mount.get("mountPath"): mount for mount in dig(container, "volumeMounts", default=[])}
            volume = pod.volumes.get(dig(mounts, "/tmp", "name", default=""), {})
            if dig(volume, "emptyDir", "medium") != "Memory":
                yield f"{pod.name} has no /tmp in memory"
            elif not dig(volume, "emptyDir", "sizeLimit") or quantity(volume["emptyDir"]["sizeLimit"]) > TMP_MAX:
                yield f"{pod.name}: its /tmp may grow"


@rule
def resources_are_stated(manifests: Manifests) -> Iterator[str]:
    for pod in manifests.pods:
        for container in pod.containers:
            for what in ("cpu", "memory"):
                yield from _resource_faults(pod, container, what)


def _resource_faults(pod: Pod, container: dict, what: str) -> Iterator[str]:
    asked, limit = (dig(container, "resources", part, what) for part in ("requests", "limits"))
    name = f"{pod.name} {container.get('name')}"
    if asked is None or limit is None:
        yield f"{name} does not state its {what}"
        return
    try:
        if quantity(asked) > quantity(limit):
            yield f"{name} asks for more {what} than its limit"
        if quantity(limit) == 0 or quantity(asked) == 0:
            yield f"{name} asks for no {what}"
        if what == "memory" and quantity(limit) < 64 * 1024**2:
            yield f"{name}: {limit} of memory are less than a process takes at rest"
    except ValueError as error:
        yield f"{name}: {error}"


@rule
def labels_are_texts(manifests: Manifests) -> Iterator[str]:
    """YAML makes a boolean of an unquoted true, which the API server refuses."""
    for one in manifests.documents:
        for part in ("labels", "annotations"):
            for key, value in dig(one, "metadata", part, default={}).items():
                if not isinstance(value, str):
                    yield f"{one['kind']} has {part} {key}: {value!r}"
    for pod in manifests.pods:
        for container in pod.containers:
            for one in dig(container, "env", default=[]):
                if "value" in one and not isinstance(one["value"], str):
                    yield f"{pod.name} {one.get('name')} is {one['value']!r}, no text"


@rule
def nothing_changes_the_command(manifests: Manifests) -> Iterator[str]:
    """What runs is what is tested: each service's own module."""
    for pod in manifests.suite:
        container = next((one for one in pod.containers if one.get("name") in ("server", "task")), {})
        wanted = ["python", "-m", f"services.{pod.service}"]
        if container.get("command", [])[:3] != wanted or container.get("args"):
            yield f"{pod.name} runs {container.get('command')} {container.get('args')}"
        if pod.is_server and len(container.get("command", [])) != len(wanted):
            yield f"{pod.name} does not serve: {container.get('command')}"


@rule
def only_chosen_fields_are_set(manifests: Manifests) -> Iterator[str]:
    for pod in manifests.pods:
        yield from (f"{pod.name} sets {field}" for field in {*pod.spec} - POD_FIELDS)
        for container in pod.containers:
            yield from (f"{pod.name} {container.get('name')} sets {field}" for field in {*container} - CONTAINER_FIELDS)
            known = {"allowPrivilegeEscalation", "readOnlyRootFilesystem", "capabilities"}
            fields = {*container.get("securityContext", {})} - known
            yield from (f"{pod.name} {container.get('name')} sets securityContext {field}" for field in fields)
        if pod.kind == "Deployment":
            yield from (f"{pod.name} sets {field}" for field in {*pod.owner["spec"]} - DEPLOYMENT_FIELDS)
    for service in manifests.of("Service"):
        yield from (f"{called(service)} sets {field}" for field in {*service["spec"]} - SERVICE_FIELDS)
