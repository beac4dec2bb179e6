"""What a release is: one image by its digest, a schema by its number, money in one overlay alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from services.gateway.settings import STRIPE_ENDPOINT_RATE, STRIPE_RATE_LIVE, STRIPE_RATE_TEST
from tests.deploy.manifests import PROCESSES, Manifests, called, dig, name_of
from tests.deploy.policy.availability import bounds
from tests.deploy.policy.rule import rule
from tests.deploy.rendering import ROOT, Document

DIGEST: Final = re.compile(r"[^\s@]+@sha256:[0-9a-f]{64}")
STAND_INS: Final = {"sandbox", "login"}
"""Containers of the local overlay: what stands in for Stripe, and for the platform's own issuer of operators."""
LOCAL: Final = {"localhost/batzen:local", "localhost/batzen-sandbox:local", "postgres:16"}


@rule
def images_are_pinned(manifests: Manifests) -> Iterator[str]:
    if manifests.overlay.startswith("bare"):  # the overlay says which
        return
    for pod in manifests.pods:
        for container in pod.containers:
            image = container.get("image", "")
            pinned = DIGEST.fullmatch(image) if manifests.is_cluster else image in LOCAL
            if not pinned:
                yield f"{pod.name} runs {image or 'no image'}"
            if container.get("imagePullPolicy") == "Never":
                yield f"{pod.name} never pulls {image}"
    ours = {one.get("image") for pod in manifests.suite for one in pod.containers if one.get("name") not in STAND_INS}
    if len(ours) != 1:
        yield f"the suite runs of {len(ours)} images: {ours}"


@rule
def nothing_of_a_laptop_is_in_a_cluster(manifests: Manifests) -> Iterator[str]:
    if not manifests.is_cluster:
        return
    for pod in manifests.pods:
        if pod.service not in PROCESSES:
            yield f"{pod.name} is none of the suite's"
        for container in pod.containers:
            environment = manifests.environment(container)
            if "sandbox" in container.get("image", "") or container.get("name") in STAND_INS:
                yield f"{pod.name} holds what stands in for others"
            for name in ("STRIPE_API_BASE", "BATZEN_REFLECTION", "BATZEN_CRASH_RECORD", "BATZEN_CRASH_FILE"):
                if name in environment:
                    yield f"{pod.name} is told {name}"


@rule
def money_moves_in_production_alone(manifests: Manifests) -> Iterator[str]:
    wanted = "production" if manifests.is_production else "development"
    for pod in manifests.servers:
        said = manifests.environment(pod.spec["containers"][0]).get("BATZEN_ENVIRONMENT")
        if said != wanted:
            yield f"{pod.name} is {said}, not {wanted}"


@rule
def replicas_share_the_rate_of_stripe(manifests: Manifests) -> Iterator[str]:
    pod = manifests.server("gateway")
    scaler = manifests.find("HorizontalPodAutoscaler", "gateway") or manifests.find("ScaledObject", "gateway")
    if pod is None or scaler is None:
        return
    environment = manifests.environment(pod.spec["containers"][0])
    _, most = bounds(scaler)
    account = STRIPE_RATE_LIVE if manifests.is_production else STRIPE_RATE_TEST
    for name, rate in (("BATZEN_STRIPE_RATE", account), ("BATZEN_STRIPE_ENDPOINT_RATE", STRIPE_ENDPOINT_RATE)):
        part = environment.get(name, str(rate))
        if not part.isdigit() or int(part) * most > rate:
            yield f"{most} gateways at {part} calls a second each ({name}) are not within {rate}"


@rule
def migrations_are_of_this_release(manifests: Manifests) -> Iterator[str]:
    for service in PROCESSES:
        newest = sorted((ROOT / "services" / service / "migrations").glob("*.sql"))[-1].name[:4]
        jobs = [pod for pod in manifests.pods if pod.kind == "Job" and pod.service == service]
        if [name_of(pod.owner) for pod in jobs] != [f"{service}-migrate-{newest}"]:
            yield f"{service}: the Job is {[name_of(pod.owner) for pod in jobs]}, the newest migration {newest}"
        for pod in jobs:
            if dig(pod.spec, "containers", 0, "command", default=[])[3:] != ["migrate"]:
                yield f"{pod.name} does other than expand"
            if not dig(pod.owner, "spec", "ttlSecondsAfterFinished"):
                yield f"{pod.name} stays, and the next release's cannot take its name"
            notes = dig(pod.owner, "metadata", "annotations", default={})
            hook = [notes.get(f"argocd.argoproj.io/{key}") for key in ("hook", "hook-delete-policy")]
            if hook != ["Sync", "BeforeHookCreation"]:
                yield f"{pod.name} is {hook}: another release could not replace it"


@rule
def what_a_migration_needs_comes_before_it(manifests: Manifests) -> Iterator[str]:
    """Waves of Argo CD: one begins when all of the one before is there and well."""
    for pod in manifests.pods:
        if pod.kind != "Job":
            continue
        needed = [manifests.find("Namespace", "batzen"), manifests.find("ServiceAccount", pod.service)]
        needed += [one for one in manifests.of("ExternalSecret") if dig(one, "spec", "target", "name") in pod.secrets]
        needed += [manifests.find("Cluster", f"{pod.service}-database")] if manifests.of("Cluster") else []
        for one in needed:
            if one is None or wave(one) >= wave(pod.owner):
                yield f"{pod.name} does not come after {one and called(one)}"
        for server in manifests.servers:
            if wave(server.owner) <= wave(pod.owner):
                yield f"{server.name} does not come after {pod.name}"
    for one in manifests.documents:
        if one["kind"] != "Namespace" and wave(one) <= wave(manifests.find("Namespace", "batzen") or {}):
            yield f"{called(one)} comes before its namespace"


def wave(document: Document) -> int:
    return int(dig(document, "metadata", "annotations", "argocd.argoproj.io/sync-wave", default=0))


@rule
def contractions_wait_for_the_operator(manifests: Manifests) -> Iterator[str]:
    for service in PROCESSES:
        job = manifests.find("CronJob", f"{service}-contract")
        if job is None:
            yield f"{service} has nothing to contract with"
        elif dig(job, "spec", "suspend") is not True:
            yield f"{called(job)} would contract by itself"
    for pod in manifests.pods:
        contracts = "--contract" in dig(pod.spec, "containers", 0, "command", default=[])
        if contracts != name_of(pod.owner).endswith("-contract"):
            yield f"{pod.name} contracts, or does not, against its name"


@rule
def books_are_compared_every_day(manifests: Manifests) -> Iterator[str]:
    job = manifests.find("CronJob", "gateway-reconcile")
    pod = ("spec", "jobTemplate", "spec", "template", "spec", "containers", 0)
    command = [] if job is None else dig(job, *pod, "command", default=[])
    if job is None or dig(job, "spec", "suspend") or "reconcile" not in command:
        yield "nothing is compared with Stripe"
    elif not re.fullmatch(r"[1-9]\d?", command[-1]):
        yield f"{called(job)} does not say how many days it compares"
    elif not re.fullmatch(r"\d+ \d+ \* \* \*", dig(job, "spec", "schedule", default="")):
        yield f"{called(job)} does not run every day"


@rule
def history_is_maintained(manifests: Manifests) -> Iterator[str]:
    job = manifests.find("CronJob", "status-maintain")
    if job is None or dig(job, "spec", "suspend") or "maintain" not in str(dig(job, "spec", "jobTemplate")):
        yield "the history of status is not maintained"
    elif not re.fullmatch(r"\d+ \d+ \* \* \*", dig(job, "spec", "schedule", default="")):
        yield f"{called(job)} does not run every day"


@rule
def tasks_end(manifests: Manifests) -> Iterator[str]:
    for pod in manifests.pods:
        if pod.is_task:
            spec = dig(pod.owner, "spec", "jobTemplate", "spec") or pod.owner["spec"]
            if not spec.get("activeDeadlineSeconds") or spec.get("backoffLimit") is None:
                yield f"{pod.name} has no limit"
            if pod.spec.get("restartPolicy") not in ("OnFailure", "Never"):
                yield f"{pod.name} is started again when it is done"
            if pod.kind == "CronJob" and pod.owner["spec"].get("concurrencyPolicy") != "Forbid":
                yield f"{pod.name} may run twice at once"


@rule
def objects_say_whose_they_are(manifests: Manifests) -> Iterator[str]:
    for pod in manifests.suite:
        for labels in (dig(pod.owner, "metadata", "labels", default={}), pod.labels):
            if labels.get("app.kubernetes.io/part-of") != "batzen":
                yield f"{pod.name} is not labelled as part of batzen"
            if labels.get("app.kubernetes.io/name") not in PROCESSES or not labels.get("app.kubernetes.io/component"):
                yield f"{pod.name} does not say which service it is, or which part of it"


@rule
def every_service_is_deployed(manifests: Manifests) -> Iterator[str]:
    names = [pod.service for pod in manifests.servers]
    if sorted(names) != sorted(PROCESSES):
        yield f"the servers are {names}"
    namespace = manifests.find("Namespace", "batzen")
    if dig(namespace, "metadata", "labels", "pod-security.kubernetes.io/enforce") != "restricted":
        yield "the namespace takes pods that are not restricted"
