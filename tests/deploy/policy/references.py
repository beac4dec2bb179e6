"""What names something: it has to be there."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from tests.deploy.manifests import COMPONENT, SERVER, Manifests, Pod, called, dig, name_of
from tests.deploy.policy.rule import rule

OF_DATABASES = {"matchLabels": {"cnpg.io/podRole": "instance"}}
"""Selects pods that the operator of the databases makes."""
CLUSTER_WIDE = ("Namespace",)
_PATH = re.compile(r'"(/[^"]+)"')
"""A file that a table in a setting names."""


@rule
def names_are_unique(manifests: Manifests) -> Iterator[str]:
    names = Counter((called(one), dig(one, "metadata", "namespace")) for one in manifests.documents)
    yield from (f"{name} is there {count} times" for (name, _), count in names.items() if count > 1)


@rule
def all_have_a_name(manifests: Manifests) -> Iterator[str]:
    yield from (f"a {one.get('kind')} has no name" for one in manifests.documents if not name_of(one))


@rule
def all_is_in_the_namespace(manifests: Manifests) -> Iterator[str]:
    for one in manifests.documents:
        if one["kind"] not in CLUSTER_WIDE and dig(one, "metadata", "namespace") != "batzen":
            yield f"{called(one)} is outside of the namespace"


@rule
def secrets_and_config_maps_are_there(manifests: Manifests) -> Iterator[str]:
    if manifests.overlay.startswith("bare"):  # secrets are the overlay's
        return
    for pod in manifests.pods:
        yield from (f"{pod.name} wants Secret {name}" for name in pod.secrets - {*manifests.secret_keys})
        for name in _config_maps(pod):
            if manifests.find("ConfigMap", name) is None:
                yield f"{pod.name} wants ConfigMap {name}"


@rule
def mounted_files_are_there(manifests: Manifests) -> Iterator[str]:
    """Each path that a setting or command names, also within a table, is a key of what is mounted there."""
    if manifests.overlay.startswith("bare"):
        return
    for pod in manifests.pods:
        for container in pod.containers:
            values = [*manifests.environment(container).values(), *dig(container, "command", default=[])]
            paths = [path for value in values for path in ([value] if value.startswith("/") else _PATH.findall(value))]
            for path in paths:
                if fault := _fault_of_path(manifests, pod, container, path):
                    yield f"{pod.name}: {path} {fault}"


def _fault_of_path(manifests: Manifests, pod: Pod, container: dict, path: str) -> str | None:
    mounts = {mount.get("mountPath", "").rstrip("/"): mount for mount in dig(container, "volumeMounts", default=[])}
    if path in mounts:
        return None
    folder, _, key = path.rpartition("/")
    if folder not in mounts:
        return "is not mounted"
    volume = pod.volumes.get(mounts[folder].get("name"), {})
    if "emptyDir" in volume:
        return None
    keys = _keys(manifests, volume)
    items = dig(volume, "secret", "items", default=dig(volume, "configMap", "items"))
    if items:
        lacking = {one["key"] for one in items} - (keys or {one["key"] for one in items})
        if lacking:
            return f"has no key {', '.join(lacking)}"
        keys = {one["path"] for one in items}
    return None if keys is None or key in keys else "is no key of what is mounted"


def _keys(manifests: Manifests, volume: dict) -> set[str] | None:
    if "configMap" in volume:
        return {*dig(manifests.find("ConfigMap", volume["configMap"].get("name")), "data", default={})}
    return manifests.secret_keys.get(dig(volume, "secret", "secretName", default=""), set())


@rule
def mounts_have_their_volume(manifests: Manifests) -> Iterator[str]:
    for pod in manifests.pods:
        used = {mount.get("name") for one in pod.containers for mount in dig(one, "volumeMounts", default=[])}
        yield from (f"{pod.name} mounts {name}, which is no volume" for name in used - {*pod.volumes})
        yield from (f"{pod.name} has the volume {name} and does not mount it" for name in {*pod.volumes} - used)


@rule
def service_accounts_are_there_and_their_own(manifests: Manifests) -> Iterator[str]:
    for pod in manifests.pods:
        account = dig(pod.spec, "serviceAccountName", default="default")
        if manifests.find("ServiceAccount", account) is None:
            yield f"{pod.name} runs as {account}, which is not there"
        elif account != pod.service:
            yield f"{pod.name} runs as another's account, {account}"


@rule
def scalers_have_their_target(manifests: Manifests) -> Iterator[str]:
    for scaler in manifests.of("HorizontalPodAutoscaler", "ScaledObject"):
        target = dig(scaler, "spec", "scaleTargetRef", default={})
        if manifests.find(target.get("kind", "Deployment"), target.get("name")) is None:
            yield f"{called(scaler)} scales nothing"
        elif target.get("name") != name_of(scaler):
            yield f"{called(scaler)} scales another"


@rule
def selectors_select_servers(manifests: Manifests) -> Iterator[str]:
    for one in manifests.of("Service", "PodMonitor", "PodDisruptionBudget"):
        selector = dig(one, "spec", "selector", default={})
        if selector == OF_DATABASES:
            continue
        labels = selector if one["kind"] == "Service" else selector.get("matchLabels", {})
        selected = manifests.selected(labels)
        if not selected:
            yield f"{called(one)} selects nothing"
        if any(pod.is_task for pod in selected):
            yield f"{called(one)} selects tasks"
        if len(selected) > 1:
            yield f"{called(one)} selects pods of several: {', '.join(pod.name for pod in selected)}"


@rule
def deployments_select_their_own_pods(manifests: Manifests) -> Iterator[str]:
    for pod in manifests.pods:
        if pod.kind == "Deployment":
            selector = dig(pod.owner, "spec", "selector", "matchLabels", default={})
            if manifests.selected(selector) != [pod]:
                yield f"{pod.name} does not select its own pods alone"
            if pod.is_server and pod.labels.get(COMPONENT) != SERVER:
                yield f"{pod.name} is not labelled as a server"


@rule
def routes_have_their_backend(manifests: Manifests) -> Iterator[str]:
    for route in manifests.of("HTTPRoute"):
        for number, part in enumerate(dig(route, "spec", "rules", default=[])):
            if not part.get("backendRefs"):
                yield f"{called(route)} rule {number} ends nowhere"
            for backend in part.get("backendRefs", []):
                service = manifests.find("Service", backend.get("name"))
                if backend.get("port") not in [port["port"] for port in dig(service, "spec", "ports", default=[])]:
                    yield f"{called(route)} rule {number} ends at no port of {backend.get('name')}"


@rule
def monitored_ports_are_there(manifests: Manifests) -> Iterator[str]:
    for monitor in manifests.of("PodMonitor"):
        if dig(monitor, "spec", "selector") == OF_DATABASES:
            continue
        pods = manifests.selected(dig(monitor, "spec", "selector", "matchLabels", default={}))
        for endpoint in dig(monitor, "spec", "podMetricsEndpoints", default=[]):
            labels = [one.get("targetLabel") for one in endpoint.get("relabelings", [])]
            if "service" not in labels or not dig(monitor, "spec", "jobLabel"):
                yield f"{called(monitor)} does not say whose its figures are"
            if any(endpoint.get("port") not in pod.ports.values() for pod in pods):
                yield f"{called(monitor)} reads the port {endpoint.get('port')}, which is not declared"
    monitored = [dig(one, "spec", "selector", "matchLabels") for one in manifests.of("PodMonitor")]
    for pod in manifests.servers if manifests.is_cluster else []:
        if not any(labels and labels.items() <= pod.labels.items() for labels in monitored):
            yield f"{pod.name} has no PodMonitor"


@rule
def certificates_have_their_issuer(manifests: Manifests) -> Iterator[str]:
    for certificate in manifests.of("Certificate"):
        issuer = dig(certificate, "spec", "issuerRef", "name")
        if manifests.find("Issuer", issuer) is None:
            yield f"{called(certificate)} is issued by {issuer}, which is not there"
    for issuer in manifests.of("Issuer"):
        authority = [o for o in manifests.of("Certificate") if dig(o, "spec", "secretName") == "batzen-ca"]
        if [(dig(o, "spec", "isCA"), "cert sign" in dig(o, "spec", "usages", default=[])) for o in authority] != [
            (True, True)
        ]:
            yield f"{called(issuer)} cannot certify"
        secret = dig(issuer, "spec", "ca", "secretName")
        if secret is not None and secret not in manifests.secret_keys:
            yield f"{called(issuer)} signs with {secret}, which is not there"


@rule
def databases_have_logins_and_backups(manifests: Manifests) -> Iterator[str]:
    for backup in manifests.of("ScheduledBackup"):
        if manifests.find("Cluster", dig(backup, "spec", "cluster", "name")) is None:
            yield f"{called(backup)} backs up nothing"
    for cluster in manifests.of("Cluster"):
        wanted = [dig(cluster, "spec", "bootstrap", "initdb", "secret", "name")]
        wanted += [dig(one, "passwordSecret", "name") for one in dig(cluster, "spec", "managed", "roles", default=[])]
        for name in wanted:
            login = next((o for o in manifests.of("ExternalSecret") if dig(o, "spec", "target", "name") == name), {})
            is_login = dig(login, "spec", "target", "template", "type") == "kubernetes.io/basic-auth"
            if not is_login or manifests.secret_keys.get(name) != {"username", "password"}:
                yield f"{called(cluster)} wants the login {name}"
        if not any(dig(one, "spec", "cluster", "name") == name_of(cluster) for one in manifests.of("ScheduledBackup")):
            yield f"{called(cluster)} is not backed up"
        stores = [dig(one, "parameters", "barmanObjectName") for one in dig(cluster, "spec", "plugins", default=[])]
        if [one.get("isWALArchiver") for one in dig(cluster, "spec", "plugins", default=[])] != [True]:
            yield f"{called(cluster)} archives nothing between backups"
        if not stores or any(manifests.find("ObjectStore", name) is None for name in stores):
            yield f"{called(cluster)} archives to no ObjectStore"
    for store in manifests.of("ObjectStore"):
        for part in dig(store, "spec", "configuration", "s3Credentials", default={}).values():
            if part["key"] not in (manifests.secret_keys.get(part["name"]) or ()):
                yield f"{called(store)} wants {part['key']} of Secret {part['name']}"


def _config_maps(pod: Pod) -> set[str]:
    found = {dig(volume, "configMap", "name") for volume in pod.volumes.values()}
    for container in pod.containers:
        found |= {dig(one, "configMapRef", "name") for one in dig(container, "envFrom", default=[])}
        found |= {dig(one, "valueFrom", "configMapKeyRef", "name") for one in dig(container, "env", default=[])}
    return found - {None}
