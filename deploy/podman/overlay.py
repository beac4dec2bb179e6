"""The local overlay, rendered as `kubectl kustomize` does, with secrets of its own for each run."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any, Final

import yaml

from deploy.images.tools import ToolMissing, run
from local.cluster import generate
from local.processes import ROOT

DEPLOY: Final = ROOT / "deploy"
TOOLS: Final = ROOT / ".batzen" / "tools"
"""Where `make deploy-check` puts kubectl on a machine without one."""


def rendered(folder: Path) -> list[dict[str, Any]]:
    """Render the overlay in a copy, `folder`, that gets new secrets. Raises `ToolMissing` or `ToolFailed`."""
    kubectl = shutil.which("kubectl", path=os.pathsep.join((os.environ.get("PATH", ""), str(TOOLS))))
    if kubectl is None:
        raise ToolMissing("kubectl", "`make deploy-check` fetches it")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    forget(folder)
    for name in ("kubernetes", "observability"):  # what is watched lies beside, and is rendered with it
        if (DEPLOY / name).exists():
            copied = shutil.ignore_patterns("generated")
            shutil.copytree(DEPLOY / name, folder / name, ignore=copied, dirs_exist_ok=True)
    generate(generated(folder))
    text = run([kubectl, "kustomize", overlay(folder)])
    return [document for document in yaml.safe_load_all(text) if document]


def forget(folder: Path) -> None:
    """Remove what was rendered, and its secrets; what else lies in `folder` stays."""
    shutil.rmtree(folder / "kubernetes", ignore_errors=True)


def overlay(folder: Path) -> Path:
    return folder / "kubernetes" / "overlays" / "local"


def generated(folder: Path) -> Path:
    """Return where the secrets of a rendered overlay lie."""
    return overlay(folder) / "generated"
