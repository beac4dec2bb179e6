"""Renders every overlay and holds it to the policy: the quick part of `make deploy-check`, and a part of `make check`.

python -m tests.deploy
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.deploy.manifests import Manifests
from tests.deploy.policy import findings
from tests.deploy.rendering import MISSING, OVERLAYS, VARIANTS, kubectl, parse, render_text


def main() -> int:
    """Print every fault, and return 1 if there is one."""
    if kubectl() is None:
        print(f"Manifests not checked. {MISSING}")
        return 0
    faults = 0
    with tempfile.TemporaryDirectory() as scratch:
        for name in (*OVERLAYS, *VARIANTS):
            manifests = Manifests(name, parse(render_text(name, Path(scratch))))
            found = findings(manifests)
            faults += len(found)
            print(f"{name}: {len(manifests.documents)} objects, {len(found)} faults")
            print("\n".join(f"  {one}" for one in found[:50]))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
