"""All layers over all overlays, and over every planted fault: what one does not see, another does."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import yaml

from tests.deploy import rendering, validators
from tests.deploy.crd_schemas import SCHEMAS
from tests.deploy.manifests import Manifests
from tests.deploy.mutations import BLIND, MUTATIONS, Planted
from tests.deploy.policy import findings
from tests.deploy.rendering import CLUSTER, KUBERNETES, OVERLAYS, VARIANTS, Document, parse, render_text
from tests.deploy.validators import VERSIONS, checked, validate

pytestmark = [
    pytest.mark.deploy,
    pytest.mark.skipif(rendering.kubectl() is None, reason=rendering.MISSING),
    pytest.mark.skipif(not validators.are_here(), reason=validators.MISSING),
]
LOCAL_ONLY = {
    "CKV_K8S_8": "the stand-in has no health to ask for",
    "CKV_K8S_9": "likewise",
    "CKV_K8S_15": "images that were built here are in no registry to be pulled from",
    "CKV_K8S_40": "PostgreSQL's image has its own low uid",
    "CKV2_K8S_6": "the policies are about a cluster: one machine has neither its databases nor its callers",
    "CKV_K8S_43": "what was built a moment ago has a tag",
}
"""Checks that the overlay of one machine does not pass, and why."""


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
    ours = {name: bool(findings(_planted(fault, production, folder / name))) for name, fault in names.items()}
    by_schema = validate(sorted(folder.glob("*.yaml")), version=VERSIONS[-1]).faults
    _, by_checkov = checked(folder, framework="kubernetes")

    caught = {
        fault: [
            layer
            for layer, found in (
                ("policy", ours[name]),
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
        print(f"  {len(caught)} faults, found by", dict(Counter(layer for layers in caught.values() for layer in layers)))
    assert [fault for fault, layers in caught.items() if not layers] == []
    # Each layer sees something: one that sees nothing is not wired.
    assert "kubernetes-validate" in caught["a field misspelt in a Deployment"]
    assert "checkov" in caught["a privileged container"]


def _planted(fault: str, production: list[Document], file: Path) -> Manifests:
    """Plant a fault; what it changed goes into `file`, which is not written if that is nothing but a removal."""
    planted = Planted(production)
    MUTATIONS[fault](planted)
    known = {id(one) for one in production}
    changed = [one for one in planted.documents if id(one) not in known]
    if changed:
        file.write_text(yaml.safe_dump_all(changed))
    return Manifests("prod", planted.documents)
