"""Rendered manifests as what they describe: pods with the objects around them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from tests.deploy.rendering import Document

SERVICES: Final = ("orchestrator", "status", "pricing", "gateway")
FRONTS: Final = ("bff", "console")
PROCESSES: Final = (*SERVICES, *FRONTS)
NAME: Final = "app.kubernetes.io/name"
COMPONENT: Final = "app.kubernetes.io/component"
SERVER: Final = "server"
POD_PATHS: Final = {
    "Deployment": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "DaemonSet": ("spec", "template"),
    "ReplicaSet": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
    "Pod": (),
}


def dig(value: Any, *path: str | int, default: Any = None) -> Any:
    """Return what is at the end of a path of keys and indices, or `default` where it breaks off."""
    for key in path:
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            return default
    return default if value is None else value


@dataclass(frozen=True, slots=True)
class Pod:
    """A template of pods, and whose it is."""

    owner: Document
    template: Document

    @property
    def kind(self) -> str:
        return str(self.owner["kind"])

    @property
    def name(self) -> str:
        return f"{self.kind}/{dig(self.owner, 'metadata', 'name')}"

    @property
    def labels(self) -> Mapping[str, str]:
        return dig(self.template, "metadata", "labels", default={})

    @property
    def spec(self) -> Document:
        return dig(self.template, "spec", default={})

    @property
    def service(self) -> str:
        """The service it belongs to, by its label."""
        return self.labels.get(NAME, "")

    @property
    def is_server(self) -> bool:
        return self.kind == "Deployment" and self.service in PROCESSES

    @property
    def is_task(self) -> bool:
        """A migration or maintenance."""
        return self.kind in ("Job", "CronJob")

    @property
    def containers(self) -> list[Document]:
        return [*dig(self.spec, "initContainers", default=[]), *dig(self.spec, "containers", default=[])]

    @property
    def volumes(self) -> dict[str, Document]:
        return {volume.get("name", ""): volume for volume in dig(self.spec, "volumes", default=[])}

    @property
    def ports(self) -> dict[int, str]:
        """Declared container ports and their names."""
        return {
            port.get("containerPort", 0): port.get("name", "")
            for container in self.containers
            for port in dig(container, "ports", default=[])
        }

    @property
    def secrets(self) -> set[str]:
        """The Secrets it can read, in whatever way."""
        found = set()
        for volume in self.volumes.values():
            found.add(dig(volume, "secret", "secretName"))
            found |= {dig(source, "secret", "name") for source in dig(volume, "projected", "sources", default=[])}
        for container in self.containers:
            found |= {dig(one, "secretRef", "name") for one in dig(container, "envFrom", default=[])}
            found |= {dig(one, "valueFrom", "secretKeyRef", "name") for one in dig(container, "env", default=[])}
        return found - {None}


class Manifests:
    """The documents of one overlay."""

    def __init__(self, overlay: str, documents: list[Document]) -> None:
        self.overlay = overlay
        self.documents = documents

    @property
    def is_cluster(self) -> bool:
        """For a cluster, with everything that belongs to it; the local overlay and bare variants are not."""
        return self.overlay.startswith(("staging", "prod"))

    @property
    def is_production(self) -> bool:
        return self.overlay.startswith("prod")

    def of(self, *kinds: str) -> list[Document]:
        return [document for document in self.documents if document.get("kind") in kinds]

    def find(self, kind: str, name: str | None) -> Document | None:
        return next((document for document in self.of(kind) if name_of(document) == name), None)

    @cached_property
    def pods(self) -> list[Pod]:
        return [
            Pod(document, dig(document, *POD_PATHS[document["kind"]], default={}))
            for document in self.documents
            if document.get("kind") in POD_PATHS
        ]

    @property
    def servers(self) -> list[Pod]:
        return [pod for pod in self.pods if pod.is_server]

    @property
    def suite(self) -> list[Pod]:
        """The pods that run our services' image."""
        return [pod for pod in self.pods if pod.service in PROCESSES]

    def server(self, service: str) -> Pod | None:
        return next((pod for pod in self.servers if pod.service == service), None)

    def selected(self, selector: Mapping[str, str]) -> list[Pod]:
        """Return the pods that have all labels of a selector."""
        return [pod for pod in self.pods if selector.items() <= pod.labels.items()] if selector else []

    def environment(self, container: Document) -> dict[str, str]:
        """Return the settings of a container that stand in the manifests, ConfigMaps included."""
        found: dict[str, str] = {}
        for source in dig(container, "envFrom", default=[]):
            config = self.find("ConfigMap", dig(source, "configMapRef", "name"))
            found |= dig(config, "data", default={})
        found |= {one["name"]: one["value"] for one in dig(container, "env", default=[]) if "value" in one}
        return {name: str(value) for name, value in found.items()}

    @cached_property
    def secret_keys(self) -> dict[str, set[str] | None]:
        """Secrets that will exist and their keys; None where what fills them names the keys."""
        return dict(self._secret_keys())

    def _secret_keys(self) -> Iterator[tuple[str, set[str] | None]]:
        for secret in self.of("Secret"):
            yield name_of(secret), {*dig(secret, "data", default={}), *dig(secret, "stringData", default={})}
        for certificate in self.of("Certificate"):
            yield dig(certificate, "spec", "secretName", default=""), {"tls.crt", "tls.key", "ca.crt"}
        for cluster in self.of("Cluster"):
            yield f"{name_of(cluster)}-ca", {"ca.crt", "ca.key"}
        for external in self.of("ExternalSecret"):
            target = dig(external, "spec", "target", "name", default=name_of(external))
            template = dig(external, "spec", "target", "template", "data", default={})
            if dig(external, "spec", "dataFrom"):
                yield target, None
            else:
                yield target, {*template} or {one["secretKey"] for one in dig(external, "spec", "data", default=[])}


def name_of(document: Document) -> str:
    return str(dig(document, "metadata", "name", default=""))


def called(document: Document) -> str:
    return f"{document.get('kind')}/{name_of(document)}"
