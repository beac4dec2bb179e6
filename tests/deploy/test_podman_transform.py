"""What becomes of the overlay's documents under podman; without podman."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from deploy.podman.transform import NotForPodman, plan

PORTS = {"status": 9003, "status-health": 9303, "sandbox": 9200}


def deployment(**spec: Any) -> dict[str, Any]:
    container = {
        "name": "server",
        "image": "postgres:16",
        "command": ["python", "-m", "services.status"],
        "envFrom": [{"configMapRef": {"name": "settings"}}],
        "env": [{"name": "STRIPE_API_BASE", "value": "http://127.0.0.1:7200"}],
        "ports": [
            {"name": "grpc", "containerPort": 7003},
            {"name": "health", "containerPort": 7400},
            {"name": "metrics", "containerPort": 7500},
        ],
        "livenessProbe": {"grpc": {"port": 7400}},
        "lifecycle": {"preStop": {"sleep": {"seconds": 10}}},
        "securityContext": {"readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}},
        "resources": {"limits": {"memory": "256Mi"}},
    }
    template = {
        "spec": {
            "serviceAccountName": "status",
            "securityContext": {"runAsUser": 10001},
            "terminationGracePeriodSeconds": 45,
            "containers": [container],
            "volumes": [{"name": "database", "secret": {"secretName": "status-database", "optional": False}}],
            **spec,
        }
    }
    return {"kind": "Deployment", "metadata": {"name": "status"}, "spec": {"template": template}}


def secret(name: str) -> dict[str, Any]:
    return {"kind": "Secret", "metadata": {"name": name}, "data": {"key": base64.b64encode(b"word").decode()}}


SETTINGS = {"kind": "ConfigMap", "metadata": {"name": "settings", "namespace": "batzen"}, "data": {"A": "1"}}
DOCUMENTS = [SETTINGS, secret("status-database"), secret("gateway-database"), deployment()]


def test_what_keeps_a_pod_in_bounds_stays_as_it_is() -> None:
    [pod] = plan(DOCUMENTS, ports=PORTS, images={}).servers
    [container] = pod.document["spec"]["containers"]
    [written] = deployment()["spec"]["template"]["spec"]["containers"]

    assert pod.document["spec"]["securityContext"] == {"runAsUser": 10001}
    assert {key: container[key] for key in ("securityContext", "resources", "command", "image", "envFrom")} == {
        key: written[key] for key in ("securityContext", "resources", "command", "image", "envFrom")
    }


def test_a_pod_is_given_its_own_secrets_and_no_other() -> None:
    [pod] = plan(DOCUMENTS, ports=PORTS, images={}).servers

    assert [(given["metadata"]["name"], given["data"]) for given in pod.config_maps] == [
        ("secret-status-database", {"key": "word"}),
        ("settings", {"A": "1"}),
    ]
    assert pod.document["spec"]["volumes"] == [{"name": "database", "configMap": {"name": "secret-status-database"}}]


def test_what_is_on_loopback_is_found_at_the_ports_of_the_run() -> None:
    overlay = deployment()
    [container] = overlay["spec"]["template"]["spec"]["containers"]
    container["command"] = ["python", "-m", "local.login_page", "http://127.0.0.1:7091", "http://127.0.0.1:7090"]
    container["env"] = [{"name": "BATZEN_OIDC_ISSUER", "value": "http://127.0.0.1:7091"}]
    [pod] = plan([SETTINGS, secret("status-database"), overlay], ports=PORTS | {"login": 9091}, images={}).servers
    [found] = pod.document["spec"]["containers"]

    assert found["command"][-2:] == ["http://127.0.0.1:9091", "http://127.0.0.1:7090"]
    assert found["env"] == [{"name": "BATZEN_OIDC_ISSUER", "value": "http://127.0.0.1:9091"}]


def test_ports_are_opened_to_this_machine_alone_and_only_those_that_are_asked_for() -> None:
    [pod] = plan(DOCUMENTS, ports=PORTS, images={}).servers

    assert pod.document["spec"]["containers"][0]["ports"] == [
        {"containerPort": 7003, "hostPort": 9003, "hostIP": "127.0.0.1"},
        {"containerPort": 7400, "hostPort": 9303, "hostIP": "127.0.0.1"},
    ]


def test_the_grace_is_the_manifests_without_the_wait_that_is_left_out() -> None:
    [pod] = plan(DOCUMENTS, ports=PORTS, images={}).servers

    assert pod.grace_s == 35
    assert not {"livenessProbe", "lifecycle"} & set(pod.document["spec"]["containers"][0])


def test_images_and_the_stand_ins_port_are_those_of_this_machine() -> None:
    [pod] = plan(DOCUMENTS, ports=PORTS, images={"postgres": "localhost/ours:local"}).servers
    [container] = pod.document["spec"]["containers"]

    assert container["image"] == "localhost/ours:local"
    assert container["env"][0]["value"] == "http://127.0.0.1:9200"


def test_a_job_is_run_once() -> None:
    job = {**deployment(), "kind": "Job"}
    [pod] = plan([*DOCUMENTS[:3], job], ports=PORTS, images={}).jobs

    assert pod.document["spec"]["restartPolicy"] == "Never"


def test_a_kind_of_which_nobody_said_what_becomes_of_it_is_refused() -> None:
    with pytest.raises(NotForPodman, match="StatefulSet queue"):
        plan([{"kind": "StatefulSet", "metadata": {"name": "queue"}}], ports=PORTS, images={})


def test_nothing_of_the_overlay_itself_is_changed() -> None:
    document = deployment()
    plan([SETTINGS, secret("status-database"), document], ports=PORTS, images={})

    assert document == deployment()
