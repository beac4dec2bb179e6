"""Renders the overlays as they are, and the variants that no overlay has."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

from local.cluster import generate

ROOT: Final = Path(__file__).parents[2]
KUBERNETES: Final = ROOT / "deploy" / "kubernetes"
FETCHED: Final = ROOT / ".batzen" / "tools" / "kubectl"
"""Where deploy/tools/kubectl.sh puts one."""
MISSING: Final = "kubectl is not here: deploy/tools/kubectl.sh fetches it"
CLUSTER: Final = ("staging", "prod")
OVERLAYS: Final = ("local", *CLUSTER)
VARIANTS: Final = {
    "prod with KEDA": ("prod", ("keda",)),
    "bare": (None, ()),
    "bare with policies": (None, ("network-policies",)),
}
"""What the README says to be possible besides: an overlay or the base alone, and components on top of it."""

Document = dict[str, Any]


def kubectl() -> str | None:
    """Return the program, or None if there is none."""
    return shutil.which("kubectl") or (str(FETCHED) if FETCHED.exists() else None)


@cache
def render_text(name: str, scratch: Path) -> str:
    """Return what an overlay or variant renders to; secrets of the local one are made in a copy, in `scratch`."""
    tree = scratch / "kubernetes"
    if not tree.exists():
        shutil.copytree(KUBERNETES, tree, ignore=shutil.ignore_patterns("generated"))
        if (observability := KUBERNETES.parent / "observability").exists():
            shutil.copytree(observability, scratch / "observability")
        generate(tree / "overlays" / "local" / "generated")
    folder = tree / "overlays" / name if name in OVERLAYS else _variant(tree, name)
    return kustomize(folder)


def kustomize(folder: Path) -> str:
    """Return what a kustomization renders to; raises AssertionError with what kustomize says, warnings too."""
    program = kubectl()
    assert program is not None, MISSING
    done = subprocess.run(
        [program, "kustomize", str(folder)], capture_output=True, text=True, check=False, env=dict(os.environ)
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr
    return done.stdout


def parse(text: str) -> list[Document]:
    """Return the documents of a rendered overlay."""
    return [document for document in yaml.load_all(text, Loader=yaml.CSafeLoader) if document]


def _variant(tree: Path, name: str) -> Path:
    overlay, components = VARIANTS[name]
    folder = tree / "variants" / name.replace(" ", "-")
    folder.mkdir(parents=True)
    kustomization: Document = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": "batzen",
        "resources": [f"../../overlays/{overlay}" if overlay else "../../base"],
        "components": [f"../../components/{component}" for component in components],
    }
    if overlay is None:
        kustomization["configMapGenerator"] = [{"name": "settings", "literals": ["BATZEN_ENVIRONMENT=development"]}]
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return folder
