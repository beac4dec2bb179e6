"""Who knows what: each service its own database by the role that serves, the gateway Stripe, tasks the owner."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from tests.deploy.manifests import FRONTS, Manifests, Pod, called, dig
from tests.deploy.policy.rule import rule

CALLERS = ("orchestrator", "gateway", *FRONTS)
BESIDE = {
    "gateway": {"stripe", "personal-data"},
    "orchestrator": {"mails", "webhooks"},
    "bff": {"bff-assertions"},
    "console": {"console-assertions", "console-login"},
}
"""What one service alone knows."""
LITERALS = re.compile(
    r"[sr]k_(?:live|test)_\w+|whsec_\w+|-----BEGIN|postgres(?:ql)?(?:\+\w+)?://[^:/\s]+:(?!\{\{)[^@\s]+@|password[\"']?\s*[:=]\s*[\"']?\w",
    re.IGNORECASE,
)
"""What a secret looks like that somebody wrote down."""


def allowed(pod: Pod) -> set[str]:
    """Return the Secrets that a pod may read."""
    service = pod.service
    if pod.is_task:
        return {f"{service}-database", f"{service}-database-owner", f"{service}-database-ca"}
    if not pod.is_server:
        return {"postgres"} if pod.name == "Deployment/postgres" else set()
    own = {f"{service}-database", f"{service}-database-ca", f"{service}-tls", "jwks"}
    own |= {f"{service}-tokens"} if service in CALLERS else set()
    own |= set() if service == "console" else {"front-jwks"}
    return own | BESIDE.get(service, set())


@rule
def pods_read_their_own_secrets_alone(manifests: Manifests) -> Iterator[str]:
    for pod in manifests.pods:
        yield from (f"{pod.name} reads {name}" for name in sorted(pod.secrets - allowed(pod)))


@rule
def secrets_are_files(manifests: Manifests) -> Iterator[str]:
    """An environment shows in crash reports and children, and no new value reaches it; neither does one by subPath."""
    for pod in manifests.pods:
        for container in pod.containers:
            for one in dig(container, "env", default=[]):
                if dig(one, "valueFrom", "secretKeyRef"):
                    yield f"{pod.name} has {one['name']} in its environment"
            if any("secretRef" in one for one in dig(container, "envFrom", default=[])):
                yield f"{pod.name} has a whole Secret in its environment"
            for mount in dig(container, "volumeMounts", default=[]):
                if "subPath" in mount or "subPathExpr" in mount:
                    yield f"{pod.name} mounts {mount.get('name')} by subPath: it would stay as it was at the start"
                if "secret" in pod.volumes.get(mount.get("name"), {}) and mount.get("readOnly") is not True:
                    yield f"{pod.name} may write to {mount.get('name')}"


@rule
def secret_volumes_are_needed_and_private(manifests: Manifests) -> Iterator[str]:
    for pod in manifests.pods:
        for name, volume in pod.volumes.items():
            if "secret" not in volume:
                continue
            if not dig(volume, "secret", "secretName"):
                yield f"{pod.name} mounts no Secret as {name}"
            if dig(volume, "secret", "optional") is not False:
                yield f"{pod.name} starts without the Secret of {name}"
            if dig(volume, "secret", "defaultMode", default=0o644) & 0o007:
                yield f"{pod.name} lets every user read {name}"


@rule
def nothing_secret_is_written_down(manifests: Manifests) -> Iterator[str]:
    for one in manifests.documents:
        if one["kind"] == "Secret":
            if manifests.overlay != "local":
                yield f"{called(one)} stands in the manifests"
            continue
        for found in LITERALS.findall(json.dumps(one)):
            yield f"{called(one)} holds what looks like a secret: {found[:12]}…"


@rule
def external_secrets_come_from_the_store(manifests: Manifests) -> Iterator[str]:
    for one in manifests.of("ExternalSecret"):
        if dig(one, "spec", "secretStoreRef") != {"kind": "ClusterSecretStore", "name": "batzen"}:
            yield f"{called(one)} comes from {dig(one, 'spec', 'secretStoreRef')}"
        keys = [dig(part, "remoteRef", "key", default="") for part in dig(one, "spec", "data", default=[])]
        keys += [dig(part, "extract", "key", default="") for part in dig(one, "spec", "dataFrom", default=[])]
        if not keys:
            yield f"{called(one)} brings nothing"
        name = dig(one, "spec", "target", "name", default="")
        service = name.split("-")[0]
        for key in keys:
            wanted = f"batzen/{service}"
            if key not in (wanted, f"batzen/{name}") and not key.startswith(f"{wanted}/"):
                yield f"{called(one)} brings {key}"


@rule
def roles_have_their_own_url(manifests: Manifests) -> Iterator[str]:
    """The URL a service gets is that of its own database, by its runtime role; the owner's is for tasks."""
    for one in manifests.of("ExternalSecret"):
        for key, value in dig(one, "spec", "target", "template", "data", default={}).items():
            if not key.endswith("-url"):
                continue
            role = key.removesuffix("-url")
            service = dig(one, "spec", "target", "name", default="").removesuffix("-owner").removesuffix("-database")
            user = f"postgresql+asyncpg://batzen_{service}_{role}:{{{{ .password | urlquery }}}}@"
            properties = [dig(part, "remoteRef", "property") for part in dig(one, "spec", "data", default=[])]
            if not value.startswith(user) or not value.endswith(f"@{service}-database-rw:5432/batzen_{service}"):
                yield f"{called(one)} {key} is {value}"
            if properties != [f"{role}-password"]:
                yield f"{called(one)} {key} has the password {properties}"


@rule
def databases_are_reached_by_tls(manifests: Manifests) -> Iterator[str]:
    for pod in manifests.suite if manifests.is_cluster else []:
        environment = manifests.environment(pod.spec["containers"][0])
        if environment.get("PGSSLMODE") != "verify-full" or "PGSSLROOTCERT" not in environment:
            yield f"{pod.name} takes any database for its own"
