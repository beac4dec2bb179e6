"""The manifests hold what we demand of them, and every rule can fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.deploy import rendering
from tests.deploy.manifests import SERVICES, Manifests, dig, name_of
from tests.deploy.mutations import MUTATIONS, Planted
from tests.deploy.policy import findings
from tests.deploy.rendering import KUBERNETES, MISSING, OVERLAYS, VARIANTS, Document, parse, render_text

pytestmark = [pytest.mark.deploy, pytest.mark.skipif(rendering.kubectl() is None, reason=MISSING)]


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


def test_the_operators_shell_is_confined_as_a_server_and_calls_what_there_is(production: list[Document]) -> None:
    manifests = Manifests("prod", production)
    certificate, shell = parse((KUBERNETES / "operator" / "shell.yaml").read_text())
    [pod] = [pod for pod in manifests.servers if pod.service == "orchestrator"]
    [server], [container] = pod.spec["containers"], shell["spec"]["containers"]
    settings, mine = manifests.environment(server), manifests.environment(container)
    ports = {name_of(one): one["spec"]["ports"][0]["port"] for one in manifests.of("Service")}
    callers = dig(manifests.find("NetworkPolicy", "callers-out"), "spec", "podSelector", "matchLabels")
    issuer = dig(manifests.find("Certificate", "gateway"), "spec", "issuerRef")

    assert (container["securityContext"], container["image"]) == (server["securityContext"], server["image"])
    assert shell["spec"]["securityContext"] == pod.spec["securityContext"]
    assert shell["metadata"]["labels"] == callers
    assert certificate["spec"]["issuerRef"] == issuer
    assert mine == {name: value for name, value in settings.items() if "_TLS_" in name} | {
        f"BATZEN_{name.upper()}_ADDRESS": f"dns:///{name}:{ports[name]}" for name in SERVICES
    }


@pytest.mark.parametrize("fault", MUTATIONS)
def test_a_planted_fault_is_found(fault: str, production: list[Document]) -> None:
    planted = Planted(production)
    MUTATIONS[fault](planted)

    assert planted.documents != production
    assert findings(Manifests("prod", planted.documents)) != []
