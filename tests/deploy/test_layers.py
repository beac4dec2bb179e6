"""All layers over all overlays, and over every planted fault: what one does not see, another does."""

from __future__ import annotations

import copy
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy import rendering, validators
from tests.deploy.crd_schemas import SCHEMAS
from tests.deploy.manifests import FRONTS, SERVICES, Manifests, called
from tests.deploy.mutations import BLIND, MUTATIONS, Planted, drop
from tests.deploy.policy import findings
from tests.deploy.rendering import CLUSTER, KUBERNETES, OVERLAYS, VARIANTS, Document, parse, render_text
from tests.deploy.validators import VERSIONS, checked, validate

pytestmark = [
    pytest.mark.deploy,
    pytest.mark.skipif(rendering.kubectl() is None, reason=rendering.MISSING),
    pytest.mark.skipif(not validators.are_here(), reason=validators.MISSING),
]
FORM = "operators_objects_have_their_form"
"""The rule that holds other projects' objects to our schemas of them."""
LOCAL_ONLY = {
    "CKV_K8S_8": "the stand-in has no health to ask for",
    "CKV_K8S_9": "likewise",
    "CKV_K8S_15": "images that were built here are in no registry to be pulled from",
    "CKV_K8S_40": "PostgreSQL's image has its own low uid",
    "CKV2_K8S_6": "the policies are about a cluster: one machine has neither its databases nor its callers",
    "CKV_K8S_43": "what was built a moment ago has a tag",
}
"""Checks that the overlay of one machine does not pass, and why."""

EQUIVALENT = {
    r".* metadata\.labels\.app\.kubernetes\.io/.*": "for people; what selects is on pods",
    r"CronJob/.* spec\.jobTemplate\.metadata\.labels\..*": "likewise",
    r"Namespace/.* metadata\.labels\.pod-security\.kubernetes\.io/(audit|warn)": "says it twice more",
    r"ServiceAccount/.* (automountServiceAccountToken|metadata\.annotations.*)": "each pod says it, too; a wave",
    r".*\.protocol": "TCP where nothing is said",
    r".*\.imagePullPolicy": "IfNotPresent where there is a digest",
    r"Service/.* spec\.ports\.0\.(name|appProtocol|targetPort)": "one port, under its own number; a hint to meshes",
    r"Deployment/.* spec\.(progressDeadlineSeconds|revisionHistoryLimit)": "the default will do",
    r"Deployment/.*Probe\.(timeoutSeconds|periodSeconds|failureThreshold)": "the default is within what is demanded",
    r"CronJob/.* spec\.(\w+JobsHistoryLimit|startingDeadlineSeconds|timeZone)": "the default will do",
    r"CronJob/.*-contract spec\.schedule": "never used; its absence is against the schema",
    r"HorizontalPodAutoscaler/.* (.*\.type|spec\.scaleTargetRef\.(apiVersion|kind))": "against the schema",
    r"HorizontalPodAutoscaler/.* spec\.behavior\.scaleUp\..*": "how fast it grows is a matter of taste",
    r"ObjectStore/.*\.compression": "larger backups",
    r"Certificate/.* spec\.(commonName|usages\.\d|dnsNames\.[123])": "of no effect on what is checked; longer names",
    r"ExternalSecret/.* spec\.refreshInterval": "an hour where nothing is said",
    r"HTTPRoute/.* spec\.rules\.\d\.backendRefs\.0\.group": "the core group where nothing is said",
    r"PodMonitor/databases .*": "the operator's figures, beside ours",
    r"PodMonitor/.* spec\.(sampleLimit|podMetricsEndpoints\.0\.scrapeTimeout)": "a guard of Prometheus",
    r"NetworkPolicy/(callers|callers-out|metrics|traces|webhooks) .*matchLabels\.app\..*": "only servers have the port",
    r"NetworkPolicy/(health|pages) .*matchLabels\.app\..*": "likewise",
    r"NetworkPolicy/(default-deny|names|databases) spec\.(podSelector|policyTypes\.1)": "all pods; another says it",
    r"ConfigMap/dashboards-.*": "pictures, which have tests of their own",
    r"Cluster/.* spec\.(primaryUpdate\w+|switchoverDelay)": "how long an update of PostgreSQL takes",
    r"ScheduledBackup/.* spec\.(immediate|backupOwnerReference)": "the first backup a night later",
}
"""Where an object means the same, or nearly, without a field, and why."""


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("manifests")


@pytest.fixture(scope="module")
def files(scratch: Path) -> dict[str, Path]:
    """What is rendered, one file in a folder of its own for each overlay and variant."""
    written = {}
    for name in (*OVERLAYS, *VARIANTS):
        folder = scratch / "rendered" / name.replace(" ", "-")
        folder.mkdir(parents=True)
        written[name] = folder / f"{name.replace(' ', '-')}.yaml"
        written[name].write_text(render_text(name, scratch))
    return written


@pytest.mark.parametrize("version", VERSIONS)
def test_what_renders_has_the_form_of_kubernetes(files: dict[str, Path], version: str) -> None:
    said = validate(files.values(), version=version)

    assert dict(said.faults) == {}
    assert set().union(*said.unknown.values()) <= SCHEMAS.keys()  # and these the policy holds to their form


@pytest.mark.parametrize("overlay", [*CLUSTER, "prod with KEDA"])
def test_checkov_finds_nothing_in_a_cluster(files: dict[str, Path], overlay: str) -> None:
    passed, failed = checked(files[overlay].parent, framework="kubernetes")

    assert failed == {}
    assert passed > 1_000


def test_checkov_finds_what_we_know_of_on_one_machine(files: dict[str, Path]) -> None:
    _, failed = checked(files["local"].parent, framework="kubernetes")

    assert {one.split()[0] for one in failed.get("local.yaml", [])} == LOCAL_ONLY.keys()


def test_no_secret_stands_in_a_file() -> None:
    _, failed = checked(KUBERNETES.parent, framework="secrets")

    assert failed == {}


def test_every_planted_fault_is_found(scratch: Path, capsys: pytest.CaptureFixture[str]) -> None:
    production = parse(render_text("prod", scratch))
    folder = scratch / "planted"
    folder.mkdir()
    names = {f"fault{number:03}.yaml": fault for number, fault in enumerate(MUTATIONS)}
    ours = {name: findings(_planted(fault, production, folder / name)) for name, fault in names.items()}
    said = validate(sorted(folder.glob("*.yaml")), version=VERSIONS[-1])
    by_schema = {*said.faults, *(name for name, apis in said.unknown.items() if apis - SCHEMAS.keys())}
    _, by_checkov = checked(folder, framework="kubernetes")

    caught = {
        fault: [
            layer
            for layer, found in (
                ("policy", any(not one.startswith(FORM) for one in ours[name])),
                ("own schemas", any(one.startswith(FORM) for one in ours[name])),
                ("kubernetes-validate", name in by_schema),
                ("checkov", name in by_checkov),
            )
            if found
        ]
        for name, fault in names.items()
    }
    with capsys.disabled():
        print()
        for fault, layers in caught.items():
            print(f"  {fault}{' (blind)' if fault in BLIND else ''}: {', '.join(layers) or 'NOT FOUND'}")
        print(
            f"  {len(caught)} faults, found by", dict(Counter(layer for layers in caught.values() for layer in layers))
        )
    assert [fault for fault, layers in caught.items() if not layers] == []
    # Each layer sees something: one that sees nothing is not wired.
    assert "kubernetes-validate" in caught["a field misspelt in a Deployment"]
    assert "checkov" in caught["a privileged container"]


def test_hardly_a_field_may_be_left_out(scratch: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Takes away every field of the gateway and of what all share, one by one."""
    production = parse(render_text("prod", scratch))
    tried, kept = 0, []
    for index, document in enumerate(production):
        name = str(document["metadata"]["name"])
        if document["kind"] == "PrometheusRule" or any(
            other in name for other in (*SERVICES, *FRONTS) if other != "gateway"
        ):
            continue  # the rules have tests of their own, in promtool
        for path in _leaves(document):
            tried += 1
            without = [*production]
            without[index] = copy.deepcopy(document)
            drop(without[index], *path)
            if not findings(Manifests("prod", without)):
                kept.append(f"{called(document)} {'.'.join(map(str, path))}")
    with capsys.disabled():
        print(
            f"\n  of {tried} fields left out, the policy noticed {tried - len(kept)}; the others mean the same without"
        )
    assert [one for one in kept if not any(re.fullmatch(pattern, one) for pattern in EQUIVALENT)] == []


def _leaves(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = False
    for key, part in parts:
        found = True
        yield from _leaves(part, (*path, key))
    if not found:
        yield path


def _planted(fault: str, production: list[Document], file: Path) -> Manifests:
    """Plant a fault; what it changed goes into `file`, which is not written if that is nothing but a removal."""
    planted = Planted(production)
    MUTATIONS[fault](planted)
    known = {id(one) for one in production}
    changed = [one for one in planted.documents if id(one) not in known]
    if changed:
        file.write_text(yaml.safe_dump_all(changed))
    return Manifests("prod", planted.documents)
