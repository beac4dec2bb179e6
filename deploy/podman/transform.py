"""What podman can run of the rendered local overlay, and what is left out of it.

| of Kubernetes | here |
| --- | --- |
| Deployment | one Pod of its name, which is also its DNS name on the pods' network |
| Job | one Pod that is run to its end before the services start |
| ConfigMap | as it is, given to the pods that name it and to no other |
| Secret | a ConfigMap of its own: podman 4.3 reads Secrets otherwise than Kubernetes; their wiring is not tested here |
| probes, preStop | left out: whoever runs the pods asks the health port |
| ports | on 127.0.0.1 of this machine, those that are asked for; podman would open all, to everybody |
| Service, HPA, PDB, NetworkPolicy, CronJob, Namespace, ServiceAccount, spread | left out: there is no cluster |

Users, read-only roots, capabilities, limits, commands, environments and mounts stay as the manifests say.
"""

from __future__ import annotations

import base64
import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

LEFT_OUT: Final = frozenset({
    "Namespace", "ServiceAccount", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget", "NetworkPolicy",
    "CronJob",
})  # fmt: skip
POD_FIELDS_LEFT_OUT: Final = (
    "topologySpreadConstraints",
    "serviceAccountName",
    "automountServiceAccountToken",
    "enableServiceLinks",
)
CONTAINER_FIELDS_LEFT_OUT: Final = ("startupProbe", "readinessProbe", "livenessProbe", "lifecycle", "ports")
SECRET_PREFIX: Final = "secret-"  # noqa: S105 of a ConfigMap's name
HOST: Final = "127.0.0.1"
ON_LOOPBACK: Final[Mapping[str, str]] = {
    "sandbox": f"{HOST}:7200",
    "login": f"{HOST}:7091",
    "bff": f"{HOST}:7080",
    "console": f"{HOST}:7090",
}
"""What the overlay says is on this machine's loopback, by the names of `local.ports`: what stands in for others listens
there inside of a pod, and browsers find it and the fronts there."""

Document = dict[str, Any]


class NotForPodman(Exception):
    """The overlay holds something of which nobody has said what becomes of it here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """One pod, with what it is given."""

    name: str
    document: Document
    config_maps: tuple[Document, ...]
    grace_s: int
    """How long the manifests let it come to its end, without the preStop that is left out."""

    @property
    def documents(self) -> list[Document]:
        """What podman is handed, in order."""
        return [*self.config_maps, self.document]

    @property
    def containers(self) -> list[str]:
        """The names that podman gives the containers."""
        return [f"{self.name}-{container['name']}" for container in self.document["spec"]["containers"]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The local overlay, as podman runs it."""

    servers: tuple[Pod, ...]
    jobs: tuple[Pod, ...]

    def server(self, name: str) -> Pod:
        """Return a server by its Deployment's name."""
        [found] = [pod for pod in self.servers if pod.name == name]
        return found


def plan(documents: Iterable[Document], *, ports: Mapping[str, int], images: Mapping[str, str]) -> Plan:
    """Return what to run. `ports` of this machine have the names of `local.ports`, `images` those of the
    overlay without a tag.

    Raises `NotForPodman` for a kind that is not in the table above.
    """
    config_maps: dict[str, Document] = {}
    servers, jobs = [], []
    for document in documents:
        kind, name = document["kind"], document["metadata"]["name"]
        match kind:
            case "ConfigMap":
                config_maps[name] = _config_map(name, document["data"])
            case "Secret":
                decoded = {key: base64.b64decode(value).decode() for key, value in document["data"].items()}
                config_maps[SECRET_PREFIX + name] = _config_map(SECRET_PREFIX + name, decoded)
            case "Deployment":
                servers.append((name, document["spec"]["template"]["spec"], "Always"))
            case "Job":
                jobs.append((name, document["spec"]["template"]["spec"], "Never"))
            case _ if kind not in LEFT_OUT:
                raise NotForPodman(f"{kind} {name}: say in {__name__} what becomes of it.")

    def pod(name: str, spec: Document, restart: str) -> Pod:
        return _pod(name, spec, restart=restart, config_maps=config_maps, ports=ports, images=images)

    return Plan(servers=tuple(pod(*entry) for entry in servers), jobs=tuple(pod(*entry) for entry in jobs))


def _pod(
    name: str,
    spec: Document,
    *,
    restart: str,
    config_maps: Mapping[str, Document],
    ports: Mapping[str, int],
    images: Mapping[str, str],
) -> Pod:
    spec = copy.deepcopy(spec)
    for field in POD_FIELDS_LEFT_OUT:
        spec.pop(field, None)
    pre_stop_s = 0
    for container in spec["containers"]:
        pre_stop_s = max(
            pre_stop_s, container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        )
        published = _published(name, container.get("ports", []), ports)
        for field in CONTAINER_FIELDS_LEFT_OUT:
            container.pop(field, None)
        if published:
            container["ports"] = published
        container["image"] = images.get(container["image"].partition(":")[0], container["image"])
        for setting in container.get("env", []):
            if "value" in setting:
                setting["value"] = _with_ports(setting["value"], ports)
        if "command" in container:
            container["command"] = [_with_ports(word, ports) for word in container["command"]]
    for volume in spec.get("volumes", []):
        if "secret" in volume:
            volume["configMap"] = {"name": SECRET_PREFIX + volume.pop("secret")["secretName"]}
    spec["restartPolicy"] = restart
    needed = _config_maps_of(spec)
    document = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": spec}
    grace_s = spec.get("terminationGracePeriodSeconds", 30) - pre_stop_s
    return Pod(name=name, document=document, config_maps=tuple(config_maps[key] for key in needed), grace_s=grace_s)


def _with_ports(said: str, ports: Mapping[str, int]) -> str:
    """Return a setting with the ports of this run in place of those that the overlay names."""
    for name, address in ON_LOOPBACK.items():
        if name in ports:
            said = said.replace(address, f"{HOST}:{ports[name]}")
    return said


def _published(name: str, declared: Iterable[Document], ports: Mapping[str, int]) -> list[Document]:
    """Return the ports that this machine answers on; in `local.ports` their names begin with the pod's."""
    found = []
    for port in declared:
        here = ports.get({"grpc": name, "http": name}.get(port["name"], f"{name}-{port['name']}")) or ports.get(
            port["name"]
        )
        if here is not None:
            found.append({"containerPort": port["containerPort"], "hostPort": here, "hostIP": HOST})
    return found


def _config_maps_of(spec: Document) -> list[str]:
    volumes = [volume["configMap"]["name"] for volume in spec.get("volumes", []) if "configMap" in volume]
    settings = [
        source["configMapRef"]["name"]
        for container in spec["containers"]
        for source in container.get("envFrom", [])
        if "configMapRef" in source
    ]
    return sorted({*volumes, *settings})


def _config_map(name: str, data: Mapping[str, str]) -> Document:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": dict(data)}
