"""The manifests hold what we demand of them, and every rule can fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.deploy import rendering
from tests.deploy.manifests import Manifests
from tests.deploy.mutations import MUTATIONS, Planted
from tests.deploy.policy import findings
from tests.deploy.rendering import MISSING, OVERLAYS, VARIANTS, Document, parse, render_text

pytestmark = pytest.mark.skipif(rendering.kubectl() is None, reason=MISSING)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("manifests")


@pytest.fixture(scope="module")
def production(scratch: Path) -> list[Document]:
    return parse(render_text("prod", scratch))


@pytest.mark.parametrize("overlay", [*OVERLAYS, *VARIANTS])
def test_an_overlay_has_no_fault(overlay: str, scratch: Path) -> None:
    documents = parse(render_text(overlay, scratch))

    assert len(documents) > 20
    assert findings(Manifests(overlay, documents)) == []


@pytest.mark.parametrize("fault", MUTATIONS)
def test_a_planted_fault_is_found(fault: str, production: list[Document]) -> None:
    planted = Planted(production)
    MUTATIONS[fault](planted)

    assert planted.documents != production
    assert findings(Manifests("prod", planted.documents)) != []
